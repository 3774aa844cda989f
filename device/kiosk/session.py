"""Who is at a page that not everybody may use: one session at a time, a cookie and a token, gone when nobody acts.

The cookie (HttpOnly, SameSite=Strict, bound to the page's path) says who it is; the token, which the page's script
sends as a header, says that the page itself asks and not some other page through the same browser. Both are made anew
at each beginning, so that a session that was known before is worth nothing after.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response

from device.clock import Clock
from device.kiosk.form import PageRefused

HEADER = "x-door-token"


@dataclass(frozen=True, slots=True)
class Session:
    """One stay at a page; person_id where it is a person's own."""

    cookie: str = field(repr=False)
    token: str = field(repr=False)
    person_id: str | None = None


class Sessions:
    """The sessions of one page, on the server's thread; `current` and `touch` belong to any.

    idle_s  without an act after which a session has ended; what the page asks by itself is none
    """

    def __init__(self, name: str, path: str, idle_s: float, clock: Clock) -> None:
        self._name, self._path, self._idle_s, self._clock = name, path, idle_s, clock
        self._session: Session | None = None
        self._until_mono = float("-inf")

    @property
    def current(self) -> Session | None:
        """The session that goes on."""
        return self._session if self._clock.mono() < self._until_mono else None

    @property
    def left_s(self) -> float:
        """Seconds until it ends where nobody acts; 0 where there is none."""
        return max(self._until_mono - self._clock.mono(), 0.0) if self.current is not None else 0.0

    def begin(self, person_id: str | None = None) -> Session:
        """A new session in place of any other; `given` sends its cookie along."""
        self.touch()
        self._session = session = Session(secrets.token_urlsafe(32), secrets.token_urlsafe(32), person_id)
        return session

    def given(self, answer: Response) -> Response:
        """The answer with the session's cookie."""
        if self._session is not None:
            answer.set_cookie(self._name, self._session.cookie, path=self._path, httponly=True, samesite="strict")
        return answer

    def of(self, request: Request) -> Session | None:
        """The session that the request belongs to; None where it belongs to none."""
        session, shown = self.current, request.cookies.get(self._name, "")
        return session if session is not None and _same(session.cookie, shown) else None

    def looking(self, request: Request) -> Session:
        """The same for what only shows something; PageRefused without a session."""
        session = self.of(request)
        if session is None:
            raise PageRefused("no session: begin again", "page.session_over", 401)
        return session

    def acting(self, request: Request) -> Session:
        """The same for what changes something: the token is asked for too, and the session goes on."""
        session = self.looking(request)
        if not _same(session.token, request.headers.get(HEADER, "")):
            raise PageRefused("only the page itself may do this", "page.session_over", 403)
        self.touch()
        return session

    def touch(self) -> None:
        self._until_mono = self._clock.mono() + self._idle_s

    def end(self) -> None:
        self._session = None


def _same(known: str, shown: str) -> bool:
    return hmac.compare_digest(known.encode(), shown.encode(errors="replace"))
