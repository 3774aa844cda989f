"""The policy against an oracle that knows nothing of how it works: plain loops, and the C library's idea of time.

`make faults` asks 100 000 cases (DOOR_CASES); `make test` a fiftieth of them.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta, timezone

from fault_figures import Figure

from device.clock import ClockQuality
from device.door.decision import Claim, Memory, Now, Scene
from device.door.policy import decide
from device.door.rules import Rules, Site
from device.store.records import (
    AccessRule,
    Area,
    Direction,
    DoorSides,
    Holiday,
    Method,
    Passback,
    Period,
    Person,
    PersonClass,
    Position,
    Schedule,
)

CASES = int(os.environ.get("DOOR_CASES", "2000"))
ZONES = ("Asia/Shanghai", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/St_Johns",
         "Pacific/Apia", "Africa/Casablanca", "Asia/Kathmandu")
PERSON = "a" * 32
GROUPS = ("staff", "visitors", "night")
AREAS = ("", "hall", "lab")
# Moments at which clocks are put forward or back somewhere, days that are odd, and the ends of years.
TURNS = tuple(datetime(*parts, tzinfo=timezone.utc) for parts in (
    (2026, 3, 29, 1, 0), (2026, 10, 25, 1, 0), (2026, 3, 8, 7, 0), (2026, 11, 1, 6, 0), (2026, 4, 4, 15, 0),
    (2026, 10, 3, 15, 30), (2028, 2, 29, 0, 0), (2028, 2, 28, 12, 0), (2026, 12, 31, 23, 0), (2027, 2, 8, 2, 0)))


@contextmanager
def zone(name: str) -> Iterator[None]:
    """The C library's local time, for a while."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = name
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()


class Case:
    """One random policy, person and moment."""

    def __init__(self, seed: int) -> None:
        pick = random.Random(seed)
        self.zone = pick.choice(ZONES)
        self.at = pick.choice(TURNS) + timedelta(minutes=pick.randint(-3000, 3000), seconds=pick.choice((0, 0, 59)))
        self.quality = pick.choice((ClockQuality.SYNCED, ClockQuality.SYNCED, ClockQuality.HOLDOVER,
                                    ClockQuality.UNTRUSTED))
        day = (self.at + timedelta(hours=pick.randint(-14, 14))).date()
        self.schedules = tuple(_schedule(pick, f"s{number}", day) for number in range(3))
        self.holidays = (Holiday("h", (day - timedelta(days=pick.randint(0, 1))).isoformat(), day.isoformat()),) if (
            pick.random() < 0.4) else ()
        self.rules = tuple(_rule(pick, number) for number in range(pick.randint(0, 6)))
        sides = DoorSides("door", pick.choice(AREAS[:2]), pick.choice(AREAS[1:]))
        self.sides = (sides,) if pick.random() < 0.7 else ()
        self.areas = (Area("hall", pick.choice((None, 2)), 600.0, 16.0),
                      Area("lab", pick.choice((None, 3)), 60.0, 0.0))
        self.person = _person(pick, self.at)
        self.methods = frozenset(pick.sample(list(Method), pick.randint(1, 2)))
        self.direction = pick.choice((Direction.ENTRY, Direction.ENTRY, Direction.EXIT))
        age = timedelta(seconds=pick.choice((1, 59, 61, 599, 601, 57_000, 58_000)))
        position = Position(PERSON, pick.choice((*AREAS, "door")), self.at - age) if pick.random() < 0.7 else None
        self.scene = Scene(position, pick.random() < 0.8, pick.randint(0, 4))

    def decided(self) -> tuple[bool, str, str | None]:
        site = Site(time_zone=self.zone)
        rules = Rules(self.rules, self.schedules, site, self.holidays, (), self.areas, self.sides)
        claim = Claim(PERSON, self.methods, direction=self.direction)
        decision, _ = decide(claim, self.person, rules, Memory(), Now(self.at, 100.0, self.quality), self.scene)
        return decision.granted, decision.reason, decision.rule_id if decision.granted else None


# --- the oracle ------------------------------------------------------------------------------------------


def expected(case: Case) -> tuple[bool, str | None, str | None]:
    """(granted, reason where it follows from one step alone, rule); None for a reason that any of several rules may
    give."""
    is_entry = case.direction is Direction.ENTRY
    if case.person.person_class is PersonClass.BLOCKED:
        return False, "blocked", None
    begins, ends = case.person.valid_from, case.person.valid_until
    if is_entry and (begins or ends):
        if case.quality is ClockQuality.UNTRUSTED:
            return False, "clock_untrusted", None
        if begins and case.at < begins:
            return False, "not_yet_valid", None
        if ends and case.at >= ends:
            return False, "expired", None
    for group in case.person.groups:
        for rule in case.rules:
            if rule.group == group and (not rule.doors or "door" in rule.doors) and (
                    not is_entry or (active(case, rule.schedule_id) and suffices(rule, case.methods))):
                return with_rule(case, rule)
    return False, None, None


def active(case: Case, schedule_id: str) -> bool:
    schedule = {one.schedule_id: one for one in case.schedules}.get(schedule_id)
    if schedule_id == "always":
        return True
    if schedule is None:
        return False
    if case.quality is ClockQuality.UNTRUSTED:
        days = [*schedule.week, *(periods for _, periods in schedule.special_days)]
        days += [schedule.on_holiday] if schedule.on_holiday is not None else []
        return all(covers_everything(periods) for periods in days)
    with zone(case.zone):
        local = time.localtime(case.at.timestamp())
    day = date(local.tm_year, local.tm_mon, local.tm_mday).isoformat()
    special = dict(schedule.special_days)
    periods = schedule.week[local.tm_wday]
    if schedule.on_holiday is not None and any(one.first <= day <= one.last for one in case.holidays):
        periods = schedule.on_holiday
    if day in special:
        periods = special[day]
    minute = local.tm_hour * 60 + local.tm_min
    return any(minute in range(one.start_minute, one.end_minute) for one in periods
               if 0 <= one.start_minute < one.end_minute <= 1440)


def covers_everything(periods: tuple[Period, ...]) -> bool:
    minutes: set[int] = set()
    for one in periods:
        if 0 <= one.start_minute < one.end_minute <= 1440:
            minutes |= set(range(one.start_minute, one.end_minute))
    return len(minutes) == 1440


def suffices(rule: AccessRule, methods: frozenset[Method]) -> bool:
    return any(combination and set(combination) <= methods for combination in rule.methods)


def with_rule(case: Case, rule: AccessRule) -> tuple[bool, str | None, str | None]:
    sides = case.sides[0] if case.sides else DoorSides("door", "", "door")
    area = {one.area_id: one for one in case.areas}.get(sides.inside, Area(sides.inside))
    position = case.scene.position
    is_known = position is not None and rule.passback is not Passback.OFF
    if is_known and position is not None:
        age = (case.at - position.at).total_seconds()
        if case.quality is ClockQuality.UNTRUSTED:
            is_known = rule.passback is not Passback.TIMED
        elif rule.passback is Passback.TIMED:
            is_known = age < area.timed_s
        elif area.forget_h:
            is_known = age < area.forget_h * 3600
    if is_known and position is not None:
        if case.direction is Direction.ENTRY:
            wrong = position.area_id == sides.inside or sides.outside not in ("", position.area_id)
        else:
            wrong = position.area_id != sides.inside
        if wrong and rule.passback in (Passback.HARD, Passback.TIMED) and case.scene.is_certain:
            return False, "passback", None
    is_inside = position is not None and position.area_id == sides.inside
    limit = area.limit if sides.inside in ("hall", "lab") else None
    if case.direction is Direction.ENTRY and limit is not None and not is_inside and case.scene.occupants >= limit:
        return False, "area_full", None
    return True, None, rule.rule_id


def test_no_decision_differs_from_the_oracles(figure: Figure) -> None:
    for seed in range(CASES):
        case = Case(seed)
        granted, reason, rule_id = expected(case)
        decided = case.decided()
        assert decided[0] is granted, (seed, decided, reason)
        assert reason is None or decided[1] == reason, (seed, decided, reason)
        if granted:
            assert decided[2] == rule_id or _agree(case, decided[2], rule_id), (seed, decided, rule_id)
    figure("F35", f"{CASES} random policies, persons and times: 0 decisions differ from the oracle's")


def test_the_cases_are_worth_asking() -> None:
    outcomes = [expected(Case(seed))[:2] for seed in range(1500)]
    assert {reason for _, reason in outcomes} >= {None, "blocked", "clock_untrusted", "not_yet_valid", "expired",
                                                  "passback", "area_full"}
    assert 200 < sum(granted for granted, _ in outcomes) < 1300


# --- making cases ----------------------------------------------------------------------------------------


def _agree(case: Case, one: str | None, other: str | None) -> bool:
    """Two rules of one group that say the same: the first of them is kept."""
    found = {rule.rule_id: rule for rule in case.rules}
    first, second = found[one or ""], found[other or ""]
    return (first.group, first.schedule_id, first.methods, first.passback) == (
        second.group, second.schedule_id, second.methods, second.passback)


def _periods(pick: random.Random) -> tuple[Period, ...]:
    style = pick.random()
    if style < 0.2:
        return ()
    if style < 0.4:
        return (Period(0, 1440),)
    if style < 0.5:
        return (Period(0, 700), Period(650, 1440))
    return tuple(Period(start, start + pick.randint(-30, 400)) for start in
                 (pick.choice((0, 60, 120, 150, 400, 720, 1380)) for _ in range(pick.randint(1, 12))))


def _schedule(pick: random.Random, name: str, day: date) -> Schedule:
    special = ((day.isoformat(), _periods(pick)),) if pick.random() < 0.3 else ()
    return Schedule(name, tuple(_periods(pick) for _ in range(7)), special,
                    _periods(pick) if pick.random() < 0.4 else None)


def _rule(pick: random.Random, number: int) -> AccessRule:
    methods = tuple(tuple(pick.sample(list(Method), pick.randint(1, 2))) for _ in range(pick.randint(0, 2)))
    return AccessRule(f"r{number}", pick.choice(GROUPS), pick.choice(((), ("door",), ("other",))),
                      pick.choice(("always", "s0", "s1", "s2", "gone")), methods, pick.choice(list(Passback)))


def _person(pick: random.Random, at: datetime) -> Person:
    moments = (None, None, at, at - timedelta(seconds=1), at + timedelta(seconds=1), at + timedelta(days=400))
    return Person(PERSON, "Anna", tuple(pick.sample(GROUPS, pick.randint(1, 3))),
                  pick.choice((PersonClass.REGULAR,) * 8 + (PersonClass.BLOCKED, PersonClass.VISITOR)),
                  pick.choice(moments), pick.choice(moments))
