"""What the door says, as server-sent events: views, beats and flashes, to every page that listens.

A beat says that the door itself is alive: it stops with the door thread, and the page then says "out of order".
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from typing import Any

from device.clock import Clock
from device.face.pad.screenlight import FLASH_S
from device.kiosk.visitor.lamp import Flash, Lamp
from device.kiosk.visitor.screen import View

BEAT_S = 0.5
LOOK_S = 0.1
"""A view that ends by itself (an outcome after its seconds) is noticed so soon; a new one is told at once."""

MOST_LISTENERS = 8


class Stream:
    """Those who listen. `changed` may be called from any thread, the rest belongs to the server's."""

    def __init__(self, view: Callable[[], View], is_alive: Callable[[], bool], lamp: Lamp, clock: Clock) -> None:
        self._view, self._is_alive, self._lamp, self._clock = view, is_alive, lamp, clock
        self._listeners: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._is_over = False

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    @property
    def is_full(self) -> bool:
        return len(self._listeners) >= MOST_LISTENERS

    def changed(self) -> None:
        """Have every listener look at the view now."""
        for event, loop in list(self._listeners.items()):
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    def end(self) -> None:
        """No more events to anybody."""
        self._is_over = True
        self.changed()

    async def events(self) -> AsyncIterator[str]:
        """One listener's events, until it goes."""
        fresh, loop = asyncio.Event(), asyncio.get_running_loop()
        self._listeners[fresh] = loop
        told, flashed, beaten = None, 0, float("-inf")
        try:
            while not self._is_over:
                fresh.clear()
                view = self._view()
                if view != told:
                    told = view
                    yield _event("view", asdict(view) | {"shape": view.shape.value})
                flash = self._lamp.flash
                if flash is not None and flash.number != flashed:
                    flashed = flash.number
                    yield _event("flash", self._told(flash))
                if loop.time() - beaten >= BEAT_S and self._is_alive():
                    beaten = loop.time()
                    yield _event("beat", {})
                try:
                    await asyncio.wait_for(fresh.wait(), LOOK_S)
                except asyncio.TimeoutError:
                    continue
        finally:
            del self._listeners[fresh]

    def _told(self, flash: Flash) -> dict[str, Any]:
        """Colours as R, G, B, and when they begin, counted from now: the page has a clock of its own."""
        flashes = flash.flashes
        begins_ms = (flashes.begun_mono - self._clock.mono()) * 1000
        return {"number": flash.number, "begins_ms": round(begins_ms), "each_ms": round(FLASH_S * 1000),
                "colours": [tuple(255 * part for part in reversed(colour)) for colour in flashes.colours]}


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
