"""Sessions of video liveness: a random code of actions, valid for five minutes and used once.

Called by `doorctl liveness` and by the hub. A session is a file; taking it renames it, which only one can do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from device.clock import Clock
from device.errors import StoreError, TerminalError
from device.face.pad.action import Action
from device.face.pad.challenge import Challenge

VALID_S = 300.0
ACTIONS = 3
MOST_OPEN = 1000

Token = Callable[[], str]


@dataclass(frozen=True, slots=True)
class Session:
    """session_id is 32 hex digits; `until` in UTC."""

    session_id: str
    code: tuple[Action, ...]
    until: datetime


class SessionRefused(TerminalError, ValueError):
    """The session cannot be used: unknown, used already, or too old."""


class Sessions:
    """The sessions of one folder; any number of processes may share it.

    chance  where the codes come from; token  a fresh unguessable 32 hex digits (`secrets.token_hex(16)`)
    """

    def __init__(self, folder: Path, clock: Clock, chance: Callable[[int], int], token: Token) -> None:
        self._folder, self._clock, self._token = folder, clock, token
        self._chooser = Challenge(chance, ACTIONS)

    def open(self) -> Session:
        """A new session. StoreError where the folder cannot be written or too many are open."""
        session = Session(self._token(), self._chooser.choose(), self._clock.now() + timedelta(seconds=VALID_S))
        text = json.dumps({"code": [action.value for action in session.code], "until": session.until.isoformat()})
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if self._sweep() >= MOST_OPEN:
                raise StoreError(f"{MOST_OPEN} liveness sessions are open; wait until some have run out")
            with self._path(session.session_id).open("x", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            if isinstance(error, TerminalError):
                raise
            raise StoreError(f"{self._folder}: {error.strerror or 'cannot be written'}") from None
        return session

    def take(self, session_id: str) -> Session:
        """The session, from now on used; SessionRefused where it cannot be."""
        if not re.fullmatch(r"[0-9a-f]{32}", session_id):
            raise SessionRefused("a session's id is 32 hex digits, as `doorctl liveness --new` printed it")
        path = self._path(session_id)
        used = path.with_suffix(".used")
        try:
            path.rename(used)
            table = json.loads(used.read_text(encoding="utf-8"))
            code = tuple(Action(word) for word in table["code"])
            until = datetime.fromisoformat(table["until"])
        except FileNotFoundError:
            raise SessionRefused("no such session, or it has been used: ask for a new one") from None
        except (OSError, ValueError, KeyError, TypeError):
            raise SessionRefused("the session's file is damaged: ask for a new one") from None
        now = self._clock.now()
        if now > until or now < until - timedelta(seconds=VALID_S):
            raise SessionRefused("the session has run out after five minutes: ask for a new one")
        return Session(session_id, code, until)

    def _path(self, session_id: str) -> Path:
        return self._folder / f"{session_id}.session"

    def _sweep(self) -> int:
        """Delete what has run out or was used; how many are left."""
        left = 0
        for path in self._folder.iterdir():
            if path.suffix not in (".session", ".used"):
                continue
            age_s = self._clock.now().timestamp() - path.stat().st_mtime
            if age_s > 2 * VALID_S:
                path.unlink(missing_ok=True)
            else:
                left += path.suffix == ".session"
        return left
