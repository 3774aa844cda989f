"""The visitor's page: what the door says and asks, the live picture, and what a visitor gives in.

It decides nothing. What is typed goes to the credential desk as from any reader and is answered on the screen.

    /events      views, beats, flashes     /preview  the picture         /pin   number and PIN, typed
    /bell        somebody rings            /clock    coming or going     /lamp  a colour is on the glass
    /voice       a recorded prompt
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from device.config import Config
from device.credentials import pin
from device.door.types import Bell, CredentialShown
from device.kiosk.behind import Behind
from device.kiosk.form import Form, PageRefused
from device.kiosk.pictures import pictures
from device.kiosk.preview import Preview
from device.kiosk.visitor.attendance import DIRECTIONS, Attendance
from device.kiosk.visitor.lamp import Lamp
from device.kiosk.visitor.stream import Stream
from device.kiosk.visitor.voice import recording, spoken
from device.kiosk.words import LANGUAGES, catalogue
from device.packs.cache import cache_folder
from device.store.records import Method

PIN_EVERY_S = 0.5
BELL_EVERY_S = 3.0
ABLE_S = 5.0
MOST_PLACE = 64


class VisitorRoom:
    """The routes of the visitor's page, on the server's thread."""

    def __init__(self, behind: Behind, preview: Preview, stream: Stream, lamp: Lamp, attendance: Attendance) -> None:
        self._behind, self._preview, self._stream = behind, preview, stream
        self._lamp, self._attendance = lamp, attendance
        self._typed_at = self._rung_at = float("-inf")
        self._voice = cache_folder() / "voice"

    def routes(self) -> list[Route]:
        kiosk = self._behind.config.kiosk
        found = [Route("/events", self._events), Route("/preview", self._picture),
                 Route("/lamp", self._painted, methods=["POST"])]
        if kiosk.pin:
            found.append(Route("/pin", self._pin, methods=["POST"]))
        if kiosk.bell:
            found.append(Route("/bell", self._bell, methods=["POST"]))
        if kiosk.attendance:
            found.append(Route("/clock", self._clock, methods=["POST"]))
        if self._behind.config.screen.voice:
            found.append(Route("/voice/{language}/{key}", self._spoken))
        return found

    # --- what the page gets ---------------------------------------------------------------------------

    async def _events(self, request: Request) -> Response:
        if self._stream.is_full:
            raise PageRefused("too many screens are open", "page.busy", 503)
        return StreamingResponse(self._stream.events(), media_type="text/event-stream")

    async def _picture(self, request: Request) -> Response:
        return pictures(self._preview)

    async def _spoken(self, request: Request) -> Response:
        language, key = request.path_params["language"], request.path_params["key"]
        text = catalogue().get(key, {}).get(language) if language in LANGUAGES else None
        path = recording(self._voice, language, spoken(text)) if text is not None else Path()
        if not path.is_file():
            raise PageRefused("nothing is recorded under this key", status=404)
        return FileResponse(path, media_type="audio/wav")

    # --- what the page gives --------------------------------------------------------------------------

    async def _pin(self, request: Request) -> Response:
        self._typed_at = self._not_too_often(self._typed_at, PIN_EVERY_S)
        form = await Form.of(request)
        number, digits = form.digits("number", pin.MOST_NUMBER), form.digits("pin", pin.MOST_DIGITS, pin.LEAST_DIGITS)
        form.end()
        secret = pin.typed(number, digits)
        if not self._behind.offer(CredentialShown(self._behind.clock.mono(), Method.PIN, secret, "kiosk")):
            raise _busy()
        return Response(status_code=204)

    async def _bell(self, request: Request) -> Response:
        self._rung_at = self._not_too_often(self._rung_at, BELL_EVERY_S)
        (await Form.of(request)).end()
        if not self._behind.put(Bell(self._behind.clock.mono())):
            raise _busy()
        return Response(status_code=204)

    async def _clock(self, request: Request) -> Response:
        form = await Form.of(request)
        direction = form.choice("direction", *DIRECTIONS)
        form.end()
        return JSONResponse({"is_kept": self._attendance.press(direction), "direction": direction})

    async def _painted(self, request: Request) -> Response:
        form = await Form.of(request)
        number, place = form.whole("number", 0, 2**31), form.whole("place", 0, MOST_PLACE)
        form.end()
        if number == 0:
            self._lamp.able(ABLE_S)
        else:
            self._lamp.painted(number, place, self._behind.clock.mono())
        return Response(status_code=204)

    def _not_too_often(self, before: float, every_s: float) -> float:
        now = self._behind.clock.mono()
        if now - before < every_s:
            raise PageRefused("one at a time, please", "page.too_fast", 429)
        return now


def settings(config: Config, is_linked: bool) -> dict[str, Any]:
    """What the visitor's page must know of the configuration."""
    kiosk, screen = config.kiosk, config.screen
    ways = [way for way, is_there in (("card", kiosk.card), ("pin", kiosk.pin), ("qr", kiosk.qr)) if is_there]
    return {"language": screen.language, "door": config.door.id, "zone": config.door.time_zone, "ways": ways,
            "number_digits": pin.MOST_NUMBER, "pin_digits": [pin.LEAST_DIGITS, pin.MOST_DIGITS],
            "bell": kiosk.bell, "attendance": kiosk.attendance, "own": kiosk.own, "setup": kiosk.setup,
            "enrol": kiosk.enrol if not is_linked or kiosk.enrol == "off" else "hub",
            "sound": screen.sound, "voice": screen.voice, "volume": screen.volume,
            "purpose": kiosk.purpose, "retention": kiosk.retention, "contact": kiosk.contact}


def _busy() -> PageRefused:
    return PageRefused("the door cannot take it now", "page.busy", 503)
