"""The gallery's file: what is put is read, changes are followed, and nobody is kept without consent."""

import dataclasses
import logging
import os
import sqlite3
import tempfile
import traceback
import warnings
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from store_samples import CONSENT, KEY, MODEL, NOW, enrolled, person, template

from device.clock import HandClock
from device.errors import EnrolmentRefused, SealBroken, StoreError
from device.store import cache_writer
from device.store.cache import CacheReader
from device.store.cache_writer import CacheWriter, prepare_gallery
from device.store.places import make_folders, places
from device.store.records import ALWAYS, AccessRule, Credential, Method, Schedule
from device.store.seal import Key


@pytest.fixture
def path(tmp_path):
    return tmp_path / "gallery.db"


@pytest.fixture
def writer(path):
    writer = CacheWriter.open(path, KEY, HandClock())
    yield writer
    writer.close()


@pytest.fixture
def reader(path, writer):
    reader = CacheReader.open(path, KEY)
    yield reader
    reader.close()


def card(number, of, secret=b"04A1B2"):
    return Credential(f"card{number}", person(of).person_id, Method.CARD, secret)


def test_people_and_templates_come_back_as_they_were(writer, reader):
    for number in (1, 2):
        writer.put_person(person(number, groups=("staff",)))
        writer.put_template(template(number))
    assert reader.person(person(1).person_id) == person(1, groups=("staff",))
    assert reader.person("nobody") is None
    assert [found.label for found in reader.people()] == ["Canary Name 1", "Canary Name 2"]
    assert reader.people_count() == 2
    found = reader.templates(person(2).person_id)
    assert found == [dataclasses.replace(template(2), quality=0.75)]
    assert reader.models() == {MODEL: 2}


def test_columns_are_the_templates_row_by_row(path):
    writer = enrolled(path, 50)
    columns = writer.columns(MODEL)
    assert columns.template_ids == tuple(template(number).template_id for number in range(50))
    assert columns.person_ids == tuple(person(number).person_id for number in range(50))
    assert columns.vectors.dtype == np.int8
    assert columns.vectors.flags.c_contiguous
    assert not columns.vectors.flags.writeable
    for number in (0, 17, 49):
        assert columns.vectors[number].tobytes() == template(number).vector
        assert columns.scales[number] == np.float32(template(number).scale)
    assert len(writer.columns("another-model")) == 0
    writer.close()


def test_a_reader_follows_changes_one_generation_each(writer, reader):
    writer.put_person(person(1))
    before = reader.generation
    writer.put_template(template(1))
    writer.put_template(template(2, of=1))
    changes = reader.changes_since(before, MODEL)
    assert changes.generation == before + 2
    assert changes.is_complete
    assert changes.puts.template_ids == (template(1).template_id, template(2).template_id)
    assert changes.drops == ()
    writer.drop_template(template(1).template_id)
    after = reader.changes_since(changes.generation, MODEL)
    assert (len(after.puts), after.drops) == (0, (template(1).template_id,))


def test_a_template_that_returns_is_no_longer_dropped(writer, reader):
    writer.put_person(person(1))
    writer.put_template(template(1))
    start = reader.generation
    writer.drop_template(template(1).template_id)
    writer.put_template(template(1))
    changes = reader.changes_since(start, MODEL)
    assert changes.puts.template_ids == (template(1).template_id,)
    assert changes.drops == ()


def test_data_version_moves_with_a_commit_of_the_other_process(writer, reader):
    first = reader.data_version()
    assert reader.data_version() == first
    writer.put_person(person(1))
    assert reader.data_version() != first


def test_several_changes_together_are_one_generation_or_nothing(writer, reader):
    start = reader.generation
    with writer.together():
        writer.put_person(person(1))
        writer.put_template(template(1))
        writer.set_cursor("group/all", "epoch1", 17, b"digest")
    assert reader.generation == start + 1
    assert reader.cursor("group/all") == ("epoch1", 17, b"digest")

    def half():
        with writer.together():
            writer.put_person(person(2))
            writer.set_cursor("group/all", "epoch1", 18, b"digest")
            writer.put_template(template(3))

    with pytest.raises(EnrolmentRefused, match="not known"):
        half()
    assert reader.generation == start + 1
    assert reader.person(person(2).person_id) is None
    assert reader.cursor("group/all") == ("epoch1", 17, b"digest")


def test_dropping_a_person_drops_templates_and_credentials(writer, reader):
    writer.put_person(person(1))
    writer.put_template(template(1))
    writer.put_template(template(2, of=1))
    writer.put_credential(card(1, of=1))
    start = reader.generation
    assert writer.drop_person(person(1).person_id)
    assert not writer.drop_person(person(1).person_id)
    assert set(reader.changes_since(start, MODEL).drops) == {template(1).template_id, template(2).template_id}
    assert len(reader.columns(MODEL)) == 0
    assert reader.credentials(person(1).person_id) == []
    assert reader.find_credentials(Method.CARD, b"04A1B2") == []


def test_no_template_is_kept_without_consent(writer, reader):
    with pytest.raises(EnrolmentRefused, match="not known"):
        writer.put_template(template(1))
    writer.put_person(person(1, consent=None))
    with pytest.raises(EnrolmentRefused, match="consent"):
        writer.put_template(template(1))
    writer.put_person(person(1, consent=dataclasses.replace(CONSENT, valid_until=NOW - timedelta(days=1))))
    with pytest.raises(EnrolmentRefused, match="consent"):
        writer.put_template(template(1))
    writer.put_person(person(1))
    writer.put_template(template(1))
    assert len(reader.columns(MODEL)) == 1


def test_a_consent_withdrawn_takes_the_templates_along(writer, reader):
    writer.put_person(person(1))
    writer.put_template(template(1))
    start = reader.generation
    writer.put_person(person(1, consent=None))
    assert reader.changes_since(start, MODEL).drops == (template(1).template_id,)
    assert reader.person(person(1).person_id) == person(1, consent=None)


@pytest.mark.parametrize(("change", "words"), [
    ({"vector": b""}, "unit length"),
    ({"vector": bytes(192)}, "unit length"),
    ({"scale": float("nan")}, "unit length"),
    ({"scale": float("inf")}, "unit length"),
    ({"scale": 0.0}, "unit length"),
    ({"scale": 1.0}, "unit length"),
    ({"quality": float("nan")}, "unit length"),
    ({"created_at": NOW.replace(tzinfo=None)}, "time zone"),
])
def test_a_template_that_cannot_be_compared_is_refused(writer, change, words):
    writer.put_person(person(1))
    with pytest.raises(EnrolmentRefused, match=words):
        writer.put_template(dataclasses.replace(template(1), **change))
    assert writer.models() == {}


def test_a_template_of_another_length_or_model_under_one_id_is_refused(writer):
    writer.put_person(person(1))
    writer.put_template(template(1))
    with pytest.raises(EnrolmentRefused, match="192 elements, not 128"):
        writer.put_template(template(2, of=1, dimensions=128))
    with pytest.raises(EnrolmentRefused, match="another id"):
        writer.put_template(template(1, model_id="another-model"))
    writer.put_template(template(3, of=1, model_id="another-model", dimensions=128))
    assert writer.models() == {"another-model": 1, MODEL: 1}


@pytest.mark.parametrize("name", ["", " ", "a\0b", "a\nb", "x" * 101, "../x", None, 7])
def test_an_id_that_is_none_is_refused(writer, name):
    with pytest.raises(StoreError, match="the id of a person"):
        writer.put_person(dataclasses.replace(person(1), person_id=name))


def test_rules_and_schedules_come_back(writer, reader):
    office = Schedule("office", ALWAYS.week)
    writer.put_schedule(office)
    writer.put_rule(AccessRule("r2", "staff", schedule_id="office"))
    writer.put_rule(AccessRule("r1", "everyone"))
    both = (AccessRule("r1", "everyone"), AccessRule("r2", "staff", schedule_id="office"))
    assert reader.records("rule", AccessRule) == both
    assert reader.records("schedule", Schedule) == (office,)
    assert writer.drop_record("rule", "r2")
    assert reader.records("rule", AccessRule) == (AccessRule("r1", "everyone"),)


def test_a_rule_that_was_altered_in_the_file_is_not_used(path, writer, reader):
    writer.put_rule(AccessRule("r1", "staff"))
    writer.put_rule(AccessRule("r2", "everyone"))
    other = sqlite3.connect(path)
    other.execute("UPDATE records SET sealed = (SELECT sealed FROM records WHERE key = 'r2') WHERE key = 'r1'")
    other.commit()
    other.close()
    with pytest.raises(SealBroken, match="rule r1"):
        reader.records("rule", AccessRule)


def test_a_card_is_found_by_its_number_and_a_pin_by_its_person(writer, reader):
    for number in (1, 2):
        writer.put_person(person(number))
    writer.put_credential(card(1, of=1))
    writer.put_credential(card(2, of=2, secret=b"04FFFF"))
    pin = Credential("pin1", person(1).person_id, Method.PIN, b"$argon2id$...", is_duress=True, valid_until=NOW)
    writer.put_credential(pin)
    assert reader.find_credentials(Method.CARD, b"04FFFF") == [card(2, of=2, secret=b"04FFFF")]
    assert reader.find_credentials(Method.QR, b"04FFFF") == []
    assert reader.credentials(person(1).person_id) == [card(1, of=1), pin]
    assert writer.drop_credential("card2")
    assert reader.find_credentials(Method.CARD, b"04FFFF") == []


def test_acknowledgements_never_move_back(writer, reader):
    assert reader.acked("j1") == 0
    for seq in (5, 9, 7):
        writer.set_acked("j1", seq)
    assert reader.acked("j1") == 9


def test_a_reader_that_was_away_too_long_reads_all_anew(writer, reader, monkeypatch):
    monkeypatch.setattr(cache_writer, "DROPS_KEPT", 3)
    writer.put_person(person(1))
    start = reader.generation
    for number in range(6):
        writer.put_template(template(number, of=1))
        writer.drop_template(template(number).template_id)
    assert not reader.changes_since(start, MODEL).is_complete
    assert not reader.changes_since(0, MODEL).is_complete
    recent = reader.changes_since(reader.generation - 1, MODEL)
    assert recent.is_complete
    assert recent.drops == (template(5).template_id,)


def test_another_key_is_one_clear_line(path, writer):
    with pytest.raises(SealBroken, match="another key"):
        CacheReader.open(path, Key(bytes(32)))
    writer.close()
    with pytest.raises(SealBroken, match="another key"):
        CacheWriter.open(path, Key(bytes(32)), HandClock())
    assert [found.name for found in path.parent.iterdir() if "aside" in found.name] == []
    CacheWriter.open(path, KEY, HandClock()).close()


def test_a_second_writer_is_refused_and_the_first_goes_on(path, writer):
    with pytest.raises(StoreError, match="another process is writing it"):
        CacheWriter.open(path, KEY, HandClock(), lock_wait_s=0.1)
    writer.put_person(person(1))


def test_a_lock_held_by_another_program_is_one_clear_line(path, writer):
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writer.close()
    second = CacheWriter.open(path, KEY, HandClock(), busy_ms=50)
    with pytest.raises(StoreError, match="in use by another process"):
        second.put_person(person(1))
    other.close()
    second.put_person(person(1))
    second.close()


def test_a_reader_without_a_gallery_is_told_so(path):
    with pytest.raises(StoreError, match="no such file"):
        CacheReader.open(path, KEY)
    assert prepare_gallery(path, KEY, HandClock()) is None
    CacheReader.open(path, KEY).close()


def test_a_reader_cannot_write(path, reader):
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._db.conn.execute("DELETE FROM people")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another account")
def test_another_account_of_the_group_reads_and_cannot_keep_the_writer_out():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        where = places({"DOOR_STATE": folder + "/state"})
        before = os.umask(0o077)
        make_folders(where)
        where.root.chmod(0o711)
        os.chown(where.gallery_db.parent, 12345, 23456)
        os.umask(before)
        in_child(lambda: enrolled(where.gallery_db, 3).close(), 12345)
        in_child(lambda: read_and_close(where.gallery_db), 12346)
        in_child(lambda: enrolled(where.gallery_db, 4).close(), 12345)
        in_child(lambda: read_and_close(where.gallery_db), 12346)


def read_and_close(path):
    reader = CacheReader.open(path, KEY)
    assert len(reader.columns(MODEL)) > 0
    os._exit(0)  # dies without closing, as a killed doord does: its shared-memory file stays behind


def in_child(action, account):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads that numerical libraries keep
        child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(23456)
            os.setuid(account)
            action()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_both_files_are_written_the_durable_way(writer):
    def pragma(name):
        return writer._db.conn.execute(f"PRAGMA {name}").fetchone()[0]

    assert pragma("journal_mode") == "wal"
    assert pragma("synchronous") == 2
    assert pragma("foreign_keys") == 1
    assert pragma("secure_delete") == 1
    assert pragma("mmap_size") == 0


def test_no_name_and_no_vector_shows_in_any_text(path, writer, caplog):
    caplog.set_level(logging.DEBUG)
    writer.put_person(person(1))
    writer.put_template(template(1))
    writer.put_credential(card(1, of=1))
    writer._db.conn.execute("UPDATE people SET sealed = zeroblob(40)")
    writer._db.conn.execute("UPDATE templates SET sealed = zeroblob(40)")
    writer._db.conn.execute("UPDATE credentials SET sealed = zeroblob(40)")
    texts = [repr(person(1)), repr(template(1)), repr(card(1, of=1)), repr(writer.columns(MODEL))]
    assert list(writer.people()) == writer.templates(person(1).person_id) == []
    assert writer.credentials(person(1).person_id) == []
    for failing in (lambda: writer.person(person(1).person_id), lambda: writer.put_template(template(2, of=1)),
                    lambda: writer.put_template(dataclasses.replace(template(1), scale=9.0))):
        try:
            failing()
        except StoreError as error:
            texts += [str(error), repr(error), "".join(traceback.format_exception(error))]
        except EnrolmentRefused as error:
            texts += [str(error), repr(error)]
    texts.append(caplog.text)
    assert len(texts) > 9
    assert "does not open" in caplog.text
    for secret in ("Canary", "04A1B2", template(1).vector.hex()[:16], str(list(template(1).vector[:3]))[1:-1]):
        assert not any(secret in text for text in texts)
