"""Commands and desired state as rows: what a terminal is to do or to hold. The carrier sends them.

A command is for the boot in which the terminal last reported, and expires; whoever has not reported gets none.
Desired state holds until told otherwise, with a version that only rises, past whatever the terminal holds already: a
hub that was set back does not know what it wanted since.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from device.clock import Clock
from sync.hub.errors import FieldRefused, InTheWay, NotThere
from sync.hub.history import epoch_of
from sync.hub.schema import commands, desired, terminals
from sync.hub.storage import Storage, Tx, insert_or_update
from sync.hub.times import checked, milliseconds, moment

Verb = Literal["release", "reset", "reboot", "update", "report"]
Mode = Literal["normal", "free", "lockdown"]
VERBS: tuple[Verb, ...] = ("release", "reset", "reboot", "update", "report")
ALWAYS: tuple[Verb, ...] = ("release", "reset", "report")
"""What every terminal obeys; of the rest a terminal states what it can do, as the version `verbs` of its health."""

MODES: tuple[Mode, ...] = ("normal", "free", "lockdown")

# A release is for somebody who stands at the door; the rest may wait for a slow link.
LIVES = {"release": timedelta(seconds=10), "reset": timedelta(seconds=60)}
LIFE = timedelta(minutes=5)
MOST_SECONDS = 60.0
LONGEST_ARGUMENT = 200
HIGHEST_VERSION = 2**53  # what a terminal states beyond that is not followed


@dataclass(frozen=True, slots=True)
class Command:
    """outcome: done, refused, failed; None while there is no answer."""

    command_id: str
    terminal_id: str
    boot_id: str
    verb: Verb
    seconds: float | None
    argument: str
    issued: datetime
    expires: datetime
    ordered_by: str
    sent: datetime | None
    answered: datetime | None
    outcome: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """The state that a terminal is to hold. sent: the version that was last handed to the broker."""

    terminal_id: str
    version: int
    mode: Mode
    until: datetime | None
    config_version: int
    sent: int


class Orders:
    """What the hub wants of its terminals."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage, self._clock = storage, clock

    # --- commands --------------------------------------------------------------------------------------------

    def command(self, terminal_id: str, verb: str, seconds: float | None = None, argument: str = "",
                ordered_by: str = "") -> str:
        """The id of a new command. InTheWay for a terminal that has not reported yet, was revoked, or does not state
        that it can do this."""
        if verb not in VERBS:
            raise FieldRefused("verb", f"one of {', '.join(VERBS)}")
        if seconds is not None and (verb != "release" or not 0 < seconds <= MOST_SECONDS):
            raise FieldRefused("seconds", f"for a release, more than 0 and at most {MOST_SECONDS:.0f}")
        if len(argument) > LONGEST_ARGUMENT or (argument and not argument.isprintable()):
            raise FieldRefused("argument", f"at most {LONGEST_ARGUMENT} printable characters")
        now = self._clock.now()
        command_id = secrets.token_hex(16)
        with self._storage.write() as tx:
            row = self._terminal(tx, terminal_id)
            if row.boot_id is None:
                raise InTheWay(f"terminal {terminal_id} has not reported yet: a command is for one boot of it")
            if verb not in ALWAYS and verb not in _stated(row):
                raise InTheWay(f"terminal {terminal_id} does not state that it can {verb}")
            tx.run(sa.insert(commands).values(
                command_id=command_id, terminal_id=terminal_id, boot_id=row.boot_id, verb=verb, seconds=seconds,
                argument=argument, issued=milliseconds(now), expires=milliseconds(now + LIVES.get(verb, LIFE)),
                ordered_by=ordered_by))
        return command_id

    def due(self) -> list[Command]:
        """Commands to be sent now: not sent yet and not expired."""
        now = milliseconds(self._clock.now())
        with self._storage.read() as tx:
            return [_command(row) for row in tx.all(
                sa.select(commands).where(commands.c.sent.is_(None), commands.c.expires > now)
                .order_by(commands.c.issued))]

    def sent(self, command_id: str) -> None:
        with self._storage.write() as tx:
            tx.run(sa.update(commands).where(commands.c.command_id == command_id)
                   .values(sent=milliseconds(self._clock.now())))

    def answered(self, terminal_id: str, command_id: str, outcome: str, reason: str) -> bool:
        """Keep the first answer to a command of that terminal; whether it was."""
        with self._storage.write() as tx:
            done = tx.run(sa.update(commands).where(
                commands.c.command_id == command_id, commands.c.terminal_id == terminal_id,
                commands.c.answered.is_(None)).values(
                answered=milliseconds(self._clock.now()), outcome=outcome, reason=reason))
        return bool(done.rowcount)

    def get(self, command_id: str) -> Command:
        """NotThere where there is none."""
        with self._storage.read() as tx:
            row = tx.one(sa.select(commands).where(commands.c.command_id == command_id))
        if row is None:
            raise NotThere(f"there is no command {command_id[:60]!r}")
        return _command(row)

    # --- desired state ---------------------------------------------------------------------------------------

    def want(self, terminal_id: str, mode: str | None = None, until: datetime | None = None,
             config_version: int | None = None) -> Wanted:
        """Set the mode (with its end) or the configuration's version; the state with its new version."""
        if mode is not None and mode not in MODES:
            raise FieldRefused("mode", f"one of {', '.join(MODES)}")
        if until is not None and (mode in (None, "normal") or checked("until", until) <= self._clock.now()):
            raise FieldRefused("until", "for free or lockdown, and in the future")
        with self._storage.write() as tx:
            row, now = self._terminal(tx, terminal_id), self._wanted(tx, terminal_id)
            held = row.desired_version or 0
            version = max(now.version, held if held < HIGHEST_VERSION else 0) + 1
            insert_or_update(tx, desired, [{
                "terminal_id": terminal_id, "version": version, "mode": mode or now.mode,
                "until": _ms(until if mode is not None else now.until), "sent": now.sent, "epoch": epoch_of(tx),
                "config_version": now.config_version if config_version is None else config_version}])
            return self._wanted(tx, terminal_id)

    def held(self, terminal_id: str, version: int) -> Wanted:
        """A terminal says which version it holds; what is wanted of it. Where it holds a later one than was wanted
        here since the hub was set back, that is given a version past it; what stems from before stays as it is, and
        the fleet's view says so."""
        now = self.wanted(terminal_id)
        if not now.version < version < HIGHEST_VERSION:
            return now
        with self._storage.write() as tx:
            tx.run(sa.update(desired).where(desired.c.terminal_id == terminal_id, desired.c.version < version,
                                            desired.c.epoch == epoch_of(tx)).values(version=version + 1))
            return self._wanted(tx, terminal_id)

    def wanted(self, terminal_id: str) -> Wanted:
        """Version 0 and mode normal where nothing was ever wanted."""
        with self._storage.read() as tx:
            return self._wanted(tx, terminal_id)

    def unsent(self) -> list[Wanted]:
        """States of which the broker has not had the newest version."""
        with self._storage.read() as tx:
            return [_wanted(row) for row in tx.all(sa.select(desired).where(desired.c.sent < desired.c.version))]

    def state_sent(self, terminal_id: str, version: int) -> None:
        with self._storage.write() as tx:
            tx.run(sa.update(desired).where(desired.c.terminal_id == terminal_id, desired.c.sent < version)
                   .values(sent=version))

    def _wanted(self, tx: Tx, terminal_id: str) -> Wanted:
        row = tx.one(sa.select(desired).where(desired.c.terminal_id == terminal_id))
        return Wanted(terminal_id, 0, "normal", None, 0, 0) if row is None else _wanted(row)

    def _terminal(self, tx: Tx, terminal_id: str) -> sa.Row[Any]:
        row = tx.one(sa.select(terminals).where(terminals.c.terminal_id == terminal_id))
        if row is None:
            raise NotThere(f"there is no terminal {terminal_id[:60]!r}")
        if row.revoked is not None:
            raise InTheWay(f"terminal {terminal_id} was revoked")
        return row


def _command(row: sa.Row[Any]) -> Command:
    return Command(row.command_id, row.terminal_id, row.boot_id, row.verb, row.seconds, row.argument,
                   moment(row.issued), moment(row.expires), row.ordered_by, _at(row.sent), _at(row.answered),
                   row.outcome, row.reason)


def _wanted(row: sa.Row[Any]) -> Wanted:
    return Wanted(row.terminal_id, row.version, row.mode, _at(row.until), row.config_version, row.sent)


def _stated(row: sa.Row[Any]) -> list[str]:
    """The verbs that a terminal states beside those that all obey."""
    return str(json.loads(row.health).get("versions", {}).get("verbs", "")).split()


def _at(ms: int | None) -> datetime | None:
    return None if ms is None else moment(ms)


def _ms(at: datetime | None) -> int | None:
    return None if at is None else milliseconds(at)
