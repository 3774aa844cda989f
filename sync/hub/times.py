"""Times as the hub keeps them: whole milliseconds since the Unix epoch, UTC, between 1970 and 9999.

What lies outside cannot be stored, signed or shown in every time zone, so it is refused before anything is written;
and whatever a row holds, reading it never fails.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from sync.hub.errors import FieldRefused

EARLIEST = datetime(1970, 1, 1, tzinfo=timezone.utc)
LATEST = datetime(9999, 12, 30, tzinfo=timezone.utc)  # a day short of the calendar's end: zones differ by so much
_MOST = (LATEST - EARLIEST) // timedelta(milliseconds=1)


def checked(field: str, at: datetime) -> datetime:
    """`at` itself; FieldRefused where it lies outside."""
    if not EARLIEST <= at <= LATEST:
        raise FieldRefused(field, "must lie between the years 1970 and 9999")
    return at


def milliseconds(at: datetime) -> int:
    """Whole milliseconds since the Unix epoch; FieldRefused where `at` lies outside."""
    return round((checked("time", at) - EARLIEST).total_seconds() * 1000)


def moment(ms: int) -> datetime:
    """The moment that many milliseconds after the Unix epoch, UTC; what lies outside becomes the nearest that does
    not."""
    return EARLIEST + timedelta(milliseconds=min(max(ms, 0), _MOST))


def moment_of_us(us: int) -> datetime:
    """As `moment`, of microseconds."""
    return EARLIEST + timedelta(microseconds=min(max(us, 0), _MOST * 1000))
