"""Bundles as an attacker would make them: with some of the keys, out of parts of real ones, or by chance."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tuf.api.metadata import Metadata, MetaFile
from update_samples import OURS, signers

from device.update.bundle import MAGIC, header


def role_name(parts: dict[str, bytes], role: str) -> str:
    """The name of a role's metadata in a bundle."""
    return next(name for name in parts if name.endswith(f"{role}.json") and name.startswith("metadata/"))


def forged(parts: dict[str, bytes], role: str, change: Callable[[Metadata[Any]], None], count: int = 3,
           keys: str = OURS) -> dict[str, bytes]:
    """The bundle with a role's metadata changed and signed again by `count` of that role's keys; what lists it is
    brought in line and signed again, by keys that lie on a server."""
    fresh = dict(parts)
    name = role_name(parts, role)
    metadata: Metadata[Any] = Metadata.from_bytes(parts[name])
    change(metadata)
    _sign(metadata, role, count, keys)
    fresh[name] = metadata.to_bytes()
    lister = {"targets": "snapshot", "snapshot": "timestamp"}.get(role)
    if lister is None:
        return fresh
    meta = MetaFile.from_data(metadata.signed.version, fresh[name], ["sha256"])

    def relist(other: Metadata[Any]) -> None:
        if lister == "snapshot":
            other.signed.meta["targets.json"] = meta
        else:
            other.signed.snapshot_meta = meta

    return forged(fresh, lister, relist, 1, keys)


def untouched(metadata: Metadata[Any]) -> None:
    """No change but the signatures."""


def _sign(metadata: Metadata[Any], role: str, count: int, keys: str) -> None:
    metadata.signatures.clear()
    found = [key.signer for key in signers(keys) if key.name.startswith(role)]
    for signer in sorted(found[:count], key=lambda one: one.public_key.keyid):
        metadata.sign(signer, append=True)


class Mutator:
    """Alters whole bundles by chance, in the ways that mean something to their format and in those that do not."""

    def __init__(self, data: bytes, parts: dict[str, bytes], others: list[dict[str, bytes]], seed: int) -> None:
        self._data, self._parts, self._others = data, parts, others
        self._real = {data, *map(_whole, others)}
        self._chance = random.Random(seed)
        self._ways = (self._flip, self._flip, self._flip, self._cut, self._insert, self._swap, self._lose, self._add,
                      self._mix, self._resize, self._rename)

    def mutant(self) -> bytes:
        """An altered bundle; never one of those that it was made of."""
        while True:
            found = self._chance.choice(self._ways)()
            if found not in self._real:
                return found

    def _flip(self) -> bytes:
        changed = bytearray(self._data)
        for _ in range(self._chance.choice((1, 1, 1, 3, 50))):
            at = self._chance.randrange(len(changed))
            changed[at] ^= 1 << self._chance.randrange(8)
        return bytes(changed)

    def _cut(self) -> bytes:
        return self._data[: self._chance.randrange(len(self._data))]

    def _insert(self) -> bytes:
        at = self._chance.randrange(len(self._data) + 1)
        return self._data[:at] + self._chance.randbytes(self._chance.choice((1, 100))) + self._data[at:]

    def _swap(self) -> bytes:
        one, other = self._chance.sample(sorted(self._parts), 2)
        return _whole({**self._parts, one: self._parts[other], other: self._parts[one]})

    def _lose(self) -> bytes:
        gone = self._chance.choice(sorted(self._parts))
        return _whole({name: data for name, data in self._parts.items() if name != gone})

    def _add(self) -> bytes:
        name = self._chance.choice(("wheels/more-1.0-py3-none-any.whl", "wheels/../../evil.whl", "wheels/more.exe",
                                    "metadata/9.root.json", "metadata/7.targets.json", "/etc/passwd"))
        return _whole({**self._parts, name: self._chance.choice(sorted(self._parts.values()))})

    def _mix(self) -> bytes:
        """Some parts from another bundle, signed by the same people."""
        other = self._chance.choice(self._others)
        taken = {name: data for name, data in other.items() if self._chance.random() < 0.5}
        kept = {name: data for name, data in self._parts.items() if name in taken or self._chance.random() < 0.9}
        return _whole({**kept, **taken})

    def _resize(self) -> bytes:
        """One part says that it is longer or shorter than it is, by a little or by far."""
        sizes = {name: len(data) for name, data in self._parts.items()}
        name = self._chance.choice(sorted(sizes))
        sizes[name] = max(sizes[name] + self._chance.choice((-1, 1, 10**6, 10**9)), 0)
        return header(sizes) + b"".join(self._parts[name] for name in sorted(self._parts))

    def _rename(self) -> bytes:
        lines = self._data.partition(b"\n\n")[0]
        at = self._chance.randrange(len(MAGIC), len(lines))
        changed = bytearray(self._data)
        changed[at] = self._chance.randrange(32, 127)
        return bytes(changed)


def _whole(parts: dict[str, bytes]) -> bytes:
    sizes = {name: len(data) for name, data in parts.items()}
    return header(sizes) + b"".join(parts[name] for name in sorted(parts))
