"""The fleet: which terminals there are, which groups each serves, how far each has come, and why one is behind.

A terminal's own stream tells it its access rules; serving a group puts a rule that lets the group's persons in by
face, at any time, unless the terminal was given a policy (`policies`). Called by the API and the CLI, and by ingest,
which keeps reports and receipts here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from device.clock import Clock
from device.store import body
from device.store.records import AccessRule, Schedule
from sync.hub.areas import Areas, streams_of
from sync.hub.ca import HUB
from sync.hub.errors import FieldRefused, InTheWay, NotThere
from sync.hub.groups import Groups, check_title
from sync.hub.identities import Identities
from sync.hub.keys import Keys
from sync.hub.ledger import Drop, Head, Ledger, Put
from sync.hub.passes import revoked_puts
from sync.hub.receipts import Owed, Receipts
from sync.hub.schema import acked, cursors, desired, sites, terminal_groups, terminal_policies, terminals
from sync.hub.storage import Storage, Tx, insert_or_update
from sync.hub.times import milliseconds, moment
from sync.wire.messages import HealthBody, Report
from sync.wire.streams import group_stream, terminal_stream
from sync.wire.topics import checked

OUT_OF_ORDER_MS = 3_600_000  # no message is late by more
SILENT_AFTER = timedelta(seconds=150)  # a report is due every 60 s; two may be lost


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a terminal has come in one stream. state: equal, behind, differs, other_epoch, unknown."""

    stream: str
    state: str
    seq: int | None
    head_seq: int
    why: str


class Versions(NamedTuple):
    """Of something that the hub wants and the terminal reports; 0 where there is none yet."""

    wanted: int
    reported: int


NO_VERSION = Versions(0, 0)


@dataclass(frozen=True, slots=True)
class Terminal:
    """A terminal as the hub sees it.

    state   unclaimed, revoked, unheard (claimed, but has never reported), silent, behind, equal
    why     one line for the administrator; empty where all is well
    acked   journal entries stored here, of journal_seq that the terminal has
    config  the version of its configuration that is wanted, and the one that it has applied
    """

    terminal_id: str
    site_id: str
    title: str
    groups: tuple[str, ...]
    state: str
    why: str
    standings: tuple[Standing, ...]
    is_online: bool
    reported: datetime | None
    boot_id: str | None
    journal_seq: int | None
    acked: int | None
    desired_version: int | None
    model_ids: tuple[str, ...] = ()
    key_ids: tuple[str, ...] = ()
    open_deletions: int = 0
    config: Versions = NO_VERSION
    health: Mapping[str, Any] = field(default_factory=dict)


class Fleet:
    """Every terminal of the hub."""

    def __init__(self, storage: Storage, ledger: Ledger, groups: Groups, areas: Areas, keys: Keys,
                 clock: Clock) -> None:
        self._storage, self._ledger, self._groups, self._areas = storage, ledger, groups, areas
        self._keys, self._clock = keys, clock
        self._receipts, self._identities = Receipts(storage, ledger, clock), Identities(storage, clock)

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

    # --- asking ----------------------------------------------------------------------------------------------

    def streams_of(self, terminal_id: str) -> list[str]:
        """The streams that a terminal follows: those of its groups and areas, and its own."""
        with self._storage.read() as tx:
            return self._streams_of(tx, terminal_id)

    def serving(self, group_id: str) -> list[str]:
        """The terminals that serve a group."""
        with self._storage.read() as tx:
            return [row.terminal_id for row in tx.all(
                sa.select(terminal_groups.c.terminal_id).where(terminal_groups.c.group_id == group_id)
                .order_by(terminal_groups.c.terminal_id))]

    def receipted_up_to(self, terminal_id: str) -> dict[str, int]:
        """Stream -> seq up to which this terminal owes no receipt."""
        with self._storage.read() as tx:
            return self._receipts.up_to(tx, terminal_id)

    def open_deletions(self, terminal_id: str) -> list[Owed]:
        """Every deletion whose receipt this terminal still owes."""
        with self._storage.read() as tx:
            return self._receipts.owed(tx, terminal_id)

    def all(self) -> list[Terminal]:
        """Every terminal, by id."""
        with self._storage.read() as tx:
            heads: dict[str, Head] = {}
            return [self._terminal(tx, row, heads)
                    for row in tx.all(sa.select(terminals).order_by(terminals.c.terminal_id))]

    def get(self, terminal_id: str) -> Terminal:
        """NotThere where there is none."""
        with self._storage.read() as tx:
            return self._terminal(tx, self._row(tx, terminal_id), {})

    # --- inside ----------------------------------------------------------------------------------------------

    def _terminal(self, tx: Tx, row: sa.Row[Any], heads: dict[str, Head]) -> Terminal:
        standings = tuple(self._standings(tx, row, heads))
        wanted = tx.one(sa.select(desired).where(desired.c.terminal_id == row.terminal_id))
        health = json.loads(row.health)
        config = Versions(0 if wanted is None else wanted.config_version, _number(health, "config"))
        state = Versions(0 if wanted is None else wanted.version, row.desired_version or 0)
        word, why = self._state(row, [*_unequal(standings), *_unsettled(state, config)])
        stored = tx.value(sa.select(acked.c.seq).where(acked.c.terminal_id == row.terminal_id,
                                                       acked.c.journal_id == row.journal_id))
        return Terminal(
            row.terminal_id, row.site_id, row.title, tuple(self._groups_of(tx, row.terminal_id)), word, why,
            standings, bool(row.is_online), None if row.reported is None else moment(row.reported), row.boot_id,
            row.journal_seq, stored, row.desired_version, tuple(json.loads(row.model_ids)),
            tuple(json.loads(row.key_ids)), len(self._receipts.owed(tx, row.terminal_id)), config, health)

    def _state(self, row: sa.Row[Any], behind: Sequence[str]) -> tuple[str, str]:
        if row.revoked is not None:
            return "revoked", "revoked; claim it again with a new code, or remove it"
        if row.claimed is None and row.reported is None:
            return "unclaimed", "not claimed yet: give it a claim code"
        if row.reported is None:
            return "unheard", "claimed, but has never reported: check its network, its clock and its certificate"
        age = self._clock.now() - moment(row.reported)
        if age > SILENT_AFTER:
            return "silent", f"no report for {_span(age)}: check its power and its network"
        return ("behind", "; ".join(behind)) if behind else ("equal", "")

    def _standings(self, tx: Tx, row: sa.Row[Any], heads: dict[str, Head]) -> Iterable[Standing]:
        known = {one.stream: one for one in tx.all(sa.select(cursors).where(
            cursors.c.terminal_id == row.terminal_id))}
        for stream in self._streams_of(tx, row.terminal_id):
            if stream not in heads:
                heads[stream] = self._ledger.head(stream)
            yield _standing(heads[stream], known.get(stream))

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

    def _groups_of(self, tx: Tx, terminal_id: str) -> list[str]:
        return [row.group_id for row in tx.all(
            sa.select(terminal_groups.c.group_id).where(terminal_groups.c.terminal_id == terminal_id)
            .order_by(terminal_groups.c.group_id))]

    def _streams_of(self, tx: Tx, terminal_id: str) -> list[str]:
        return [*map(group_stream, self._groups_of(tx, terminal_id)), *streams_of(tx, terminal_id),
                terminal_stream(terminal_id)]

    def _row(self, tx: Tx, terminal_id: str) -> sa.Row[Any]:
        row = tx.one(sa.select(terminals).where(terminals.c.terminal_id == terminal_id))
        if row is None:
            raise NotThere(f"there is no terminal {terminal_id[:60]!r}")
        return row


def ordinary_rule(group_id: str) -> AccessRule:
    """What serving a group means as long as no policy says otherwise: its persons, by face, at any time."""
    return AccessRule(group_id, group_id)


def _unequal(standings: Iterable[Standing]) -> list[str]:
    return [f"{one.stream}: {one.why}" for one in standings if one.state != "equal"]


def _unsettled(state: Versions, config: Versions) -> list[str]:
    found = []
    if state.reported > state.wanted:
        found.append(f"holds a state (version {state.reported}) that this hub does not know, since the hub was set "
                     "back: set its mode anew")
    if config.reported != config.wanted:
        found.append(f"configuration {config.wanted} is wanted, {config.reported} applied")
    return found


def _number(health: Mapping[str, Any], name: str) -> int:
    """A version that a terminal states; 0 where it states none."""
    text = str(health.get("versions", {}).get(name, "0"))
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


def _standing(head: Head, cursor: sa.Row[Any] | None) -> Standing:
    if cursor is None and head.seq == 0:
        return Standing(head.stream, "equal", None, 0, "")
    if cursor is None:
        return Standing(head.stream, "unknown", None, head.seq, "the terminal has not asked for it yet")
    if cursor.epoch != head.epoch:
        return Standing(head.stream, "other_epoch", cursor.seq, head.seq,
                        "the hub was set back or the terminal is an old one: it needs a snapshot")
    if cursor.seq != head.seq:
        return Standing(head.stream, "behind", cursor.seq, head.seq, f"{head.seq - cursor.seq} changes behind")
    if cursor.digest != head.digest:
        return Standing(head.stream, "differs", cursor.seq, head.seq, "up to date, but other records: being repaired")
    return Standing(head.stream, "equal", cursor.seq, head.seq, "")


def _id(name: str) -> str:
    try:
        return checked(name)
    except ValueError as error:
        raise FieldRefused("id", str(error)) from None


def _span(age: timedelta) -> str:
    seconds = int(age.total_seconds())
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
