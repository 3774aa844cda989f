"""The kiosk's server: the page, its words, what the screen must show as server-sent events, and the live picture.

One thread of doord's, on loopback only; it decides nothing. What a visitor types goes to the door thread as a
credential like any other and is answered on the screen.

    /            the page         /words    the catalogue and the privacy notice
    /events      views and beats  /preview  the picture      /pin  a number and PIN, typed

A beat says that the door itself is alive: it stops with the door thread, and the page then says "out of order".
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from device.kiosk.guard import Guard
from device.kiosk.preview import PREVIEW_FPS, Preview
from device.kiosk.screen import View
from device.kiosk.words import catalogue

STATIC = Path(__file__).parent / "static"
BEAT_S = 0.5
LOOK_S = 0.1
"""A view that ends by itself (an outcome after its seconds) is noticed so soon; a new one is told at once."""

MOST_LISTENERS = 8
MOST_BODY = 512
MOST_DIGITS = 24
PIN_EVERY_S = 0.5

_PART = b"--frame\r\ncontent-type: image/jpeg\r\ncontent-length: %d\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Source:
    """What the server may know and do; all of it may be called from its thread.

    view      what the screen must show now
    is_alive  whether the door thread turns
    typed     hand digits to the door; False where it cannot take them
    settings  plain values for the page: default language, ways in, privacy texts
    """

    view: Callable[[], View]
    is_alive: Callable[[], bool]
    typed: Callable[[str], bool]
    settings: dict[str, Any]


class Kiosk:
    """The application and those who listen to it. `changed` may be called from any thread."""

    def __init__(self, source: Source, preview: Preview) -> None:
        self._source, self._preview = source, preview
        self._listeners: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._typed_at = float("-inf")
        self.app = Starlette(
            routes=[Route("/", self._page), Route("/words", self._words), Route("/events", self._events),
                    Route("/preview", self._picture), Route("/pin", self._pin, methods=["POST"]),
                    Mount("/static", StaticFiles(directory=STATIC))],
            middleware=[Middleware(Guard)])

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    def changed(self) -> None:
        """Have every listener look at the view now."""
        for event, loop in list(self._listeners.items()):
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    # --- routes -------------------------------------------------------------------------------------

    async def _page(self, request: Request) -> Response:
        return FileResponse(STATIC / "kiosk.html", media_type="text/html; charset=utf-8")

    async def _words(self, request: Request) -> Response:
        return JSONResponse({"words": catalogue(), "settings": self._source.settings})

    async def _events(self, request: Request) -> Response:
        if len(self._listeners) >= MOST_LISTENERS:
            return PlainTextResponse("too many screens are open\n", 503, headers={"retry-after": "2"})
        return StreamingResponse(self._stream(), media_type="text/event-stream")

    async def _picture(self, request: Request) -> Response:
        if self._preview.viewers >= MOST_LISTENERS:
            return PlainTextResponse("too many screens are open\n", 503, headers={"retry-after": "2"})
        return StreamingResponse(self._pictures(), media_type="multipart/x-mixed-replace; boundary=frame")

    async def _pin(self, request: Request) -> Response:
        loop = asyncio.get_running_loop()
        if loop.time() - self._typed_at < PIN_EVERY_S:
            return PlainTextResponse("one at a time, please\n", 429, headers={"retry-after": "1"})
        digits = _digits(await _body(request))
        if digits is None:
            return PlainTextResponse(f"send {{\"digits\": \"...\"}} with 1 to {MOST_DIGITS} digits\n", 400)
        self._typed_at = loop.time()
        if not self._source.typed(digits):
            return PlainTextResponse("the door cannot take it now\n", 503)
        return Response(status_code=204)

    # --- streams ------------------------------------------------------------------------------------

    async def _stream(self) -> AsyncIterator[str]:
        fresh, loop = asyncio.Event(), asyncio.get_running_loop()
        self._listeners[fresh] = loop
        told: View | None = None
        beaten = float("-inf")
        try:
            while True:
                fresh.clear()
                view = self._source.view()
                if view != told:
                    told = view
                    yield _event("view", asdict(view) | {"shape": view.shape.value})
                if loop.time() - beaten >= BEAT_S and self._source.is_alive():
                    beaten = loop.time()
                    yield _event("beat", {})
                try:
                    await asyncio.wait_for(fresh.wait(), LOOK_S)
                except asyncio.TimeoutError:
                    continue
        finally:
            del self._listeners[fresh]

    async def _pictures(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        self._preview.viewers += 1
        count, due = 0, loop.time()
        try:
            while True:
                await asyncio.sleep(max(due - loop.time(), 0.0))
                found = await run_in_threadpool(self._preview.next, count, 1.0)
                due = max(due + 1 / PREVIEW_FPS, loop.time())
                if found is not None:
                    count, data = found
                    yield _PART % len(data) + data + b"\r\n"
        finally:
            self._preview.viewers -= 1


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


async def _body(request: Request) -> bytes:
    """At most MOST_BODY + 1 bytes of the request's body, whatever it claims its length to be."""
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > MOST_BODY:
            break
    return data[:MOST_BODY + 1]


def _digits(body: bytes) -> str | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    digits = found.get("digits") if isinstance(found, dict) else None
    if not isinstance(digits, str) or not 0 < len(digits) <= MOST_DIGITS:
        return None
    return digits if digits.isascii() and digits.isdigit() else None
