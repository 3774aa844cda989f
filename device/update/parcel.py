"""Parcel: a bundle that arrives in chunks, in any order, over days and restarts, until it is whole.

door-syncd owns it. In the spool lie

    incoming.part    as long as the bundle, with the chunks that have come in their places
    incoming.json    {"version": 1, "size", "chunk_bytes", "sha256", "chunks": [sha256 of each]}
    incoming.bundle  the whole bundle, renamed from incoming.part when its SHA-256 was right; starts the updater

Which chunks are there is never written down: at a start each is hashed and compared with the plan, so a cut can lose
chunks but never make a wrong one count. Nothing here is a matter of trust: the updater verifies the bundle itself.
Standard library only.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from device.update.bundle import MAX_BYTES, BundleRefused
from device.update.disk import UpdateFailed, free_bytes, guarded, remove, sync_folder, write_durably

VERSION = 1
LEAST_CHUNK, MOST_CHUNK = 4096, 1_000_000
MAX_CHUNKS = 65_536
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a bundle consists of; every chunk has chunk_bytes but the last."""

    size: int
    chunk_bytes: int
    sha256: str
    chunks: tuple[str, ...]

    def to_json(self) -> bytes:
        return json.dumps({"version": VERSION, **asdict(self)}).encode() + b"\n"

    def length_of(self, index: int) -> int:
        """Bytes of one chunk."""
        return min(self.chunk_bytes, self.size - index * self.chunk_bytes)


def plan_of(path: Path, chunk_bytes: int = 262_144) -> Plan:
    """The plan by which a bundle is sent."""
    digest, chunks = hashlib.sha256(), []
    with path.open("rb") as file:
        while block := file.read(chunk_bytes):
            digest.update(block)
            chunks.append(hashlib.sha256(block).hexdigest())
    return parse_plan(Plan(path.stat().st_size, chunk_bytes, digest.hexdigest(), tuple(chunks)).to_json())


def parse_plan(data: bytes) -> Plan:
    """BundleRefused where it is no plan, or one for something far too large."""
    try:
        found = json.loads(data)
        if set(found) != {"version", *Plan.__slots__} or found["version"] != VERSION:
            raise ValueError("not a plan of a known version")
        plan = Plan(found["size"], found["chunk_bytes"], found["sha256"], tuple(found["chunks"]))
        _check(plan)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BundleRefused(f"the plan of an update's chunks cannot be used: {str(error)[:100]}") from None
    return plan


def _check(plan: Plan) -> None:
    if type(plan.size) is not int or not 0 < plan.size <= MAX_BYTES:
        raise ValueError(f"size must be 1 to {MAX_BYTES} bytes")
    if type(plan.chunk_bytes) is not int or not LEAST_CHUNK <= plan.chunk_bytes <= MOST_CHUNK:
        raise ValueError(f"chunk_bytes must be {LEAST_CHUNK} to {MOST_CHUNK}")
    if len(plan.chunks) != -(-plan.size // plan.chunk_bytes) or len(plan.chunks) > MAX_CHUNKS:
        raise ValueError("as many chunks as the size asks for, and no more than can be kept")
    if not all(isinstance(value, str) and _HASH.fullmatch(value) for value in (plan.sha256, *plan.chunks)):
        raise ValueError("each hash must be 64 hex digits")


class Parcel:
    """One bundle on its way; one thread of door-syncd has it (`sync.agent.intake`)."""

    def __init__(self, spool: Path, plan: Plan) -> None:
        self._spool, self.plan = spool, plan
        self._part, self._plan_file = spool / "incoming.part", spool / "incoming.json"
        self._missing = set(range(len(plan.chunks)))

    @classmethod
    def begin(cls, spool: Path, plan: Plan) -> Parcel:
        """A parcel with nothing in it yet; another that was under way is dropped. UpdateFailed where there is no room
        for the whole of it."""
        parcel = cls(spool, plan)
        with guarded(spool):
            parcel.drop()
            if free_bytes(spool) < plan.size:
                raise UpdateFailed(f"{spool}: no room for a bundle of {plan.size >> 20} MiB; free some space")
            with parcel._part.open("xb") as file:
                os.posix_fallocate(file.fileno(), 0, plan.size)
            write_durably(parcel._plan_file, plan.to_json(), 0o640)
        return parcel

    @classmethod
    def resume(cls, spool: Path) -> Parcel | None:
        """The parcel that was under way, None where there is none or where it is damaged beyond use."""
        try:
            parcel = cls(spool, parse_plan((spool / "incoming.json").read_bytes()))
            with parcel._part.open("rb") as file:
                parcel._missing = {index for index, block in parcel._blocks(file)
                                   if not parcel._is_right(index, block)}
        except (OSError, BundleRefused):
            return None
        return parcel

    @property
    def missing(self) -> list[int]:
        """The chunks to be asked for, in order."""
        return sorted(self._missing)

    @property
    def missing_count(self) -> int:
        return len(self._missing)

    def first_missing(self, most: int) -> list[int]:
        """So many of the chunks to be asked for at most, the lowest first."""
        return heapq.nsmallest(most, self._missing)

    def put(self, index: int, data: bytes) -> bool:
        """Take a chunk; false where it is no chunk of this plan, has another hash, or is there already."""
        if index not in self._missing or not self._is_right(index, data):
            return False
        with guarded(self._part), self._part.open("r+b") as file:
            file.seek(index * self.plan.chunk_bytes)
            file.write(data)
        self._missing.discard(index)
        return True

    def settle(self) -> None:
        """What has come so far is on the card, so that `finish` has little left to wait for."""
        with guarded(self._part), self._part.open("rb") as file:
            os.fsync(file.fileno())

    def finish(self) -> Path:
        """Hand the whole bundle over to the updater. BundleRefused where it is not what the plan says: the parcel is
        dropped then."""
        if self._missing:
            raise BundleRefused(f"{len(self._missing)} chunks of the update are still missing")
        digest = hashlib.sha256()
        with guarded(self._part), self._part.open("rb") as file:
            for _, block in self._blocks(file):
                digest.update(block)
            os.fsync(file.fileno())
        if digest.hexdigest() != self.plan.sha256:
            self.drop()
            raise BundleRefused("the chunks of the update do not make up what its plan says; it must be sent anew")
        whole = self._spool / "incoming.bundle"
        with guarded(whole):
            os.replace(self._part, whole)
            remove(self._plan_file)
            sync_folder(self._spool)
        return whole

    def drop(self) -> None:
        """Forget it."""
        remove(self._plan_file)
        remove(self._part)

    def _blocks(self, file: BinaryIO) -> Iterator[tuple[int, bytes]]:
        for index in range(len(self.plan.chunks)):
            yield index, file.read(self.plan.length_of(index))

    def _is_right(self, index: int, data: bytes) -> bool:
        return (len(data) == self.plan.length_of(index)
                and hashlib.sha256(data).hexdigest() == self.plan.chunks[index])
