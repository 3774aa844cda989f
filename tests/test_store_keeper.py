"""The journal's keeper: order and time are kept while entries wait, and what is lost is counted and said."""

import logging

import pytest
from store_samples import BOOT, NOW, release

from device.clock import HandClock
from device.store import keeper as keeper_module
from device.store.journal import Journal
from device.store.keeper import JournalKeeper
from device.store.records import NewEntry
from device.store.sqlite import WriterLock


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


def keeper_of(path, clock):
    return JournalKeeper(lambda: Journal.open(path, clock, BOOT), clock)


def test_entries_wait_with_their_time_while_the_journal_is_held_by_another(path, clock, caplog):
    other = WriterLock(path)
    keeper = keeper_of(path, clock)
    for _ in range(3):
        assert keeper.append(release()) is None
        clock.advance(10)
    assert keeper.retry() == 0
    assert (keeper.waiting, keeper.is_degraded) == (3, True)
    assert "another process" in str(keeper.error)
    other.release()
    assert keeper.retry() == 3
    entries = keeper.journal.entries()
    assert [(entry.at - NOW).total_seconds() for entry in entries] == [0, 10, 20]
    assert [entry.mono for entry in entries] == [1000, 1010, 1020]
    assert keeper.append(release()).seq == 4
    assert not keeper.is_degraded
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    keeper.close()


def test_nothing_overtakes_what_waits(path, clock):
    other = WriterLock(path)
    keeper = keeper_of(path, clock)
    keeper.append(release(1))
    other.release()
    assert keeper.append(release(2)) is None
    assert keeper.retry() == 2
    assert [entry.person_id for entry in keeper.journal.entries()] == [release(1).person_id, release(2).person_id]
    keeper.close()


def test_a_full_queue_drops_the_newest_counts_and_says_so(path, clock, monkeypatch):
    monkeypatch.setattr(keeper_module, "WAITING_LIMIT", 5)
    other = WriterLock(path)
    keeper = keeper_of(path, clock)
    for number in range(8):
        keeper.append(release(number))
    assert (keeper.waiting, keeper.lost) == (5, 3)
    other.release()
    assert keeper.retry() == 5
    last = keeper.journal.last(1)[0]
    assert (last.kind, last.reason, last.detail) == ("fault", "journal_failed", (("entries_lost", 3),))
    assert keeper.lost == 0
    keeper.close()


def test_a_journal_found_damaged_under_way_is_set_aside_and_a_new_one_takes_over(path, clock, caplog):
    caplog.set_level(logging.ERROR)
    keeper = keeper_of(path, clock)
    first = keeper.journal.journal_id
    keeper.append(release(1))
    keeper.journal._db.conn.execute("DROP TABLE chain")
    assert keeper.append(release(2)) is None
    assert keeper.is_degraded
    assert keeper.retry() == 1
    entries = keeper.journal.entries()
    assert keeper.journal.journal_id != first
    assert [entry.reason for entry in entries] == ["journal_set_aside", "granted_face"]
    assert keeper.journal.set_aside.exists()
    keeper.close()


def test_of_an_entry_that_no_journal_takes_the_fact_is_stored(path, clock):
    keeper = keeper_of(path, clock)
    keeper.append(NewEntry("release", "granted_face", detail=(("vector", b"\x01\x02"),)))
    keeper.append(NewEntry("release", "granted_face", detail=(("long", "x" * 1000),)))
    entries = keeper.journal.entries()
    assert [(entry.kind, entry.reason, entry.detail[0][0]) for entry in entries] == [
        ("fault", "journal_failed", "refused")] * 2
    assert entries[0].detail[0][1].startswith("journal detail vector")
    assert not keeper.is_degraded
    keeper.close()


def test_what_waits_is_written_when_the_keeper_closes(path, clock):
    other = WriterLock(path)
    keeper = keeper_of(path, clock)
    keeper.append(release())
    other.release()
    keeper.close()
    journal = Journal.open(path, clock, BOOT)
    assert journal.head == 1
    journal.close()


def test_trimming_keeps_the_capacity_and_all_that_is_not_acknowledged(path, clock):
    keeper = keeper_of(path, clock)
    for number in range(10):
        keeper.append(release(number))
    assert keeper.trim(acked=2, capacity=5) == 2
    assert keeper.trim(acked=None, capacity=5) == 3
    assert keeper.trim(acked=10, capacity=5) == 0
    assert [entry.seq for entry in keeper.journal.entries()] == [6, 7, 8, 9, 10]
    keeper.journal._db.conn.execute("DROP TABLE chain")
    assert keeper.trim(acked=10, capacity=1) == 0
    assert keeper.is_degraded
    keeper.close()
