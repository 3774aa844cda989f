"""The fleet: which terminals there are, which groups each serves, and what they report (`overview` reads it).

A terminal's own stream tells it its access rules; serving a group puts a rule that lets the group's persons in by
face, at any time, unless the terminal was given a policy (`policies`). Called by the API and the CLI, and by ingest,
which keeps reports and receipts here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from device.clock import Clock
from device.store import body
from device.store.records import AccessRule, Schedule
from sync.hub.areas import Areas
from sync.hub.ca import HUB
from sync.hub.errors import FieldRefused, InTheWay, NotThere
from sync.hub.groups import Groups, check_title
from sync.hub.identities import Identities
from sync.hub.keys import Keys
from sync.hub.ledger import Drop, Ledger, Put
from sync.hub.overview import Overview
from sync.hub.passes import revoked_puts
from sync.hub.schema import cursors, sites, terminal_groups, terminal_policies, terminals
from sync.hub.storage import Storage, Tx, insert_or_update
from sync.hub.times import milliseconds
from sync.wire.messages import HealthBody, Report
from sync.wire.streams import group_stream, terminal_stream
from sync.wire.topics import checked

OUT_OF_ORDER_MS = 3_600_000  # no message is late by more


class Fleet(Overview):
    """Every terminal of the hub, to be changed."""

    def __init__(self, storage: Storage, ledger: Ledger, groups: Groups, areas: Areas, keys: Keys,
                 clock: Clock) -> None:
        super().__init__(storage, ledger, clock)
        self._groups, self._areas, self._keys = groups, areas, keys
        self._identities = Identities(storage, clock)

    # --- coming and going ------------------------------------------------------------------------------------

    def add(self, terminal_id: str, site_id: str, group_ids: Iterable[str], title: str = "") -> None:
        """A terminal that may now be claimed. InTheWay where the id is taken."""
        try:
            checked(terminal_id)
        except ValueError as error:
            raise FieldRefused("terminal_id", str(error)) from None
        if terminal_id == HUB:
            raise FieldRefused("terminal_id", f"{HUB!r} is the hub's own name at the broker; choose another")
        with self._storage.write() as tx:
            if tx.one(sa.select(terminals.c.terminal_id).where(terminals.c.terminal_id == terminal_id)):
                raise InTheWay(f"terminal {terminal_id} exists already")
            if not tx.one(sa.select(sites).where(sites.c.site_id == site_id)):
                raise NotThere(f"there is no site {site_id[:60]!r}")
            tx.run(sa.insert(terminals).values(terminal_id=terminal_id, site_id=site_id, title=check_title(title),
                                               created=milliseconds(self._clock.now())))
            self.set_groups(terminal_id, group_ids, tx)
            self._ledger.append(terminal_stream(terminal_id), revoked_puts(tx), tx)

    def set_groups(self, terminal_id: str, group_ids: Iterable[str], tx: Tx | None = None) -> None:
        """The groups that a terminal serves from now on, each with its ordinary rule unless the terminal has a
        policy; a group that it leaves gets a new key."""
        if tx is None:
            with self._storage.write() as own:
                return self.set_groups(terminal_id, group_ids, own)
        row = self._row(tx, terminal_id)
        wanted = set(self._groups.check(tuple(group_ids), tx, row.site_id))
        before = set(self._groups_of(tx, terminal_id))
        for group_id in sorted(before - wanted):
            self._leave(tx, terminal_id, group_id)
        for group_id in sorted(wanted - before):
            tx.run(sa.insert(terminal_groups).values(
                terminal_id=terminal_id, group_id=group_id,
                since_seq=self._receipts.joined(tx, terminal_id, group_stream(group_id))))
        steps: list[Put | Drop] = []
        if not self._has_policy(tx, terminal_id):
            steps += [Drop("rule", one) for one in sorted(before - wanted)]
            steps += [Put("rule", one, body.encode(ordinary_rule(one))) for one in sorted(wanted - before)]
        steps.append(Put("config", "groups", json.dumps(sorted(wanted)).encode()))
        if wanted != before:
            self._ledger.append(terminal_stream(terminal_id), steps, tx)
        return None

    def remove(self, terminal_id: str) -> None:
        """A terminal that is no more: out of every group and area (whose keys are replaced), and its entry gone. Its
        events stay. What it still holds is out of reach: take it down, or reset it, first."""
        with self._storage.write() as tx:
            self._row(tx, terminal_id)
            stream = terminal_stream(terminal_id)
            self._ledger.append(stream, [Drop(one.kind, one.key) for one in self._ledger.living(stream).changes], tx)
            self._areas.set(tx, terminal_id, ())
            # What it was given stays listed as revoked until it is over.
            self._identities.end(tx, terminal_id)
            tx.run(sa.delete(terminals).where(terminals.c.terminal_id == terminal_id))
            tx.ended("removed", terminal_id)

    def leave(self, terminal_id: str, group_id: str) -> None:
        """A terminal serves a group no longer; nothing to do where it does not."""
        with self._storage.write() as tx:
            served = self._groups_of(tx, terminal_id)
            if group_id in served:
                self.set_groups(terminal_id, [one for one in served if one != group_id], tx)

    def put(self, terminal_id: str, records: Sequence[AccessRule | Schedule]) -> None:
        """Rules and schedules of a terminal; one of the same id is replaced."""
        with self._storage.write() as tx:
            served = self._groups_of(tx, self._row(tx, terminal_id).terminal_id)
            if self._has_policy(tx, terminal_id):
                raise InTheWay(f"terminal {terminal_id} goes by a policy; change that")
            steps = []
            for record in records:
                if isinstance(record, AccessRule):
                    if record.group not in served:
                        raise FieldRefused("group", f"terminal {terminal_id} does not serve {record.group[:60]!r}")
                    steps.append(Put("rule", _id(record.rule_id), body.encode(record)))
                else:
                    steps.append(Put("schedule", _id(record.schedule_id), body.encode(record)))
            self._ledger.append(terminal_stream(terminal_id), steps, tx)

    def drop(self, terminal_id: str, kind: str, key: str) -> None:
        """Take a rule, schedule or mode plan away; NotThere where there is none such."""
        stream = terminal_stream(terminal_id)
        with self._storage.write() as tx:
            self._row(tx, terminal_id)
            before = self._ledger.head(stream).seq
            is_known = kind in ("rule", "schedule", "mode")
            if not is_known or self._ledger.append(stream, [Drop(kind, key)], tx) == before:
                raise NotThere(f"terminal {terminal_id} has no {kind[:20]} {key[:60]!r}")
            tx.ended("dropped", terminal_id, kind, key)

    def records(self, terminal_id: str) -> list[AccessRule | Schedule]:
        """The rules and schedules of a terminal."""
        with self._storage.read() as tx:
            self._row(tx, terminal_id)
            kinds: dict[str, type[AccessRule] | type[Schedule]] = {"rule": AccessRule, "schedule": Schedule}
            return [body.decode(kinds[one.kind], one.body)
                    for one in self._ledger.living(terminal_stream(terminal_id)).changes if one.kind in kinds]

    # --- what terminals say ----------------------------------------------------------------------------------

    def reported(self, report: Report, health: HealthBody) -> bool:
        """Keep a report; false, and nothing kept, where a later one of the same boot has overtaken it."""
        with self._storage.write() as tx:
            row = tx.one(sa.select(terminals).where(terminals.c.terminal_id == report.terminal_id))
            if row is None or self._is_late(tx, row, report):
                return False
            tx.run(sa.update(terminals).where(terminals.c.terminal_id == report.terminal_id).values(
                boot_id=report.boot_id, issued=report.issued_ms, reported=milliseconds(self._clock.now()),
                journal_id=report.journal_id, journal_seq=report.journal_seq, acked_seq=report.acked_seq,
                desired_version=report.desired_version, model_ids=json.dumps(report.model_ids),
                key_ids=json.dumps(report.key_ids), health=json.dumps(
                    {"versions": health.versions, "clock_quality": health.clock_quality,
                     "clock_offset_s": health.clock_offset_s, "degraded": health.degraded, "counts": health.counts,
                     "door": health.door, "mode": health.mode, "update": msgspec.to_builtins(health.update)})))
            tx.run(sa.delete(cursors).where(cursors.c.terminal_id == report.terminal_id))
            insert_or_update(tx, cursors, [
                {"terminal_id": report.terminal_id, "stream": one.stream, "epoch": one.epoch, "seq": one.seq,
                 "digest": one.digest} for one in {one.stream: one for one in report.cursors}.values()])
            self._receipts.reported(tx, report.terminal_id, report.cursors)
        return True

    def seen(self, terminal_id: str, is_online: bool) -> None:
        """Keep presence."""
        with self._storage.write() as tx:
            tx.run(sa.update(terminals).where(terminals.c.terminal_id == terminal_id).values(
                is_online=is_online, online_at=milliseconds(self._clock.now())))

    def receipted(self, terminal_id: str, stream: str, epoch: str, seq: int, digest: bytes, issued_ms: int) -> bool:
        """Keep a deletion receipt; false where it says no more than the last, or is of another epoch."""
        return self._receipts.keep(terminal_id, stream, epoch, seq, digest, issued_ms)

    def forget_drops(self) -> int:
        """No longer list old drops that every terminal has confirmed; how many went."""
        return self._receipts.forget_drops()

    # --- inside ----------------------------------------------------------------------------------------------

    def _is_late(self, tx: Tx, row: sa.Row[Any], report: Report) -> bool:
        """Whether it was issued a little before the one known of the same boot and says less: of a terminal whose
        clock was set back it says as much, or more."""
        if row.boot_id != report.boot_id or not 0 < (row.issued or 0) - report.issued_ms < OUT_OF_ORDER_MS:
            return False
        if report.journal_id == row.journal_id and report.journal_seq < (row.journal_seq or 0):
            return True
        known = {(one.stream, one.epoch): one.seq for one in tx.all(
            sa.select(cursors).where(cursors.c.terminal_id == row.terminal_id))}
        return any(one.seq < known.get((one.stream, one.epoch), 0) for one in report.cursors)

    def _leave(self, tx: Tx, terminal_id: str, group_id: str) -> None:
        self._receipts.left(tx, terminal_id, group_stream(group_id))
        tx.run(sa.delete(terminal_groups).where(terminal_groups.c.terminal_id == terminal_id,
                                                terminal_groups.c.group_id == group_id))
        self._keys.rotate(group_stream(group_id), tx)
        tx.ended("served", terminal_id, group_id)

    def _has_policy(self, tx: Tx, terminal_id: str) -> bool:
        return tx.one(sa.select(terminal_policies).where(terminal_policies.c.terminal_id == terminal_id)) is not None

def ordinary_rule(group_id: str) -> AccessRule:
    """What serving a group means as long as no policy says otherwise: its persons, by face, at any time."""
    return AccessRule(group_id, group_id)


def _id(name: str) -> str:
    try:
        return checked(name)
    except ValueError as error:
        raise FieldRefused("id", str(error)) from None
