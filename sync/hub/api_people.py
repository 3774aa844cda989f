"""The API's routes for sites, groups, persons, faces and consent."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Form, Query, Response, UploadFile
from pydantic import ValidationError

from device.face.photo import MOST_BYTES
from device.store.records import Consent
from sync.hub.api_access import TheHub, needs
from sync.hub.api_models import (
    ConsentAsked,
    EnrolledGiven,
    GroupAsked,
    GroupGiven,
    GroupsAsked,
    PersonAsked,
    PersonChanged,
    PersonGiven,
    PersonId,
    PersonsGiven,
    SiteAsked,
    TimeZoneAsked,
)
from sync.hub.enrol import Photo
from sync.hub.errors import FieldRefused
from sync.hub.groups import Group
from sync.hub.hub import Hub

SESSION = "^([0-9a-f]{32})?$"
T = TypeVar("T", PersonAsked, ConsentAsked)
routes = APIRouter()
READ, WRITE, ADMIN = [needs("read")], [needs("write")], [needs("admin")]


@routes.get("/sites", dependencies=READ, tags=["groups"])
def list_sites(hub: TheHub) -> list[SiteAsked]:
    zones = hub.groups.time_zones()
    return [SiteAsked(site_id=site_id, title=title, time_zone=zones[site_id])
            for site_id, title in hub.groups.sites()]


@routes.post("/sites", dependencies=ADMIN, status_code=201, tags=["groups"])
def add_site(hub: TheHub, asked: SiteAsked) -> SiteAsked:
    hub.groups.add_site(asked.site_id, asked.title, asked.time_zone)
    return asked


@routes.put("/sites/{site_id}/time-zone", dependencies=ADMIN, tags=["groups"])
def set_time_zone(hub: TheHub, site_id: str, asked: TimeZoneAsked) -> TimeZoneAsked:
    """In which the events of its terminals are exported."""
    hub.groups.set_time_zone(site_id, asked.time_zone)
    return asked


@routes.get("/groups", dependencies=READ, tags=["groups"])
def list_groups(hub: TheHub) -> list[GroupGiven]:
    return [_group(group) for group in hub.groups.all()]


@routes.post("/groups", dependencies=ADMIN, status_code=201, tags=["groups"])
def add_group(hub: TheHub, asked: GroupAsked) -> GroupGiven:
    hub.groups.add(asked.group_id, asked.site_id, asked.title)
    return _group(hub.groups.get(asked.group_id))


@routes.delete("/groups/{group_id}", dependencies=ADMIN, status_code=204, tags=["groups"])
def remove_group(hub: TheHub, group_id: str) -> None:
    """Only where nobody belongs to it and no terminal serves it."""
    hub.groups.remove(group_id)


@routes.get("/persons", dependencies=READ, tags=["persons"])
def list_persons(hub: TheHub, limit: Annotated[int, Query(ge=1, le=1000)] = 100, after: str = "",
                 group: str | None = None, external_id: str | None = None) -> PersonsGiven:
    """A page of persons; with external_id, the one who has it."""
    if external_id is not None:
        person_id = hub.people.find(external_id)
        return PersonsGiven(persons=[PersonGiven.of(hub.people.get(person_id))] if person_id else [], next=None)
    found = hub.people.page(limit, after, group)
    return PersonsGiven(persons=[PersonGiven.of(one) for one in found],
                        next=found[-1].person.person_id if len(found) == limit else None)


@routes.post("/persons", dependencies=WRITE, status_code=201, tags=["persons"])
def add_person(hub: TheHub, asked: PersonAsked) -> PersonGiven:
    """A person without a face, who is let in by card; see /enrolments for one with a face."""
    return PersonGiven.of(hub.people.get(hub.people.add(asked.newcomer())))


@routes.get("/persons/{person_id}", dependencies=READ, tags=["persons"])
def get_person(hub: TheHub, person_id: PersonId) -> PersonGiven:
    return PersonGiven.of(hub.people.get(person_id))


@routes.patch("/persons/{person_id}", dependencies=WRITE, tags=["persons"])
def change_person(hub: TheHub, person_id: PersonId, asked: PersonChanged) -> PersonGiven:
    span = (asked.valid_from, asked.valid_until) if {"valid_from", "valid_until"} & asked.model_fields_set else None
    hub.people.change(person_id, asked.label, asked.person_class, span)
    return PersonGiven.of(hub.people.get(person_id))


@routes.put("/persons/{person_id}/groups", dependencies=WRITE, tags=["persons"])
def set_groups(hub: TheHub, person_id: PersonId, asked: GroupsAsked) -> PersonGiven:
    """Who leaves a group is deleted at its terminals."""
    hub.people.set_groups(person_id, asked.groups)
    return PersonGiven.of(hub.people.get(person_id))


@routes.delete("/persons/{person_id}", dependencies=WRITE, status_code=204, tags=["persons"])
def remove_person(hub: TheHub, person_id: PersonId) -> None:
    """For good: record, templates, credentials, consents and the key that they were sealed under."""
    hub.people.remove([person_id])


@routes.post("/enrolments", dependencies=WRITE, status_code=201, tags=["faces"])
def enrol(hub: TheHub, photos: list[UploadFile], person: Annotated[str, Form()],
          consent: Annotated[str, Form()] = "", clip: UploadFile | None = None,
          liveness_session: Annotated[str, Form(pattern=SESSION)] = "") -> EnrolledGiven:
    """A new person with a face. person and consent are JSON documents (`PersonAsked`, `ConsentAsked`). With a clip
    that answers a session of `/liveness/sessions` only a live person, who is that of the first photo, is enrolled."""
    newcomer, agreed, shown = _document(PersonAsked, "person", person).newcomer(), _consent(consent), _photos(photos)
    _prove(hub, liveness_session, clip, shown)
    return EnrolledGiven.of(hub.enroller.enrol(newcomer, shown, agreed))


@routes.post("/persons/{person_id}/faces", dependencies=WRITE, status_code=201, tags=["faces"])
def add_faces(hub: TheHub, person_id: PersonId, photos: list[UploadFile],
              consent: Annotated[str, Form()] = "", clip: UploadFile | None = None,
              liveness_session: Annotated[str, Form(pattern=SESSION)] = "") -> EnrolledGiven:
    """More templates; under the consent that the person has given, where none comes with them. clip and session as of
    `/enrolments`."""
    agreed, shown = _consent(consent), _photos(photos)
    _prove(hub, liveness_session, clip, shown)
    return EnrolledGiven.of(hub.enroller.add_faces(person_id, shown, agreed))


@routes.delete("/persons/{person_id}/faces/{template_id}", dependencies=WRITE, status_code=204, tags=["faces"])
def remove_face(hub: TheHub, person_id: PersonId, template_id: PersonId) -> None:
    hub.people.remove_faces(person_id, [template_id])


@routes.post("/persons/{person_id}/consent/withdrawal", dependencies=WRITE, tags=["faces"])
def withdraw(hub: TheHub, person_id: PersonId) -> PersonGiven:
    """The person has withdrawn: all templates and pictures are deleted, here and at every terminal."""
    hub.people.withdraw_consent(person_id)
    return PersonGiven.of(hub.people.get(person_id))


@routes.get("/persons/{person_id}/faces/{template_id}/photo", dependencies=ADMIN, tags=["faces"],
            response_class=Response)
def get_photo(hub: TheHub, person_id: PersonId, template_id: PersonId) -> Response:
    """The picture, where this hub was told to keep pictures."""
    known = hub.people.get(person_id)
    data = hub.people.photo(template_id) if template_id in known.template_ids else None
    if data is None:
        return Response(status_code=404)
    return Response(data, media_type="application/octet-stream",
                    headers={"X-Content-Type-Options": "nosniff"})


def _prove(hub: Hub, session_id: str, clip: UploadFile | None, photos: list[Photo]) -> None:
    """FieldRefused where a clip was sent and does not show a live person, that of the first photo, who does what the
    session asks for. Nothing is asked for where neither clip nor session was sent."""
    if clip is None and not session_id:
        return
    if clip is None or not session_id or not photos:
        raise FieldRefused("liveness_session" if clip is not None else "clip", "clip and session are sent together")
    found = hub.liveness.judge(session_id, clip.filename or "", clip.file.read(), photos[0].data)
    if not found.is_live:
        raise FieldRefused("clip", found.reason)


def _group(group: Group) -> GroupGiven:
    return GroupGiven(group_id=group.group_id, site_id=group.site_id, title=group.title, persons=group.persons,
                      terminals=group.terminals)


def _photos(uploads: list[UploadFile]) -> list[Photo]:
    return [Photo((upload.filename or f"photo {number}")[:80], upload.file.read(MOST_BYTES + 1))
            for number, upload in enumerate(uploads, 1)]


def _consent(text: str) -> Consent | None:
    return _document(ConsentAsked, "consent", text).record() if text else None


def _document(kind: type[T], field: str, text: str) -> T:
    """A JSON document in a form's field; FieldRefused names what in it is wrong, and quotes nothing."""
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first: Any = error.errors(include_input=False, include_url=False, include_context=False)[0]
        raise FieldRefused(".".join([field, *map(str, first["loc"])]), first["msg"]) from None
