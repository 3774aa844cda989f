"""What a door's newest journal entries say of it: the last outcome, and which alarms stand.

`events` tells what it stores; whoever shows doors (`home_assistant`) takes it from here, and starts from what is
stored already. An alarm that must stay silent (duress, a blocked person) is not among them.
"""

from __future__ import annotations

import queue
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from device.door.reasons import REASONS, Severity
from sync.hub.schema import acked, events
from sync.hub.storage import Storage, Tx
from sync.hub.times import moment_of_us
from sync.wire.messages import JournalRow

CLEARED_BY = {"held_cleared": ("held_open",), "forced_cleared": ("forced_open",), "tamper_cleared": ("tamper",),
              "fire_ended": ("fire_free",), "started": ("held_open", "forced_open", "tamper")}
STANDING = frozenset(alarm for alarms in CLEARED_BY.values() for alarm in alarms)
LOOK_BACK = 500
MOST_WAITING = 10_000
_OUTCOMES = (Severity.GRANT, Severity.REFUSAL)


@dataclass(frozen=True, slots=True)
class DoorNews:
    outcome: str = ""
    outcome_at: datetime | None = None
    alarms: frozenset[str] = frozenset()


def after(news: DoorNews, reason: str, at_us: int) -> DoorNews:
    """The news after one more entry; a reason that the table does not have says nothing."""
    if reason in STANDING:
        return replace(news, alarms=news.alarms | {reason})
    if reason in CLEARED_BY:
        return replace(news, alarms=news.alarms.difference(CLEARED_BY[reason]))
    known = REASONS.get(reason)
    if known is None or known.severity not in _OUTCOMES:
        return news
    return replace(news, outcome=reason, outcome_at=moment_of_us(at_us))


class Newsroom:
    """Owned by one thread, but for `follow`, which whoever stores events calls."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._news: dict[str, DoorNews] = {}
        self._arrived: queue.Queue[tuple[str, tuple[tuple[str, int], ...]]] = queue.Queue(MOST_WAITING)
        self.dropped = 0

    def follow(self, tx: Tx, terminal_id: str, journal_id: str, rows: Sequence[JournalRow]) -> None:
        """Take over what is stored, once it is."""
        told = tuple((row.reason, row.at_us) for row in rows)
        tx.after_commit(lambda: self._put(terminal_id, told))

    def read(self) -> None:
        """Bring the news up to date with what has arrived since."""
        dropped = self.dropped
        while not self._arrived.empty():
            terminal_id, told = self._arrived.get()
            if terminal_id in self._news:
                self._news[terminal_id] = _told(self._news[terminal_id], told)
        if dropped:
            self.dropped = 0
            self._news.clear()

    def of(self, terminal_id: str) -> DoorNews:
        """Of a door; from what is stored, where it is asked for the first time."""
        if terminal_id not in self._news:
            self._news[terminal_id] = _told(DoorNews(), self._stored(terminal_id))
        return self._news[terminal_id]

    def keep(self, known: set[str]) -> None:
        """Forget all other doors."""
        for terminal_id in self._news.keys() - known:
            del self._news[terminal_id]

    def _stored(self, terminal_id: str) -> list[tuple[str, int]]:
        """The newest entries of the journal that the terminal wrote to last."""
        with self._storage.read() as tx:
            tips: list[sa.Row[Any]] = list(tx.all(sa.select(events.c.journal_id, events.c.received).join(
                acked, sa.and_(acked.c.terminal_id == events.c.terminal_id,
                               acked.c.journal_id == events.c.journal_id, acked.c.seq == events.c.seq))
                .where(acked.c.terminal_id == terminal_id)))
            if not tips:
                return []
            newest = max(tips, key=lambda row: int(row.received)).journal_id
            rows = tx.all(sa.select(events.c.reason, events.c.at_us).where(
                events.c.terminal_id == terminal_id, events.c.journal_id == newest)
                .order_by(events.c.seq.desc()).limit(LOOK_BACK))
        return [(row.reason, row.at_us) for row in reversed(rows)]

    def _put(self, terminal_id: str, told: tuple[tuple[str, int], ...]) -> None:
        try:
            self._arrived.put_nowait((terminal_id, told))
        except queue.Full:
            self.dropped += 1  # all of it is read from the database anew


def _told(news: DoorNews, told: Iterable[tuple[str, int]]) -> DoorNews:
    for reason, at_us in told:
        news = after(news, reason, at_us)
    return news
