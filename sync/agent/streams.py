"""Where this terminal stands in each stream: epoch, seq and the digest's tree, as committed in gallery.db."""

from __future__ import annotations

from dataclasses import dataclass

from device.store.synced import SyncedRecords
from sync.wire.digest import DigestTree, bucket_hash

NOTHING = DigestTree()
NO_EPOCH = "none"  # what a stream of which nothing was ever applied is reported with


@dataclass(frozen=True, slots=True)
class Position:
    """One stream as this terminal holds it."""

    stream: str
    epoch: str = NO_EPOCH
    seq: int = 0

    @property
    def is_blank(self) -> bool:
        return self.epoch == NO_EPOCH


class Streams:
    """Positions and trees, read from the store at the start and moved on after each commit."""

    def __init__(self, records: SyncedRecords) -> None:
        self._records = records
        self._positions = {stream: Position(stream, epoch, seq)
                           for stream, (epoch, seq, _) in records.streams().items()}
        self._trees = {stream: self.built(stream) for stream in self._positions}

    def position(self, stream: str) -> Position:
        return self._positions.get(stream) or Position(stream)

    def tree(self, stream: str) -> DigestTree:
        """The living tree; copy it before changing it."""
        return self._trees.get(stream, NOTHING)

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._positions))

    def moved(self, stream: str, tree: DigestTree, buckets: set[int]) -> DigestTree:
        """A copy of `tree` with these buckets as the store has them now, inside the open transaction."""
        after = tree.copy()
        for bucket in buckets:
            after.set_bucket(bucket, bucket_hash(self._records.leaves(stream, bucket)))
        return after

    def built(self, stream: str) -> DigestTree:
        """The tree of all that the store says the stream holds."""
        tree = DigestTree()
        for bucket, leaves in self._records.buckets(stream):
            tree.set_bucket(bucket, bucket_hash(leaves))
        return tree

    def committed(self, position: Position, tree: DigestTree) -> None:
        """A transaction with this position and tree is on the medium."""
        self._positions[position.stream] = position
        self._trees[position.stream] = tree

    def forget(self, stream: str) -> None:
        """The stream is held no longer, and the store says so."""
        self._positions.pop(stream, None)
        self._trees.pop(stream, None)
