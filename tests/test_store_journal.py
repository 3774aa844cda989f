# ruff: noqa: S608
"""The journal: entries follow one another, none is changed or lost, and every tampering shows."""

import dataclasses
import hashlib
import itertools
import json
import random
import sqlite3
from datetime import timedelta

import pytest
from store_samples import BOOT, NOW, release

from device.clock import ClockQuality, HandClock
from device.errors import JournalBroken, StoreError
from device.store import chain
from device.store.journal import Journal, JournalReader
from device.store.records import NewEntry

COLUMNS = ("at", "mono", "boot_id", "clock_quality", "kind", "reason", "person_id", "detail", "prev_hash", "hash")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path):
    journal = Journal.open(path, HandClock(), BOOT)
    yield journal
    journal.close()


def filled(path, count):
    with_entries = Journal.open(path, HandClock(), BOOT)
    with_entries.append_all([(release(number), None, None) for number in range(count)])
    with_entries.close()


def tampered(path, script):
    """The file after a hand with full rights was at it: triggers dropped, rows changed, triggers put back."""
    other = sqlite3.connect(path, isolation_level=None)
    triggers = other.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        other.execute(f"DROP TRIGGER {name}")
    for statement in script.split(";"):
        other.execute(statement)
    for _, sql in triggers:
        other.execute(sql)
    other.close()


def verdict(path):
    reader = JournalReader.open(path)
    try:
        return reader.verify()
    finally:
        reader.close()


def test_an_entry_comes_back_as_it_was_appended(journal):
    journal.clock_quality = ClockQuality.SYNCED
    new = NewEntry("refusal", "unknown_face", None, (("text", "门 ✓ \"'"), ("flag", True), ("none", None),
                                                     ("score", 0.1 + 0.2), ("tiny", 5e-324), ("count", -7)))
    stored = journal.append(new)
    assert (stored.seq, stored.at, stored.boot_id, stored.clock_quality) == (1, NOW, BOOT, "synced")
    assert NewEntry(stored.kind, stored.reason, stored.person_id, stored.detail) == new
    assert journal.entries() == [stored]
    assert [type(value) for _, value in journal.entries()[0].detail] == [str, bool, type(None), float, float, int]
    assert journal.verify() == 1


def test_entries_follow_one_another_and_outlive_a_restart(path):
    filled(path, 150)
    clock = HandClock(NOW + timedelta(days=1))
    again = Journal.open(path, clock, "c" * 32)
    assert again.append(release()).seq == 151
    assert again.set_aside is None
    entries = again.entries(limit=1000)
    assert [entry.seq for entry in entries] == list(range(1, 152))
    assert {entry.journal_id for entry in entries} == {again.journal_id}
    assert entries[0].prev_hash == chain.genesis(again.journal_id)
    assert all(after.prev_hash == before.hash for before, after in itertools.pairwise(entries))
    assert [entry.seq for entry in again.entries(after=10, limit=3)] == [11, 12, 13]
    assert [entry.seq for entry in again.last(2)] == [150, 151]
    assert again.verify() == 151
    again.close()


def test_the_hash_is_the_documented_one(journal):
    entry = journal.append(NewEntry("release", "granted_face", "a" * 32, (("score", 0.5), ("who", "é"))))
    text = json.dumps(["door-journal-1", entry.journal_id, 1, "2026-01-05T08:00:00.000000Z",
                       ["f", "0x1.f400000000000p+9"], BOOT, "holdover", "release", "granted_face", "a" * 32,
                       [["score", ["f", "0x1.0000000000000p-1"]], ["who", "é"]], entry.prev_hash],
                      separators=(",", ":"))
    assert "\\u00e9" in text
    assert entry.hash == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("new", [
    NewEntry(""), NewEntry("x" * 300), NewEntry("a\0b"), NewEntry("release", "\ud800"),
    NewEntry("release", "r", "p" * 300),
    NewEntry("release", detail=(("score", float("nan")),)), NewEntry("release", detail=(("score", float("inf")),)),
    NewEntry("release", detail=(("big", 2**63),)), NewEntry("release", detail=(("vector", b"\x01\x02"),)),
    NewEntry("release", detail=(("list", (1, 2)),)), NewEntry("release", detail=(("long", "x" * 257),)),
    NewEntry("release", detail=tuple((f"k{number}", 1) for number in range(65))),
    NewEntry("release", detail=((7, "x"),)), NewEntry(7), NewEntry("release", person_id=7),
])
def test_what_does_not_belong_into_a_journal_is_refused(journal, new):
    journal.append(release())
    with pytest.raises(StoreError, match="journal"):
        journal.append_all([(release(), None, None), (new, None, None)])
    assert journal.head == 1
    assert journal.verify() == 1


def test_the_file_itself_refuses_change_and_deletion(path, journal):
    journal.append_all([(release(number), None, None) for number in range(5)])
    other = sqlite3.connect(path, isolation_level=None)
    rest = "at, mono, boot_id, clock_quality, kind, reason, person_id, detail, prev_hash, hash FROM entries"
    for statement in ("UPDATE entries SET reason = 'x' WHERE seq = 3", "DELETE FROM entries WHERE seq = 3",
                      "DELETE FROM entries", "UPDATE entries SET seq = 9 WHERE seq = 3", "DELETE FROM chain",
                      f"INSERT INTO entries SELECT 3, {rest} WHERE seq = 2",
                      "REPLACE INTO entries SELECT * FROM entries WHERE seq = 3",
                      f"INSERT INTO entries SELECT 7, {rest} WHERE seq = 5",
                      "UPDATE chain SET journal_id = 'x'", "UPDATE chain SET anchor_seq = 3, anchor_hash = 'x'",
                      "UPDATE chain SET head_seq = 4", "UPDATE chain SET head_hash = 'x'",
                      "INSERT INTO chain SELECT 2, journal_id, 0, '', 0, '' FROM chain"):
        with pytest.raises(sqlite3.IntegrityError):
            other.execute(statement)
    other.close()
    assert journal.verify() == 5


def test_every_altered_field_of_every_row_is_found(tmp_path):
    original = tmp_path / "original.db"
    filled(original, 6)
    found = 0
    for seq in range(1, 7):
        for column in COLUMNS:
            path = tmp_path / f"{seq}-{column}.db"
            path.write_bytes(original.read_bytes())
            change = "mono + 0.000001" if column == "mono" else f"coalesce({column}, '') || 'x'"
            tampered(path, f"UPDATE entries SET {column} = {change} WHERE seq = {seq}")
            with pytest.raises(JournalBroken, match=f"entry {seq}"):
                verdict(path)
            found += 1
    assert found == 6 * len(COLUMNS)


@pytest.mark.parametrize("seq", range(1, 7))
def test_every_deleted_or_swapped_row_is_found(tmp_path, seq):
    path = tmp_path / "journal.db"
    filled(path, 6)
    copy = tmp_path / "swapped.db"
    copy.write_bytes(path.read_bytes())
    tampered(path, f"DELETE FROM entries WHERE seq = {seq}")
    with pytest.raises(JournalBroken, match=f"entry {seq} is missing"):
        verdict(path)
    other = seq % 6 + 1
    tampered(copy, f"UPDATE entries SET seq = 100 WHERE seq = {seq};"
                   f"UPDATE entries SET seq = {seq} WHERE seq = {other};"
                   f"UPDATE entries SET seq = {other} WHERE seq = 100")
    with pytest.raises(JournalBroken, match=f"entry {min(seq, other)} "):
        verdict(copy)


def test_a_chain_hashed_anew_from_the_middle_is_found_by_its_head(path):
    filled(path, 6)
    reader = JournalReader.open(path)
    entries = reader.entries()
    reader.close()
    forged, script = entries[2].hash, []
    for entry in entries[3:]:
        fake = dataclasses.replace(entry, reason="forged", prev_hash=forged)
        forged = chain.entry_hash(fake)
        script.append(f"UPDATE entries SET reason = 'forged', prev_hash = '{fake.prev_hash}', hash = '{forged}' "
                      f"WHERE seq = {entry.seq}")
    tampered(path, ";".join(script))
    with pytest.raises(JournalBroken, match="the newest must be 6"):
        verdict(path)


def test_altered_ends_of_the_chain_are_found(tmp_path):
    for number, script in enumerate((
            "UPDATE chain SET head_seq = 5", "UPDATE chain SET head_hash = 'x'", "UPDATE chain SET anchor_hash = 'x'",
            "UPDATE chain SET journal_id = 'x'", "UPDATE chain SET anchor_seq = 1",
            "UPDATE chain SET anchor_seq = 1, anchor_hash = (SELECT hash FROM entries WHERE seq = 1)")):
        path = tmp_path / f"{number}.db"
        filled(path, 6)
        tampered(path, script)
        with pytest.raises(JournalBroken):
            verdict(path)


def test_pruning_goes_from_the_old_end_and_keeps_the_chain(path, journal):
    journal.append_all([(release(number), None, None) for number in range(5000)])
    assert journal.prune(4500) == 4500
    assert journal.prune(4500) == journal.prune(10) == 0
    assert journal.entries()[0].seq == 4501
    assert journal.verify() == 500
    assert journal.append(release()).seq == 5001
    assert journal.prune(10**9) == 501
    assert (journal.head, journal.anchor, journal.verify(), journal.entries()) == (5001, 5001, 0, [])
    journal.close()
    again = Journal.open(path, HandClock(), BOOT)
    assert again.append(release()).seq == 5002
    assert again.verify() == 1
    again.close()


def test_only_acknowledged_entries_are_surplus(journal):
    journal.append_all([(release(number), None, None) for number in range(100)])
    assert journal.surplus(acked=0, capacity=50) == 0
    assert journal.surplus(acked=30, capacity=50) == 30
    assert journal.surplus(acked=100, capacity=50) == 50
    assert journal.surplus(acked=100, capacity=100) == 0
    assert journal.surplus(acked=None, capacity=50) == 50
    journal.prune(50)
    assert journal.surplus(acked=100, capacity=50) == 0


def test_times_of_a_late_entry_are_those_at_which_it_happened(journal):
    entry = journal.append(release(), at=NOW - timedelta(minutes=5), mono=700.25)
    assert (entry.at, entry.mono) == (NOW - timedelta(minutes=5), 700.25)
    assert journal.verify() == 1


def test_a_second_writer_is_refused_and_a_reader_is_not(path, journal):
    with pytest.raises(StoreError, match="another process is writing it"):
        Journal.open(path, HandClock(), BOOT)
    journal.append(release())
    reader = JournalReader.open(path)
    journal.append(release())
    assert reader.verify() == reader.head == 2
    reader.close()


def test_a_tail_that_was_tampered_with_is_set_aside_and_a_new_journal_says_so(path):
    filled(path, 200)
    reader = JournalReader.open(path)
    first = reader.journal_id
    reader.close()
    tampered(path, "UPDATE entries SET person_id = 'someone' WHERE seq = 190")
    before = path.read_bytes()
    again = Journal.open(path, HandClock(), BOOT)
    assert again.set_aside.name == "journal.db.aside-20260105T080000Z"
    assert again.set_aside.read_bytes() == before
    assert again.journal_id != first
    entry = again.entries()[0]
    assert (entry.seq, entry.kind, entry.reason) == (1, "fault", "journal_set_aside")
    assert dict(entry.detail) == {"file": again.set_aside.name, "cause": "journal entry 190 has been altered",
                                  "before": first}
    again.close()
    with pytest.raises(JournalBroken, match="190"):
        verdict(path.with_name("journal.db.aside-20260105T080000Z"))


def test_nothing_set_aside_is_ever_overwritten(path):
    contents = [b"first junk" * 100, b"second junk" * 100, b"third junk" * 100]
    for content in contents:
        path.write_bytes(content)
        Journal.open(path, HandClock(), BOOT).close()
        path.unlink()
    kept = sorted(file.read_bytes() for file in path.parent.glob("journal.db.aside-*"))
    assert kept == sorted(contents)


def test_a_database_of_another_application_is_set_aside_whole(path):
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE pupils (name TEXT)")
    other.execute("INSERT INTO pupils VALUES ('x')")
    other.commit()
    other.close()
    journal = Journal.open(path, HandClock(), BOOT)
    kept = sqlite3.connect(journal.set_aside)
    assert kept.execute("SELECT count(*) FROM pupils").fetchone() == (1,)
    kept.close()
    assert "another application" in dict(journal.entries()[0].detail)["cause"]
    journal.close()


def test_a_reader_of_something_else_is_told_so(path):
    with pytest.raises(StoreError, match="no such file"):
        JournalReader.open(path)
    path.write_bytes(b"junk" * 1000)
    with pytest.raises(StoreError, match="not a database"):
        JournalReader.open(path)


@pytest.mark.parametrize("seed", range(5))
def test_any_order_of_appending_pruning_and_restarting_keeps_the_chain(path, seed):
    chance, head, anchor = random.Random(seed), 0, 0
    journal = Journal.open(path, HandClock(), BOOT)
    for _ in range(60):
        match chance.randrange(4):
            case 0:
                anchor = max(anchor, min(head, anchor + chance.randrange(20)))
                journal.prune(anchor)
            case 1:
                journal.close()
                journal = Journal.open(path, HandClock(), BOOT)
            case _:
                head = journal.append_all([(release(), None, None)] * chance.randrange(1, 9))[-1].seq
        assert (journal.head, journal.anchor, journal.verify()) == (head, anchor, head - anchor)
    journal.close()
