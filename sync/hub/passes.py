"""QR passes: a text signed by the hub that admits somebody at one door for some time, shown to the door's camera.

A terminal verifies a pass offline (`device/credentials/qr_pass.py`); the hub issues them, knows who has which, and
takes them back: a revoked pass is told to every terminal, in its own stream, until the pass would have expired. What
a pass grants is what the door's policy grants its group by the method qr.

A visitor's label is sealed under a key of the pass's own, which ends with the pass. Called by the API and the CLI;
`people` ends the passes of whoever is removed, and `fleet` tells a new terminal what is revoked.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from device.clock import Clock
from device.credentials.qr_pass import PassPayload, pass_text
from device.enrolment import check_label
from device.errors import EnrolmentRefused, SealBroken
from device.store import body
from device.store.records import RevokedPass
from sync.hub.errors import FieldRefused, NotThere
from sync.hub.keys import Keys
from sync.hub.ledger import Drop, Ledger, Put
from sync.hub.schema import passes, persons, revoked_passes, shreds, terminals
from sync.hub.storage import Storage, Tx, in_parts, insert_or_update
from sync.hub.times import checked, milliseconds, moment
from sync.hub.vault import Vault, own_key
from sync.wire.sign import Signer
from sync.wire.streams import terminal_stream
from sync.wire.topics import checked as checked_name

LONGEST = timedelta(days=366)
KEPT = timedelta(days=2)  # that a revocation outlasts its pass, for terminals whose clocks are slow
MOST_DOORS = 50
MOST_NAME = 48


@dataclass(frozen=True, slots=True)
class Asked:
    """What a pass is to admit to. person_id: a person of this hub; else label names a visitor."""

    doors: tuple[str, ...]
    group: str
    valid_until: datetime
    valid_from: datetime | None = None
    is_once: bool = True
    person_id: str | None = None
    label: str = ""

    def __repr__(self) -> str:
        return f"Asked({', '.join(self.doors)})"


@dataclass(frozen=True, slots=True)
class Pass:
    """A pass that was issued. revoked: since when it counts no longer; label is empty then, and for persons."""

    pass_id: str
    door_id: str
    group: str
    valid_from: datetime
    valid_until: datetime
    is_once: bool
    person_id: str | None
    label: str
    issued: datetime
    issued_by: str
    revoked: datetime | None

    def __repr__(self) -> str:
        return f"Pass({self.pass_id})"


class Passes:
    """Every pass of one hub; any thread may use it. end_keys destroys the keys that are noted as ended."""

    def __init__(self, storage: Storage, vault: Vault, ledger: Ledger, keys: Keys, clock: Clock,
                 end_keys: Callable[[], None]) -> None:
        self._storage, self._vault, self._ledger = storage, vault, ledger
        self._keys, self._clock, self._end_keys = keys, clock, end_keys

    def issue(self, asked: Asked, issued_by: str = "") -> list[Pass]:
        """One pass for each door. FieldRefused names what cannot be; NotThere where there is no such person."""
        label, begins = self._check(asked)
        with self._storage.write() as tx:
            if asked.person_id and not tx.one(sa.select(persons.c.person_id).where(
                    persons.c.person_id == asked.person_id)):
                raise NotThere(f"there is no person {asked.person_id[:60]!r}")
            made = [self._insert(tx, asked, door_id, label, begins, issued_by) for door_id in asked.doors]
            return [self._get(tx, pass_id) for pass_id in made]

    def get(self, pass_id: str) -> Pass:
        """NotThere where there is none."""
        with self._storage.read() as tx:
            return self._get(tx, pass_id)

    def all(self, limit: int = 1000, after: str = "", person_id: str | None = None) -> list[Pass]:
        """At most `limit` passes in the order of their ids, which is none in particular, after that one."""
        wanted = _rows().where(passes.c.pass_id > after)
        if person_id is not None:
            wanted = wanted.where(passes.c.person_id == person_id)
        with self._storage.read() as tx:
            return [self._pass(row) for row in tx.all(wanted.order_by(passes.c.pass_id).limit(limit))]

    def text(self, pass_id: str) -> str:
        """What the QR code says, signed by the hub's present key. FieldRefused where the pass is revoked or over."""
        one = self.get(pass_id)
        if one.revoked is not None or self._clock.now() >= one.valid_until:
            raise FieldRefused("pass", "is revoked" if one.revoked is not None else "has expired")
        signer = Signer(self._keys.identity().signer.private_bytes())
        return pass_text(PassPayload(
            signer.key_id, bytes.fromhex(one.pass_id), one.door_id, one.group, _seconds(one.valid_from),
            _seconds(one.valid_until), one.is_once, bytes.fromhex(one.person_id) if one.person_id else None),
            signer.sign)

    def revoke(self, pass_id: str) -> None:
        """It counts no longer at any door that hears of it. NotThere where there is none."""
        with self._storage.write() as tx:
            revoke(tx, self._ledger, self._clock, [self._get(tx, pass_id)])
            tx.after_commit(self._end_keys)

    def revoke_again(self, pass_id: str, until_ms: int) -> None:
        """After the database was set back: a pass that it may not know, revoked since."""
        with self._storage.write() as tx:
            _tell(tx, self._ledger, self._clock, {pass_id: until_ms})

    def forget(self) -> int:
        """Remove passes that are long over, and what terminals were told of them; how many went."""
        before = milliseconds(self._clock.now() - KEPT)
        with self._storage.write() as tx:
            gone = [row.pass_id for row in tx.all(sa.select(passes.c.pass_id).where(passes.c.valid_until < before))]
            told = [row.pass_id for row in tx.all(sa.select(revoked_passes.c.pass_id).where(
                revoked_passes.c.until < before))]
            for row in tx.all(sa.select(terminals.c.terminal_id)) if told else ():
                self._ledger.append(terminal_stream(row.terminal_id), [Drop("pass", one) for one in told], tx)
            _end_labels(tx, gone)
            for table, ids in ((passes, gone), (revoked_passes, told)):
                for part in in_parts(ids):
                    tx.run(sa.delete(table).where(table.c.pass_id.in_(part)))
            tx.after_commit(self._end_keys)
        return len(gone)

    # --- inside ----------------------------------------------------------------------------------------------

    def _check(self, asked: Asked) -> tuple[str, datetime]:
        """(the label as it is kept, from when the pass holds)."""
        if not 1 <= len(set(asked.doors)) == len(asked.doors) <= MOST_DOORS or not all(map(_is_name, asked.doors)):
            raise FieldRefused("doors", f"name 1 to {MOST_DOORS} doors, each once, as their terminals call them "
                                        "(door.id)")
        try:
            checked_name(asked.group)
        except ValueError as error:
            raise FieldRefused("group", str(error)) from None
        now = self._clock.now()
        begins = checked("valid_from", asked.valid_from or now)
        until = checked("valid_until", asked.valid_until)
        if until > now + LONGEST or _whole(until) <= _whole(max(begins, now)):
            raise FieldRefused("valid_until", f"must lie after now and after valid_from, at most {LONGEST.days} days "
                                              "from now")
        if (asked.person_id is None) is not bool(asked.label.strip()):
            raise FieldRefused("label", "name either a person, or a visitor by a label")
        try:
            return check_label(asked.label) if asked.person_id is None else "", begins
        except EnrolmentRefused as error:
            raise FieldRefused("label", str(error)) from None

    def _insert(self, tx: Tx, asked: Asked, door_id: str, label: str, begins: datetime, issued_by: str) -> str:
        pass_id = secrets.token_hex(16)
        sealed = None
        if label:
            owner = own_key("pass", pass_id)
            self._vault.make([owner], tx)
            sealed = self._vault.seal(owner, label.encode(), "pass", pass_id)
        tx.run(sa.insert(passes).values(
            pass_id=pass_id, door_id=door_id, group_id=asked.group, valid_from=_whole(begins),
            valid_until=_whole(asked.valid_until), is_once=asked.is_once, person_id=asked.person_id, sealed=sealed,
            issued=milliseconds(self._clock.now()), issued_by=issued_by))
        return pass_id

    def _get(self, tx: Tx, pass_id: str) -> Pass:
        row = tx.one(_rows().where(passes.c.pass_id == pass_id))
        if row is None:
            raise NotThere(f"there is no pass {pass_id[:60]!r}")
        return self._pass(row)

    def _pass(self, row: sa.Row[Any]) -> Pass:
        return Pass(row.pass_id, row.door_id, row.group_id, moment(row.valid_from), moment(row.valid_until),
                    bool(row.is_once), row.person_id, self._label(row), moment(row.issued), row.issued_by,
                    None if row.revoked is None else moment(row.revoked))

    def _label(self, row: sa.Row[Any]) -> str:
        if row.sealed is None or row.revoked is not None:
            return ""
        try:
            return self._vault.open_one(own_key("pass", row.pass_id), row.sealed, "pass", row.pass_id).decode()
        except SealBroken:  # of a database that was set back: its key has ended since
            return ""


def revoke(tx: Tx, ledger: Ledger, clock: Clock, found: Iterable[Pass]) -> None:
    """These passes count no longer; what is revoked already, or over, stays as it is."""
    until = {one.pass_id: milliseconds(one.valid_until) for one in found if one.revoked is None}
    _tell(tx, ledger, clock, until)
    _end_labels(tx, list(until))
    for pass_id, until_ms in until.items():
        tx.ended("pass", pass_id, str(until_ms))


def end_passes_of(tx: Tx, ledger: Ledger, clock: Clock, person_ids: Sequence[str]) -> None:
    """Whoever is removed: their passes count no longer, and name nobody."""
    for part in in_parts(person_ids):
        rows = tx.all(_rows().where(passes.c.person_id.in_(part), revoked_passes.c.at.is_(None)))
        until = {row.pass_id: row.valid_until for row in rows}
        _tell(tx, ledger, clock, until)
        for pass_id, until_ms in until.items():
            tx.ended("pass", pass_id, str(until_ms))
        tx.run(sa.update(passes).where(passes.c.person_id.in_(part)).values(person_id=None))


def revoked_puts(tx: Tx) -> list[Put]:
    """What a terminal must know of passes that were revoked."""
    return [_put(row.pass_id, row.until) for row in tx.all(
        sa.select(revoked_passes).order_by(revoked_passes.c.pass_id))]


def _tell(tx: Tx, ledger: Ledger, clock: Clock, until: dict[str, int]) -> None:
    if not until:
        return
    now = milliseconds(clock.now())
    insert_or_update(tx, revoked_passes, [{"pass_id": pass_id, "until": until_ms, "at": now}
                                          for pass_id, until_ms in until.items()])
    for row in tx.all(sa.select(terminals.c.terminal_id)):
        ledger.append(terminal_stream(row.terminal_id), [_put(*one) for one in until.items()], tx)


def _end_labels(tx: Tx, pass_ids: Sequence[str]) -> None:
    names = []
    for part in in_parts(pass_ids):
        names += [own_key("pass", row.pass_id) for row in tx.all(
            sa.select(passes.c.pass_id).where(passes.c.pass_id.in_(part), passes.c.sealed.is_not(None)))]
        tx.run(sa.update(passes).where(passes.c.pass_id.in_(part)).values(sealed=None))
    if names:
        insert_or_update(tx, shreds, [{"name": name} for name in names])
        tx.ended("keys", *names)


def _put(pass_id: str, until_ms: int) -> Put:
    return Put("pass", pass_id, body.encode(RevokedPass(pass_id, moment(until_ms))))


def _rows() -> sa.Select[Any]:
    return sa.select(passes, revoked_passes.c.at.label("revoked")).select_from(
        passes.outerjoin(revoked_passes, revoked_passes.c.pass_id == passes.c.pass_id))


def _is_name(name: str) -> bool:
    return 0 < len(name) <= MOST_NAME and name.isprintable() and name == name.strip()


def _whole(at: datetime) -> int:
    """Milliseconds of a whole second, which is what a pass holds."""
    return milliseconds(at) // 1000 * 1000


def _seconds(at: datetime) -> int:
    return milliseconds(at) // 1000
