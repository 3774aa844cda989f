"""Roll-outs as rows: started, paused, resumed and stopped by an administrator, and looked after while they run.

Called by the API, the CLI, and `deliveries`, which brings the bundle to the terminals.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from device.clock import Clock
from sync.hub import stages
from sync.hub.bundles import Bundles, Kept
from sync.hub.errors import FieldRefused, InTheWay, NotThere
from sync.hub.members import OVER, Member, Said, State, Wanted, judged, unfit
from sync.hub.rollout import Asked, Phase, Rollout, Step, verdict
from sync.hub.schema import bundles, groups, rollout_members, rollout_steps, rollouts, terminal_groups, terminals
from sync.hub.storage import Storage, Tx
from sync.hub.times import milliseconds, moment

HUB = "hub"
ACTIVE = (Phase.RUNNING, Phase.PAUSED)


class Rollouts:
    """Those of one hub; any thread may use it, `look` the wire's alone."""

    def __init__(self, storage: Storage, kept: Bundles, clock: Clock) -> None:
        self._storage, self._bundles, self._clock = storage, kept, clock

    # --- what an administrator does ----------------------------------------------------------------------

    def start(self, bundle: Kept, asked: Asked, by: str) -> str:
        """The id of a new roll-out. FieldRefused or NotThere where it cannot be so, InTheWay where the release is
        nothing for those terminals, or one of them is in another roll-out."""
        asked.check()
        if not bundle.is_there:
            raise InTheWay(f"the file of {bundle.name} is gone: add it again")
        rollout_id, now = secrets.token_hex(6), self._clock.now()
        wanted = Wanted(rollout_id, str(bundle.release), bundle.machine)
        with self._storage.write() as tx:
            chosen = self._chosen(tx, asked)
            busy = {row.terminal_id for row in tx.all(
                sa.select(rollout_members.c.terminal_id).select_from(
                    rollouts.join(rollout_members)).where(rollouts.c.state.in_([one.value for one in ACTIVE])))}
            if taken := [name for name in chosen if name in busy]:
                raise InTheWay(f"terminal {taken[0]} is in another roll-out; stop that first")
            said = self._said(tx, chosen)
            fit = [name for name in chosen if not unfit(said[name], wanted)]
            odd = [name for name in chosen if name not in fit]
            if odd and (asked.terminals or not fit):
                raise InTheWay(f"terminal {odd[0]} {unfit(said[odd[0]], wanted)}")
            sizes = stages.sizes(asked.stages, len(fit))
            tx.run(sa.insert(rollouts).values(
                rollout_id=rollout_id, sha256=bundle.sha256, state=Phase.RUNNING.value, stage=0,
                stages=json.dumps(sizes), soak_s=int(asked.soak.total_seconds()), max_failures=asked.max_failures,
                created=milliseconds(now), why=""))
            tx.run(sa.insert(rollout_members), [
                {"rollout_id": rollout_id, "terminal_id": name, "place": place, "state": State.WAITING.value,
                 "since": milliseconds(now), "faults": "[]", "why": ""} for place, name in enumerate(fit)])
            self._note(tx, rollout_id, by, "started", f"{asked.stages}, soak {asked.soak}, at most "
                                                      f"{asked.max_failures} failures")
        return rollout_id

    def pause(self, rollout_id: str, by: str, why: str = "") -> None:
        """Offer and send nothing until it is resumed. InTheWay where it does not run."""
        self._turn(rollout_id, (Phase.RUNNING,), Phase.PAUSED, by, why)

    def resume(self, rollout_id: str, by: str) -> None:
        """InTheWay where it was not paused."""
        self._turn(rollout_id, (Phase.PAUSED,), Phase.RUNNING, by, "")

    def stop(self, rollout_id: str, by: str, why: str = "") -> None:
        """For good: what terminals have not whole they drop; what is installed stays. InTheWay where it is over."""
        self._turn(rollout_id, ACTIVE, Phase.STOPPED, by, why)

    def hold(self, tx: Tx) -> None:
        """The hub was set back: nobody knows what became of these since."""
        for row in tx.all(sa.select(rollouts.c.rollout_id).where(rollouts.c.state == Phase.RUNNING.value)):
            self._move(tx, row.rollout_id, Phase.PAUSED, HUB, "the hub was set back: look before it is resumed")

    # --- asking ------------------------------------------------------------------------------------------

    def get(self, rollout_id: str) -> Rollout:
        """NotThere where there is none."""
        with self._storage.read() as tx:
            return self._get(tx, rollout_id)

    def all(self, is_active: bool = False) -> list[Rollout]:
        """The newest first; is_active: those alone that run or are paused."""
        with self._storage.read() as tx:
            return self._all(tx, ACTIVE if is_active else tuple(Phase))

    def steps(self, rollout_id: str) -> list[Step]:
        """What was done to it, in order."""
        with self._storage.read() as tx:
            self._get(tx, rollout_id)
            return [Step(moment(row.at), row.by, row.what, row.why) for row in tx.all(
                sa.select(rollout_steps).where(rollout_steps.c.rollout_id == rollout_id)
                .order_by(rollout_steps.c.number))]

    def bundle_for(self, terminal_id: str, sha256: str) -> Kept | None:
        """The bundle, where this terminal may be sent it now."""
        with self._storage.read() as tx:
            rows = tx.all(sa.select(rollouts.c.stages, rollouts.c.stage, rollout_members.c.place,
                                    rollout_members.c.state).select_from(rollouts.join(rollout_members)).where(
                rollouts.c.sha256 == sha256, rollouts.c.state == Phase.RUNNING.value,
                rollout_members.c.terminal_id == terminal_id))
        is_its_turn = any(row.place < json.loads(row.stages)[row.stage] and State(row.state) not in OVER
                          for row in rows)
        return self._bundles.get(sha256) if is_its_turn else None

    def is_wanted(self, rollout_id: str, terminal_id: str) -> bool:
        """Whether what this terminal fetches is still to be fetched, if not just now."""
        with self._storage.read() as tx:
            row = tx.one(sa.select(rollout_members.c.state).select_from(
                rollouts.join(rollout_members)).where(
                rollouts.c.rollout_id == rollout_id, rollout_members.c.terminal_id == terminal_id,
                rollouts.c.state.in_([one.value for one in ACTIVE])))
        return row is not None and State(row.state) not in OVER

    # --- what goes on by itself --------------------------------------------------------------------------

    def look(self) -> list[tuple[Rollout, Member, Said]]:
        """Take in what terminals said, begin stages, stop what fails; (roll-out, member, what it said) of everyone
        whose turn it is in the roll-outs that run then."""
        with self._storage.read() as tx:
            active = self._all(tx, ACTIVE)
            said = {one.rollout_id: self._said(tx, [member.terminal_id for member in one.reached]) for one in active}
        found = []
        for one in active:
            now = self._look_at(one, said[one.rollout_id])
            if now.phase is Phase.RUNNING:
                found += [(now, member, said[now.rollout_id][member.terminal_id]) for member in now.reached
                          if member.terminal_id in said[now.rollout_id]]
        return found

    def _look_at(self, before: Rollout, said: dict[str, Said]) -> Rollout:
        now = self._clock.now()
        members = [judged(one, said[one.terminal_id], before.wanted, now) for one in before.reached
                   if one.terminal_id in said]
        changed = set(members) - set(before.reached)
        to = verdict(before, members, self._bundles.get(before.sha256).is_there, now)
        if not changed and (to.phase, to.stage) == (before.phase, before.stage):
            return before
        with self._storage.write() as tx:
            for one in changed:
                tx.run(sa.update(rollout_members).where(
                    rollout_members.c.rollout_id == before.rollout_id,
                    rollout_members.c.terminal_id == one.terminal_id).values(**_columns(one)))
            # Somebody may have paused or stopped it since it was read.
            if self._get(tx, before.rollout_id).phase is before.phase:
                if to.stage != before.stage:
                    tx.run(sa.update(rollouts).where(rollouts.c.rollout_id == before.rollout_id)
                           .values(stage=to.stage))
                    self._note(tx, before.rollout_id, HUB, "stage", f"{to.stage + 1} of {len(before.sizes)}")
                if to.phase is not before.phase:
                    self._move(tx, before.rollout_id, to.phase, HUB, to.why)
            return self._get(tx, before.rollout_id)

    # --- inside ------------------------------------------------------------------------------------------

    def _chosen(self, tx: Tx, asked: Asked) -> list[str]:
        """The terminals in the order in which they get it."""
        known = {row.terminal_id: row for row in tx.all(
            sa.select(terminals.c.terminal_id, terminals.c.is_online).where(terminals.c.revoked.is_(None)))}
        if missing := [name for name in asked.terminals if name not in known]:
            raise NotThere(f"there is no terminal {missing[0][:60]!r}, or it was revoked")
        for group in asked.groups:
            if tx.one(sa.select(groups.c.group_id).where(groups.c.group_id == group)) is None:
                raise NotThere(f"there is no group {group[:60]!r}")
        serving = {row.terminal_id for row in tx.all(
            sa.select(terminal_groups.c.terminal_id).where(terminal_groups.c.group_id.in_(asked.groups)))}
        rest = sorted(serving & known.keys(), key=lambda name: (not known[name].is_online, name))
        found = list(dict.fromkeys((*asked.terminals, *rest)))
        if not found:
            raise FieldRefused("terminals", "no terminal serves these groups")
        return found

    def _said(self, tx: Tx, names: Sequence[str]) -> dict[str, Said]:
        """Of those that are ours: who was revoked since holds nobody up."""
        wanted = set(names)
        rows = tx.all(sa.select(terminals.c.terminal_id, terminals.c.health, terminals.c.reported,
                                terminals.c.is_online).where(terminals.c.revoked.is_(None))) if names else []
        return {row.terminal_id: Said.of(json.loads(row.health), None if row.reported is None
                                         else moment(row.reported), bool(row.is_online))
                for row in rows if row.terminal_id in wanted}

    def _turn(self, rollout_id: str, allowed: tuple[Phase, ...], phase: Phase, by: str, why: str) -> None:
        with self._storage.write() as tx:
            now = self._get(tx, rollout_id).phase
            if now not in allowed:
                raise InTheWay(f"rollout {rollout_id} is {now.value}")
            self._move(tx, rollout_id, phase, by, why)

    def _move(self, tx: Tx, rollout_id: str, phase: Phase, by: str, why: str) -> None:
        tx.run(sa.update(rollouts).where(rollouts.c.rollout_id == rollout_id).values(state=phase.value, why=why))
        self._note(tx, rollout_id, by, phase.value, why)

    def _note(self, tx: Tx, rollout_id: str, by: str, what: str, why: str) -> None:
        number = tx.value(sa.select(sa.func.count()).select_from(rollout_steps).where(
            rollout_steps.c.rollout_id == rollout_id))
        tx.run(sa.insert(rollout_steps).values(rollout_id=rollout_id, number=number, by=by, what=what, why=why,
                                               at=milliseconds(self._clock.now())))

    def _get(self, tx: Tx, rollout_id: str) -> Rollout:
        row = tx.one(_with_bundles().where(rollouts.c.rollout_id == rollout_id))
        if row is None:
            raise NotThere(f"there is no roll-out {rollout_id[:60]!r}")
        return self._rollout(tx, row)

    def _all(self, tx: Tx, phases: tuple[Phase, ...], sha256: str | None = None) -> list[Rollout]:
        query = _with_bundles().where(rollouts.c.state.in_([one.value for one in phases]))
        if sha256 is not None:
            query = query.where(rollouts.c.sha256 == sha256)
        return [self._rollout(tx, row) for row in tx.all(query.order_by(rollouts.c.created.desc()))]

    def _rollout(self, tx: Tx, row: sa.Row[Any]) -> Rollout:
        members = tuple(_member(one) for one in tx.all(sa.select(rollout_members).where(
            rollout_members.c.rollout_id == row.rollout_id).order_by(rollout_members.c.place)))
        return Rollout(row.rollout_id, row.sha256, Wanted(row.rollout_id, row.release, row.machine),
                       Phase(row.state), row.stage, tuple(json.loads(row.stages)), timedelta(seconds=row.soak_s),
                       row.max_failures, moment(row.created), row.why, members)


def _with_bundles() -> sa.Select[Any]:
    return sa.select(rollouts, bundles.c.release, bundles.c.machine).join(bundles)


def _member(row: sa.Row[Any]) -> Member:
    return Member(row.terminal_id, row.place, State(row.state), moment(row.since),
                  None if row.well_since is None else moment(row.well_since), frozenset(json.loads(row.faults)),
                  row.why)


def _columns(one: Member) -> dict[str, Any]:
    return {"state": one.state.value, "since": milliseconds(one.since), "faults": json.dumps(sorted(one.faults)),
            "well_since": None if one.well_since is None else milliseconds(one.well_since), "why": one.why[:400]}
