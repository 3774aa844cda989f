"""Who asks, and how much: the bearer token's scope, and a bound on what is read of a request."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sync.hub.hub import Hub
from sync.hub.tokens import Token

MOST_JSON = 1_000_000
MOST_FORM = 64_000_000  # three of the largest pictures that are read at all

_bearer = HTTPBearer(auto_error=False, description="a token made by `fleethub init` or `fleethub token add`")


def hub_of(request: Request) -> Hub:
    hub: Hub = request.app.state.hub
    return hub


def caller(request: Request,
           given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> Token:
    """The token that came with the request; 401 where it is none of ours."""
    token = hub_of(request).tokens.check(given.credentials) if given else None
    if token is None:
        raise HTTPException(401, "give a token: Authorization: Bearer ...", {"WWW-Authenticate": "Bearer"})
    return token


def needs(scope: str) -> Any:
    """A dependency: 403 where the caller's token may not do what this scope may."""

    def check(token: Annotated[Token, Depends(caller)]) -> None:
        if not token.may(scope):
            raise HTTPException(403, f"this needs a token of scope {scope}; yours is of scope {token.scope}")

    return Depends(check)


TheHub = Annotated[Hub, Depends(hub_of)]
Caller = Annotated[Token, Depends(caller)]


class Bounded:
    """Refuses requests whose body is too large (413), whatever length they claim to have."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        most = MOST_FORM if headers.get(b"content-type", b"").startswith(b"multipart/form-data") else MOST_JSON
        claimed = headers.get(b"content-length", b"0")
        if not claimed.isdigit() or int(claimed) > most:
            await _refuse(send, most)
            return
        read = 0

        async def bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                raise HTTPException(413, f"the request is larger than {most // 1_000_000} MB")
            return message

        async def unkept(message: Message) -> None:
            # Names and pictures are nothing for a cache.
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"cache-control", b"no-store")]
            await send(message)

        await self._app(scope, bounded, unkept)


async def _refuse(send: Send, most: int) -> None:
    text = f'{{"problems":[{{"field":"","reason":"the request is larger than {most // 1_000_000} MB"}}]}}'.encode()
    await send({"type": "http.response.start", "status": 413,
                "headers": [(b"content-type", b"application/json"), (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": text})
