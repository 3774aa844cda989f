"""Decisions as lines on a terminal, each with the time from the first usable frame to the relay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from device.door.decision import Decision, Now
from device.door.reasons import reason
from device.face.pad.action import PROMPTS, TURN_A_LITTLE, Action
from device.hardware.orders import Ack, Said
from device.sighting import Hint, Sighting


@dataclass(frozen=True, slots=True)
class _Granted:
    decision: Decision
    at: Now


class Teller:
    """An Observer that says each decision in one line; a release is told once the relay has switched.

    name  gives what to call a person id; the ids themselves where left out
    """

    def __init__(self, say: Callable[[str], None], name: Callable[[str], str] = str) -> None:
        self._say, self._name = say, name
        self._granted: _Granted | None = None
        self._asked = ""

    def decided(self, decision: Decision, at: Now) -> None:
        if decision.granted:
            self._granted = _Granted(decision, at)
            return
        self._say(f"REFUSED   {self._words(decision)}{_scores(decision)}{_since(decision, at.mono, 'decision')}")

    def signalled(self, code: str) -> None:
        """Signals are told by the board's echo, where there are no lamps."""

    def awaited(self, sighting: Sighting) -> None:
        """What the visitor is asked to do, once for each change."""
        words = words_for(sighting)
        if words and words != self._asked:
            self._say(f"          asked: {words}")
        self._asked = words or self._asked

    def acknowledged(self, ack: Ack) -> None:
        """What the relay's process says that it did."""
        if self._granted is not None and ack.is_on and ack.said in (Said.SWITCHED, Said.EXTENDED, Said.UNCHANGED):
            decision, self._granted = self._granted.decision, None
            self._say(f"RELEASED  {self._words(decision)}{_scores(decision)}{_since(decision, ack.mono, 'relay')}")
        elif ack.said in (Said.SWITCHED, Said.DEADLINE, Said.REFUSED):
            self._say(f"          {ack.text()}")

    def _words(self, decision: Decision) -> str:
        who = f"  {self._name(decision.person_id)}" if decision.person_id else ""
        return f"{reason(decision.reason).en} ({decision.reason}){who}"


def words_for(sighting: Sighting, language: str = "en") -> str:
    """What screen and voice say to a visitor whose liveness is still open; "" where nothing."""
    if sighting.hint is Hint.TURN_A_LITTLE:
        return TURN_A_LITTLE[language]
    if sighting.hint is Hint.DO_CHALLENGE and sighting.action:
        return PROMPTS[Action(sighting.action)].text(language)
    return ""


def _scores(decision: Decision) -> str:
    claim = decision.claim
    if claim is None or claim.score is None or claim.threshold is None:
        return ""
    return f"  score {claim.score:.2f} {'>=' if claim.score >= claim.threshold else '<'} {claim.threshold:.2f}"


def _since(decision: Decision, mono: float, what: str) -> str:
    claim = decision.claim
    if claim is None or claim.since_mono is None:
        return ""
    milliseconds = (mono - claim.since_mono) * 1000
    return f"  {claim.frames} frames, {milliseconds:.0f} ms from the first usable frame to the {what}"
