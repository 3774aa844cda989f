"""When the bell rang last: an observer of the door, for the installer's page."""

from __future__ import annotations

from device.clock import Clock
from device.door.decision import Decision, Now
from device.sighting import Sighting


class Ringing:
    """Told on the door thread, asked on the server's."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rung_mono = float("-inf")

    def since_s(self) -> float:
        """Seconds since somebody rang."""
        return self._clock.mono() - self._rung_mono

    def signalled(self, reason: str) -> None:
        if reason == "bell":
            self._rung_mono = self._clock.mono()

    def decided(self, decision: Decision, at: Now) -> None:
        """Of no interest here."""

    def awaited(self, sighting: Sighting) -> None:
        """Of no interest here."""
