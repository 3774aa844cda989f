"""The API's routes for cards, PINs and QR passes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import AwareDatetime, BaseModel, Field

from device.store.records import Method
from sync.hub import passes
from sync.hub.api_access import Caller, TheHub, needs
from sync.hub.api_models import Asked, Name, PersonGiven, PersonId
from sync.hub.credentials import Held
from sync.hub.passes import Pass
from sync.hub.qr_code import qr_png

routes = APIRouter()
READ, WRITE = [needs("read")], [needs("write")]


class CardAsked(Asked):
    """A card's number as people write it: 8190777, 124,64313 (facility and number), 0x7cfb39 or 24:8190777."""

    number: Annotated[str, Field(min_length=1, max_length=64)]
    is_duress: bool = False
    valid_until: AwareDatetime | None = None


class PinAsked(Asked):
    """number: by which the person is found, nobody else's. is_duress: a second PIN, which opens and alarms."""

    number: Annotated[str, Field(min_length=1, max_length=10)]
    pin: Annotated[str, Field(min_length=1, max_length=12)]
    is_duress: bool = False
    valid_until: AwareDatetime | None = None


class PassAsked(Asked):
    """A pass for each door. Name a person, or a visitor by a label; group: whose rules it goes by, by the
    method qr."""

    doors: Annotated[list[Annotated[str, Field(min_length=1, max_length=48)]], Field(min_length=1, max_length=50)]
    group: Name
    valid_from: AwareDatetime | None = None
    valid_until: AwareDatetime
    is_once: bool = True
    person_id: PersonId | None = None
    label: Annotated[str, Field(max_length=100)] = ""

    def asked(self) -> passes.Asked:
        return passes.Asked(tuple(self.doors), self.group, self.valid_until, self.valid_from, self.is_once,
                         self.person_id, self.label)


class CredentialGiven(BaseModel):
    """number: of a PIN, by which it is found; a card's is not shown."""

    credential_id: str
    method: Method
    is_duress: bool
    valid_until: AwareDatetime | None
    number: str

    @classmethod
    def of(cls, one: Held) -> CredentialGiven:
        return cls(credential_id=one.credential_id, method=one.method, is_duress=one.is_duress,
                   valid_until=one.valid_until, number=one.number)


class PassGiven(BaseModel):
    """A pass that was issued; its code is at /passes/{pass_id}.png. label: a visitor's, until it is revoked."""

    pass_id: str
    door_id: str
    group: str
    valid_from: AwareDatetime
    valid_until: AwareDatetime
    is_once: bool
    person_id: str | None
    label: str
    issued: AwareDatetime
    issued_by: str
    revoked: AwareDatetime | None

    @classmethod
    def of(cls, one: Pass) -> PassGiven:
        return cls(pass_id=one.pass_id, door_id=one.door_id, group=one.group, valid_from=one.valid_from,
                   valid_until=one.valid_until, is_once=one.is_once, person_id=one.person_id, label=one.label,
                   issued=one.issued, issued_by=one.issued_by, revoked=one.revoked)


class PassesGiven(BaseModel):
    """next: give it as `after` for the following page; null on the last one."""

    passes: list[PassGiven]
    next: str | None


@routes.post("/persons/{person_id}/cards", dependencies=WRITE, status_code=201, tags=["credentials"])
def add_card(hub: TheHub, person_id: PersonId, asked: CardAsked) -> PersonGiven:
    hub.credentials.add_card(person_id, asked.number, asked.is_duress, asked.valid_until)
    return PersonGiven.of(hub.people.get(person_id))


@routes.post("/persons/{person_id}/pins", dependencies=WRITE, status_code=201, tags=["credentials"])
def add_pin(hub: TheHub, person_id: PersonId, asked: PinAsked) -> PersonGiven:
    """Typed at a keypad as number * PIN #. Only a hash of the PIN is kept."""
    hub.credentials.add_pin(person_id, asked.number, asked.pin, asked.is_duress, asked.valid_until)
    return PersonGiven.of(hub.people.get(person_id))


@routes.get("/persons/{person_id}/credentials", dependencies=READ, tags=["credentials"])
def list_credentials(hub: TheHub, person_id: PersonId) -> list[CredentialGiven]:
    return [CredentialGiven.of(one) for one in hub.credentials.of(person_id)]


@routes.delete("/persons/{person_id}/credentials/{credential_id}", dependencies=WRITE, status_code=204,
               tags=["credentials"])
def remove_credential(hub: TheHub, person_id: PersonId, credential_id: PersonId) -> None:
    hub.people.remove_credential(person_id, credential_id)


@routes.post("/passes", dependencies=WRITE, status_code=201, tags=["passes"])
def issue(hub: TheHub, token: Caller, asked: PassAsked) -> list[PassGiven]:
    """One pass for each door."""
    return [PassGiven.of(one) for one in hub.passes.issue(asked.asked(), token.token_id)]


@routes.get("/passes", dependencies=READ, tags=["passes"])
def list_passes(hub: TheHub, limit: Annotated[int, Query(ge=1, le=1000)] = 100, after: str = "",
                person: str | None = None) -> PassesGiven:
    """Every pass that is not long over, revoked ones as well."""
    found = hub.passes.all(limit, after, person)
    return PassesGiven(passes=[PassGiven.of(one) for one in found],
                       next=found[-1].pass_id if len(found) == limit else None)


@routes.get("/passes/{pass_id}.png", dependencies=WRITE, tags=["passes"], response_class=Response)
def get_code(hub: TheHub, pass_id: PersonId) -> Response:
    """The QR code, signed by the hub's present key: whoever shows it is let in."""
    return Response(qr_png(hub.passes.text(pass_id)), media_type="image/png",
                    headers={"X-Content-Type-Options": "nosniff"})


@routes.get("/passes/{pass_id}", dependencies=READ, tags=["passes"])
def get_pass(hub: TheHub, pass_id: PersonId) -> PassGiven:
    return PassGiven.of(hub.passes.get(pass_id))


@routes.delete("/passes/{pass_id}", dependencies=WRITE, tags=["passes"])
def revoke_pass(hub: TheHub, pass_id: PersonId) -> PassGiven:
    """It counts no longer at any door that hears of it."""
    hub.passes.revoke(pass_id)
    return PassGiven.of(hub.passes.get(pass_id))
