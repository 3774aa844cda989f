"""Who is in which area, as the doors of a site have seen; told to the doors of the areas that somebody came into or
left.

An event `entered` or `left` of a terminal whose policy joins areas moves a person. The record `position` goes into
the stream of the area that they are in now and of the one that they were in, sealed under the person's key and
dropped with the person; each door counts occupancy and judges anti-passback by it, and goes by what it saw itself
until the hub's word is newer.

`events` tells what it stores, in its own transaction; the API and the CLI ask who is where.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from device.clock import Clock, ClockQuality
from device.passages import PASSED
from sync.hub.areas import followed, position_put
from sync.hub.ledger import Drop, Ledger, Put
from sync.hub.schema import changes, groups, memberships, positions, streams, terminal_areas, terminals
from sync.hub.storage import Storage, Tx, in_parts, insert_or_update
from sync.hub.times import EARLIEST, moment_of_us
from sync.wire.messages import JournalRow
from sync.wire.streams import AREA


@dataclass(frozen=True, slots=True)
class Present:
    """A person in an area of a site. terminal_id: whose door they passed last."""

    person_id: str
    site_id: str
    area_id: str
    at: datetime
    terminal_id: str


class Positions:
    """Of every site of one hub."""

    def __init__(self, storage: Storage, ledger: Ledger, clock: Clock) -> None:
        self._storage, self._ledger, self._clock = storage, ledger, clock

    def follow(self, tx: Tx, terminal_id: str, journal_id: str, rows: Sequence[JournalRow]) -> None:
        """Take over where these entries of a terminal's journal say that people went.

        A door whose clock is not trusted cannot say when, and one that names an area which its policy does not join
        cannot say where: they move nobody. A time ahead of the hub's is now.
        """
        passages = [row for row in rows if row.reason in PASSED and row.person_id
                    and row.clock_quality != ClockQuality.UNTRUSTED.value]
        joined = {row.area_id for row in tx.all(sa.select(terminal_areas.c.area_id).where(
            terminal_areas.c.terminal_id == terminal_id))} if passages else set()
        if not joined:
            return
        site_id = tx.value(sa.select(terminals.c.site_id).where(terminals.c.terminal_id == terminal_id))
        now_us = (self._clock.now() - EARLIEST) // timedelta(microseconds=1)
        moved = {str(row.person_id): {"person_id": row.person_id, "site_id": site_id, "area_id": area,
                                      "at_us": min(row.at_us, now_us), "terminal_id": terminal_id}
                 for row in sorted(passages, key=lambda row: row.at_us)
                 for area in (_area(row),) if area in joined | {""}}
        self._move(tx, site_id, moved, joined)

    def present(self, site_id: str | None = None, area_id: str | None = None) -> list[Present]:
        """Everybody who is in an area, by site, area and time; those outside are not named."""
        wanted = sa.select(positions).where(positions.c.area_id != "")
        for column, value in ((positions.c.site_id, site_id), (positions.c.area_id, area_id)):
            if value is not None:
                wanted = wanted.where(column == value)
        order = (positions.c.site_id, positions.c.area_id, positions.c.at_us, positions.c.person_id)
        with self._storage.read() as tx:
            return [Present(row.person_id, row.site_id, row.area_id, moment_of_us(row.at_us), row.terminal_id)
                    for row in tx.all(wanted.order_by(*order))]

    def _move(self, tx: Tx, site_id: str, moved: dict[str, dict[str, Any]], joined: set[str]) -> None:
        """joined: the areas of the door's terminal, which are told of those who were nowhere before"""
        stream_of = followed(tx, site_id)
        puts: dict[str, list[Put]] = {}
        for part in in_parts(sorted(moved)):
            known = {row.person_id: row for row in tx.all(sa.select(positions).where(
                positions.c.site_id == site_id, positions.c.person_id.in_(part)))}
            here = {row.person_id for row in tx.all(
                sa.select(memberships.c.person_id).join(groups, groups.c.group_id == memberships.c.group_id)
                .where(groups.c.site_id == site_id, memberships.c.person_id.in_(part)))}
            fresh = [moved[one] for one in part
                     if one in here and (one not in known or known[one].at_us < moved[one]["at_us"])]
            insert_or_update(tx, positions, fresh)
            for row in fresh:
                left = {known[row["person_id"]].area_id} if row["person_id"] in known else joined
                for stream in sorted({stream_of[area] for area in {*left, row["area_id"]} if area in stream_of}):
                    puts.setdefault(stream, []).append(
                        position_put(stream, row["person_id"], row["area_id"], moment_of_us(row["at_us"])))
        for stream, steps in sorted(puts.items()):
            self._ledger.append(stream, steps, tx)


def position_drops(tx: Tx, person_ids: Sequence[str], site_ids: Iterable[str] | None = None) -> dict[str, list[Drop]]:
    """Stream -> what must go from it with these persons; of some sites only, where those are given."""
    of_areas = streams.c.stream.startswith(f"{AREA}/")
    if site_ids is not None:
        of_areas = streams.c.stream.in_(sa.select(terminal_areas.c.stream).where(
            terminal_areas.c.site_id.in_(list(site_ids))))
    areas = {row.stream_id: row.stream for row in tx.all(sa.select(streams).where(of_areas))}
    found: dict[str, list[Drop]] = {}
    for part in in_parts(person_ids) if areas else ():
        for row in tx.all(sa.select(changes.c.stream_id, changes.c.key).where(
                changes.c.stream_id.in_(list(areas)), changes.c.kind == "position", changes.c.owner.in_(part),
                changes.c.leaf.is_not(None))):
            found.setdefault(areas[row.stream_id], []).append(Drop("position", row.key))
    return found


def _area(row: JournalRow) -> str:
    """Where an entry says that the person is now; outside where it names no area."""
    area = dict(row.detail).get("area")
    return area if isinstance(area, str) else ""
