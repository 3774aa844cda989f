"""The fleet as it is: terminals with their groups, how far each has come in every stream, and why one is behind.

`fleet` changes what is read here, and keeps what terminals report. Called through it by the API, the CLI and the
metrics.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from device.clock import Clock
from sync.hub.areas import streams_of
from sync.hub.errors import NotThere
from sync.hub.ledger import Head, Ledger
from sync.hub.receipts import Owed, Receipts
from sync.hub.schema import acked, cursors, desired, terminal_groups, terminals
from sync.hub.storage import Storage, Tx
from sync.hub.times import moment
from sync.wire.streams import group_stream, terminal_stream

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


class Overview:
    """Every terminal of the hub, to be read."""

    def __init__(self, storage: Storage, ledger: Ledger, clock: Clock) -> None:
        self._storage, self._ledger, self._clock = storage, ledger, clock
        self._receipts = Receipts(storage, ledger, clock)

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


def _span(age: timedelta) -> str:
    seconds = int(age.total_seconds())
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
