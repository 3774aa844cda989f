"""The keys that open what the hub's database holds; they lie outside it.

The master key comes from the service manager's credential `fleethub-key`, from the file that FLEETHUB_KEY names, or
from the keys folder. Under it lie the hub's own bodies. Whatever can end by itself has a key of its own: each person,
each template (and the picture that it was made from), each credential. Such a key is derived from the master key and
a random salt, which is kept in a small file; destroying that one salt ends everything that was ever sealed under it,
in this database and in every backup of it. So the file of salts is mirrored, never archived: of it only the newest
copy may exist.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from device.errors import SealBroken
from device.store.seal import KEY_BYTES, Key
from device.store.trust import place
from sync.hub.places import Places
from sync.hub.storage import Storage, Tx, exists, in_parts, insert_or_update
from sync.wire.seal import GroupSeal

CREDENTIAL = "fleethub-key"
VARIABLE = "FLEETHUB_KEY"
SALT_BYTES = 16
SEAL_BYTES = 28  # what a sealed body has more than the body: nonce and tag

_tables = sa.MetaData()
_keys = sa.Table("keys", _tables, sa.Column("name", sa.String(64), primary_key=True),
                 sa.Column("salt", sa.LargeBinary, nullable=False))


class Vault:
    """Seals and opens; the keys themselves never leave it. A person's key bears the person's id, another what
    `own_key` says."""

    def __init__(self, master: Key, storage: Storage) -> None:
        self._secret = master.derive("fleethub record keys")
        self._hub = GroupSeal(master.derive("fleethub records"))
        self._finder = master.derive("fleethub finders")
        self._storage = storage
        self._fresh: dict[str, bytes] = {}  # salts made in the hub's transaction that is being written
        self._fresh_of: Tx | None = None

    @classmethod
    def open(cls, where: Places, environment: Mapping[str, str] | None = None) -> Vault:
        """The vault of a hub; on the very first start the master key is made (0600).

        SealBroken where the master key or the file of salts is missing although there is a database, or where others
        may read the key.
        """
        master = load_master(where, environment)
        if not where.vault.exists() and exists(where.main):
            raise SealBroken(f"{where.vault}: missing, and {where.shown} is sealed under it; put its newest copy "
                             "back")
        return cls(master, Storage.open(where.vault, _tables))

    def close(self) -> None:
        self._storage.close()

    def make(self, names: Iterable[str], tx: Tx | None = None) -> None:
        """New keys; durable before the hub's transaction that is sealed under them is committed."""
        fresh = {name: secrets.token_bytes(SALT_BYTES) for name in names}
        if tx is None:
            self._store(list(fresh.items()))
            return
        if self._fresh_of is not tx:
            self._fresh, self._fresh_of = {}, tx  # another's that was undone are nobody's
        self._fresh.update(fresh)
        tx.before_commit(self._store).extend(fresh.items())

    def destroy(self, names: Iterable[str]) -> bool:
        """End these keys for good, in every byte of the file; false where a reader held up the last of it: then it is
        to be called again."""
        gone = list(names)
        if not gone:
            return True
        with self._storage.write() as tx:
            for part in in_parts(gone):
                tx.run(sa.delete(_keys).where(_keys.c.name.in_(part)))
        return self._storage.erase()

    def known(self) -> set[str]:
        """The names of all keys."""
        with self._storage.read() as tx:
            return {row.name for row in tx.all(sa.select(_keys.c.name))}

    def keys_of(self, names: Iterable[str]) -> Keyring:
        """The keys of that name (an empty one is the hub itself), to be held no longer than one piece of work."""
        wanted = {name for name in names if name}
        found = {name: self._made(name, salt) for name in wanted if (salt := self._fresh.get(name)) is not None}
        if kept := wanted - found.keys():
            with self._storage.read() as tx:
                found |= self._kept(tx, kept)
        return Keyring({"": self._hub, **found})

    @contextlib.contextmanager
    def view(self) -> Iterator[Callable[[Iterable[str]], Keyring]]:
        """`keys_of` as of now for as long as it is held: a key that is destroyed meanwhile is still there, and leaves
        the file after that."""
        with self._storage.read() as tx:
            tx.one(sa.select(_keys.c.name).limit(1))  # a view begins with its first statement
            yield lambda names: Keyring({"": self._hub, **self._kept(tx, set(names) - {""})})

    def seal(self, owner: str, plain: bytes, *bound: str | int) -> bytes:
        """`plain` under the key of that name, or the hub's where `owner` is empty, bound to a place."""
        return self.keys_of([owner]).seal(owner, plain, *bound)

    def open_one(self, owner: str, sealed: bytes, *bound: str | int) -> bytes:
        """The reverse of `seal`; SealBroken where it does not open."""
        return self.keys_of([owner]).open(owner, sealed, *bound)

    def finder(self, *parts: str | bytes) -> bytes:
        """16 bytes by which something is found again without being stored: a keyed hash (HMAC-SHA256)."""
        raw = [part.encode() if isinstance(part, str) else part for part in parts]
        joined = b"".join(len(part).to_bytes(4, "big") + part for part in raw)
        return hmac.digest(self._finder, joined, hashlib.sha256)[:16]

    def _store(self, fresh: list[tuple[str, bytes]]) -> None:
        with self._storage.write() as tx:
            insert_or_update(tx, _keys, [{"name": name, "salt": salt} for name, salt in fresh])
        self._fresh, self._fresh_of = {}, None

    def _kept(self, tx: Tx, names: set[str]) -> dict[str, GroupSeal]:
        found: dict[str, GroupSeal] = {}
        for part in in_parts(sorted(names)):
            rows: Any = tx.run(sa.select(_keys.c.name, _keys.c.salt).where(_keys.c.name.in_(part)))
            found |= {name: self._made(name, salt) for name, salt in rows}
        return found

    def _made(self, name: str, salt: bytes) -> GroupSeal:
        return GroupSeal(hmac.digest(self._secret, salt + name.encode(), hashlib.sha256))

    def __repr__(self) -> str:
        return "Vault(secret)"


class Keyring:
    """Some keys and the hub's."""

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
            raise SealBroken(f"{owner} has no key: removed for good")
        return key

    def __repr__(self) -> str:
        return "Keyring(secret)"


def own_key(kind: str, record_id: str) -> str:
    """Name of the key of a template (and its picture) or a credential."""
    return f"{kind}/{record_id}"


def placed(text: str) -> bytes:
    """`place(text)`, written out: it is computed for every record of a snapshot."""
    raw = text.encode()
    return len(raw).to_bytes(2, "big") + raw


def load_master(where: Places, environment: Mapping[str, str] | None = None) -> Key:
    """The master key; made on the first start, when there is neither a key nor a database."""
    variables = os.environ if environment is None else environment
    credentials = variables.get("CREDENTIALS_DIRECTORY")
    if credentials and (path := Path(credentials) / CREDENTIAL).is_file():
        return Key(_read(path))
    path = Path(variables[VARIABLE]) if variables.get(VARIABLE) else where.master
    if not path.exists():
        if where.vault.exists() or exists(where.main):
            raise SealBroken(f"{path}: missing, and {where.shown} is sealed under it; put the key back")
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
