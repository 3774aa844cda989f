"""Bundles of releases that the hub may roll out: each was verified as a terminal would, and lies here as a file.

    updates/root.json       the first root of trust, the same that terminals are installed with
    updates/<sha256>.bundle

A hub that is taken over can offer a bundle that nobody signed, and every terminal refuses it; this check is there so
that no terminal needs to. Nothing of the metadata is remembered from one bundle to the next: those for several kinds
of machine are signed one after another, and none is older than another.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from device.clock import Clock
from device.errors import StoreError, UsageError
from device.update.bundle import MAX_BYTES, Bundle, BundleRefused, open_regular
from device.update.disk import BLOCK, free_bytes, guarded, remove, write_durably
from device.update.manifest import Manifest
from device.update.parcel import Plan, plan_of
from device.update.time_floor import TimeFloor
from device.update.verification import verify
from device.update.version import Version
from sync.hub.errors import InTheWay, NotThere
from sync.hub.schema import bundles
from sync.hub.storage import Storage
from sync.hub.times import milliseconds, moment

log = logging.getLogger(__name__)

CHUNK_BYTES = 262_144
SPARE_BYTES = 200 << 20
MOST_ROOT = 500_000
_LONG_AGO = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Kept:
    """One bundle. machine: what it is for, as in "aarch64 py3.11"; is_there: whether its file is."""

    sha256: str
    name: str
    release: Version
    min_release: Version
    machine: str
    size: int
    chunk_bytes: int
    chunks: bytes
    built: datetime
    added: datetime
    is_there: bool

    @property
    def chunk_count(self) -> int:
        return len(self.chunks) // 32

    def hash_of(self, index: int) -> bytes:
        return self.chunks[32 * index:32 * index + 32]


class Bundles:
    """Those of one hub; any thread may use it."""

    def __init__(self, storage: Storage, folder: Path, clock: Clock) -> None:
        self._storage, self._folder, self._clock = storage, folder, clock

    def trust(self, source: Path) -> str:
        """Verify bundles from now on by this root of trust; its SHA-256, to be compared by eye. UsageError where it
        is none."""
        try:
            data = source.read_bytes()
        except OSError as error:
            raise UsageError(f"{source}: {(error.strerror or 'cannot be read').lower()}") from None
        if len(data) > MOST_ROOT or not _is_root(data):
            raise UsageError(f"{source}: no root of trust; `make_bundle keys` makes it, as 1.root.json")
        with self._writing():
            write_durably(self._root, data)
        return hashlib.sha256(data).hexdigest()

    def add(self, source: Path, chunk_bytes: int = CHUNK_BYTES) -> Kept:
        """Verify a bundle and keep it, or find it kept already. BundleRefused, in one line, where it is not signed as
        it must be; InTheWay where nothing is known to verify it by."""
        if not self._root.exists():
            raise InTheWay("nothing is known to verify a bundle by: give the root that terminals were installed "
                           "with, `fleethub rollout trust 1.root.json`")
        scratch = self._folder / f"adding-{secrets.token_hex(8)}"
        with self._writing():
            self._sweep()
            (scratch / "copy").mkdir(mode=0o700, parents=True)
            try:
                copy = scratch / "copy" / source.name
                _copy(source, copy)
                manifest, plan = self._verified(copy, scratch), plan_of(copy, chunk_bytes)
                os.replace(copy, self._file(plan.sha256))
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        self._note(manifest, plan)
        return self.get(plan.sha256)

    def get(self, sha256: str) -> Kept:
        """NotThere where there is none."""
        with self._storage.read() as tx:
            row = tx.one(sa.select(bundles).where(bundles.c.sha256 == sha256))
        if row is None:
            raise NotThere(f"there is no bundle {sha256[:64]!r}")
        return self._kept(row)

    def all(self) -> list[Kept]:
        """The newest release first."""
        with self._storage.read() as tx:
            found = [self._kept(row) for row in tx.all(sa.select(bundles))]
        return sorted(found, key=lambda one: (one.release, one.machine), reverse=True)

    def named(self, name: str) -> Kept:
        """The bundle whose name this is, or whose SHA-256 begins with it (8 digits at least); NotThere otherwise."""
        found = [one for one in self.all()
                 if name == one.name or (len(name) >= 8 and one.sha256.startswith(name.lower()))]
        if not found:
            raise NotThere(f"there is no bundle {name[:80]!r} here; `fleethub rollout add` adds one")
        return max(found, key=lambda one: one.added)

    def chunk(self, kept: Kept, index: int) -> bytes | None:
        """One chunk as it was verified; None where there is none such, or the file is gone or damaged."""
        if not 0 <= index < kept.chunk_count:
            return None
        try:
            with self._file(kept.sha256).open("rb") as file:
                file.seek(index * kept.chunk_bytes)
                data = file.read(kept.chunk_bytes)
        except OSError as error:
            log.error("%s: %s", self._file(kept.sha256), error.strerror)
            return None
        if hashlib.sha256(data).digest() != kept.hash_of(index):
            log.error("%s: chunk %d is not what was verified", self._file(kept.sha256), index)
            return None
        return data

    def discard(self, sha256: str) -> None:
        """Remove a bundle's file; what is known of it stays, for the roll-outs that it had."""
        with self._writing():
            remove(self._file(sha256))

    # --- inside ------------------------------------------------------------------------------------------

    @property
    def _root(self) -> Path:
        return self._folder / "root.json"

    def _file(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.bundle"

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self._folder}: {error.strerror}") from None
        with guarded(self._folder):
            yield

    def _sweep(self) -> None:
        """Remove what an adding that was killed has left; one that is a day old is nobody's any more."""
        for left in self._folder.glob("adding-*"):
            if left.stat().st_mtime < self._clock.now().timestamp() - 86_400:
                shutil.rmtree(left, ignore_errors=True)

    def _verified(self, path: Path, scratch: Path) -> Manifest:
        try:
            import tuf.api.metadata  # noqa: F401
        except ImportError:
            raise InTheWay("bundles cannot be verified here: the package tuf is missing; see requirements") from None
        with Bundle.open(path) as bundle:
            floor = TimeFloor(scratch / "floor", _LONG_AGO, self._clock)
            return verify(bundle, scratch / "metadata", self._root, floor).manifest

    def _note(self, manifest: Manifest, plan: Plan) -> None:
        with self._storage.write() as tx:
            if tx.one(sa.select(bundles.c.sha256).where(bundles.c.sha256 == plan.sha256)) is None:
                tx.run(sa.insert(bundles).values(
                    sha256=plan.sha256, name=manifest.bundle_name, release=str(manifest.version),
                    min_release=str(manifest.min_version), machine=f"{manifest.arch} py{manifest.python}",
                    size=plan.size, chunk_bytes=plan.chunk_bytes, chunks=bytes.fromhex("".join(plan.chunks)),
                    built=milliseconds(manifest.built), added=milliseconds(self._clock.now())))

    def _kept(self, row: sa.Row[Any]) -> Kept:
        return Kept(row.sha256, row.name, Version.parse(row.release), Version.parse(row.min_release), row.machine,
                    row.size, row.chunk_bytes, bytes(row.chunks), moment(row.built), moment(row.added),
                    self._file(row.sha256).exists())


def _copy(source: Path, target: Path) -> None:
    """A durable copy: what is verified must be what is sent."""
    with open_regular(source) as file, target.open("xb") as copy:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_BYTES:
            raise BundleRefused(f"{source.name} has {size} bytes; at most {MAX_BYTES} are read")
        if free_bytes(target.parent) < size + SPARE_BYTES:
            raise StoreError(f"{target.parents[2]}: no room for a bundle of {size >> 20} MiB; free some space")
        left = size
        while left and (block := file.read(min(BLOCK, left))):
            left -= len(block)
            copy.write(block)
        copy.flush()
        os.fsync(copy.fileno())


def _is_root(data: bytes) -> bool:
    """Whether it is a root that its own keys signed."""
    from tuf.api.exceptions import RepositoryError
    from tuf.api.metadata import Metadata, Root  # type: ignore[attr-defined]

    try:
        found: Metadata[Root] = Metadata.from_bytes(data)
        found.signed.verify_delegate("root", found.signed_bytes, found.signatures)
    except (RepositoryError, ValueError, AttributeError, KeyError, TypeError):
        return False
    return isinstance(found.signed, Root)
