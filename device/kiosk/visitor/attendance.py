"""Coming and going: which key was pressed, and the face that it is kept with.

An observer of the door. A key counts for the next admitted person, or for the one who was admitted just before, so
that either order works; it never opens anything and changes nothing about the door.
"""

from __future__ import annotations

from collections.abc import Callable

from device.clock import Clock
from device.door.decision import Decision, Now
from device.door.reasons import entry
from device.sighting import Sighting
from device.store.records import NewEntry

WAITS_S = 12.0
"""A pressed key waits so long for its face; whoever has not come by then has gone."""

AFTER_S = 6.0
"""And a face so long for its key."""

DIRECTIONS = ("in", "out")


class Attendance:
    """note  writes into the journal; False where it cannot be taken now"""

    def __init__(self, clock: Clock, note: Callable[[NewEntry], bool]) -> None:
        self._clock, self._note = clock, note
        # Each is replaced whole: the key by the server's thread, the person by the door's.
        self._pressed: tuple[str, float] = ("", float("-inf"))
        self._admitted: tuple[str, float] = ("", float("-inf"))

    @property
    def pressed(self) -> str:
        """The key that waits for a face: in, out or ""."""
        direction, until = self._pressed
        return direction if self._clock.mono() < until else ""

    def press(self, direction: str) -> bool:
        """Whether it was kept at once, with the person who was admitted just before; else it waits."""
        person_id, until = self._admitted
        if person_id and self._clock.mono() < until:
            self._admitted = ("", float("-inf"))
            return self._keep(person_id, direction)
        self._pressed = (direction, self._clock.mono() + WAITS_S)
        return False

    def decided(self, decision: Decision, at: Now) -> None:
        if not decision.granted or decision.person_id is None:
            return
        if direction := self.pressed:
            self._pressed = ("", float("-inf"))
            self._keep(decision.person_id, direction)
            return
        self._admitted = (decision.person_id, at.mono + AFTER_S)

    def awaited(self, sighting: Sighting) -> None:
        """Nobody is admitted yet."""

    def signalled(self, reason: str) -> None:
        """Of no interest here."""

    def _keep(self, person_id: str, direction: str) -> bool:
        return self._note(entry("attendance", person_id, direction=direction, reader="kiosk"))
