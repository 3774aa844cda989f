"""The API's routes for webhooks: whom events are sent to, and how each stands."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, Field

from sync.hub.api_access import TheHub, needs
from sync.hub.api_models import Asked
from sync.hub.destination import LONGEST_URL
from sync.hub.messenger import try_out
from sync.hub.tidings import KINDS
from sync.hub.webhooks import LONGEST_CA, Webhook

routes = APIRouter(tags=["webhooks"])
ADMIN = [needs("admin")]


class WebhookAsked(Asked):
    """events: kinds; all where empty. ca: certificates (PEM) of the authority of the receiver's certificate.

    That a service of the hub's own machine is meant can be said on its command line alone.
    """

    url: Annotated[str, Field(max_length=LONGEST_URL)]
    events: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=len(KINDS))] = ()
    ca: Annotated[str, Field(max_length=LONGEST_CA)] = ""


class WebhookGiven(BaseModel):
    """state: well, failing or given up; problem: what it last met. passed_over: events that it refused, or that
    waited when it was given up."""

    webhook_id: str
    url: str
    events: list[str]
    created: AwareDatetime
    state: str
    problem: str
    waiting: int
    delivered: int
    passed_over: int
    tries: int
    failing_since: AwareDatetime | None
    again: AwareDatetime | None

    @classmethod
    def of(cls, one: Webhook) -> WebhookGiven:
        return cls(webhook_id=one.webhook_id, url=one.url, events=list(one.kinds), created=one.created,
                   state=one.state, problem=one.problem, waiting=one.waiting, delivered=one.delivered,
                   passed_over=one.passed_over, tries=one.tries, failing_since=one.failing_since, again=one.again)


class WebhookMade(BaseModel):
    """secret: what signatures are checked with, shown this once."""

    secret: str
    kept: WebhookGiven


class TrialGiven(BaseModel):
    """status: what it answered, 0 where nothing came."""

    is_taken: bool
    status: int
    problem: str


@routes.get("/webhooks", dependencies=ADMIN)
def list_webhooks(hub: TheHub) -> list[WebhookGiven]:
    return [WebhookGiven.of(one) for one in hub.webhooks.all()]


@routes.post("/webhooks", dependencies=ADMIN, status_code=201)
def add_webhook(hub: TheHub, asked: WebhookAsked) -> WebhookMade:
    """It is told of what is stored from now on."""
    secret, kept = hub.webhooks.add(asked.url, asked.events, asked.ca)
    return WebhookMade(secret=secret, kept=WebhookGiven.of(kept))


@routes.delete("/webhooks/{webhook_id}", dependencies=ADMIN, status_code=204)
def remove_webhook(hub: TheHub, webhook_id: str) -> None:
    hub.webhooks.remove(webhook_id)


@routes.post("/webhooks/{webhook_id}/test", dependencies=ADMIN)
def test_webhook(hub: TheHub, webhook_id: str) -> TrialGiven:
    """Send it a message of the type `test`, now; ten seconds at most."""
    answer = try_out(hub, webhook_id)
    return TrialGiven(is_taken=answer.is_taken, status=answer.status, problem=answer.problem)


@routes.post("/webhooks/{webhook_id}/resumption", dependencies=ADMIN)
def resume_webhook(hub: TheHub, webhook_id: str) -> WebhookGiven:
    """Try one that was given up, or that waits for its next try, again now."""
    return WebhookGiven.of(hub.webhooks.resume(webhook_id))
