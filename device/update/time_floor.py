"""TimeFloor: the latest moment that is known to have been, kept over restarts, for judging what has expired.

A board without a battery starts in 1970, or when it was last on. What a bundle's signatures must not outlast is
therefore compared with the later of this floor and the clock:

- a clock that stands before the floor counts for nothing: what had expired by the floor stays refused, and what is
  valid at the floor is taken, however wrong the clock is;
- a clock that stands after the floor counts, whether or not it was set from a network since the start. One that runs
  ahead refuses good bundles until somebody sets it, and the refusal names it.

The floor rises with each bundle that was accepted (to when it was made) and with the clock once it was set from a
network. It never takes an unset clock's word: that would be for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from device.clock import Clock, ClockQuality, quality_of
from device.update.disk import guarded, write_durably
from device.update.manifest import read_moment, write_moment

_START = datetime(1970, 1, 1, tzinfo=timezone.utc)


class TimeFloor:
    """`built` is when the release that runs was made: the floor of a terminal whose file is lost.

    judge  how far the clock can be trusted, of (now, floor)
    """

    def __init__(self, path: Path, built: datetime, clock: Clock,
                 judge: Callable[[datetime, datetime], ClockQuality] = quality_of) -> None:
        self._path, self._clock, self._judge = path, clock, judge
        self.at = max(built, _read(path))

    @property
    def quality(self) -> ClockQuality:
        return self._judge(self._clock.now(), self.at)

    @property
    def reference(self) -> datetime:
        """What an expiry is compared with."""
        return max(self.at, self._clock.now())

    def words(self) -> str:
        """What the reference rests on, for whoever is refused by it."""
        if self.quality is ClockQuality.UNTRUSTED:
            return (f"it is at least {write_moment(self.at)}, whatever the clock says; if that is wrong, set the "
                    f"clock and remove {self._path}")
        unset = "" if self.quality is ClockQuality.SYNCED else " (set by hand or by a battery: set it if it is wrong)"
        return f"the clock says {write_moment(self._clock.now())}{unset}"

    def rise(self, moment: datetime) -> None:
        """It is at least `moment`; and at least what the clock says, where that came from a network."""
        known = [self.at, moment]
        if self.quality is ClockQuality.SYNCED:
            known.append(self._clock.now())
        latest = max(known)
        if latest > _read(self._path):
            with guarded(self._path):
                write_durably(self._path, write_moment(latest).encode() + b"\n")
        self.at = latest


def _read(path: Path) -> datetime:
    try:
        return read_moment(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        return _START
