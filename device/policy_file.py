"""A policy as a file that people write: TOML -> the records of gallery.db; `policy_text` is the way back.

Used by `doorctl policy`, by the hub (`fleethub policy`) and by scenarios. Every fault is named with the item that it
is in; a file with faults is not used at all. Periods that overlap mean what they say together; a warning says so.

    [[rule]]      id, group, doors, schedule, methods ("face", "card+pin"), passback, release_s, persons, escort
    [[schedule]]  id, monday .. sunday, weekdays, weekend, every_day, holidays, days = { "2026-12-31" = [...] }
    [[holiday]]   id, first, last
    [[mode]]      id, mode ("free", "lockdown"), schedule, doors, first_group
    [[area]]      id, limit, timed_s, forget_h
    [[door]]      id, outside, inside
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from device.door.schedule import problems as schedule_problems
from device.errors import ConfigError
from device.store.policy_records import KINDS, PolicyRecords
from device.store.records import (
    WEEKDAYS,
    AccessRule,
    Area,
    DoorSides,
    Holiday,
    Method,
    ModePlan,
    Passback,
    Period,
    Schedule,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

E = TypeVar("E", Method, Passback)
MOST_BYTES = 1_000_000
MOST_ID = 48
_RUNS = {"weekdays": range(5), "weekend": range(5, 7), "every_day": range(7)}


class Fault(Exception):
    """What is wrong with one item; one line."""


@dataclass(frozen=True, slots=True)
class Review:
    """What a policy's check found; faults make it unusable, warnings do not."""

    faults: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read_policy_file(path: Path) -> PolicyRecords:
    """ConfigError with every fault, one line each, where the file cannot be used."""
    try:
        data = path.read_bytes()
        if len(data) > MOST_BYTES:
            raise ConfigError(f"{path}: too large for a policy")
        table = tomllib.loads(data.decode())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: {str(error).splitlines()[0]}") from None
    return parse_policy(table, str(path))


def parse_policy(table: Mapping[str, Any], where: str = "policy") -> PolicyRecords:
    """The records of a parsed TOML document; ConfigError names every item that is wrong."""
    faults: list[str] = [f"unknown table {name[:40]!r}; there are {', '.join(KINDS)}"
                         for name in table if name not in KINDS]
    found = [tuple(_items(table, kind, faults)) for kind in KINDS]
    records = PolicyRecords(*found)
    faults += review(records).faults
    if faults:
        raise ConfigError("\n".join(f"{where}: {fault}" for fault in faults))
    return records


def review(records: PolicyRecords, groups: frozenset[str] | None = None) -> Review:
    """What is wrong, or odd, with records that belong together.

    groups  those that anybody belongs to, where that is known
    """
    faults: list[str] = []
    warnings: list[str] = []
    schedules = {"always", *(one.schedule_id for one in records.schedules)}
    areas = {"", *(one.area_id for one in records.areas)}
    users = [*((f"rule {one.rule_id}", one.schedule_id) for one in records.rules),
             *((f"mode {one.plan_id}", one.schedule_id) for one in records.plans)]
    faults += [f"{name} names schedule {schedule!r}, which is not there" for name, schedule in users
               if schedule not in schedules]
    faults += [f"door {one.door_id} names area {area!r}, which is not there" for one in records.doors
               for area in (one.outside, one.inside) if area not in areas]
    for one in records.schedules:
        for line in schedule_problems(one):
            (warnings if line.endswith("overlap") else faults).append(line)
        if not any(one.week) and not any(periods for _, periods in one.special_days) and not one.on_holiday:
            warnings.append(f"schedule {one.schedule_id} is never active")
    used = {name for one in records.rules for name in (one.group, one.escort) if name}
    used |= {one.first_group for one in records.plans if one.first_group}
    warnings += [f"nobody belongs to group {name!r}" for name in sorted(used - groups)] if groups is not None else []
    return Review(tuple(faults), tuple(warnings))


# --- items -----------------------------------------------------------------------------------------------


def _items(table: Mapping[str, Any], kind: str, faults: list[str]) -> list[Any]:
    rows = table.get(kind, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        faults.append(f"write each {kind} as [[{kind}]]")
        return []
    found: dict[str, Any] = {}
    for number, row in enumerate(rows, 1):
        name = f"{kind} {str(row.get('id', number))[:MOST_ID]}"
        try:
            take = _Take(row)
            key, record = take.id("id"), None
            record = _READERS[kind](key, take)
            take.nothing_left()
            if key in found:
                raise Fault("is there twice")
            found[key] = record
        except Fault as fault:
            faults.append(f"{name}: {fault}")
    return list(found.values())


def _rule(key: str, take: _Take) -> AccessRule:
    return AccessRule(
        key, take.id("group"), take.ids("doors"), take.id("schedule", "always"),
        tuple(_combination(one) for one in take.texts("methods", ("face",))),
        _choice(Passback, take.text("passback", "off"), "passback"), take.seconds("release_s"),
        int(take.number("persons", 1, 1, 9) or 1),
        take.maybe_id("escort"))


def _schedule(key: str, take: _Take) -> Schedule:
    week: list[tuple[Period, ...]] = [()] * 7
    for run, days in _RUNS.items():
        if (periods := take.periods(run)) is not None:
            for day in days:
                week[day] = periods
    for day, name in enumerate(WEEKDAYS):
        if (periods := take.periods(name)) is not None:
            week[day] = periods
    return Schedule(key, tuple(week), take.days("days"), take.periods("holidays"))


def _holiday(key: str, take: _Take) -> Holiday:
    first, last = take.day("first"), take.day("last")
    if last < first:
        raise Fault("ends before it begins")
    return Holiday(key, first, last)


def _plan(key: str, take: _Take) -> ModePlan:
    mode = take.text("mode")
    if mode not in ("free", "lockdown"):
        raise Fault("mode must be \"free\" or \"lockdown\"")
    first = take.maybe_id("first_group")
    if first is not None and mode != "free":
        raise Fault("only a free mode can wait for a first person")
    return ModePlan(key, mode, take.id("schedule"), take.ids("doors"), first)


def _area(key: str, take: _Take) -> Area:
    limit = take.number("limit", None, 1, 1_000_000)
    return Area(key, None if limit is None else int(limit), float(take.number("timed_s", 300.0, 1, 86_400) or 0),
                float(take.number("forget_h", 16.0, 0, 8784) or 0))


def _door(key: str, take: _Take) -> DoorSides:
    sides = DoorSides(key, take.maybe_id("outside") or "", take.maybe_id("inside") or "")
    if sides.outside == sides.inside:
        raise Fault("must join two different areas; leave one out where it is the world outside")
    return sides


_READERS: dict[str, Callable[[str, _Take], Any]] = {
    "rule": _rule, "schedule": _schedule, "holiday": _holiday, "mode": _plan, "area": _area, "door": _door}


def _combination(text: str) -> tuple[Method, ...]:
    return tuple(dict.fromkeys(_choice(Method, part.strip(), "methods") for part in text.split("+")))


def _choice(kind: type[E], text: str, what: str) -> E:
    try:
        return kind(text)
    except ValueError:
        raise Fault(f"{what}: {text[:40]!r} is none of {', '.join(one.value for one in kind)}") from None


class _Take:
    """Takes keys out of one item, each checked; what is left over is a fault."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self._row = dict(row)

    def text(self, name: str, default: str | None = None) -> str:
        value = self._row.pop(name, default)
        if not isinstance(value, str):
            raise Fault(f"{name} must be a text" if value is not None else f"{name} is missing")
        return value

    def id(self, name: str, default: str | None = None) -> str:
        value = self.text(name, default)
        if not 0 < len(value) <= MOST_ID or not all(sign.isalnum() or sign in "-_." for sign in value):
            raise Fault(f"{name} must be 1 to {MOST_ID} letters, digits, '-', '_' or '.'")
        return value

    def maybe_id(self, name: str) -> str | None:
        return self.id(name) if name in self._row else None

    def texts(self, name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        value = self._row.pop(name, list(default))
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise Fault(f"{name} must be a list of texts")
        return tuple(value)

    def ids(self, name: str) -> tuple[str, ...]:
        return tuple(_Take({name: one}).id(name) for one in self.texts(name))

    def number(self, name: str, default: float | None, least: float, most: float) -> float | None:
        value = self._row.pop(name, default)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
            raise Fault(f"{name} must be a number from {least:g} to {most:g}")
        return value

    def seconds(self, name: str) -> float | None:
        value = self.number(name, None, 0.5, 300)
        return None if value is None else float(value)

    def day(self, name: str) -> str:
        return _day(self._row.pop(name, None), name)

    def periods(self, name: str) -> tuple[Period, ...] | None:
        return None if name not in self._row else tuple(_period(one) for one in self.texts(name))

    def days(self, name: str) -> tuple[tuple[str, tuple[Period, ...]], ...]:
        value = self._row.pop(name, {})
        if not isinstance(value, dict):
            raise Fault(f"{name} must be a table of dates")
        return tuple((_day(day, name), _Take({day: value[day]}).periods(day) or ()) for day in sorted(value))

    def nothing_left(self) -> None:
        if self._row:
            raise Fault(f"unknown key {min(self._row)[:40]!r}")


def _day(value: Any, name: str) -> str:
    if isinstance(value, date):
        return value.isoformat()[:10]
    try:
        return date.fromisoformat(value).isoformat()
    except (TypeError, ValueError):
        raise Fault(f"{name}: {str(value)[:20]!r} is not a date like 2026-12-31") from None


def _period(text: str) -> Period:
    start, _, end = text.partition("-")
    return Period(_minute(start, text), _minute(end, text))


def _minute(text: str, whole: str) -> int:
    hours, colon, minutes = text.strip().partition(":")
    if not colon or not (hours.isdigit() and minutes.isdigit()) or len(minutes) != 2 or int(minutes) > 59:
        raise Fault(f"{whole[:20]!r} is not a span like 08:00-17:30")
    return int(hours) * 60 + int(minutes)
