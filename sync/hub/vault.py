"""The keys that open what the hub's database holds; they lie outside it.

The master key comes from the service manager's credential `fleethub-key`, from the file that FLEETHUB_KEY names, or
from the keys folder. Under it lie the hub's own bodies, and one random key for each person, kept in a small file of
its own. Destroying that one key ends everything that was ever sealed for the person, in this database and in every
backup of it; so the file of keys is mirrored, never archived: of it only the newest copy may exist.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

import sqlalchemy as sa

from device.errors import SealBroken
from device.store.seal import KEY_BYTES, Key
from device.store.trust import place
from sync.hub.places import Places
from sync.hub.storage import Storage, insert_or_update
from sync.wire.seal import GroupSeal

CREDENTIAL = "fleethub-key"
VARIABLE = "FLEETHUB_KEY"
AT_ONCE = 500

_tables = sa.MetaData()
_keys = sa.Table("person_keys", _tables, sa.Column("person_id", sa.String(64), primary_key=True),
                 sa.Column("wrapped", sa.LargeBinary, nullable=False))


class Vault:
    """Seals and opens; the keys themselves never leave it."""

    def __init__(self, master: Key, storage: Storage) -> None:
        self._master = GroupSeal(master.derive("fleethub person keys"))
        self._hub = GroupSeal(master.derive("fleethub records"))
        self._finder = master.derive("fleethub finders")
        self._storage = storage

    @classmethod
    def open(cls, where: Places, environment: Mapping[str, str] | None = None) -> Vault:
        """The vault of a hub; on the very first start the master key is made (0600).

        SealBroken where the key is missing although there is a database, or where others may read it.
        """
        return cls(load_master(where, environment), Storage.open(where.vault, _tables))

    def close(self) -> None:
        self._storage.close()

    def make(self, person_id: str) -> None:
        """A new key for a person; durable before anything is sealed under it."""
        wrapped = self._master.seal(secrets.token_bytes(KEY_BYTES), place("person key", person_id))
        with self._storage.write() as tx:
            insert_or_update(tx, _keys, [{"person_id": person_id, "wrapped": wrapped}])

    def destroy(self, person_ids: Iterable[str]) -> None:
        """End these persons' keys for good, in every byte of the file."""
        gone = list(person_ids)
        if not gone:
            return
        with self._storage.write() as tx:
            for start in range(0, len(gone), AT_ONCE):
                tx.run(sa.delete(_keys).where(_keys.c.person_id.in_(gone[start:start + AT_ONCE])))
        self._storage.erase()

    def known(self) -> set[str]:
        """Persons who have a key."""
        with self._storage.read() as tx:
            return {row.person_id for row in tx.all(sa.select(_keys.c.person_id))}

    def keys_of(self, person_ids: Iterable[str]) -> Keyring:
        """The keys of these persons (an empty id is the hub itself), to be held no longer than one piece of work."""
        wanted = sorted({person_id for person_id in person_ids if person_id})
        found: dict[str, GroupSeal] = {"": self._hub}
        with self._storage.read() as tx:
            for start in range(0, len(wanted), AT_ONCE):
                part = wanted[start:start + AT_ONCE]
                for row in tx.all(sa.select(_keys).where(_keys.c.person_id.in_(part))):
                    found[row.person_id] = GroupSeal(
                        self._master.open(row.wrapped, place("person key", row.person_id)))
        return Keyring(found)

    def seal(self, owner: str, plain: bytes, *bound: str | int) -> bytes:
        """`plain` under the key of a person, or of the hub where `owner` is empty, bound to a place."""
        return self.keys_of([owner]).seal(owner, plain, *bound)

    def open_one(self, owner: str, sealed: bytes, *bound: str | int) -> bytes:
        """The reverse of `seal`; SealBroken where it does not open."""
        return self.keys_of([owner]).open(owner, sealed, *bound)

    def finder(self, *parts: str | bytes) -> bytes:
        """16 bytes by which something is found again without being stored: a keyed hash (HMAC-SHA256)."""
        raw = [part.encode() if isinstance(part, str) else part for part in parts]
        joined = b"".join(len(part).to_bytes(4, "big") + part for part in raw)
        return hmac.digest(self._finder, joined, hashlib.sha256)[:16]

    def __repr__(self) -> str:
        return "Vault(secret)"


class Keyring:
    """Some persons' keys and the hub's, unwrapped."""

    def __init__(self, keys: dict[str, GroupSeal]) -> None:
        self._keys = keys

    def seal(self, owner: str, plain: bytes, *bound: str | int) -> bytes:
        return self._of(owner).seal(plain, place(*bound))

    def open(self, owner: str, sealed: bytes, *bound: str | int) -> bytes:
        return self._of(owner).open(sealed, place(*bound))

    def open_at(self, owner: str, sealed: bytes, bound: bytes) -> bytes:
        """As `open`, bound to what `place` gave."""
        return self._of(owner).open(sealed, bound)

    def _of(self, owner: str) -> GroupSeal:
        key = self._keys.get(owner)
        if key is None:
            raise SealBroken(f"person {owner} has no key: removed for good")
        return key

    def __repr__(self) -> str:
        return "Keyring(secret)"


def load_master(where: Places, environment: Mapping[str, str] | None = None) -> Key:
    """The master key; made on the first start, when there is neither a key nor a database."""
    variables = os.environ if environment is None else environment
    credentials = variables.get("CREDENTIALS_DIRECTORY")
    if credentials and (path := Path(credentials) / CREDENTIAL).is_file():
        return Key(_read(path))
    path = Path(variables[VARIABLE]) if variables.get(VARIABLE) else where.master
    if not path.exists():
        if where.database.exists() or where.vault.exists():
            raise SealBroken(f"{path}: missing, and {where.database} is sealed under it; put the key back")
        _make(path)
    if path.stat().st_mode & 0o077:
        raise SealBroken(f"{path}: others may read it; chmod 600 it")
    return Key(_read(path))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            secret = file.read(KEY_BYTES + 1)
    except OSError as error:
        raise SealBroken(f"{path}: the master key cannot be read: {error.strerror}") from None
    if len(secret) != KEY_BYTES:
        raise SealBroken(f"{path}: the master key must be {KEY_BYTES} bytes; put the right file back")
    return secret


def _make(path: Path) -> None:
    """A new key, whole or not at all; where another process was quicker, its key stands."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, secrets.token_bytes(KEY_BYTES))
            os.fsync(fd)
        finally:
            os.close(fd)
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(fresh)
        fresh.unlink()
    except OSError as error:
        raise SealBroken(f"{path}: the master key cannot be made: {error.strerror}") from None
