"""The API's route for areas: who is where, as the doors have seen."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel

from sync.hub.api_access import TheHub, needs

routes = APIRouter(tags=["areas"])


class PresentGiven(BaseModel):
    """terminal_id: whose door they passed last, at that time."""

    site_id: str
    area_id: str
    person_id: str
    label: str
    at: AwareDatetime
    terminal_id: str


@routes.get("/areas", dependencies=[needs("read")])
def list_present(hub: TheHub, site: str | None = None, area: str | None = None) -> list[PresentGiven]:
    """Everybody who is in an area, for a roll call as well; who is outside is not named."""
    found = hub.positions.present(site, area)
    labels = hub.people.labels([one.person_id for one in found])
    return [PresentGiven(site_id=one.site_id, area_id=one.area_id, person_id=one.person_id,
                         label=labels.get(one.person_id, ""), at=one.at, terminal_id=one.terminal_id)
            for one in found]
