"""Who may speak to the kiosk's server: pages that it served itself, on this machine, and nobody else.

The server listens on loopback only. A page of the wider web, open in a browser on the same machine, could still reach
it by name tricks (DNS rebinding) or by a cross-site form; both are refused here by the Host and Origin headers
(OWASP, "Cross-Site Request Forgery Prevention": verifying the origin with standard headers).
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

NAMES = frozenset({"127.0.0.1", "localhost", "::1"})

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
                               "connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}



class Guard:
    """Middleware: refuses foreign hosts and origins, and adds the protecting headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        if refusal := refused(request):
            await PlainTextResponse(refusal + "\n", 403, headers=HEADERS)(scope, receive, send)
            return

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, receive, headed)


def refused(request: Request) -> str:
    """Why this request is not answered; "" where it is."""
    if _name(request.headers.get("host", "")) not in NAMES:
        return "this server answers on this machine only"
    if request.method in ("GET", "HEAD"):
        return ""
    origin = request.headers.get("origin")
    if origin is None or urlsplit(origin).netloc != request.headers["host"]:
        return "only the kiosk's own page may do this"
    return ""


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
