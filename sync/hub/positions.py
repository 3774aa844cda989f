"""Who is in which area, as the doors of a site have seen; told to every door of the site that knows the person.

An event `entered` or `left` of a terminal whose policy joins areas moves a person. The record `position` goes into
the streams of the person's groups at that site, sealed under the person's key and dropped with the person; each door
counts occupancy and judges anti-passback by it, and goes by what it saw itself until the hub's word is newer.

`events` tells what it stores, in its own transaction; the API and the CLI ask who is where.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from device.clock import Clock, ClockQuality
from device.passages import PASSED
from device.store import body
from device.store.records import Position
from sync.hub.ledger import Ledger, Put, group_stream, terminal_stream
from sync.hub.schema import changes, groups, memberships, positions, streams, terminals
from sync.hub.storage import Storage, Tx, in_parts, insert_or_update
from sync.hub.times import EARLIEST, moment_of_us
from sync.wire.messages import JournalRow

LONGEST_AREA = 48


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

        A door whose clock is not trusted cannot say when, so it moves nobody; a time ahead of the hub's is now.
        """
        passages = [row for row in rows if row.reason in PASSED and row.person_id
                    and row.clock_quality != ClockQuality.UNTRUSTED.value]
        site_id = tx.value(sa.select(terminals.c.site_id).where(terminals.c.terminal_id == terminal_id))
        if not passages or site_id is None or not _has_areas(tx, terminal_id):
            return
        now_us = (self._clock.now() - EARLIEST) // timedelta(microseconds=1)
        moved = {str(row.person_id): {"person_id": row.person_id, "site_id": site_id, "area_id": _area(row),
                                      "at_us": min(row.at_us, now_us), "terminal_id": terminal_id}
                 for row in sorted(passages, key=lambda row: row.at_us)}
        self._move(tx, site_id, moved)

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

    def _move(self, tx: Tx, site_id: str, moved: dict[str, dict[str, Any]]) -> None:
        of_group: dict[str, list[str]] = {}
        for part in in_parts(sorted(moved)):
            known = {row.person_id: row.at_us for row in tx.all(sa.select(positions).where(
                positions.c.site_id == site_id, positions.c.person_id.in_(part)))}
            for row in tx.all(sa.select(memberships).join(groups, groups.c.group_id == memberships.c.group_id).where(
                    groups.c.site_id == site_id, memberships.c.person_id.in_(part))):
                if known.get(row.person_id, -1) < moved[row.person_id]["at_us"]:
                    of_group.setdefault(row.group_id, []).append(row.person_id)
        insert_or_update(tx, positions, [moved[one] for one in sorted(set().union(*of_group.values()))])
        for group_id, members in sorted(of_group.items()):
            self._ledger.append(group_stream(group_id), [_put(**moved[one]) for one in members], tx)


def position_puts(tx: Tx, person_id: str, group_id: str) -> list[Put]:
    """What the doors of a group must know of where somebody is who comes to belong to it."""
    return [_put(row.person_id, row.area_id, row.at_us) for row in tx.all(
        sa.select(positions).join(groups, groups.c.site_id == positions.c.site_id)
        .where(positions.c.person_id == person_id, groups.c.group_id == group_id))]


def _has_areas(tx: Tx, terminal_id: str) -> bool:
    """Whether the terminal's policy says which areas doors join."""
    return tx.one(sa.select(changes.c.key).join(streams, streams.c.stream_id == changes.c.stream_id).where(
        streams.c.stream == terminal_stream(terminal_id), changes.c.kind == "door", changes.c.leaf.is_not(None))
        .limit(1)) is not None


def _area(row: JournalRow) -> str:
    """Where an entry says that the person is now; outside where it names no area."""
    area = dict(row.detail).get("area")
    return area[:LONGEST_AREA] if isinstance(area, str) else ""


def _put(person_id: str, area_id: str, at_us: int, **_: object) -> Put:
    return Put("position", person_id, body.encode(Position(person_id, area_id, moment_of_us(at_us))), person_id)
