"""Which deletions each terminal has yet to confirm: the records dropped since its last receipt, and the groups and
areas that it left.

A deletion stays on the open list, however long the terminal is away, until its signed receipt says that it is done;
a group or area that the terminal is to hold no longer, until it has shown that it holds nothing of it. Called by
`fleet` and `areas`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from device.clock import Clock
from sync.hub.ledger import Ledger
from sync.hub.schema import departures, receipts, terminal_areas, terminal_groups, terminals
from sync.hub.storage import Storage, Tx, insert_or_update
from sync.hub.times import milliseconds, moment
from sync.wire.digest import DigestTree
from sync.wire.messages import Cursor
from sync.wire.streams import group_stream, is_shared, owner_of, scope_of, terminal_stream

LISTED = timedelta(days=90)
"""How long a drop that every terminal has confirmed is listed: who was away for longer is given a snapshot."""

EMPTY = DigestTree().root()


class Owed(NamedTuple):
    """A deletion without a receipt. kind "group" or "area": all of that one, which the terminal has left."""

    stream: str
    kind: str
    key: str
    seq: int
    since: datetime


class Receipts:
    """Of every terminal; any thread may use it."""

    def __init__(self, storage: Storage, ledger: Ledger, clock: Clock) -> None:
        self._storage, self._ledger, self._clock = storage, ledger, clock

    # --- streams joined and left -----------------------------------------------------------------------------

    def joined(self, tx: Tx, terminal_id: str, stream: str) -> int:
        """From which seq on the drops of a stream that a terminal begins to follow are its affair: those before it
        came never were, unless it is still to be rid of what it held."""
        here = _departure(terminal_id, stream)
        left = tx.one(sa.select(departures).where(here))
        tx.run(sa.delete(departures).where(here))
        return int(left.seq) if left is not None else self._ledger.head(stream).seq

    def left(self, tx: Tx, terminal_id: str, stream: str) -> None:
        """A terminal follows a shared stream no longer; call it while it still does. One that was never claimed holds
        nothing."""
        is_claimed = sa.or_(terminals.c.claimed.is_not(None), terminals.c.reported.is_not(None))
        if tx.one(sa.select(terminals.c.terminal_id).where(terminals.c.terminal_id == terminal_id, is_claimed)):
            self._depart(tx, terminal_id, stream, self.up_to(tx, terminal_id).get(stream, 0))

    # --- what terminals say ----------------------------------------------------------------------------------

    def keep(self, terminal_id: str, stream: str, epoch: str, seq: int, digest: bytes, issued_ms: int) -> bool:
        """Keep a receipt: deletions up to `seq` are done there. False where it says no more than the last, or is of
        another epoch."""
        with self._storage.write() as tx:
            row = tx.one(sa.select(receipts).where(receipts.c.terminal_id == terminal_id,
                                                   receipts.c.stream == stream))
            head = self._ledger.head(stream)
            if epoch == head.epoch and digest == EMPTY:
                tx.run(sa.delete(departures).where(_departure(terminal_id, stream), departures.c.head <= seq))
            if epoch != head.epoch or seq > head.seq or (row is not None and row.epoch == epoch and row.seq >= seq):
                return False
            insert_or_update(tx, receipts, [{
                "terminal_id": terminal_id, "stream": stream, "epoch": epoch, "seq": seq, "digest": digest,
                "issued": issued_ms, "received": milliseconds(self._clock.now())}])
        return True

    def reported(self, tx: Tx, terminal_id: str, cursors: Sequence[Cursor]) -> None:
        """A terminal says what it holds: a shared stream that it should not hold is on the list, one that it does not
        name is not."""
        followed = _since(tx, terminal_id)
        left = {row.stream for row in tx.all(sa.select(departures).where(departures.c.terminal_id == terminal_id))}
        for cursor in cursors:
            if is_shared(cursor.stream) and cursor.digest != EMPTY and cursor.stream not in followed.keys() | left:
                self._depart(tx, terminal_id, cursor.stream, 0)
        for stream in left - {cursor.stream for cursor in cursors}:
            tx.run(sa.delete(departures).where(_departure(terminal_id, stream)))

    # --- asking ----------------------------------------------------------------------------------------------

    def up_to(self, tx: Tx, terminal_id: str) -> dict[str, int]:
        """Stream -> seq up to which the terminal owes no receipt."""
        epoch = self._ledger.epoch
        since = {**_since(tx, terminal_id), terminal_stream(terminal_id): 0}
        for row in tx.all(sa.select(receipts).where(receipts.c.terminal_id == terminal_id)):
            # A receipt of an earlier epoch proves deletions that this ledger may not know of.
            if row.stream in since and row.epoch == epoch:
                since[row.stream] = max(since[row.stream], row.seq)
        return since

    def owed(self, tx: Tx, terminal_id: str) -> list[Owed]:
        """Every deletion whose receipt this terminal still owes."""
        left = tx.all(sa.select(departures).where(departures.c.terminal_id == terminal_id)
                      .order_by(departures.c.stream))
        return [*(Owed(row.stream, scope_of(row.stream), owner_of(row.stream), row.head, moment(row.since))
                  for row in left),
                *(Owed(stream, *drop) for stream, seq in self.up_to(tx, terminal_id).items()
                  for drop in self._ledger.drops_after(stream, seq))]

    def forget_drops(self) -> int:
        """No longer list drops that are older than `LISTED` and that no terminal has yet to confirm; how many."""
        with self._storage.read() as tx:
            rows = tx.all(sa.select(terminals.c.terminal_id).where(
                sa.or_(terminals.c.claimed.is_not(None), terminals.c.reported.is_not(None))))
            confirmed = _least(item for row in rows for item in self.up_to(tx, row.terminal_id).items())
            left = _least((row.stream, row.seq) for row in tx.all(sa.select(departures)))
        before = self._clock.now() - LISTED
        return sum(self._ledger.forget_drops(stream, before, _lesser(confirmed.get(stream), left.get(stream)))
                   for stream in self._ledger.streams())

    # --- inside ----------------------------------------------------------------------------------------------

    def _depart(self, tx: Tx, terminal_id: str, stream: str, seq: int) -> None:
        insert_or_update(tx, departures, [{
            "terminal_id": terminal_id, "stream": stream, "seq": seq, "head": self._ledger.head(stream).seq,
            "since": milliseconds(self._clock.now())}])


def _departure(terminal_id: str, stream: str) -> sa.ColumnElement[bool]:
    return sa.and_(departures.c.terminal_id == terminal_id, departures.c.stream == stream)


def _since(tx: Tx, terminal_id: str) -> dict[str, int]:
    """Shared streams that the terminal follows, and from which seq on."""
    own = terminal_groups.c.terminal_id == terminal_id
    found = {group_stream(row.group_id): row.since_seq for row in tx.all(sa.select(terminal_groups).where(own))}
    return found | {row.stream: row.since_seq for row in tx.all(
        sa.select(terminal_areas).where(terminal_areas.c.terminal_id == terminal_id))}


def _least(items: Iterable[tuple[str, Any]]) -> dict[str, int]:
    """The least number of each stream."""
    found: dict[str, int] = {}
    for stream, seq in items:
        found[stream] = min(seq, found.get(stream, seq))
    return found


def _lesser(one: int | None, two: int | None) -> int | None:
    return one if two is None else two if one is None else min(one, two)
