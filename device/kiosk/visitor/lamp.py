"""The screen as a lamp: random colours shown to the visitor in step with the camera, and the proof that they were.

Vision asks (`shine`), the page shows and says when each colour was on the glass (`painted`), and only where every one
of them came in time does vision hear that they were shown: a page that lags, is hidden or has gone proves nothing.
Who asks is `face.pad.light_challenge`; colours and their judge are `face.pad.screenlight`'s. A colour stays for
.35 s: less than three flashes a second, the limit for people whom flicker makes ill (WCAG 2.2, 2.3.1).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace

from device.clock import Clock
from device.face.pad.light_challenge import LEAD_S, Shining
from device.face.pad.screenlight import FLASH_S, Flashes

LATE_S = 0.15
"""A colour that came on the glass later than that is not the one that the camera must see at that moment: the judge
looks for a lag of a quarter second, in which camera and exposure have their share."""

EARLY_S = -0.05
"""Two clocks are compared over a socket: so much may be theirs."""


@dataclass(frozen=True, slots=True)
class Flash:
    """Flashes that the page is to show; painted holds when each colour was on the glass, monotonic seconds."""

    number: int
    flashes: Flashes
    painted: tuple[float | None, ...] = field(default=())


class Lamp:
    """A `face.pad.light_challenge.Screen`. One flash at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._able_until = float("-inf")
        # A lock, not a queue: vision asks and the server's thread answers, and both look at the same one flash.
        self._lock = threading.Lock()
        self._flash: Flash | None = None
        self._number = 0

    @property
    def is_there(self) -> bool:
        return self._clock.mono() < self._able_until

    @property
    def flash(self) -> Flash | None:
        """What the page is to show; None where nothing is, or it is over."""
        flash = self._flash
        return flash if flash is not None and self._clock.mono() < flash.flashes.ends_mono else None

    def able(self, seconds: float) -> None:
        """A page says that it can show colours; good for so long."""
        self._able_until = self._clock.mono() + seconds

    def shine(self, flashes: Flashes) -> int | None:
        with self._lock:
            is_early = flashes.begun_mono < self._clock.mono() + LEAD_S
            if self.flash is not None or is_early or not self.is_there:
                return None
            self._number += 1
            self._flash = Flash(self._number, flashes, (None,) * len(flashes.colours))
            return self._number

    def painted(self, number: int, place: int, mono: float) -> None:
        """The colour at that place was on the glass at that moment; what is told twice counts once."""
        with self._lock:
            flash = self._flash
            if flash is None or flash.number != number or not 0 <= place < len(flash.painted):
                return
            if flash.painted[place] is None:
                told = (*flash.painted[:place], mono, *flash.painted[place + 1:])
                self._flash = replace(flash, painted=told)

    def shining(self, number: int) -> Shining:
        flash = self._flash
        if flash is None or flash.number != number:
            return Shining.NONE
        if not all(_in_time(flash, place) for place in range(len(flash.painted))):
            return Shining.MISSED
        if None not in flash.painted:
            return Shining.SHOWN
        is_over = self._clock.mono() > flash.flashes.ends_mono + LATE_S
        return Shining.MISSED if is_over else Shining.GOING


def _in_time(flash: Flash, place: int) -> bool:
    """Whether a colour came when it was due; one that is not there yet may still."""
    mono, due = flash.painted[place], flash.flashes.begun_mono + place * FLASH_S
    return mono is None or EARLY_S <= mono - due <= LATE_S
