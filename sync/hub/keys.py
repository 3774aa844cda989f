"""The hub's own keys and those of shared streams: made here, kept sealed in the database, handed out opened.

Called by the carrier and by claims, which sign, seal and open with them; by fleet and areas, which replace a
stream's key when a terminal leaves it. The hub's signing and sealing keys are `identity`'s.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from device.clock import Clock
from device.errors import StoreError
from sync.hub.identity import Identity, IdentityKeys
from sync.hub.numbers import Numbers
from sync.hub.schema import hub_keys, stream_keys
from sync.hub.storage import Storage, Tx
from sync.hub.times import milliseconds
from sync.hub.vault import Vault
from sync.wire.seal import GroupSeal
from sync.wire.streams import owner_of, scope_of

NUMBERS, BESIDE = "numbers", "hub-keys"  # files beside the keys of persons, which no backup sets back


class Keys:
    """All keys that are not one person's."""

    def __init__(self, storage: Storage, vault: Vault, clock: Clock) -> None:
        self._storage, self._vault, self._clock = storage, vault, clock
        folder = _folder(vault)
        self.own = IdentityKeys(storage, vault, clock, None if folder is None else folder / BESIDE)
        self.numbers = Numbers(None if folder is None else folder / NUMBERS, clock)

    def identity(self) -> Identity:
        """The hub's own pair of keys; made when first asked for."""
        return self.own.identity()

    def secret(self, name: str, tx: Tx | None = None) -> bytes | None:
        """What `keep` was given under this name."""
        if tx is None:
            with self._storage.read() as own:
                return self.secret(name, own)
        row = tx.one(sa.select(hub_keys.c.sealed).where(hub_keys.c.name == name, hub_keys.c.retired.is_(None)))
        return None if row is None else self._vault.open_one("", row.sealed, "hub key", name)

    def keep(self, name: str, purpose: str, public: bytes, private: bytes, tx: Tx | None = None) -> None:
        """Keep a private key (a certificate authority's, say) sealed under the hub's; StoreError for a name that is
        taken."""
        if tx is None:
            with self._storage.write() as own:
                return self.keep(name, purpose, public, private, own)
        if tx.one(sa.select(hub_keys.c.name).where(hub_keys.c.name == name)):
            raise StoreError(f"the hub has a key called {name} already")
        tx.run(sa.insert(hub_keys).values(
            name=name, purpose=purpose, public=public, created=milliseconds(self._clock.now()),
            sealed=self._vault.seal("", private, "hub key", name)))
        return None

    def public(self, name: str) -> bytes | None:
        """The public half that was kept under this name."""
        with self._storage.read() as tx:
            found = tx.value(sa.select(hub_keys.c.public).where(hub_keys.c.name == name))
        return bytes(found) if found is not None else None

    def of_stream(self, stream: str) -> GroupSeal:
        """The current key of a group's or an area's stream; made when first asked for."""
        with self._storage.read() as tx:
            known = self._current(tx, stream)
        return known or self.rotate(stream, is_first=True)

    def by_id(self, key_id: str) -> GroupSeal | None:
        """Any key that a stream ever had."""
        with self._storage.read() as tx:
            row = tx.one(sa.select(stream_keys).where(stream_keys.c.key_id == key_id))
        return None if row is None else self._opened(row)

    def rotate(self, stream: str, tx: Tx | None = None, is_first: bool = False) -> GroupSeal:
        """A new key for the stream; the old ones are kept retired, so that what was sealed under them can be told.

        is_first  only if it has none
        """
        if tx is None:
            with self._storage.write() as own:
                return self.rotate(stream, own, is_first)
        if is_first and (known := self._current(tx, stream)) is not None:
            return known
        now = milliseconds(self._clock.now())
        tx.run(sa.update(stream_keys).where(stream_keys.c.stream == stream, stream_keys.c.retired.is_(None))
               .values(retired=now))
        key = GroupSeal.new()
        tx.run(sa.insert(stream_keys).values(
            key_id=key.key_id, stream=stream, created=now,
            sealed=self._vault.seal("", key.key_bytes(), *_place(stream), key.key_id)))
        return key

    def _current(self, tx: Tx, stream: str) -> GroupSeal | None:
        row = tx.one(sa.select(stream_keys).where(stream_keys.c.stream == stream, stream_keys.c.retired.is_(None)))
        return None if row is None else self._opened(row)

    def _opened(self, row: sa.Row[tuple[str, str, bytes]]) -> GroupSeal:
        return GroupSeal(self._vault.open_one("", row.sealed, *_place(row.stream), row.key_id))


def _place(stream: str) -> tuple[str, str]:
    return f"{scope_of(stream)} key", owner_of(stream)


def _folder(vault: Vault) -> Path | None:
    path = vault._storage._path
    return None if path is None else path.parent
