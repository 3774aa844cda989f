"""One hash over a set of living records, and hashes of its ranges, so that equal roots prove equal sets.

A record is (kind, key, version, SHA-256 of its body). Records fall into 4 096 buckets by the first twelve bits of
the hash of their name; 64 ranges of 64 buckets each stand between the buckets and the root. A change touches one
bucket, one range and the root, whatever the size of the set; a difference is found by comparing 64 ranges, then
the 64 buckets of a range that differs.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from device.store.slots import BUCKETS, bucket_of

RANGES = 64
_PER_RANGE = BUCKETS // RANGES
_EMPTY = b"\0" * 32
_TAG = b"door-digest-1/"
_VERSION, _HASH = (8).to_bytes(4, "big"), (32).to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class Leaf:
    """One living record as the digest sees it."""

    kind: str
    key: str
    version: int
    body_hash: bytes

    @property
    def bucket(self) -> int:
        return bucket_of(self.kind, self.key)

    def hash(self) -> bytes:
        return _hash(b"leaf", self.kind.encode(), self.key.encode(), self.version.to_bytes(8, "big"), self.body_hash)


def placed(kind: str, key: str, version: int, body: bytes) -> tuple[int, bytes]:
    """(bucket, hash) of a leaf, as `Leaf` has them but in a fifth of the time: snapshots are full of them."""
    name = key.encode()
    leaf = _prefix(kind, len(name))
    told = b"".join((leaf, name, _VERSION, version.to_bytes(8, "big"), _HASH, hashlib.sha256(body).digest()))
    return bucket_of(kind, key), hashlib.sha256(told).digest()


def body_hash(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


def bucket_hash(leaves: Iterable[bytes]) -> bytes:
    """Hash of one bucket from the hashes of its leaves, in any order; zeros where it is empty."""
    ordered = sorted(leaves)
    return _hash(b"bucket", *ordered) if ordered else _EMPTY


class DigestTree:
    """The hashes of all buckets and ranges of one set; holds no record."""

    def __init__(self) -> None:
        self._buckets = [_EMPTY] * BUCKETS
        self._ranges: list[bytes | None] = [None] * RANGES
        self._root: bytes | None = None

    @classmethod
    def of(cls, leaves: Iterable[Leaf]) -> DigestTree:
        """The tree over a whole set."""
        grouped: dict[int, list[bytes]] = {}
        for leaf in leaves:
            grouped.setdefault(leaf.bucket, []).append(leaf.hash())
        tree = cls()
        for bucket, hashes in grouped.items():
            tree.set_bucket(bucket, bucket_hash(hashes))
        return tree

    def copy(self) -> DigestTree:
        """A tree with the same hashes, to be changed without changing this one."""
        other = DigestTree()
        other._buckets, other._ranges, other._root = list(self._buckets), list(self._ranges), self._root
        return other

    def set_bucket(self, bucket: int, value: bytes) -> None:
        self._buckets[bucket] = value
        self._ranges[bucket // _PER_RANGE] = self._root = None

    def bucket(self, bucket: int) -> bytes:
        return self._buckets[bucket]

    def range(self, index: int) -> bytes:
        """Hash of the `index`-th range of 64 buckets."""
        known = self._ranges[index]
        if known is None:
            known = _hash(b"range", *self._buckets[index * _PER_RANGE : (index + 1) * _PER_RANGE])
            self._ranges[index] = known
        return known

    def ranges(self) -> tuple[bytes, ...]:
        return tuple(self.range(index) for index in range(RANGES))

    def buckets_of(self, index: int) -> tuple[bytes, ...]:
        return tuple(self._buckets[index * _PER_RANGE : (index + 1) * _PER_RANGE])

    def root(self) -> bytes:
        """32 bytes; equal for equal sets."""
        if self._root is None:
            self._root = _hash(b"root", *self.ranges())
        return self._root


def differing_ranges(ours: Iterable[bytes], theirs: Iterable[bytes]) -> list[int]:
    """Indices at which two lists of hashes differ."""
    return [index for index, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b]


@functools.cache
def _prefix(kind: str, length: int) -> bytes:
    """What comes before a key of this length in the hash of its leaf; see `_hash`."""
    named = kind.encode()
    return _TAG + b"leaf" + len(named).to_bytes(4, "big") + named + length.to_bytes(4, "big")


def _hash(tag: bytes, *parts: bytes) -> bytes:
    # Every part is preceded by its length, so that no two lists of parts give the same bytes.
    told = [_TAG + tag]
    for part in parts:
        told += (len(part).to_bytes(4, "big"), part)
    return hashlib.sha256(b"".join(told)).digest()


EMPTY = DigestTree().root()
"""Of a set without any record."""
