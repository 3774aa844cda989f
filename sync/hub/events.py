"""What happened at the doors: stored once, whatever arrives how often, and asked for again.

An event is (terminal, journal, seq). Up to `acked` a journal is stored without a gap and its chain of hashes holds;
that number, sent back, is the terminal's only licence to prune.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from device.clock import Clock
from device.store.chain import follow, genesis
from device.store.records import Entry
from sync.hub.schema import acked, events
from sync.hub.storage import Storage, Tx, insert_or_update
from sync.hub.times import EARLIEST, milliseconds, moment, moment_of_us
from sync.wire.messages import BRANCH, JournalRow

Follower = Callable[[Tx, str, str, Sequence[JournalRow]], None]
"""Given the transaction, the terminal, the journal's id and what is new of it."""


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of one terminal's journal. person_id is the random one; names are the reader's affair."""

    terminal_id: str
    journal_id: str
    seq: int
    at: datetime
    received: datetime
    clock_quality: str
    kind: str
    reason: str
    person_id: str | None
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Query:
    """Which events: newest first, `before` the place that the last page ended at."""

    limit: int = 100
    terminal_id: str | None = None
    person_id: str | None = None
    kind: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: tuple[int, str, str, int] | None = None


class Events:
    """Every terminal's journal, as far as it has arrived."""

    def __init__(self, storage: Storage, clock: Clock, followers: Sequence[Follower] = ()) -> None:
        """followers  are told of what is stored, once, in the same transaction"""
        self._storage, self._clock, self._followers = storage, clock, list(followers)

    def listen(self, follower: Follower) -> None:
        """Have another one told, from now on; before anything is stored by another thread."""
        self._followers.append(follower)

    def store(self, terminal_id: str, journal_id: str, rows: Sequence[JournalRow], is_gap_known: bool = False) -> int:
        """Up to which seq the journal is stored now, committed; what came before is passed over, and what does not
        follow without a gap is not taken.

        A terminal that was set back and wrote on has two journals of one id; what it sends of the second bears the id
        of a branch, `JOURNAL~NAME`, and of that whatever the two have in common is passed over.

        is_gap_known  what is missing before `rows` will never come: go on after it

        JournalBroken where an entry was altered or does not follow its predecessor: nothing of `rows` is kept then.
        """
        with self._storage.write() as tx:
            known = tx.one(sa.select(acked).where(acked.c.terminal_id == terminal_id,
                                                  acked.c.journal_id == journal_id))
            seq = known.seq if known is not None else 0
            fresh = [row for row in rows if row.seq > seq]
            if not fresh:
                return seq
            written_as = journal_id.partition(BRANCH)[0]
            start = (seq, known.hash) if known is not None else (0, genesis(written_as))
            if is_gap_known and fresh[0].seq > start[0] + 1:
                start = fresh[0].seq - 1, fresh[0].prev_hash
            if fresh[0].seq != start[0] + 1:
                return seq
            last = follow((_entry(row, written_as) for row in fresh), *start)
            if written_as != journal_id:
                fresh = self._not_stored(tx, terminal_id, written_as, fresh)
            now = milliseconds(self._clock.now())
            if fresh:
                tx.run(sa.insert(events), [_stored(row, terminal_id, journal_id, now) for row in fresh])
                for follow_up in self._followers:
                    follow_up(tx, terminal_id, journal_id, fresh)
            insert_or_update(tx, acked, [{"terminal_id": terminal_id, "journal_id": journal_id, "seq": last[0],
                                          "hash": last[1]}])
            return last[0]

    def _not_stored(self, tx: Tx, terminal_id: str, written_as: str, rows: Sequence[JournalRow]) -> list[JournalRow]:
        """Those of a branch that the journal it left, or another branch of it, has not brought already."""
        stored = {row.hash for row in tx.all(sa.select(events.c.hash).where(
            events.c.terminal_id == terminal_id, events.c.journal_id.startswith(written_as, autoescape=True),
            events.c.seq >= rows[0].seq, events.c.seq <= rows[-1].seq))}
        return [row for row in rows if row.hash not in stored]

    def tip(self, terminal_id: str, journal_id: str) -> tuple[int, str]:
        """(seq, hash) of the newest stored entry of a journal; 0 and "" where there is none."""
        with self._storage.read() as tx:
            row = tx.one(sa.select(acked).where(acked.c.terminal_id == terminal_id, acked.c.journal_id == journal_id))
        return (0, "") if row is None else (row.seq, row.hash)

    def acked(self, terminal_id: str) -> dict[str, int]:
        """Up to which seq each journal of a terminal is stored."""
        with self._storage.read() as tx:
            return {row.journal_id: row.seq for row in tx.all(sa.select(acked).where(
                acked.c.terminal_id == terminal_id))}

    def find(self, query: Query) -> list[Event]:
        """Newest first by the time at the door."""
        wanted = sa.select(events)
        for column, value in ((events.c.terminal_id, query.terminal_id), (events.c.person_id, query.person_id),
                              (events.c.kind, query.kind)):
            if value is not None:
                wanted = wanted.where(column == value)
        if query.since is not None:
            wanted = wanted.where(events.c.at_us >= _us(query.since))
        if query.until is not None:
            wanted = wanted.where(events.c.at_us < _us(query.until))
        place = sa.tuple_(events.c.at_us, events.c.terminal_id, events.c.journal_id, events.c.seq)
        if query.before is not None:
            wanted = wanted.where(place < query.before)
        order = (events.c.at_us.desc(), events.c.terminal_id.desc(), events.c.journal_id.desc(), events.c.seq.desc())
        with self._storage.read() as tx:
            return [event_of(row) for row in tx.all(wanted.order_by(*order).limit(query.limit))]

    def count(self, terminal_id: str | None = None) -> int:
        wanted = sa.select(sa.func.count()).select_from(events)
        if terminal_id is not None:
            wanted = wanted.where(events.c.terminal_id == terminal_id)
        with self._storage.read() as tx:
            return int(tx.value(wanted) or 0)


def place_of(event: Event) -> tuple[int, str, str, int]:
    """Where an event stands in `find`'s order, for the next page."""
    return _us(event.at), event.terminal_id, event.journal_id, event.seq


def _entry(row: JournalRow, journal_id: str) -> Entry:
    return Entry(journal_id, row.seq, moment_of_us(row.at_us), row.mono, row.boot_id, row.clock_quality, row.kind,
                 row.reason, row.person_id, row.detail, row.prev_hash, row.hash)


def _stored(row: JournalRow, terminal_id: str, journal_id: str, now: int) -> dict[str, Any]:
    return {"terminal_id": terminal_id, "journal_id": journal_id, "seq": row.seq, "received": now,
            "at_us": row.at_us, "mono": row.mono, "boot_id": row.boot_id, "clock_quality": row.clock_quality,
            "kind": row.kind, "reason": row.reason, "person_id": row.person_id,
            "detail": json.dumps(row.detail, ensure_ascii=False, separators=(",", ":")),
            "prev_hash": row.prev_hash, "hash": row.hash}


def event_of(row: sa.Row[Any]) -> Event:
    """A row of the table, whoever read it."""
    return Event(row.terminal_id, row.journal_id, row.seq, moment_of_us(row.at_us), moment(row.received),
                 row.clock_quality, row.kind, row.reason, row.person_id, dict(json.loads(row.detail)))


def _us(at: datetime) -> int:
    return (at - EARLIEST) // timedelta(microseconds=1)
