"""Who stands before the screen, shown twice over: by the face that the door has just recognised, and a PIN or card.

An observer of the door. It learns from decisions alone, whatever they were: somebody who is refused at this hour is
recognised all the same, and has the same right to their data. A duress PIN proves as much as another, and alarms as
silently.
"""

from __future__ import annotations

from dataclasses import dataclass

from device.clock import Clock
from device.credentials import pin
from device.door.decision import Decision, Now
from device.sighting import Sighting
from device.store.records import Credential, Method

FACE_S = 20.0
"""A face was before the screen so short a time ago. The door tells of a standing visitor every few seconds."""

CARD_S = 20.0
_NO_FACE = frozenset({"attack", "not_proved", "no_person", "unknown_face"})


@dataclass(frozen=True, slots=True)
class _Seen:
    person_id: str
    mono: float


class Presence:
    """The newest face and card that the door has made out. Told on the door thread, asked on the server's."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._face = self._card = _Seen("", float("-inf"))

    def face(self) -> str:
        """Whose face was before the camera just now; "" for nobody's."""
        return self._face.person_id if self._clock.mono() - self._face.mono < FACE_S else ""

    def has_shown_card(self, person_id: str, since_mono: float) -> bool:
        """Whether that person has held their card to a reader since then."""
        return self._card.person_id == person_id and since_mono <= self._card.mono

    def decided(self, decision: Decision, at: Now) -> None:
        claim = decision.claim
        if decision.person_id is None or claim is None or claim.person_id is None or decision.reason in _NO_FACE:
            return
        seen = _Seen(claim.person_id, at.mono)
        if Method.FACE in claim.methods:
            self._face = seen
        if Method.CARD in claim.methods:
            self._card = seen

    def awaited(self, sighting: Sighting) -> None:
        """Nobody is recognised yet."""

    def signalled(self, reason: str) -> None:
        """Of no interest here."""


def has_pin(credentials: list[Credential], digits: str) -> Credential | None:
    """The credential whose PIN this is; None where it is none of theirs. It takes as long whether or not."""
    pins = [one for one in credentials if one.method is Method.PIN]
    if not pins:
        pin.waste()
    return next((one for one in pins if pin.is_right(one.secret, digits)), None)
