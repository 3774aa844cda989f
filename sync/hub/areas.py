"""Which areas' streams each terminal follows: those of the areas that the doors of its policy join.

A stream holds, of everybody who came into the area or left it, where they are now; each door of the area tells by it
who is in there. What nobody follows any more is emptied. Called by `policies` and `fleet`; `positions` says what goes
into the streams.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa

from device.clock import Clock
from device.store import body
from device.store.records import Position
from sync.hub.keys import Keys
from sync.hub.ledger import Drop, Ledger, Put
from sync.hub.receipts import Receipts
from sync.hub.schema import changes, positions, streams, terminal_areas, terminals
from sync.hub.storage import Storage, Tx
from sync.hub.times import moment_of_us
from sync.wire.streams import area_stream, position_key


class Areas:
    """Of every terminal of one hub; any thread may use it."""

    def __init__(self, storage: Storage, ledger: Ledger, keys: Keys, clock: Clock) -> None:
        self._ledger, self._keys = ledger, keys
        self._receipts = Receipts(storage, ledger, clock)

    def set(self, tx: Tx, terminal_id: str, area_ids: Iterable[str]) -> None:
        """The areas whose streams a terminal follows from now on; one that it leaves gets a new key."""
        site_id = tx.value(sa.select(terminals.c.site_id).where(terminals.c.terminal_id == terminal_id))
        wanted = {area_stream(site_id, area_id): area_id for area_id in area_ids}
        before = set(streams_of(tx, terminal_id))
        for stream in sorted(before - wanted.keys()):
            self._leave(tx, terminal_id, stream)
        for stream in sorted(wanted.keys() - before):
            self._join(tx, terminal_id, site_id, wanted[stream], stream)

    def _join(self, tx: Tx, terminal_id: str, site_id: str, area_id: str, stream: str) -> None:
        is_first = not _is_followed(tx, stream)
        tx.run(sa.insert(terminal_areas).values(
            terminal_id=terminal_id, stream=stream, site_id=site_id, area_id=area_id,
            since_seq=self._receipts.joined(tx, terminal_id, stream)))
        if is_first:
            inside = tx.all(sa.select(positions).where(positions.c.site_id == site_id,
                                                       positions.c.area_id == area_id))
            self._ledger.append(stream, [position_put(stream, row.person_id, area_id, moment_of_us(row.at_us))
                                         for row in inside], tx)

    def _leave(self, tx: Tx, terminal_id: str, stream: str) -> None:
        self._receipts.left(tx, terminal_id, stream)
        tx.run(sa.delete(terminal_areas).where(terminal_areas.c.terminal_id == terminal_id,
                                               terminal_areas.c.stream == stream))
        self._keys.rotate(stream, tx)
        if not _is_followed(tx, stream):
            held = tx.all(sa.select(changes.c.key).join(streams, streams.c.stream_id == changes.c.stream_id).where(
                streams.c.stream == stream, changes.c.leaf.is_not(None)))
            self._ledger.append(stream, [Drop("position", row.key) for row in held], tx)


def streams_of(tx: Tx, terminal_id: str) -> list[str]:
    """The areas' streams that a terminal follows."""
    return [row.stream for row in tx.all(
        sa.select(terminal_areas.c.stream).where(terminal_areas.c.terminal_id == terminal_id)
        .order_by(terminal_areas.c.stream))]


def followed(tx: Tx, site_id: str) -> dict[str, str]:
    """Area -> stream, of the areas of a site that some terminal follows."""
    return {row.area_id: row.stream for row in tx.all(
        sa.select(terminal_areas.c.area_id, terminal_areas.c.stream)
        .where(terminal_areas.c.site_id == site_id).distinct())}


def position_put(stream: str, person_id: str, area_id: str, at: datetime) -> Put:
    """What an area's stream says of a person: where they are, be it elsewhere by now."""
    record = Position(person_id, area_id, at)
    return Put("position", position_key(person_id, stream), body.encode(record), person_id)


def _is_followed(tx: Tx, stream: str) -> bool:
    first = sa.select(terminal_areas.c.terminal_id).where(terminal_areas.c.stream == stream).limit(1)
    return tx.one(first) is not None
