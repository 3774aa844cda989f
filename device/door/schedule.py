"""Schedules: is one active at a moment? Pure; called by the policy.

Periods are local wall time of the site's zone. A moment in UTC has exactly one local time, so that the hour which
summer time skips never occurs, and the hour which it repeats counts both times it occurs.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

from device.store.records import Period, Schedule


@dataclass(frozen=True, slots=True)
class LocalMoment:
    """What a schedule looks at: ISO date, weekday (Monday 0) and minute after midnight, local; whether the site's
    calendar calls that day a holiday."""

    day: str
    weekday: int
    minute: int
    is_holiday: bool = False


def local_moment(at: datetime, zone: str, holidays: Container[str] = ()) -> LocalMoment:
    """`at` (aware) on the site's wall clock; ValueError where the zone is unknown.

    holidays  the ISO dates that are
    """
    try:
        local = at.astimezone(ZoneInfo(zone))
    except (KeyError, ValueError, OSError):
        raise ValueError(f"unknown time zone {zone!r}; write an IANA name such as Asia/Shanghai") from None
    day = local.date().isoformat()
    return LocalMoment(day, local.weekday(), local.hour * 60 + local.minute, day in holidays)


def periods_of(schedule: Schedule, moment: LocalMoment) -> tuple[Period, ...]:
    """The periods of that day: a special day's replace a holiday's, and those the week's."""
    for day, periods in schedule.special_days:
        if day == moment.day:
            return periods
    if moment.is_holiday and schedule.on_holiday is not None:
        return schedule.on_holiday
    return schedule.week[moment.weekday] if moment.weekday < len(schedule.week) else ()


def is_active(schedule: Schedule, moment: LocalMoment) -> bool:
    """True within a period, its first minute included and its end minute not."""
    minute = moment.minute
    for period in periods_of(schedule, moment):
        if 0 <= period.start_minute <= minute < period.end_minute <= 1440:
            return True
    return False


def is_always(schedule: Schedule) -> bool:
    """True where the schedule holds at every minute of every day, so that no clock is needed to know it."""
    holidays = () if schedule.on_holiday is None else (schedule.on_holiday,)
    days = [*schedule.week, *(periods for _, periods in schedule.special_days), *holidays]
    return len(schedule.week) == 7 and all(_is_whole_day(periods) for periods in days)


def problems(schedule: Schedule) -> list[str]:
    """What is wrong with a schedule, one line each; empty where nothing is.

    A schedule with problems is still safe to use: a wrong period is never active.
    """
    found = []
    if len(schedule.week) != 7:
        found.append(f"schedule {schedule.schedule_id} has {len(schedule.week)} days, not seven")
    for name, periods in _named_days(schedule):
        found += _problems_of_day(f"schedule {schedule.schedule_id}, {name}", periods)
    for day, _ in schedule.special_days:
        if not _is_iso_date(day):
            found.append(f"schedule {schedule.schedule_id}: {day!r} is not a date like 2026-12-31")
    return found


_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def _named_days(schedule: Schedule) -> list[tuple[str, tuple[Period, ...]]]:
    holidays = () if schedule.on_holiday is None else (("holidays", schedule.on_holiday),)
    return [*zip(_WEEKDAYS, schedule.week, strict=False), *schedule.special_days, *holidays]


def _problems_of_day(where: str, periods: tuple[Period, ...]) -> list[str]:
    found = []
    for period in periods:
        if not _is_sound(period):
            found.append(f"{where}: {_span(period)} must start before it ends, within one day; "
                         "split a night at midnight")
    ordered = sorted(periods, key=lambda period: period.start_minute)
    for first, second in pairwise(ordered):
        if second.start_minute < first.end_minute:
            found.append(f"{where}: {_span(first)} and {_span(second)} overlap")
    return found


def _span(period: Period) -> str:
    start, end = period.start_minute, period.end_minute
    return f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"


def _is_sound(period: Period) -> bool:
    return 0 <= period.start_minute < period.end_minute <= 1440


def _is_iso_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _is_whole_day(periods: tuple[Period, ...]) -> bool:
    reached = 0
    for period in sorted(filter(_is_sound, periods), key=lambda period: period.start_minute):
        if period.start_minute > reached:
            return False
        reached = max(reached, period.end_minute)
    return reached >= 1440
