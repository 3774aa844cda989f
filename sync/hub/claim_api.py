"""The two doors of the hub's HTTP API that need no token: claiming with a code, and renewing with a signature."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

import msgspec
from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool

from device.clock import Clock
from device.store.trust import MessageRefused
from sync.hub.ca import RequestRefused
from sync.hub.claims import ClaimRefused
from sync.wire.claim import CLAIM_PATH, MAX_BYTES, RENEW_PATH

if TYPE_CHECKING:
    from sync.hub.claims import Claims

FAILURES = 20
WITHIN_S = 60.0


class Patience:
    """How often one address may fail: FAILURES in WITHIN_S seconds. Of 4 096 addresses, the oldest are forgotten."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Requests come on many threads at once, and each must know at once.
        self._guard = threading.Lock()
        self._failures: dict[str, deque[float]] = {}

    def is_over(self, address: str) -> bool:
        with self._guard:
            failed = self._failures.get(address)
            return failed is not None and len(failed) == FAILURES and failed[0] > self._clock.mono() - WITHIN_S

    def failed(self, address: str) -> None:
        with self._guard:
            failed = self._failures.pop(address, deque(maxlen=FAILURES))
            failed.append(self._clock.mono())
            self._failures[address] = failed
            if len(self._failures) > 4096:
                del self._failures[next(iter(self._failures))]


def router(claims: Claims, clock: Clock) -> APIRouter:
    """The routes, to be included by the API's application."""
    routes, patience = APIRouter(tags=["provisioning"]), Patience(clock)

    async def answer(request: Request, is_claim: bool) -> Response:
        address = request.client.host if request.client else ""
        if patience.is_over(address):
            raise HTTPException(429, "too many attempts that failed; wait a minute")
        data = await _body(request)
        try:
            reply = await run_in_threadpool(claims.claim if is_claim else claims.renew, data)
        except ClaimRefused as error:
            patience.failed(address)
            raise HTTPException(403, str(error)) from None
        except (RequestRefused, MessageRefused) as error:
            patience.failed(address)
            raise HTTPException(422, str(error)) from None
        return Response(msgspec.json.encode(reply), media_type="application/json")

    @routes.post(CLAIM_PATH, summary="Claim a terminal with a one-time code")
    async def claim(request: Request) -> Response:
        """Certificate, authority, broker and the hub's public keys, for a code and a certificate request."""
        return await answer(request, is_claim=True)

    @routes.post(RENEW_PATH, summary="Renew a terminal's certificate")
    async def renew(request: Request) -> Response:
        """A new certificate for a request that the terminal signed with its own key, though the old one expired."""
        return await answer(request, is_claim=False)

    return routes


async def _body(request: Request) -> bytes:
    """The request's body; 413 where it is longer than any claim."""
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > MAX_BYTES:
            raise HTTPException(413, f"at most {MAX_BYTES} bytes are read")
    return data
