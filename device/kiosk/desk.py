"""The kiosk as doord holds it: the screen that the door tells, the picture that vision shows, the server's thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from device.clock import Clock
from device.config import Config
from device.door.types import CredentialShown, DoorState
from device.face.types import Box
from device.frame import Frame, Pixels
from device.kiosk.preview import Framed, Preview
from device.kiosk.screen import Screen, View
from device.kiosk.server import MOST_DIGITS, Kiosk, Source
from device.kiosk.service import KioskService
from device.store.records import Method, Person

ALIVE_S = 1.0
"""A door thread that has not turned for so long is not alive: it turns twenty times a second."""


class KioskDesk:
    """Opened at the start where `kiosk.enabled` is set.

    state   the door's state now
    turned  when the door thread turned last, monotonic seconds
    offer   hand a credential to the door; False where it is too busy to take it
    person  the record of a person, asked on the door thread only
    """

    def __init__(self, config: Config, clock: Clock, state: Callable[[], DoorState], turned: Callable[[], float],
                 offer: Callable[[CredentialShown], bool], person: Callable[[str], Person | None]) -> None:
        self._names, self._clock, self._state = config.screen.names, clock, state
        self._turned, self._offer, self._person = turned, offer, person
        self._preview = Preview()
        source = Source(self._view, self._is_alive, self._typed, _settings(config))
        self._kiosk = Kiosk(source, self._preview)
        self.screen = Screen(self._name_of, self._kiosk.changed)
        self._service = KioskService(self._kiosk.app, config.kiosk.port)

    @property
    def address(self) -> str:
        return self._service.address

    def start(self) -> None:
        self._service.start()

    def close(self) -> None:
        self._service.close()

    def look(self, frame: Frame, faces: Sequence[Box]) -> None:
        """Vision's newest frame and the faces in it; called on the vision thread."""
        self._preview.show(frame, _framed(faces, frame.pixels))

    def _view(self) -> View:
        return self.screen.view(self._state(), self._clock.mono())

    def _is_alive(self) -> bool:
        return self._clock.mono() - self._turned() < ALIVE_S

    def _typed(self, digits: str) -> bool:
        return self._offer(CredentialShown(self._clock.mono(), Method.PIN, digits.encode("ascii")))

    def _name_of(self, person_id: str) -> str:
        if self._names == "hidden":
            return ""
        person = self._person(person_id)
        label = person.label if person is not None else ""
        return masked(label) if self._names == "masked" else label


def masked(label: str) -> str:
    """The first letter of each word, the rest as a star: enough to know oneself by, little for those behind."""
    return " ".join(f"{word[0]}*" for word in label.split()[:4])


def _framed(boxes: Sequence[Box], pixels: Pixels) -> tuple[Framed, ...]:
    """Boxes in pixels as shares of their picture."""
    height, width = pixels.shape[:2]
    return tuple(Framed(box.left / width, box.top / height, box.width / width, box.height / height) for box in boxes)


def _settings(config: Config) -> dict[str, Any]:
    kiosk = config.kiosk
    ways = [way for way, is_there in (("card", kiosk.card), ("pin", kiosk.pin), ("qr", kiosk.qr)) if is_there]
    return {"language": config.screen.language, "ways": ways, "digits": MOST_DIGITS, "purpose": kiosk.purpose,
            "retention": kiosk.retention, "contact": kiosk.contact}
