"""The mode that the hub wants of the door, held until told otherwise, over restarts; the pure part of `orders_desk`.

A lockdown does not end because the hub's word for it was taken away, nor by a clock that is not trusted; by such a
clock no free begins either. Owned by the door thread.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from device.clock import Clock, ClockQuality
from device.door.types import Command, Mode, Verb
from device.store.orders import Desired

DESIRED = "desired-"  # what the command is called by which the machine is told
_MODES = {"normal": Mode.NORMAL, "free": Mode.FREE, "lockdown": Mode.LOCKDOWN}
_BEGINNING = datetime(1970, 1, 1, tzinfo=timezone.utc)


class DesiredState:
    """handle steps the door's machine; quality judges the clock."""

    def __init__(self, clock: Clock, handle: Callable[[Command], None], quality: Callable[[], ClockQuality]) -> None:
        self._clock, self._handle, self._quality = clock, handle, quality
        self._floor = 0  # the newest version that was ever obeyed
        self._is_locked_down = False  # by the hub's word, when this start came
        self._desired: Desired | None = None
        self._held: tuple[int, str] | None = None  # version and mode that the machine was last told

    @property
    def version(self) -> int:
        return self._desired.version if self._desired is not None else 0

    @property
    def config_version(self) -> int:
        """The version of the configuration that is wanted."""
        return self._desired.config_version if self._desired is not None else 0

    def remember(self, command: str, reason: str) -> None:
        """An entry of the journal tells which version was obeyed before this start, and how."""
        digits = command.removeprefix(DESIRED).partition("-")[0]
        self._is_locked_down = reason == "mode_lockdown"
        self._floor = max(self._floor, int(digits) if digits.isdecimal() and len(digits) < 20 else 0)

    def take(self, desired: Desired) -> bool:
        """What is wanted from now on; false where that is older than what was obeyed already."""
        if desired.version < max(self._floor, self.version):
            return False
        self._desired = desired
        return True

    def hold(self) -> None:
        """Tell the machine the mode that is wanted now, where it has not been told."""
        if self._desired is None:
            if self._is_locked_down and self._held is None:
                self._tell(self._floor, "lockdown")
            return
        wanted = self._wanted(self._desired)
        if wanted is not None:
            self._tell(self._desired.version, wanted, "-ended" if wanted != self._desired.mode else "")

    def _tell(self, version: int, mode: str, ended: str = "") -> None:
        if (version, mode) != self._held:
            self._held = (version, mode)
            self._handle(Command(self._clock.mono(), f"{DESIRED}{version}{ended}", Verb.MODE, mode=_MODES[mode]))

    def _wanted(self, desired: Desired) -> str | None:
        """The mode by the wall clock; None where it cannot be known, and what is held stays."""
        if desired.mode_until_ms is None or desired.mode == "normal":
            return desired.mode
        if self._quality() is ClockQuality.UNTRUSTED:
            return desired.mode if desired.mode == "lockdown" else None
        return desired.mode if self._clock.now() < moment(desired.mode_until_ms) else "normal"


def moment(ms: int) -> datetime:
    """The moment so many milliseconds after 1970, UTC; never beyond what a datetime can hold."""
    return _BEGINNING + timedelta(milliseconds=min(ms, 250_000_000_000_000))
