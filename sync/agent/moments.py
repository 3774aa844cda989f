"""Moments as messages have them: whole milliseconds since 1970, UTC."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def milliseconds(at: datetime) -> int:
    """Never below 0, which a clock that was lost may show."""
    return max((at - _EPOCH) // timedelta(milliseconds=1), 0)
