"""Keys that can be destroyed: each record is sealed under the key of its slot, and a slot's key is replaced when a
record of it is removed.

SQLite leaves copies of rows in unused parts of pages when it moves them, so that a row deleted is not a row gone.
Writing the whole file anew rids it of them, at the price of three gallery's sizes written for each person removed.
Instead the slot's few other records are sealed anew under a fresh key and the old one is overwritten: what copies of
the removed record lie anywhere, nobody opens them any more.

A slot's key is derived from the terminal's key and the slot's random salt; the salts of all slots lie in one value of
fixed length, which SQLite overwrites in place. Used by `store.cache` and its writer.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from device.errors import SealBroken
from device.store.seal import NONCE_BYTES, Key, bind

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
    from sqlite_utils import Database

BUCKETS = 4096
SLOTS = 1024
PER_SLOT = BUCKETS // SLOTS
SALT_BYTES = 16
"""1 024 slots: a cipher object takes 2.7 kB, and with 100 000 people a slot holds about 200 records to seal anew."""


def bucket_of(kind: str, key: str) -> int:
    """Which of the 4 096 buckets a record falls into, for slots here and for the digests of streams."""
    name = key.encode()
    return int.from_bytes(hashlib.sha256(_prefix(kind, len(name)) + name).digest()[:2], "big") >> 4


def slot_of(kind: str, key: str) -> int:
    return bucket_of(kind, key) // PER_SLOT


@functools.lru_cache(maxsize=1024)
def _prefix(kind: str, length: int) -> bytes:
    # Every part is preceded by its length, so that no two names give the same bytes.
    named = kind.encode()
    return b"door-digest-1/name" + len(named).to_bytes(4, "big") + named + length.to_bytes(4, "big")


def fresh_salts() -> bytes:
    """For a file that was just made."""
    return secrets.token_bytes(SLOTS * SALT_BYTES)


class SlotSealer:
    """Seals and opens records of one file; knows its salts as `follow` last read them. Owned by one thread."""

    def __init__(self, key: Key) -> None:
        self._secret = key.derive("record slots")
        self._version = -1
        self._salts = b""
        self._ciphers: list[AESGCMSIV | None] = [None] * SLOTS

    def follow(self, db: Database) -> bool:
        """Read the salts where they have changed; whether they had. Inside the transaction that reads the records."""
        version = _one(db, "SELECT version FROM slots")
        if version == self._version:
            return False
        salts = _one(db, "SELECT salts FROM slots")
        if not isinstance(salts, bytes) or len(salts) != SLOTS * SALT_BYTES:
            raise SealBroken("the gallery's slots are not whole: it cannot be opened")
        for slot in range(SLOTS):
            if _salt(salts, slot) != _salt(self._salts, slot):
                self._ciphers[slot] = None
        self._version, self._salts = version, salts
        return True

    def cipher(self, slot: int) -> AESGCMSIV:
        found = self._ciphers[slot]
        if found is None:
            found = self._ciphers[slot] = self._made(_salt(self._salts, slot))
        return found

    def seal(self, body: bytes, kind: str, key: str, *more: str) -> bytes:
        """nonce (12 bytes), ciphertext, tag (16 bytes); bound to the kind and the ids."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self.cipher(slot_of(kind, key)).encrypt(nonce, body, bind(kind, key, *more))

    def unseal(self, sealed: bytes, kind: str, key: str, *more: str) -> bytes:
        """The body; SealBroken names what it was bound to, never what is in it."""
        from cryptography.exceptions import InvalidTag

        try:
            return self.cipher(slot_of(kind, key)).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:],
                                                           bind(kind, key, *more))
        except (InvalidTag, ValueError, TypeError):
            raise SealBroken(f"the sealed {kind} {key} does not open: altered, or sealed under another key") from None

    def unseal_rows(self, rows: Sequence[tuple[Any, Any, Any]], kind: str, last: str) -> list[bytes | None]:
        """The bodies of many rows (key, id, sealed) bound to `kind`, both ids and `last`; None for each that does not
        open. The loop that decides how fast a terminal starts: `bind` is written out and little is looked up."""
        from cryptography.exceptions import InvalidTag

        before, after = f"{kind}\0", f"\0{last}"
        bodies: list[bytes | None] = []
        for first, second, sealed in rows:
            try:
                bodies.append(self.cipher(slot_of(kind, first)).decrypt(
                    sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], f"{before}{first}\0{second}{after}".encode()))
            except (InvalidTag, ValueError, TypeError, AttributeError):
                bodies.append(None)
        return bodies

    def successor(self, slots: Iterable[int]) -> Successor:
        """What these slots are sealed under next; to be stored in the transaction that seals their records anew."""
        return Successor(self, set(slots))

    def _made(self, salt: bytes) -> AESGCMSIV:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

        return AESGCMSIV(hmac.digest(self._secret, salt, hashlib.sha256))


class Successor:
    """Fresh salts for some slots of a `SlotSealer`, which itself changes only when it follows the file."""

    def __init__(self, sealer: SlotSealer, slots: set[int]) -> None:
        self._sealer = sealer
        salts = bytearray(sealer._salts)
        for slot in slots:
            salts[slot * SALT_BYTES:(slot + 1) * SALT_BYTES] = secrets.token_bytes(SALT_BYTES)
        self._salts = bytes(salts)
        self._ciphers = {slot: sealer._made(_salt(self._salts, slot)) for slot in slots}

    def resealed(self, sealed: bytes, kind: str, key: str, *more: str) -> bytes:
        """A record of one of the slots under its next key; SealBroken where it does not open."""
        body = self._sealer.unseal(sealed, kind, key, *more)
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._ciphers[slot_of(kind, key)].encrypt(nonce, body, bind(kind, key, *more))

    def store(self, db: Database) -> None:
        db.execute("UPDATE slots SET version = version + 1, salts = ?", [self._salts])


def _salt(salts: bytes, slot: int) -> bytes:
    return salts[slot * SALT_BYTES:(slot + 1) * SALT_BYTES]


def _one(db: Database, sql: str) -> Any:
    row = db.conn.execute(sql).fetchone()
    return row[0] if row else None
