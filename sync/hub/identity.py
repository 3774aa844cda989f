"""The hub's own keys: what it signs with and what terminals seal to, and how they are replaced.

    rotate   new keys are announced, signed by the old one; both count, and the old one goes on signing
    retire   once every terminal has reported the new ones, an announcement signed by the new key ends the old, and
             the new key signs from then on

What was sealed to a key that is over is still opened: a terminal that was away knows no other. The keys and the
announcements lie sealed in the database and, since a backup may be older than they are, once more beside the keys of
persons; whichever has come further counts. Called by `keys`; any thread may use it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from device.clock import Clock
from device.errors import SealBroken, StoreError
from device.store.trust import Opener, key_id_of
from device.store.trust_chain import HubKeys
from sync.hub.errors import InTheWay
from sync.hub.schema import hub_keys, meta, terminals
from sync.hub.storage import Storage, Tx, insert_or_update
from sync.hub.times import milliseconds
from sync.hub.vault import Vault
from sync.wire.announce import announce
from sync.wire.sign import Signer

log = logging.getLogger(__name__)

SIGN, SEAL = "sign", "seal"
REPORTED = "hub_keys"  # under which of a report's versions the fleet keeps the names that a terminal trusts
_ANNOUNCED = "hub_keys/"
_FILE = ("hub keys", "beside")


class _Row(msgspec.Struct, frozen=True):
    """One key. retired: when it was ended, in milliseconds; None while it counts."""

    name: str
    purpose: str
    private: bytes
    created: int
    retired: int | None = None

    def __repr__(self) -> str:
        return f"_Row({self.name})"


class _Kept(msgspec.Struct, frozen=True):
    """All keys, oldest first, and all announcements in order."""

    rows: tuple[_Row, ...] = ()
    announcements: tuple[bytes, ...] = ()

    def valid(self, purpose: str) -> list[_Row]:
        return [row for row in self.rows if row.purpose == purpose and row.retired is None]

    @property
    def progress(self) -> tuple[int, int]:
        return len(self.announcements), len(self.rows)


class HubSigner(Signer):
    """Signs with the key that signs now; whoever holds it need not ask again."""

    def __init__(self, signer: Signer) -> None:
        self._now = signer

    @property
    def key_id(self) -> str:  # type: ignore[override]
        return self._now.key_id

    @property
    def public(self) -> bytes:  # type: ignore[override]
        return self._now.public

    def private_bytes(self) -> bytes:
        return self._now.private_bytes()

    def sign(self, data: bytes) -> bytes:
        return self._now.sign(data)

    def signed(self, data: bytes) -> tuple[str, bytes]:
        return self._now.signed(data)

    def become(self, signer: Signer) -> None:
        self._now = signer


class HubOpener(Opener):
    """Opens what was sealed to any key that the hub ever had, the newest first; `public` is the newest's."""

    def __init__(self, openers: Sequence[Opener]) -> None:
        self._openers = tuple(openers)

    @property
    def public(self) -> bytes:  # type: ignore[override]
        return self._openers[0].public

    def private_bytes(self) -> bytes:
        return self._openers[0].private_bytes()

    def open(self, sealed: bytes, bound_to: bytes) -> bytes:
        for opener in self._openers[:-1]:
            try:
                return opener.open(sealed, bound_to)
            except SealBroken:
                continue
        return self._openers[-1].open(sealed, bound_to)

    def become(self, openers: Sequence[Opener]) -> None:
        self._openers = tuple(openers)

    def __repr__(self) -> str:
        return f"HubOpener({key_id_of(self.public)})"


@dataclass(frozen=True, slots=True)
class Identity:
    """The hub's signing key and the key that terminals seal to; both stay current."""

    signer: HubSigner
    opener: HubOpener
    keys: IdentityKeys

    @property
    def trusted(self) -> tuple[bytes, ...]:
        """The public halves of all signing keys that are valid now: what a terminal that is claimed is given."""
        return self.keys.trusted()


@dataclass(frozen=True, slots=True)
class Standing:
    """How a replacement of keys stands. waiting: terminals that have not reported the newest signing key."""

    number: int
    signing: tuple[str, ...]
    sealing: str
    waiting: tuple[str, ...]

    @property
    def is_under_way(self) -> bool:
        return len(self.signing) > 1


class IdentityKeys:
    """The keys, as the database has them. beside: the file that holds them once more; None for none."""

    def __init__(self, storage: Storage, vault: Vault, clock: Clock, beside: Path | None) -> None:
        self._storage, self._vault, self._clock, self._beside = storage, vault, clock, beside
        self._kept = _Kept()
        self._identity: Identity | None = None

    def identity(self) -> Identity:
        """Made when first asked for."""
        if self._identity is None:
            kept = self._settled()
            self._identity = Identity(HubSigner(_signer(kept)), HubOpener(_openers(kept)), self)
        return self._identity

    def refresh(self) -> bool:
        """Take over what another process changed; whether anything was. About once a second."""
        identity = self.identity()
        with self._storage.read() as tx:
            if self._progress(tx) == self._kept.progress:
                return False
        self._turn(identity, self._settled())
        return True

    def trusted(self) -> tuple[bytes, ...]:
        self.identity()
        return tuple(Signer(row.private).public for row in self._kept.valid(SIGN))

    def announcements(self, known: Sequence[str]) -> tuple[bytes, ...]:
        """What a terminal that names these keys as valid has yet to follow, in order; empty where that is nothing."""
        self.identity()
        standing = self._names()
        if set(known) == {*standing[0], standing[1]}:
            return ()
        return self._kept.announcements

    def standing(self) -> Standing:
        self.identity()
        signing, sealing = self._names()
        return Standing(len(self._kept.announcements), signing, sealing, self._waiting(signing[-1]))

    def rotate(self) -> Standing:
        """New keys, announced under the old. InTheWay while an earlier replacement is under way."""
        identity = self.identity()
        with self._storage.write() as tx:
            kept = self._read(tx)
            if len(kept.valid(SIGN)) > 1:
                raise InTheWay("the keys are being replaced already: wait for all terminals, "
                               "or `fleethub keys retire --force`")
            number, now = len(kept.announcements) + 1, milliseconds(self._clock.now())
            fresh = (_Row(_name(SIGN, kept), SIGN, Signer.new().private_bytes(), now),
                     _Row(_name(SEAL, kept), SEAL, Opener.new().private_bytes(), now))
            kept = _Kept((*kept.rows, *fresh), kept.announcements)
            kept = _announced(kept, number, _signer(kept))
            self._write(tx, kept)
        self._turn(identity, kept)
        return self.standing()

    def retire(self, is_forced: bool = False) -> Standing:
        """End the keys before the newest. InTheWay where there are none, or where a terminal has yet to report the
        newest, unless it is forced: then that terminal follows when it comes back."""
        identity = self.identity()
        standing = self.standing()
        if not standing.is_under_way:
            raise InTheWay("there is nothing to retire: make new keys first, with `fleethub keys rotate`")
        if standing.waiting and not is_forced:
            raise InTheWay(f"{len(standing.waiting)} terminals have not reported the new keys: "
                           f"{', '.join(standing.waiting[:5])}; wait for them, revoke them, or use --force")
        with self._storage.write() as tx:
            kept, now = self._read(tx), milliseconds(self._clock.now())
            newest = {kept.valid(purpose)[-1].name for purpose in (SIGN, SEAL)}
            rows = tuple(msgspec.structs.replace(row, retired=now)
                         if row.retired is None and row.purpose in (SIGN, SEAL) and row.name not in newest else row
                         for row in kept.rows)
            kept = _Kept(rows, kept.announcements)
            kept = _announced(kept, len(kept.announcements) + 1, _signer(kept))
            self._write(tx, kept)
        self._turn(identity, kept)
        return self.standing()

    def retire_when_all_know(self) -> bool:
        """End the old keys where every terminal has reported the new ones; whether they were."""
        standing = self.standing()
        if not standing.is_under_way or standing.waiting:
            return False
        log.warning("every terminal has the hub's new keys: the old ones are over")
        self.retire()
        return True

    # --- inside ----------------------------------------------------------------------------------------------

    def _names(self) -> tuple[tuple[str, ...], str]:
        """(names of the valid signing keys, oldest first; name of the newest sealing key)"""
        sealing = self._kept.valid(SEAL)[-1]
        return tuple(map(key_id_of, self.trusted())), key_id_of(Opener(sealing.private).public)

    def _waiting(self, newest: str) -> tuple[str, ...]:
        """Claimed terminals, not revoked, whose last report does not name the newest signing key."""
        with self._storage.read() as tx:
            served = sa.and_(terminals.c.sign_public.is_not(None), terminals.c.revoked.is_(None))
            rows = tx.all(sa.select(terminals.c.terminal_id, terminals.c.health).where(served)
                          .order_by(terminals.c.terminal_id))
        return tuple(row.terminal_id for row in rows if newest not in _reported(row.health))

    def _settled(self) -> _Kept:
        """What is kept here or beside, whichever has come further; both are brought there."""
        beside = self._read_beside()
        with self._storage.read() as tx:
            kept = self._read(tx)
        if kept.rows and kept.progress >= beside.progress:
            if kept.progress > beside.progress:
                self._write_beside(kept)
            self._kept = kept
            return kept
        with self._storage.write() as tx:
            kept = self._read(tx)
            if not kept.rows or kept.progress < beside.progress:
                if beside.rows and kept.rows:
                    log.warning("the database has older keys of the hub than lie beside it; those beside it count")
                kept = beside if beside.rows else self._new()
                self._write(tx, kept)
        self._kept = kept
        return kept

    def _new(self) -> _Kept:
        now = milliseconds(self._clock.now())
        return _Kept((_Row(SIGN, SIGN, Signer.new().private_bytes(), now),
                      _Row(SEAL, SEAL, Opener.new().private_bytes(), now)))

    def _turn(self, identity: Identity, kept: _Kept) -> None:
        self._kept = kept
        identity.signer.become(_signer(kept))
        identity.opener.become(_openers(kept))

    def _progress(self, tx: Tx) -> tuple[int, int]:
        announced = tx.value(sa.select(sa.func.count()).select_from(meta).where(meta.c.name.like(_ANNOUNCED + "%")))
        keys = tx.value(sa.select(sa.func.count()).select_from(hub_keys).where(hub_keys.c.purpose.in_((SIGN, SEAL))))
        return int(announced), int(keys)

    def _read(self, tx: Tx) -> _Kept:
        rows = tx.all(sa.select(hub_keys).where(hub_keys.c.purpose.in_((SIGN, SEAL)))
                      .order_by(hub_keys.c.created, hub_keys.c.name))
        said = tx.all(sa.select(meta.c.value).where(meta.c.name.like(_ANNOUNCED + "%")).order_by(meta.c.name))
        return _Kept(tuple(self._row(row) for row in rows), tuple(bytes.fromhex(row.value) for row in said))

    def _row(self, row: sa.Row[Any]) -> _Row:
        private = self._vault.open_one("", row.sealed, "hub key", row.name)
        return _Row(row.name, row.purpose, private, row.created, row.retired)

    def _write(self, tx: Tx, kept: _Kept) -> None:
        insert_or_update(tx, hub_keys, [
            {"name": row.name, "purpose": row.purpose, "created": row.created, "retired": row.retired,
             "public": _public(row), "sealed": self._vault.seal("", row.private, "hub key", row.name)}
            for row in kept.rows])
        insert_or_update(tx, meta, [{"name": f"{_ANNOUNCED}{number:06d}", "value": data.hex()}
                                    for number, data in enumerate(kept.announcements, 1)])
        # Before the commit: of two states that a power cut may leave, the later one counts.
        self._write_beside(kept)

    def _read_beside(self) -> _Kept:
        try:
            data = self._beside.read_bytes() if self._beside is not None else b""
            return msgspec.msgpack.decode(self._vault.open_one("", data, *_FILE), type=_Kept) if data else _Kept()
        except FileNotFoundError:
            return _Kept()
        except (OSError, SealBroken, msgspec.DecodeError) as error:
            raise StoreError(f"{self._beside}: the hub's keys cannot be read: {error}; put the newest copy of the "
                             "keys folder back") from None

    def _write_beside(self, kept: _Kept) -> None:
        if self._beside is None:
            return
        fresh = self._beside.with_name(self._beside.name + ".new")
        try:
            fresh.touch(0o600)
            fresh.write_bytes(self._vault.seal("", msgspec.msgpack.encode(kept), *_FILE))
            fresh.replace(self._beside)
        except OSError as error:
            raise StoreError(f"{self._beside}: cannot be written: {error.strerror}") from None


def _announced(kept: _Kept, number: int, signer: Signer) -> _Kept:
    signing = tuple(_public(row) for row in kept.valid(SIGN))
    keys = HubKeys(number, signing, _public(kept.valid(SEAL)[-1]))
    return _Kept(kept.rows, (*kept.announcements, announce(keys, signer)))


def _signer(kept: _Kept) -> Signer:
    """The key that signs: the oldest that is valid, which every terminal knows."""
    return Signer(kept.valid(SIGN)[0].private)


def _openers(kept: _Kept) -> list[Opener]:
    return [Opener(row.private) for row in reversed(kept.rows) if row.purpose == SEAL]


def _public(row: _Row) -> bytes:
    return Signer(row.private).public if row.purpose == SIGN else Opener(row.private).public


def _name(purpose: str, kept: _Kept) -> str:
    return f"{purpose}-{sum(row.purpose == purpose for row in kept.rows) + 1}"


def _reported(health: str) -> list[str]:
    """Names of the keys that a terminal's report says it believes."""
    return str(json.loads(health).get("versions", {}).get(REPORTED, "")).split()
