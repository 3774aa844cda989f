"""The digest trees of the ledger's streams, kept in memory and brought up to date from the buckets that changed.

Used by `ledger` alone.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from device.store.trust import place
from sync.hub.history import epoch_of
from sync.hub.schema import changes, streams
from sync.hub.storage import AT_ONCE, Tx, in_parts
from sync.hub.vault import Vault, placed
from sync.wire.digest import DigestTree, bucket_hash


@dataclass(frozen=True, slots=True)
class Head:
    """Where a stream stands: number of its last change, and the digest of its living records."""

    stream: str
    epoch: str
    seq: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class _Known:
    """A stream's tree as of one state of the ledger; never altered once it is known."""

    epoch: str
    seq: int
    tree: DigestTree


class Trees:
    """Every stream's tree; any thread may use it."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        # Not a queue: trees are a cache that several threads (API, carrier) ask for and must have at once.
        self._guard = threading.Lock()
        self._trees: dict[str, _Known] = {}

    def at(self, tx: Tx, stream: str) -> tuple[Head, DigestTree]:
        """The head and its tree, brought up to date with what this transaction sees."""
        epoch, row = epoch_of(tx), tx.one(sa.select(streams).where(streams.c.stream == stream))
        if row is None:
            tree = DigestTree()
            return Head(stream, epoch, 0, tree.root()), tree
        with self._guard:
            known = self._trees.get(stream)
        if known is None or known.epoch != epoch or not row.floor <= known.seq <= row.seq:
            tree = self._built(tx, row.stream_id, stream)
        elif known.seq < row.seq:
            tree = self._advanced(tx, row.stream_id, stream, known)
        else:
            tree = known.tree
        head = Head(stream, epoch, row.seq, tree.root())
        # A state that may yet be undone is not remembered, nor an older one than is known.
        if not tx.is_writing:
            with self._guard:
                known = self._trees.get(stream)
                if known is None or known.epoch != epoch or known.seq < row.seq:
                    self._trees[stream] = _Known(epoch, row.seq, tree)
        return head, tree

    def _advanced(self, tx: Tx, stream_id: int, stream: str, known: _Known) -> DigestTree:
        tree = known.tree.copy()
        touched = tx.all(sa.select(changes.c.bucket).distinct().where(
            changes.c.stream_id == stream_id, changes.c.seq > known.seq))
        for part in in_parts(sorted(row.bucket for row in touched)):
            self._fill(tx, stream, tree, sa.and_(changes.c.stream_id == stream_id, changes.c.bucket.in_(part)), part)
        return tree

    def _built(self, tx: Tx, stream_id: int, stream: str) -> DigestTree:
        tree = DigestTree()
        self._fill(tx, stream, tree, changes.c.stream_id == stream_id, ())
        return tree

    def _fill(self, tx: Tx, stream: str, tree: DigestTree, where: Any, emptied: Sequence[int]) -> None:
        """Set the buckets of the living records that `where` finds; those of `emptied` without any become empty."""
        found: dict[int, list[bytes]] = {bucket: [] for bucket in emptied}
        keys, before = self._vault.keys_of(()), place("leaf", stream)
        rows: Any = tx.run(sa.select(changes.c.bucket, changes.c.seq, changes.c.leaf).where(
            where, changes.c.leaf.is_not(None)))
        for part in rows.partitions(4 * AT_ONCE):
            for bucket, seq, leaf in part:
                found.setdefault(bucket, []).append(keys.open_at("", leaf, before + placed(str(seq))))
        for bucket, leaves in found.items():
            tree.set_bucket(bucket, bucket_hash(leaves))
