"""Events in the order in which they were stored, kept as long as a webhook has yet to be told of them.

`events` calls `follow` in the transaction that stores what a terminal sent, so nothing that was acknowledged to a
terminal is missing here after a kill. Each webhook has a cursor over the numbers; `messenger` moves it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from sync.hub.events import Event, event_of
from sync.hub.schema import events, outbox, webhooks
from sync.hub.storage import Storage, Tx
from sync.wire.messages import JournalRow


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a webhook has yet to be told. through: where its cursor stands once it was told all of `events`."""

    events: tuple[tuple[int, Event], ...]
    through: int


class Outbox:
    """Of one hub; any thread may use it."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def follow(self, tx: Tx, terminal_id: str, journal_id: str, rows: Sequence[JournalRow]) -> None:
        """Number those of the entries that some webhook wants."""
        wanted = [row.kinds.split() for row in tx.all(sa.select(webhooks.c.kinds).where(webhooks.c.ended.is_(None)))]
        chosen = [row for row in rows if any(not kinds or row.kind in kinds for kinds in wanted)]
        if chosen:
            first = head(tx) + 1
            tx.run(sa.insert(outbox), [
                {"number": first + place, "terminal_id": terminal_id, "journal_id": journal_id, "seq": row.seq,
                 "kind": row.kind} for place, row in enumerate(chosen)])

    def head(self) -> int:
        """The newest number."""
        with self._storage.read() as tx:
            return head(tx)

    def after(self, cursor: int, kinds: Sequence[str], limit: int) -> Waiting:
        """The next of these kinds (of all, where none is named), in order."""
        wanted = sa.select(outbox.c.number, events).join(events, sa.and_(
            events.c.terminal_id == outbox.c.terminal_id, events.c.journal_id == outbox.c.journal_id,
            events.c.seq == outbox.c.seq)).where(outbox.c.number > cursor)
        if kinds:
            wanted = wanted.where(outbox.c.kind.in_(kinds))
        with self._storage.read() as tx:
            rows = tx.all(wanted.order_by(outbox.c.number).limit(limit))
            through = rows[-1].number if len(rows) == limit else head(tx)
        return Waiting(tuple((row.number, event_of(row)) for row in rows), through)

    def count(self, tx: Tx, cursor: int, kinds: Sequence[str]) -> int:
        """How many of these kinds follow."""
        wanted = sa.select(sa.func.count()).select_from(outbox).where(outbox.c.number > cursor)
        return int(tx.value(wanted.where(outbox.c.kind.in_(kinds)) if kinds else wanted) or 0)

    def forget(self, tx: Tx) -> None:
        """Let go of what every webhook has been told."""
        least = tx.value(sa.select(sa.func.min(webhooks.c.cursor)).where(webhooks.c.ended.is_(None)))
        done = sa.delete(outbox) if least is None else sa.delete(outbox).where(outbox.c.number <= least)
        tx.run(done)


def head(tx: Tx) -> int:
    """The newest number that was given: of what waits, or of what somebody was told."""
    newest = tx.value(sa.select(sa.func.max(outbox.c.number))) or 0
    return max(int(newest), int(tx.value(sa.select(sa.func.max(webhooks.c.cursor))) or 0))
