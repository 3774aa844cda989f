"""One roll-out: what it is to be, how it stands, and what comes next; pure.

The next stage begins when everyone of those before it reports the release and has been well with it for the soak
time. A terminal that is away holds its stage until it comes back; one that has failed does not, up to as many as are
allowed, beyond which the roll-out stops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from sync.hub import stages
from sync.hub.errors import FieldRefused
from sync.hub.members import Member, State, Wanted, is_through

LONGEST_SOAK = timedelta(days=90)
MOST_FAILURES = 1_000_000


class Phase(Enum):
    """PAUSED: nothing is offered or sent, but what a terminal has whole goes on. STOPPED and DONE are final."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a roll-out is to be.

    groups     whose terminals get it, those first that are there now; or
    terminals  in the order in which they get it
    stages     as in "1,10%,100%"
    soak       how long everyone of a stage must be well
    """

    groups: tuple[str, ...] = ()
    terminals: tuple[str, ...] = ()
    stages: str = stages.USUAL
    soak: timedelta = timedelta(hours=1)
    max_failures: int = 0

    def check(self) -> None:
        """FieldRefused where it cannot be."""
        if bool(self.groups) is bool(self.terminals):
            raise FieldRefused("terminals", "name groups or terminals, not both and not neither")
        if not timedelta(0) <= self.soak <= LONGEST_SOAK:
            raise FieldRefused("soak", f"0 to {LONGEST_SOAK.days} days")
        if not 0 <= self.max_failures <= MOST_FAILURES:
            raise FieldRefused("max_failures", f"0 to {MOST_FAILURES}")


@dataclass(frozen=True, slots=True)
class Step:
    """by: a token's id, "cli", or "hub" for what it did by itself."""

    at: datetime
    by: str
    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Rollout:
    """sizes: how many terminals each stage reaches; stage: the one that it is in, from 0."""

    rollout_id: str
    sha256: str
    wanted: Wanted
    phase: Phase
    stage: int
    sizes: tuple[int, ...]
    soak: timedelta
    max_failures: int
    created: datetime
    why: str
    members: tuple[Member, ...]

    @property
    def reached(self) -> tuple[Member, ...]:
        """Whose turn has come."""
        return tuple(one for one in self.members if one.place < self.sizes[self.stage])

    def count(self, state: State) -> int:
        return sum(one.state is state for one in self.members)

    def line(self) -> str:
        """How it stands, in one line."""
        said = [f"rollout {self.rollout_id}", f"{self.wanted.release} for {self.wanted.machine}", self.phase.value,
                f"stage {self.stage + 1} of {len(self.sizes)}",
                f"{self.count(State.UPDATED)} of {len(self.members)} updated"]
        said += [f"{found} {state.value.replace('_', ' ')}" for state in (State.FAILED, State.PASSED_OVER)
                 if (found := self.count(state))]
        return "  ".join([*said, self.why] if self.why else said)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a roll-out is to stand from now on."""

    phase: Phase
    stage: int
    why: str = ""


def verdict(one: Rollout, reached: Sequence[Member], is_bundle_there: bool, now: datetime) -> Verdict:
    """What comes next of a roll-out that runs or is paused; reached: those whose turn has come, as they are now."""
    failed = [member for member in reached if member.state is State.FAILED]
    if len(failed) > one.max_failures:
        last = max(failed, key=lambda member: member.since)
        return Verdict(Phase.STOPPED, one.stage, f"{len(failed)} failed, {one.max_failures} are allowed; the last: "
                                                 f"{last.terminal_id}, {last.why}")
    if one.phase is Phase.RUNNING and not is_bundle_there:
        return Verdict(Phase.PAUSED, one.stage, "the bundle's file is gone: add it again, then resume")
    if one.phase is not Phase.RUNNING or not is_through(reached, one.soak, now):
        return Verdict(one.phase, one.stage)
    if failed and not any(member.state is State.UPDATED for member in reached):
        return Verdict(Phase.PAUSED, one.stage, "everyone of this stage has failed")
    is_last = one.stage + 1 == len(one.sizes)
    return Verdict(Phase.DONE, one.stage) if is_last else Verdict(one.phase, one.stage + 1)
