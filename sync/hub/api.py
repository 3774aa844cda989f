"""The hub's HTTP API: the application, and how refusals look. `GET /openapi.json` states all of it.

Every route but the two health checks and those of claiming needs a token. A refusal is
`{"problems": [{"field": ..., "reason": ...}]}`, one for each field, and never quotes what was sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from device.errors import StoreError, TerminalError
from sync.hub import (
    api_areas,
    api_credentials,
    api_events,
    api_fleet,
    api_liveness,
    api_people,
    api_policy,
    api_rollouts,
    api_webhooks,
    metrics,
)
from sync.hub.api_access import Bounded, needs
from sync.hub.api_models import Problems
from sync.hub.errors import FieldRefused, InTheWay, NotThere, PolicyRefused
from sync.hub.hub import Hub
from sync.hub.liveness import CannotJudge

if TYPE_CHECKING:
    from sync.hub.claims import Claims

log = logging.getLogger(__name__)

PREFIX = "/api/v1"
_CODES = (401, 403, 404, 409, 413, 422, 503)
_REFUSALS: dict[int | str, dict[str, Any]] = {code: {"model": Problems} for code in _CODES}


def application(hub: Hub, claims: Claims | None = None, more: Sequence[APIRouter] = (),
                is_well: Callable[[], bool] = lambda: True,
                counts: Callable[[], Mapping[str, int]] = dict) -> FastAPI:
    """The API over an open hub.

    claims   makes claim codes
    more     further routes (claiming, renewing)
    is_well  whether the link to the broker is up
    counts   messages since the start, by what became of them
    """
    # No pages of documentation: they would fetch scripts from elsewhere.
    app = FastAPI(title="fleethub", version="1", docs_url=None, redoc_url=None, openapi_url=None,
                  description="Persons, groups, terminals and events of a fleet of doors.")
    app.state.hub, app.state.claims = hub, claims
    for part in (api_people, api_credentials, api_fleet, api_events, api_policy, api_areas, api_liveness,
                 api_rollouts, api_webhooks):
        app.include_router(part.routes, prefix=PREFIX, responses=_REFUSALS)
    for routes in more:
        app.include_router(routes)
    app.add_middleware(Bounded)
    app.add_exception_handler(TerminalError, _refused)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _broken)
    _add_health(app, hub, is_well)
    _add_metrics(app, hub, is_well, counts)
    return app


def _add_health(app: FastAPI, hub: Hub, is_well: Callable[[], bool]) -> None:
    @app.get("/healthz", tags=["health"])
    def alive() -> dict[str, str]:
        """The process answers."""
        return {"status": "alive"}

    @app.get("/readyz", tags=["health"], responses={503: {"model": Problems}})
    def ready() -> dict[str, str]:
        """The database answers. link: whether the broker does; persons and groups are kept without it as well."""
        hub.ledger.streams()
        return {"status": "ready", "link": "up" if is_well() else "down"}

    @app.get("/openapi.json", dependencies=[needs("read")], include_in_schema=False)
    def openapi() -> dict[str, Any]:
        return app.openapi()


def _add_metrics(app: FastAPI, hub: Hub, is_well: Callable[[], bool],
                 counts: Callable[[], Mapping[str, int]]) -> None:
    @app.get("/metrics", dependencies=[needs("read")], tags=["health"], response_class=Response,
             responses={200: {"content": {"text/plain": {}}}})
    def figures() -> Response:
        """Figures for Prometheus; none about anybody."""
        return Response(metrics.metrics(hub, is_well(), counts()), media_type=metrics.TEXT)


def _refused(_: Request, error: Exception) -> Response:
    """A TerminalError as an answer."""
    if isinstance(error, FieldRefused):
        return problems(422, [(error.field, error.reason)])
    if isinstance(error, PolicyRefused):
        return problems(422, [("policy", fault) for fault in error.faults])
    if isinstance(error, CannotJudge):
        return problems(503, [("", str(error))])
    if isinstance(error, StoreError):
        log.error("%s", error)
        return problems(503, [("", "the hub cannot read or write its database; its log says why")])
    status = 404 if isinstance(error, NotThere) else 409 if isinstance(error, InTheWay) else 422
    return problems(status, [("", str(error))])


def _malformed(_: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else ()
    return problems(422, [(".".join(str(part) for part in one["loc"][1:]), str(one["msg"])) for one in found])


def _http(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        return _broken(_, error)
    answer = problems(error.status_code, [("", str(error.detail))])
    answer.headers.update(error.headers or {})
    return answer


def _broken(_: Request, error: Exception) -> Response:
    return problems(500, [("", "the hub met something unforeseen; its log says what")])


def problems(status: int, found: Sequence[tuple[str, str]]) -> JSONResponse:
    """The answer to a request that is refused: (field, reason) each."""
    return JSONResponse({"problems": [{"field": field, "reason": reason} for field, reason in found]}, status)
