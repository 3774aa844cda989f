"""A removed record cannot be opened any more, wherever copies of its bytes lie; everything else goes on opening."""

import pytest
from store_samples import KEY, MODEL, person, template

from device.clock import HandClock
from device.errors import SealBroken
from device.store import body
from device.store.cache import TEMPLATE_HEAD, CacheReader
from device.store.cache_writer import CacheWriter
from device.store.records import Credential, Method
from device.store.slots import SALT_BYTES, SLOTS, SlotSealer, slot_of
from device.store.synced import Dropped, SyncedRecords, Told, bucket_of

STREAM = "group/staff"
PEOPLE = 300


def told(kind, record, key):
    who, leaf = record.person_id, key.encode().ljust(32, b"-")[:32]
    if kind == "template":
        plain = TEMPLATE_HEAD.pack(record.scale, record.quality, 0.0) + record.vector
        return Told(kind, key, bucket_of(kind, key), 1, leaf, plain, who, MODEL)
    if kind == "credential":
        return Told(kind, key, bucket_of(kind, key), 1, leaf, body.encode(record), who, "", "card", record.secret)
    return Told(kind, key, bucket_of(kind, key), 1, leaf, body.encode(record), is_consented=True)


@pytest.fixture
def writer(tmp_path):
    found = CacheWriter.open(tmp_path / "gallery.db", KEY, HandClock())
    found.erases_at_once = False
    yield found
    found.close()


@pytest.fixture
def records(writer):
    synced = SyncedRecords(writer)
    synced.clear_strays()
    with writer.together():
        for number in range(PEOPLE):
            one, face = person(number), template(number)
            card = Credential(f"{number:032x}", one.person_id, Method.CARD, b"card%d" % number)
            synced.put(STREAM, [told("person", one, one.person_id), told("template", face, face.template_id),
                                told("credential", card, card.credential_id)])
        synced.move_to(STREAM, "e1", PEOPLE, b"d" * 32)
    return synced


def salts(writer):
    return bytes(writer._db.conn.execute("SELECT salts FROM slots").fetchone()[0])


def removed(synced, writer, *numbers):
    """Removes people; (kind, key, sealed as it was)."""
    lost = []
    for number in numbers:
        key = person(number).person_id
        for kind, table, column in (("person", "people", "person_id"), ("template", "templates", "template_id"),
                                    ("credential", "credentials", "credential_id")):
            sql = f"SELECT sealed FROM {table} WHERE {column} = ?"  # noqa: S608
            lost.append((kind, key, bytes(writer._db.conn.execute(sql, [key]).fetchone()[0])))
        synced.drop(STREAM, [Dropped("person", key, bucket_of("person", key), PEOPLE + 1)])
    assert writer.erase()
    assert not writer.is_erasure_due
    return lost


def bound(kind, key):
    return (kind, key, key, MODEL) if kind == "template" else (kind, key)


def test_what_was_removed_opens_under_no_key_that_is_left(writer, records, tmp_path):
    before = salts(writer)
    lost = removed(records, writer, 7, 8)
    left = SlotSealer(KEY)
    left.follow(writer._db)
    for kind, key, sealed in lost:
        with pytest.raises(SealBroken):
            left.unseal(sealed, *bound(kind, key))
    raw = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    after = salts(writer)
    for kind, key, _ in lost:
        at = slot_of(kind, key) * SALT_BYTES
        assert before[at:at + SALT_BYTES] not in raw
        assert after[at:at + SALT_BYTES] in raw


def test_everybody_else_goes_on_opening_for_old_and_new_readers(writer, records, tmp_path):
    reader = CacheReader.open(tmp_path / "gallery.db", KEY)
    assert len(reader.columns(MODEL)) == PEOPLE
    removed(records, writer, *range(10))
    for one in (reader, CacheReader.open(tmp_path / "gallery.db", KEY)):
        assert {found.person_id for found in one.people()} == {person(n).person_id for n in range(10, PEOPLE)}
        columns = one.columns(MODEL)
        assert len(columns) == PEOPLE - 10
        assert columns.rejected == ()
        for number in range(10, PEOPLE):
            assert one.person(person(number).person_id).label == person(number).label
            assert len(one.credentials(person(number).person_id)) == 1
        one.close()


def test_a_small_removal_leaves_the_other_slots_alone(writer, records):
    before = salts(writer)
    removed(records, writer, 3)
    after = salts(writer)
    changed = {slot for slot in range(SLOTS)
               if before[slot * SALT_BYTES:][:SALT_BYTES] != after[slot * SALT_BYTES:][:SALT_BYTES]}
    assert changed == {slot_of(kind, person(3).person_id) for kind in ("person", "template", "credential")}


def test_a_large_removal_writes_the_file_anew(writer, records, tmp_path):
    lost = removed(records, writer, *range(200))
    raw = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert not any(sealed in raw for _, _, sealed in lost)
    assert len(list(writer.people())) == PEOPLE - 200


def test_a_removal_cut_short_is_made_up_for_at_the_next_start(records, writer, tmp_path):
    key = person(5).person_id
    sealed = bytes(writer._db.conn.execute("SELECT sealed FROM people WHERE person_id = ?", [key]).fetchone()[0])
    records.drop(STREAM, [Dropped("person", key, bucket_of("person", key), PEOPLE + 1)])
    writer.close()
    again = CacheWriter.open(tmp_path / "gallery.db", KEY, HandClock())
    assert not again.is_erasure_due
    assert len(list(again.people())) == PEOPLE - 1
    assert sealed not in (tmp_path / "gallery.db").read_bytes()
    again.close()


def test_rows_that_do_not_open_come_back_as_nothing(writer):
    sealer = SlotSealer(KEY)
    sealer.follow(writer._db)
    good = ("t1", "p1", sealer.seal(b"one", "template", "t1", "p1", "m"))
    rows = [good, ("t2", "p1", good[2]), ("t1", "p1", None), ("t1", "p1", "text"), (None, 7, good[2]), good]
    assert sealer.unseal_rows(rows, "template", "m") == [b"one", None, None, None, None, b"one"]


def test_the_same_bucket_everywhere(records):
    """The digests of streams depend on it: it must never change."""
    assert bucket_of("person", "0" * 32) == 2363
    assert slot_of("person", "0" * 32) == 2363 // 4
