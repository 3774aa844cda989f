"""The kiosk's server: the pages, their words, and the rooms behind them, on loopback only.

One thread of doord's; it decides nothing about the door.

    /  the visitor     /setup  the installer     /enrol  enrolment     /own  what is held about me
    /words  the catalogue, and what the pages must know of the configuration
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from device.kiosk.form import PageRefused, answer_refusal
from device.kiosk.guard import Guard
from device.kiosk.words import catalogue

STATIC = Path(__file__).parent / "static"


def application(pages: Mapping[str, str], rooms: Iterable[BaseRoute], settings: Callable[[], dict[str, Any]]
                ) -> Starlette:
    """The whole: path -> file of each page, the rooms' routes, and what `/words` says besides the words."""

    async def words(request: Request) -> Response:
        return JSONResponse({"words": catalogue(), "settings": settings()})

    served: list[BaseRoute] = [Route(path, _page(STATIC / file)) for path, file in pages.items()]
    files = Mount("/static", StaticFiles(directory=STATIC))
    return Starlette(routes=[*served, *rooms, Route("/words", words), files],
                     middleware=[Middleware(Guard)], exception_handlers={PageRefused: answer_refusal})


def _page(file: Path) -> Callable[[Request], Any]:
    async def page(request: Request) -> Response:
        return FileResponse(file, media_type="text/html; charset=utf-8")

    return page
