"""What the site's administrator set, as the policy uses it: rules, schedules, holidays, plans, areas.

Made of the records of `gallery.db` by the roster; frozen, standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from types import MappingProxyType
from typing import Any

from device.store.records import ALWAYS, AccessRule, Area, DoorSides, Holiday, Method, ModePlan, Schedule


@dataclass(frozen=True, slots=True)
class Site:
    """Facts of this door that the policy needs besides the rules.

    lockout_after  failed tries within `lockout_window_s` that raise the alarm (GB 50396: at most 5)
    lockout_s      how long the way of trying stays locked out after that
    combine_s      how long the first part of a combination (card, then face), or the first of two persons, waits
    repeat_s       how soon a person who stays in view is answered afresh
    """

    door_id: str = "door"
    time_zone: str = "UTC"
    release_s: float = 5.0
    release_accessible_s: float = 10.0
    lockout_after: int = 5
    lockout_window_s: float = 60.0
    lockout_s: float = 60.0
    combine_s: float = 15.0
    repeat_s: float = 10.0
    policy_version: str = "stand-alone"


@dataclass(frozen=True, slots=True)
class Level:
    """A rule as this door uses it; any one of the combinations of methods suffices."""

    rule: AccessRule
    combinations: tuple[frozenset[Method], ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything the site's administrator set, at one moment.

    revoked  ids of QR passes that count no longer
    The rest is made from these: this door's levels by group, schedules by id, its plans, the days that are holidays
    (ISO dates), areas by id and this door's sides. Of rules of one group that agree in schedule, methods and
    conditions the first is kept: it decides wherever a later one could. A door that no record gives sides has one of
    its own inside, named like the door.
    """

    rules: tuple[AccessRule, ...]
    schedules: tuple[Schedule, ...] = ()
    site: Site = Site()
    holidays: tuple[Holiday, ...] = ()
    plans: tuple[ModePlan, ...] = ()
    areas: tuple[Area, ...] = ()
    doors: tuple[DoorSides, ...] = ()
    revoked: frozenset[str] = frozenset()
    by_group: Mapping[str, tuple[Level, ...]] = field(init=False, repr=False, compare=False)
    by_schedule: Mapping[str, Schedule] = field(init=False, repr=False, compare=False)
    by_area: Mapping[str, Area] = field(init=False, repr=False, compare=False)
    holiday_days: frozenset[str] = field(init=False, repr=False, compare=False)
    own_plans: tuple[ModePlan, ...] = field(init=False, repr=False, compare=False)
    sides: DoorSides = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        door_id = self.site.door_id
        sides = next((one for one in self.doors if one.door_id == door_id), DoorSides(door_id, "", door_id))
        made = {
            "by_group": MappingProxyType(_levels(self.rules, door_id)),
            "by_schedule": MappingProxyType({one.schedule_id: one for one in (*self.schedules, ALWAYS)}),
            "by_area": MappingProxyType({one.area_id: one for one in self.areas}),
            "holiday_days": frozenset(day for one in self.holidays for day in days_of(one)),
            "own_plans": tuple(one for one in self.plans if not one.doors or door_id in one.doors),
            "sides": sides,
        }
        for name, value in made.items():
            object.__setattr__(self, name, value)


def _levels(rules: tuple[AccessRule, ...], door_id: str) -> dict[str, tuple[Level, ...]]:
    levels: dict[str, dict[Any, Level]] = {}
    for rule in rules:
        if not rule.doors or door_id in rule.doors:
            combinations = tuple(frozenset(methods) for methods in rule.methods if methods)
            same = (rule.schedule_id, combinations, rule.passback, rule.persons, rule.escort)
            levels.setdefault(rule.group, {}).setdefault(same, Level(rule, combinations))
    return {group: tuple(of_group.values()) for group, of_group in levels.items()}


LONGEST_HOLIDAY = 366


def days_of(holiday: Holiday) -> list[str]:
    """The ISO dates of a holiday, both ends included; none where its dates are none or the wrong way round."""
    try:
        first, last = date.fromisoformat(holiday.first), date.fromisoformat(holiday.last)
        return [(first + timedelta(days=number)).isoformat()
                for number in range(min((last - first).days + 1, LONGEST_HOLIDAY))]
    except (ValueError, OverflowError):
        return []
