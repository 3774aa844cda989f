"""Members of a roll-out: how far each terminal is with the release, by what it reports; pure.

A terminal is well when it was heard of lately, runs the release, its own updater calls the trial passed, and it has
no fault that a release may bring and that it did not have before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from device.update.health import BLAMED
from device.update.version import Version
from sync.hub.overview import SILENT_AFTER

FAULTS = BLAMED | {"doord_silent"}
PATIENCE = timedelta(hours=1)
"""How long a terminal may be with the updater, or unwell or silent with the new release, before it counts as failed:
an installation may take most of an hour on a slow card."""


class State(Enum):
    """WAITING: for its turn, or to be heard of. INSTALLING: its updater has the bundle, or the release is on trial.
    PASSED_OVER: the release is nothing for it."""

    WAITING = "waiting"
    DOWNLOADING = "downloading"
    INSTALLING = "installing"
    UPDATED = "updated"
    FAILED = "failed"
    PASSED_OVER = "passed_over"


OVER = (State.FAILED, State.PASSED_OVER)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a roll-out brings: the release, and for which machine ("aarch64 py3.11")."""

    rollout_id: str
    release: str
    machine: str


@dataclass(frozen=True, slots=True)
class Said:
    """What a terminal said last. update: its report's, as a table; empty where it was offered nothing."""

    reported: datetime | None
    is_online: bool
    release: str
    machine: str
    faults: frozenset[str]
    update: Mapping[str, Any]

    @classmethod
    def of(cls, health: Mapping[str, Any], reported: datetime | None, is_online: bool) -> Said:
        versions, update = health.get("versions") or {}, health.get("update") or {}
        return cls(reported, is_online, str(versions.get("release", "")), str(versions.get("machine", "")),
                   FAULTS.intersection(map(str, health.get("degraded", ()))), update)

    def is_fresh(self, now: datetime) -> bool:
        return self.reported is not None and now - self.reported <= SILENT_AFTER


@dataclass(frozen=True, slots=True)
class Member:
    """One terminal in a roll-out.

    place       from 0, in the order in which they get it
    since       when it came to be as it is: in this state, well or not
    well_since  since when it has been well with the release; None while it is not
    faults      those that it had before it was updated, which are not the release's
    """

    terminal_id: str
    place: int
    state: State
    since: datetime
    well_since: datetime | None = None
    faults: frozenset[str] = frozenset()
    why: str = ""


def unfit(said: Said, wanted: Wanted) -> str:
    """Why the release is nothing for this terminal; empty where it is, or nothing is known yet."""
    if said.machine and said.machine != wanted.machine:
        return f"is {said.machine}; the bundle is for {wanted.machine}"
    try:
        runs = Version.parse(said.release)
    except ValueError:
        # Heard of, and it does not say which release it runs: none is installed there that could be updated.
        return "runs no installed release" if said.reported is not None and not said.release else ""
    return f"runs {runs}, which is newer" if runs > Version.parse(wanted.release) else ""


def judged(member: Member, said: Said, wanted: Wanted, now: datetime) -> Member:
    """The member as it is now, of what its terminal said last."""
    if member.state in OVER:
        return member
    found = _said_so(member, said, wanted, now)
    if (found.state, found.well_since is None) != (member.state, member.well_since is None):
        found = replace(found, since=now)
    is_stuck = found.state is State.INSTALLING or (found.state is State.UPDATED and found.well_since is None)
    if is_stuck and now - found.since > PATIENCE:
        why = found.why or "its updater has said nothing of it"
        return replace(found, state=State.FAILED, since=now, well_since=None, why=f"{why}, for over an hour")
    return found


def _said_so(member: Member, said: Said, wanted: Wanted, now: datetime) -> Member:
    update = said.update if said.update.get("rollout_id") == wanted.rollout_id else {}
    # It is shown in a shell: what a terminal says must not be able to move the cursor there.
    why = "".join(letter if letter.isprintable() else "?" for letter in str(update.get("why", "")))
    word = update.get("state", "")
    if word == "failed":
        return replace(member, state=State.FAILED, well_since=None, why=why or "it does not say why")
    if word == "applied":
        return _updated(member, said, wanted, now)
    if word in ("waiting", "trying"):
        return replace(member, state=State.INSTALLING, well_since=None, why="" if said.is_fresh(now) else _SILENT)
    faults = said.faults if said.is_fresh(now) else member.faults
    if word == "downloading":
        of = f"{update.get('done', 0)} of {update.get('total', 0)}"
        return replace(member, state=State.DOWNLOADING, well_since=None, faults=faults, why=of)
    if why := unfit(said, wanted):
        return replace(member, state=State.PASSED_OVER, well_since=None, why=why)
    return replace(member, state=State.WAITING, well_since=None, faults=faults,
                   why="" if said.is_fresh(now) else _SILENT)


_SILENT = "not heard of"


def _updated(member: Member, said: Said, wanted: Wanted, now: datetime) -> Member:
    if said.release != wanted.release:
        return replace(member, state=State.FAILED, well_since=None, why=f"runs {said.release or 'nothing'} again")
    new = said.faults - member.faults
    why = ", ".join(sorted(new)) if said.is_fresh(now) else _SILENT
    if why:
        return replace(member, state=State.UPDATED, well_since=None, why=why)
    # A clock that was set back must not make it wait for ever.
    since = now if member.well_since is None else min(member.well_since, now)
    return replace(member, state=State.UPDATED, well_since=since, why="")


def is_through(members: Iterable[Member], soak: timedelta, now: datetime) -> bool:
    """Whether everyone of these who has not failed has been well for so long."""
    return all(one.state is State.UPDATED and one.well_since is not None and now - one.well_since >= soak
               for one in members if one.state not in OVER)
