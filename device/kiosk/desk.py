"""The kiosk as doord holds it: its rooms put together, those whom the door tells, the picture that vision shows.

What the terminal must know is `KioskDesk`; what the kiosk must know of the terminal is `Behind`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from device.face.types import Box
from device.frame import Frame, Pixels
from device.gatekeeper import Observer
from device.kiosk.behind import Behind
from device.kiosk.enrolment.room import EnrolmentRoom
from device.kiosk.own.proof import Presence
from device.kiosk.own.room import OwnRoom
from device.kiosk.preview import Framed, Preview
from device.kiosk.server import application
from device.kiosk.service import KioskService
from device.kiosk.session import Sessions
from device.kiosk.setup.acts import SetupActs
from device.kiosk.setup.pin import fresh_pin
from device.kiosk.setup.ringing import Ringing
from device.kiosk.setup.room import IDLE_S, SetupRoom
from device.kiosk.setup.wizard import Commissioning, Wizard
from device.kiosk.visitor.attendance import Attendance
from device.kiosk.visitor.lamp import Lamp
from device.kiosk.visitor.room import VisitorRoom, settings
from device.kiosk.visitor.screen import Screen, View
from device.kiosk.visitor.stream import Stream
from device.store.places import is_linked

ALIVE_S = 1.0
"""A door thread that has not turned for so long is not alive: it turns twenty times a second."""


class KioskDesk:
    """Opened at the start where `kiosk.enabled` is set.

    screen  what the visitor sees; lamp  the screen as vision's light; enrolment  of those who enrol on the screen
    """

    def __init__(self, behind: Behind) -> None:
        """HardwareMissing where the port is taken."""
        self._behind, self._kiosk = behind, behind.config.kiosk
        self._preview = Preview()
        self.lamp = Lamp(behind.clock)
        self.stream = Stream(self._view, self._is_alive, self.lamp, behind.clock)
        self.screen = Screen(self._name_of, self.stream.changed)
        self._attendance = Attendance(behind.clock, behind.put)
        self._presence, self._ringing = Presence(behind.clock), Ringing(behind.clock)
        self._installers = Sessions("setup", "/", IDLE_S, behind.clock)
        self.enrolment = EnrolmentRoom(behind, self._preview, self._is_installer)
        self._wizard = Wizard(self._core, self._preview.frames)
        self._service = KioskService(application(self._pages(), self._routes(), self._settings), self._kiosk.port)

    @property
    def address(self) -> str:
        return self._service.address

    @property
    def observers(self) -> tuple[Observer, ...]:
        """Those whom the door tells."""
        return (self.screen, self._attendance, self._presence, self._ringing)

    def first_pin(self) -> str | None:
        """A setup PIN made now where none was set, to be shown once to whoever starts the terminal by hand."""
        return fresh_pin(self._behind.where) if self._kiosk.setup else None

    def start(self) -> None:
        self._service.start()

    def close(self) -> None:
        self.stream.end()
        self._preview.end()
        self._service.close()
        self.enrolment.close()

    def look(self, frame: Frame, faces: Sequence[Box]) -> None:
        """Vision's newest frame and the faces in it; called on the vision thread."""
        self._preview.show(frame, _framed(faces, frame.pixels))

    def _pages(self) -> dict[str, str]:
        pages = {"/": "kiosk.html", "/enrol": "enrol.html"}
        if self._kiosk.own:
            pages["/own"] = "own.html"
        if self._kiosk.setup:
            pages["/setup"] = "setup.html"
        return pages

    def _routes(self) -> list[Route]:
        behind, preview = self._behind, self._preview
        found = VisitorRoom(behind, preview, self.stream, self.lamp, self._attendance).routes()
        found += self.enrolment.routes()
        if self._kiosk.own:
            found += OwnRoom(behind, self._presence).routes()
        if self._kiosk.setup:
            found += SetupRoom(behind, preview, self._ringing, self._installers).routes()
            found += SetupActs(behind, self._installers, self._wizard, self._stored).routes()
        return found

    def _settings(self) -> dict[str, Any]:
        return settings(self._behind.config, is_linked())

    def _view(self) -> View:
        return self.screen.view(self._behind.state(), self._behind.clock.mono())

    def _is_alive(self) -> bool:
        return self._behind.clock.mono() - self._behind.turned() < ALIVE_S

    def _is_installer(self, request: Request) -> bool:
        return self._installers.of(request) is not None

    def _core(self) -> Commissioning:
        from device.kiosk.setup.site_liveness import SiteLiveness

        behind = self._behind
        return SiteLiveness(behind.config, behind.card, behind.config_folder, lambda: behind.status().camera,
                            behind.clock)

    def _stored(self) -> dict[str, Any] | None:
        from device.kiosk.setup.site_liveness import stored

        return stored(self._behind.config_folder, self._behind.clock)

    def _name_of(self, person_id: str) -> str:
        names = self._behind.config.screen.names
        if names == "hidden":
            return ""
        person = self._behind.person(person_id)
        label = person.label if person is not None else ""
        return masked(label) if names == "masked" else label


def masked(label: str) -> str:
    """The first letter of each word, the rest as a star: enough to know oneself by, little for those behind."""
    return " ".join(f"{word[0]}*" for word in label.split()[:4])


def _framed(boxes: Sequence[Box], pixels: Pixels) -> tuple[Framed, ...]:
    """Boxes in pixels as shares of their picture."""
    height, width = pixels.shape[:2]
    return tuple(Framed(box.left / width, box.top / height, box.width / width, box.height / height) for box in boxes)
