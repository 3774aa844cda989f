"""What the installer's page changes: the relay's test, settings, a restart, and the commissioning wizard.

Whatever moves something is asked for twice: the first request gets a word that is good for ten seconds and one use,
the second must bring it back.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from device.door.reasons import entry
from device.door.types import Command, Verb
from device.errors import ConfigError, TerminalError
from device.kiosk.behind import Behind
from device.kiosk.form import Form, PageRefused
from device.kiosk.session import Sessions
from device.kiosk.setup import settings
from device.kiosk.setup.wizard import MOST_PEOPLE, Wizard
from device.site_settings import CHANGEABLE, FILE

SURE_S = 10.0
TEST_S = 1.0
MOST_BYTES = 16_000


class SetupActs:
    """The routes that change something, on the server's thread."""

    def __init__(self, behind: Behind, sessions: Sessions, wizard: Wizard,
                 stored: Callable[[], dict[str, Any] | None]) -> None:
        """stored  the commissioning card that there is"""
        self._behind, self._sessions, self._wizard, self._stored = behind, sessions, wizard, stored
        self._word: tuple[str, str, float] = ("", "", float("-inf"))  # what was asked for, the word, until when
        self._changed: dict[str, Any] = {}

    def routes(self) -> list[Route]:
        return [Route("/setup/relay", self._relay, methods=["POST"]),
                Route("/setup/restart", self._restart, methods=["POST"]),
                Route("/setup/settings", self._settings),
                Route("/setup/change", self._change, methods=["POST"]),
                Route("/setup/tries", self._tries), Route("/setup/begin", self._begin, methods=["POST"]),
                Route("/setup/watch", self._watch, methods=["POST"]),
                Route("/setup/card", self._card, methods=["POST"])]

    # --- asked twice ----------------------------------------------------------------------------------

    async def _relay(self, request: Request) -> Response:
        """The lock, by the door's own machine: where the door may not be released, the machine says so."""
        if (answer := await self._first_asked(request, "relay")) is not None:
            return answer
        mono = self._behind.clock.mono()
        order = Command(mono, f"installer-{secrets.token_hex(4)}", Verb.RELEASE, seconds=TEST_S, is_local=True,
                        source="installer")
        if not self._behind.put(order):
            raise PageRefused("the door cannot take it now", "page.busy", 503)
        return Response(status_code=204)

    async def _restart(self, request: Request) -> Response:
        if (answer := await self._first_asked(request, "restart")) is not None:
            return answer
        if self._behind.restart is None:
            raise PageRefused("no service manager would start it again", "setup.no_restart", 409)
        self._behind.restart()
        return Response(status_code=204)

    async def _first_asked(self, request: Request, what: str) -> Response | None:
        """The word to come back with; None where the request has brought it."""
        self._sessions.acting(request)
        form = await Form.of(request)
        brought = form.text("sure", 64, least=0)
        form.end()
        asked, word, until = self._word
        self._word = ("", "", float("-inf"))
        if brought and asked == what and self._behind.clock.mono() < until and secrets.compare_digest(
                word.encode(), brought.encode()):
            return None
        if brought:
            raise PageRefused("ask again: the word is not good any more", "setup.ask_again", 409)
        self._word = (what, secrets.token_urlsafe(16), self._behind.clock.mono() + SURE_S)
        return JSONResponse({"sure": self._word[1]})

    # --- settings -------------------------------------------------------------------------------------

    async def _settings(self, request: Request) -> Response:
        self._sessions.looking(request)
        path = self._behind.config_path
        return JSONResponse({"values": settings.values(self._behind.config) | self._changed,
                             "choices": settings.choices(), "file": str(path) if path is not None else "",
                             "is_restart_due": bool(self._changed), "can_restart": self._behind.restart is not None})

    async def _change(self, request: Request) -> Response:
        self._sessions.acting(request)
        form = await Form.of(request, MOST_BYTES)
        changes = form.plain("changes")
        form.end()
        if not isinstance(changes, dict) or not changes or len(changes) > len(CHANGEABLE):
            raise PageRefused("changes must be keys with their values")
        path = self._behind.config_path
        if path is None:
            raise PageRefused("the terminal runs without a configuration file", "setup.no_file", 409)
        try:
            await run_in_threadpool(self._write, path, changes)
        except ConfigError as error:
            raise PageRefused(str(error), "setup.not_changed", 422) from None
        self._changed |= changes
        self._behind.put(entry("config_changed", source="installer", keys=" ".join(sorted(changes))[:200]))
        return JSONResponse({"is_restart_due": True})

    def _write(self, path: Path, changes: dict[str, settings.Value]) -> None:
        """Into the file itself, or, where that belongs to somebody else, into what is laid over it."""
        if os.access(path.parent, os.W_OK):
            settings.write(path, changes)
        else:
            settings.write_beside(path, self._behind.where.journal_db.parent / FILE, changes)

    # --- commissioning --------------------------------------------------------------------------------

    async def _tries(self, request: Request) -> Response:
        self._sessions.looking(request)
        return JSONResponse(await run_in_threadpool(self._told))

    async def _begin(self, request: Request) -> Response:
        self._sessions.acting(request)
        form = await Form.of(request)
        people = form.whole("people", 1, MOST_PEOPLE)
        form.end()
        await run_in_threadpool(self._guarded, lambda: self._wizard.begin(people))
        return JSONResponse(await run_in_threadpool(self._told))

    async def _watch(self, request: Request) -> Response:
        self._sessions.acting(request)
        await run_in_threadpool(self._guarded, self._wizard.watch)
        self._sessions.touch()
        return JSONResponse(await run_in_threadpool(self._told))

    async def _card(self, request: Request) -> Response:
        self._sessions.acting(request)
        found = await run_in_threadpool(self._guarded, self._wizard.conclude)
        self._wizard.end()
        return JSONResponse(found)

    def _guarded(self, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except PageRefused:
            raise
        except TerminalError as error:
            raise PageRefused(str(error), "setup.try_failed", 422) from None

    def _told(self) -> dict[str, Any]:
        found = self._wizard.round
        return {"steps": found.steps, "place": found.place, "is_watching": found.is_watching,
                "advice": found.advice, "last": found.last, "score": found.score, "is_done": found.is_done,
                "stored": self._stored()}

