"""What is removed is gone from the bytes of every file, not only from the tables."""

import random

import pytest
from store_samples import KEY, MODEL, enrolled, person, template

from device.clock import HandClock
from device.store.cache import CacheReader
from device.store.cache_writer import CacheWriter
from device.store.records import Credential, Method


def raw(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file())


def sealed_rows(writer):
    return {row[0]: row[1] for row in writer._db.conn.execute("SELECT person_id, sealed FROM templates")}


@pytest.mark.parametrize("seed", range(2))
def test_sealed_bytes_of_the_dropped_are_in_no_file(tmp_path, seed):
    # Rows are put, replaced and dropped in a wild order, so that the file's pages are split and joined many times.
    chance = random.Random(seed)
    writer = enrolled(tmp_path / "gallery.db", 0)
    alive, versions = set(), {}
    for _ in range(40):
        with writer.together():
            for number in chance.sample(range(400), 20):
                writer.put_person(person(number))
                writer.put_template(template(number))
                alive.add(number)
        for owner, sealed in sealed_rows(writer).items():
            versions.setdefault(owner, set()).add(bytes(sealed))
        with writer.together():
            for number in chance.sample(sorted(alive), min(12, len(alive))):
                writer.drop_person(person(number).person_id)
                alive.remove(number)
    kept = {bytes(sealed) for sealed in sealed_rows(writer).values()}
    gone = set().union(*versions.values()) - kept
    assert len(gone) > 400
    found = raw(tmp_path)
    assert all(sealed in found for sealed in kept)
    assert sum(sealed[12:60] in found for sealed in gone) == 0
    writer.close()


def test_nothing_lies_in_the_clear_at_any_time(tmp_path):
    writer = enrolled(tmp_path / "gallery.db", 20)
    writer.put_credential(Credential("k1", person(1).person_id, Method.CARD, b"CARDNUMBER04A1B2"))
    found = raw(tmp_path)
    writer.close()
    found += raw(tmp_path)
    for secret in (b"Canary", b"CARDNUMBER", b"CARDNUMBER04A1B2".hex().encode(), template(1).vector[:24]):
        assert secret not in found


def test_erasure_waits_for_a_reader_and_is_made_up_for(tmp_path):
    path = tmp_path / "gallery.db"
    writer = enrolled(path, 5)
    writer.close()
    writer = CacheWriter.open(path, KEY, HandClock(), busy_ms=20)
    sealed = bytes(sealed_rows(writer)[person(3).person_id])
    reader = CacheReader.open(path, KEY)
    reader._db.conn.execute("BEGIN")
    assert len(reader.templates(person(3).person_id)) == 1
    assert writer.drop_person(person(3).person_id)
    assert writer.is_erasure_due
    assert sealed in raw(tmp_path)
    reader._db.conn.execute("COMMIT")
    assert writer.erase()
    assert not writer.is_erasure_due
    assert sealed not in raw(tmp_path)
    assert len(reader.columns(MODEL)) == 4
    reader.close()
    writer.close()


def test_an_erasure_cut_short_is_made_up_for_at_the_next_start(tmp_path):
    path = tmp_path / "gallery.db"
    writer = enrolled(path, 5)
    sealed = bytes(sealed_rows(writer)[person(3).person_id])
    writer.erase()
    copy = tmp_path / "killed"
    copy.mkdir()
    writer.erase = lambda: False
    writer.drop_person(person(3).person_id)
    for file in tmp_path.iterdir():
        if file.is_file() and not file.name.endswith(("-shm", ".lock")):
            (copy / file.name).write_bytes(file.read_bytes())
    assert sealed in raw(copy)
    CacheWriter.open(copy / "gallery.db", KEY, HandClock()).close()
    assert sealed not in raw(copy)
    writer.close()
