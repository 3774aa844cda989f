"""The API's routes for bundles of releases and their roll-outs.

Bundles themselves are added on the hub's own machine (`fleethub rollout add`): they are a hundred megabytes and more.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, Field

from sync.hub import stages
from sync.hub.api_access import Caller, TheHub, needs
from sync.hub.api_models import Asked, Name, Title
from sync.hub.bundles import Kept
from sync.hub.hub import Hub
from sync.hub.members import Member, State
from sync.hub.rollout import Asked as RolloutWanted
from sync.hub.rollout import Phase, Rollout, Step

routes = APIRouter()
READ, WRITE, ADMIN = [needs("read")], [needs("write")], [needs("admin")]


class RolloutAsked(Asked):
    """bundle: a name, or the first digits of a SHA-256, of /bundles; groups or terminals, not both; stages rise, each
    a number of terminals or a share of them; soak_minutes: how long everyone of a stage must be well."""

    bundle: Annotated[str, Field(min_length=1, max_length=200)]
    groups: Annotated[tuple[Name, ...], Field(max_length=50)] = ()
    terminals: Annotated[tuple[Name, ...], Field(max_length=100_000)] = ()
    stages: Annotated[str, Field(min_length=1, max_length=200)] = stages.USUAL
    soak_minutes: Annotated[float, Field(ge=0, le=129_600)] = 60
    max_failures: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class WhyAsked(Asked):
    why: Title = ""


class BundleGiven(BaseModel):
    """is_there: whether its file is."""

    sha256: str
    name: str
    release: str
    min_release: str
    machine: str
    size: int
    built: AwareDatetime
    added: AwareDatetime
    is_there: bool

    @classmethod
    def of(cls, one: Kept) -> BundleGiven:
        return cls(sha256=one.sha256, name=one.name, release=str(one.release), min_release=str(one.min_release),
                   machine=one.machine, size=one.size, built=one.built, added=one.added, is_there=one.is_there)


class MemberGiven(BaseModel):
    terminal_id: str
    state: State
    since: AwareDatetime
    well_since: AwareDatetime | None
    why: str

    @classmethod
    def of(cls, one: Member) -> MemberGiven:
        return cls(terminal_id=one.terminal_id, state=one.state, since=one.since, well_since=one.well_since,
                   why=one.why)


class StepGiven(BaseModel):
    """by: a token's id, "cli", or "hub" for what it did by itself."""

    at: AwareDatetime
    by: str
    what: str
    why: str

    @classmethod
    def of(cls, one: Step) -> StepGiven:
        return cls(at=one.at, by=one.by, what=one.what, why=one.why)


class RolloutGiven(BaseModel):
    """sizes: how many terminals each stage reaches; stage: the one that it is in, from 1."""

    rollout_id: str
    sha256: str
    release: str
    machine: str
    phase: Phase
    stage: int
    sizes: list[int]
    soak_minutes: float
    max_failures: int
    created: AwareDatetime
    why: str
    members: list[MemberGiven]

    @classmethod
    def of(cls, one: Rollout) -> RolloutGiven:
        return cls(rollout_id=one.rollout_id, sha256=one.sha256, release=one.wanted.release,
                   machine=one.wanted.machine, phase=one.phase, stage=one.stage + 1, sizes=list(one.sizes),
                   soak_minutes=one.soak / timedelta(minutes=1), max_failures=one.max_failures, created=one.created,
                   why=one.why, members=[MemberGiven.of(member) for member in one.members])


@routes.get("/bundles", dependencies=READ, tags=["rollouts"])
def list_bundles(hub: TheHub) -> list[BundleGiven]:
    """The releases that may be rolled out, the newest first."""
    return [BundleGiven.of(one) for one in hub.bundles.all()]


@routes.get("/rollouts", dependencies=READ, tags=["rollouts"])
def list_rollouts(hub: TheHub) -> list[RolloutGiven]:
    """Every roll-out, the newest first."""
    return [RolloutGiven.of(one) for one in hub.rollouts.all()]


@routes.post("/rollouts", dependencies=ADMIN, status_code=201, tags=["rollouts"])
def start_rollout(hub: TheHub, token: Caller, asked: RolloutAsked) -> RolloutGiven:
    """Bring a release to terminals, stage by stage; it stops by itself at more failures than allowed."""
    wanted = RolloutWanted(asked.groups, asked.terminals, asked.stages,
                           timedelta(minutes=asked.soak_minutes), asked.max_failures)
    return _given(hub, hub.rollouts.start(hub.bundles.named(asked.bundle), wanted, token.token_id))


@routes.get("/rollouts/{rollout_id}", dependencies=READ, tags=["rollouts"])
def get_rollout(hub: TheHub, rollout_id: str) -> RolloutGiven:
    return _given(hub, rollout_id)


@routes.get("/rollouts/{rollout_id}/steps", dependencies=READ, tags=["rollouts"])
def list_steps(hub: TheHub, rollout_id: str) -> list[StepGiven]:
    """Who did what to it, and what it did by itself."""
    return [StepGiven.of(one) for one in hub.rollouts.steps(rollout_id)]


@routes.post("/rollouts/{rollout_id}/pause", dependencies=WRITE, tags=["rollouts"])
def pause_rollout(hub: TheHub, token: Caller, rollout_id: str, asked: WhyAsked) -> RolloutGiven:
    """Offer and send nothing until it is resumed; who may send commands may do this."""
    hub.rollouts.pause(rollout_id, token.token_id, asked.why)
    return _given(hub, rollout_id)


@routes.post("/rollouts/{rollout_id}/resume", dependencies=ADMIN, tags=["rollouts"])
def resume_rollout(hub: TheHub, token: Caller, rollout_id: str) -> RolloutGiven:
    hub.rollouts.resume(rollout_id, token.token_id)
    return _given(hub, rollout_id)


@routes.post("/rollouts/{rollout_id}/stop", dependencies=WRITE, tags=["rollouts"])
def stop_rollout(hub: TheHub, token: Caller, rollout_id: str, asked: WhyAsked) -> RolloutGiven:
    """For good; what is installed stays. Who may send commands may do this."""
    hub.rollouts.stop(rollout_id, token.token_id, asked.why)
    return _given(hub, rollout_id)


def _given(hub: Hub, rollout_id: str) -> RolloutGiven:
    return RolloutGiven.of(hub.rollouts.get(rollout_id))
