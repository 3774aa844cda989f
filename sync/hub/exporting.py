"""Events as a table for people who open them in a spreadsheet. Called by the API and `fleethub events --export`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from device.door.reasons import REASONS
from device.spreadsheet import Cell, write_table
from sync.hub.events import Event, Query, place_of

if TYPE_CHECKING:
    from sync.hub.hub import Hub

AT_ONCE = 1000
HEADING = ("time", "zone", "terminal", "kind", "reason", "text", "person", "name", "detail", "clock", "received",
           "number", "journal")
UTC = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class Manner:
    """How events are written down. zone: of all times; None for that of each terminal's site."""

    language: str = "en"
    has_names: bool = False
    zone: ZoneInfo | None = None


def export(hub: Hub, path: Path, query: Query, manner: Manner) -> int:
    """How many events were written to `path`, a .csv or .xlsx file, newest first. ExportFailed where it cannot be
    written, UsageError for another ending."""
    zones = hub.groups.zones_of_terminals()

    def rows() -> Iterator[list[Cell]]:
        for found in _pages(hub, query):
            people = sorted({one.person_id for one in found if one.person_id}) if manner.has_names else []
            names = hub.people.labels(people)
            for one in found:
                yield _row(one, manner, manner.zone or zones.get(one.terminal_id, UTC), names)

    return write_table(path, HEADING, rows())


def _pages(hub: Hub, query: Query) -> Iterator[list[Event]]:
    left, place = query.limit, query.before
    while left > 0:
        found = hub.events.find(replace(query, limit=min(left, AT_ONCE), before=place))
        if not found:
            return
        yield found
        left, place = left - len(found), place_of(found[-1])


def _row(one: Event, manner: Manner, zone: ZoneInfo, names: Mapping[str, str]) -> list[Cell]:
    at, known = one.at.astimezone(zone), REASONS.get(one.reason)
    return [f"{at:%Y-%m-%d %H:%M:%S}", f"UTC{at:%z}", one.terminal_id, one.kind, one.reason,
            known.text(manner.language) if known else "", one.person_id or "", names.get(one.person_id or "", ""),
            " ".join(f"{key}={value}" for key, value in one.detail.items() if value is not None), one.clock_quality,
            f"{one.received.astimezone(zone):%Y-%m-%d %H:%M:%S}", one.seq, one.journal_id]
