"""When a schedule is active: weeks, special days, zones, summer time."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.door.schedule import LocalMoment, is_active, is_always, local_moment, problems
from device.store.records import ALWAYS, Period, Schedule

NINE_TO_FIVE = (Period(540, 1020),)
OFFICE = Schedule("office", (NINE_TO_FIVE,) * 5 + ((), ()))
ZONES = ("UTC", "Asia/Shanghai", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=timezone.utc)  # type: ignore[misc,arg-type,unused-ignore]


def active(schedule: Schedule, moment: datetime, zone: str = "UTC") -> bool:
    return is_active(schedule, local_moment(moment, zone))


def test_a_period_includes_its_first_minute_and_not_its_last() -> None:
    monday = at(2026, 1, 5, 9, 0)
    assert active(OFFICE, monday)
    assert not active(OFFICE, monday - timedelta(seconds=1))
    assert active(OFFICE, at(2026, 1, 5, 16, 59, 59))
    assert not active(OFFICE, at(2026, 1, 5, 17, 0))


def test_the_day_of_the_week_is_the_sites() -> None:
    sunday_evening_utc = at(2026, 1, 4, 23, 30)
    assert not active(Schedule("x", ((Period(0, 600),), *((),) * 6)), sunday_evening_utc)
    assert active(Schedule("x", ((Period(0, 600),), *((),) * 6)), sunday_evening_utc, "Asia/Shanghai")


def test_a_special_day_replaces_the_week() -> None:
    holiday = Schedule("x", OFFICE.week, (("2026-01-05", ()), ("2026-01-10", NINE_TO_FIVE)))
    assert not active(holiday, at(2026, 1, 5, 10, 0))
    assert active(holiday, at(2026, 1, 10, 10, 0))


def test_the_hour_that_summer_time_skips_never_occurs() -> None:
    night = Schedule("x", ((Period(120, 180),),) * 7)
    start = at(2026, 3, 28, 23, 0)  # the night of 29 March 2026 in Berlin
    assert not any(active(night, start + timedelta(minutes=n), "Europe/Berlin") for n in range(300))


def test_the_hour_that_winter_time_repeats_counts_twice() -> None:
    night = Schedule("x", ((Period(120, 180),),) * 7)
    start = at(2026, 10, 24, 23, 0)
    assert sum(active(night, start + timedelta(minutes=n), "Europe/Berlin") for n in range(300)) == 120


def test_leap_day_is_a_day_of_the_week_and_may_be_special() -> None:
    assert active(Schedule("x", ((),) * 7, (("2028-02-29", NINE_TO_FIVE),)), at(2028, 2, 29, 12, 0))


def test_always_is_always_and_needs_no_clock() -> None:
    assert is_always(ALWAYS)
    assert is_always(Schedule("x", ((Period(0, 700), Period(600, 1440)),) * 7))
    assert not is_always(OFFICE)
    assert not is_always(Schedule("x", ALWAYS.week, (("2026-12-25", ()),)))
    assert not is_always(Schedule("x", ((Period(0, 2000),),) * 7))


@pytest.mark.parametrize("period", [Period(600, 600), Period(900, 600), Period(-5, 600), Period(0, 1441)])
def test_a_wrong_period_is_never_active_and_is_named(period: Period) -> None:
    schedule = Schedule("odd", ((period,),) * 7)
    assert not any(is_active(schedule, LocalMoment("2026-01-05", 0, minute)) for minute in range(1440))
    assert any("odd, Monday" in line and "start before it ends" in line for line in problems(schedule))


def test_problems_name_overlaps_short_weeks_and_bad_dates() -> None:
    odd = Schedule("odd", ((Period(0, 60), Period(30, 90)),), (("31.12.2026", ()),))
    found = "\n".join(problems(odd))
    assert "overlap" in found
    assert "1 days" in found
    assert "31.12.2026" in found
    assert problems(OFFICE) == []


def test_an_unknown_zone_is_one_clear_line() -> None:
    with pytest.raises(ValueError, match=r"unknown time zone 'Mars/Olympus'"):
        local_moment(at(2026, 1, 5), "Mars/Olympus")
    with pytest.raises(ValueError, match="unknown time zone"):
        local_moment(at(2026, 1, 5), "../etc/passwd")


periods = st.lists(st.tuples(st.integers(0, 1440), st.integers(0, 1440)).map(lambda p: Period(*p)), max_size=4)
days = st.dates(datetime(2024, 1, 1).date(), datetime(2028, 12, 31).date()).map(str)  # noqa: DTZ001


@settings(max_examples=300, deadline=None)
@given(
    week=st.lists(periods.map(tuple), min_size=7, max_size=7).map(tuple),
    special=st.lists(st.tuples(days, periods.map(tuple)), max_size=3, unique_by=lambda pair: pair[0]).map(tuple),
    seconds=st.integers(0, 5 * 366 * 86400),
    zone=st.sampled_from(ZONES),
)
def test_agrees_with_walking_the_local_day_minute_by_minute(week, special, seconds, zone) -> None:  # type: ignore[no-untyped-def]
    moment = at(2024, 1, 1) + timedelta(seconds=seconds)
    local = moment.astimezone(ZoneInfo(zone))
    open_minutes: set[int] = set()
    for period in dict(special).get(local.strftime("%Y-%m-%d"), week[int(local.strftime("%u")) - 1]):
        open_minutes.update(range(period.start_minute, period.end_minute))
    expected = int(local.strftime("%H")) * 60 + int(local.strftime("%M")) in open_minutes
    assert active(Schedule("x", week, special), moment, zone) == expected
