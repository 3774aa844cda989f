"""The API's routes for policies: who may enter when, of one terminal or shared by several."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, Field

from sync.hub.api_access import TheHub, needs
from sync.hub.api_models import Asked, Name
from sync.hub.errors import FieldRefused
from sync.hub.policies import LONGEST, Policy, Shared

routes = APIRouter(tags=["policies"])
READ, ADMIN = [needs("read")], [needs("admin")]


class PolicyAsked(Asked):
    """The text of a policy file, as `doorctl policy` takes it."""

    text: Annotated[str, Field(max_length=LONGEST)]


class PolicyChosen(Asked):
    """text: a policy of the terminal's own; or policy_id: the shared one that it is to follow."""

    text: Annotated[str, Field(max_length=LONGEST)] | None = None
    policy_id: Name | None = None


class PolicyGiven(BaseModel):
    """What a terminal goes by. policy_id: the shared policy that it follows; null where this one is its own."""

    terminal_id: str
    policy_id: str | None
    version: str
    text: str
    warnings: list[str]

    @classmethod
    def of(cls, one: Policy) -> PolicyGiven:
        return cls(terminal_id=one.terminal_id, policy_id=one.policy_id, version=one.version, text=one.text,
                   warnings=list(one.warnings))


class SharedGiven(BaseModel):
    """A policy that has a name, and the terminals that follow it."""

    policy_id: str
    version: str
    text: str
    terminals: list[str]
    changed: AwareDatetime
    warnings: list[str]

    @classmethod
    def of(cls, one: Shared) -> SharedGiven:
        return cls(policy_id=one.policy_id, version=one.version, text=one.text, terminals=list(one.terminals),
                   changed=one.changed, warnings=list(one.warnings))


@routes.get("/terminals/{terminal_id}/policy", dependencies=READ)
def get_policy(hub: TheHub, terminal_id: str) -> PolicyGiven:
    """The policy that a terminal goes by; 404 where it was given none: then every served group may always enter."""
    return PolicyGiven.of(hub.policies.get(terminal_id))


@routes.put("/terminals/{terminal_id}/policy", dependencies=ADMIN)
def set_policy(hub: TheHub, terminal_id: str, asked: PolicyChosen) -> PolicyGiven:
    """Replace the whole policy; from now on it alone says who enters."""
    if asked.text is not None and asked.policy_id is None:
        return PolicyGiven.of(hub.policies.put(terminal_id, asked.text))
    if asked.policy_id is not None and asked.text is None:
        return PolicyGiven.of(hub.policies.follow(terminal_id, asked.policy_id))
    raise FieldRefused("text", "give either a text or the id of a shared policy")


@routes.delete("/terminals/{terminal_id}/policy", dependencies=ADMIN, status_code=204)
def remove_policy(hub: TheHub, terminal_id: str) -> None:
    """Whoever belongs to a group that the terminal serves is let in by face at any time again."""
    hub.policies.remove(terminal_id)


@routes.get("/policies", dependencies=READ)
def list_policies(hub: TheHub) -> list[SharedGiven]:
    """The policies that have a name, and who follows them."""
    return [SharedGiven.of(one) for one in hub.policies.shared()]


@routes.get("/policies/{policy_id}", dependencies=READ)
def get_shared(hub: TheHub, policy_id: str) -> SharedGiven:
    return SharedGiven.of(hub.policies.get_shared(policy_id))


@routes.put("/policies/{policy_id}", dependencies=ADMIN)
def set_shared(hub: TheHub, policy_id: str, asked: PolicyAsked) -> SharedGiven:
    """Make or replace it; every terminal that follows it goes by it at once."""
    return SharedGiven.of(hub.policies.put_shared(policy_id, asked.text))


@routes.delete("/policies/{policy_id}", dependencies=ADMIN, status_code=204)
def remove_shared(hub: TheHub, policy_id: str) -> None:
    """Only where no terminal follows it."""
    hub.policies.remove_shared(policy_id)
