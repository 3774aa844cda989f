"""The API's routes for events: in pages, and as a table for a spreadsheet."""

from __future__ import annotations

import base64
import binascii
import json
import tempfile
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import AwareDatetime
from starlette.background import BackgroundTask
from starlette.responses import FileResponse

from device.spreadsheet import MOST_ROWS
from sync.hub import events as events_of
from sync.hub.api_access import TheHub, needs
from sync.hub.api_models import EventGiven, EventsGiven
from sync.hub.errors import FieldRefused
from sync.hub.exporting import Manner, export
from sync.hub.groups import zone_named

routes = APIRouter()
READ = [needs("read")]
_MEDIA = {"csv": "text/csv; charset=utf-8",
          "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}


@routes.get("/events", dependencies=READ, tags=["events"])
def list_events(hub: TheHub, limit: Annotated[int, Query(ge=1, le=1000)] = 100, terminal: str | None = None,
                person: str | None = None, kind: str | None = None, since: AwareDatetime | None = None,
                until: AwareDatetime | None = None, before: str | None = None) -> EventsGiven:
    """Newest first by the time at the door."""
    found = hub.events.find(events_of.Query(limit, terminal, person, kind, since, until, _place(before)))
    return EventsGiven(events=[EventGiven.of(one) for one in found],
                       next=_written(events_of.place_of(found[-1])) if len(found) == limit else None)


@routes.get("/events.{form}", dependencies=READ, tags=["events"], response_class=Response)
def export_events(hub: TheHub, form: Literal["csv", "xlsx"], limit: Annotated[int, Query(ge=1)] = MOST_ROWS,
                  terminal: str | None = None, person: str | None = None, kind: str | None = None,
                  since: AwareDatetime | None = None, until: AwareDatetime | None = None,
                  language: Literal["en", "zh"] = "en", names: bool = False,
                  time_zone: str | None = None) -> Response:
    """The same as a table, in the time of each terminal's site or in time_zone; no cell is a formula."""
    query = events_of.Query(min(limit, MOST_ROWS), terminal, person, kind, since, until)
    manner = Manner(language, names, zone_named(time_zone) if time_zone is not None else None)
    folder = tempfile.TemporaryDirectory(prefix="export-", dir=hub.where.run)
    try:
        path = Path(folder.name) / f"events.{form}"
        export(hub, path, query, manner)
    except BaseException:
        folder.cleanup()
        raise
    return FileResponse(path, media_type=_MEDIA[form], filename=path.name,
                        headers={"X-Content-Type-Options": "nosniff"}, background=BackgroundTask(folder.cleanup))


def _written(place: tuple[int, str, str, int]) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def _place(text: str | None) -> tuple[int, str, str, int] | None:
    if text is None:
        return None
    try:
        at, terminal_id, journal_id, seq = json.loads(base64.urlsafe_b64decode(text))
        if (type(at), type(terminal_id), type(journal_id), type(seq)) != (int, str, str, int):
            raise ValueError
        if max(abs(at), abs(seq)) >= 2**63:
            raise ValueError
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise FieldRefused("before", "give what the last page named as next") from None
    return at, terminal_id, journal_id, seq
