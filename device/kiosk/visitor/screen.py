"""What the kiosk shows at one moment, from what the door decides, asks and is. Pure: no clock, no server, no text.

Told on the door thread through the gatekeeper's observer calls; read from the kiosk's thread. Each field is replaced
whole, so that a reader sees an old view or a new one, never half of each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from device.door.decision import Decision, Now
from device.door.reasons import REASONS
from device.door.types import DoorState, Mode, Phase
from device.kiosk.visitor.words import hint_key
from device.sighting import Outcome, Sighting

OUTCOME_S = 3.0
"""An outcome stays on the screen so long: time to look up and read two short lines."""

ASKED_S = 0.7
"""What a visitor is asked to do goes so soon after the last word from vision: the face has left."""


class Shape(Enum):
    """What the screen shows as a form of its own besides colour and words."""

    READY = "ready"
    LOOKING = "looking"
    ASK = "ask"
    GRANTED = "granted"
    REFUSED = "refused"
    ALARM = "alarm"
    FREE = "free"
    LOCKED = "locked"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class View:
    """One picture of the screen, in keys of the catalogue.

    title   the large line; name is put into it where the site wants names
    advice  the small line below: what the visitor can do; "" for none
    needs   ways that are still to be shown (pin, card, ...), where a second proof is asked for
    serial  counts the outcomes, so that the same one twice in a row is seen and heard twice
    """

    shape: Shape
    title: str
    advice: str = ""
    name: str = ""
    needs: tuple[str, ...] = ()
    serial: int = 0


READY = View(Shape.READY, "screen.ready")


@dataclass(frozen=True, slots=True)
class _Until:
    view: View
    mono: float


class Screen:
    """An observer of the door; `view` is what the screen must show now.

    name_of  what to call an admitted person on the screen; "" shows no name
    changed  called after each change that should be seen at once
    """

    def __init__(self, name_of: Callable[[str], str], changed: Callable[[], None]) -> None:
        self._name_of, self._changed = name_of, changed
        self._outcome = self._asked = _Until(READY, float("-inf"))
        self._serial = 0

    def decided(self, decision: Decision, at: Now) -> None:
        """A new answer to somebody."""
        self._serial += 1
        self._outcome = _Until(self._outcome_of(decision), at.mono + OUTCOME_S)
        self._changed()

    def awaited(self, sighting: Sighting) -> None:
        """Nothing is decided yet: what would help."""
        advice = hint_key(sighting.hint, sighting.action)
        shape = Shape.ASK if advice and sighting.outcome is Outcome.PENDING else Shape.LOOKING
        before = self._asked.view
        self._asked = _Until(View(shape, advice or "screen.looking"), sighting.mono + ASKED_S)
        if before != self._asked.view:
            self._changed()

    def signalled(self, code: str) -> None:
        """Lamps and buzzer changed; what stands is read from the door's state."""
        self._changed()

    def view(self, state: DoorState, mono: float) -> View:
        """Fire before everything; then an outcome, alarms, modes, what is asked, faults, and rest."""
        if state.is_fire:
            return View(Shape.FREE, "reason.fire_free")
        if mono < self._outcome.mono:
            return self._outcome.view
        standing = _standing(state)
        if standing is not None:
            return standing
        if mono < self._asked.mono:
            return self._asked.view
        return View(Shape.FAULT, "screen.degraded") if state.degraded & BLINDING else READY

    def _outcome_of(self, decision: Decision) -> View:
        key = f"reason.{decision.reason}"
        if decision.granted:
            name = self._name_of(decision.person_id) if decision.person_id else ""
            return View(Shape.GRANTED, "screen.welcome" if name else key, name=name, serial=self._serial)
        needs = tuple(sorted(method.value for method in decision.needs))
        is_asking = bool(needs) or REASONS[decision.reason].sound == "ask"
        return View(Shape.ASK if is_asking else Shape.REFUSED, key, needs=needs, serial=self._serial)


def _standing(state: DoorState) -> View | None:
    """What stands as long as the door does, alarms before modes; None where nothing does."""
    rows = (
        (state.phase is Phase.FORCED, Shape.ALARM, "forced_open"),
        (state.is_tampered, Shape.ALARM, "tamper"),
        (state.phase is Phase.HELD, Shape.ALARM, "held_open"),
        (state.is_held_warned, Shape.ALARM, "held_warning"),
        (state.mode is Mode.FREE, Shape.FREE, "mode_free"),
        (state.mode is Mode.LOCKDOWN, Shape.LOCKED, "mode_lockdown"),
    )
    return next((View(shape, f"reason.{code}") for holds, shape, code in rows if holds), None)


BLINDING = frozenset({"model_mismatch", "vision_silent", "camera_lost", "camera_frozen", "camera_dark",
                      "camera_bright", "camera_covered"})
"""Faults with which no face is recognised."""
