"""Stage: a bundle's way from where it was left to unpacked parts, all of it in a folder that only root may read.

The bundle is copied before anything looks at it: what lies on a stick or in the spool may change while it is read.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from device.update.bundle import MAX_BYTES, Bundle, BundleRefused, open_regular
from device.update.disk import BLOCK, UpdateFailed, free_bytes, guarded, is_one_disk, remove_tree
from device.update.manifest import Manifest
from device.update.verification import METADATA


class Stage:
    """spare_bytes  what must stay free of the card for the terminal itself."""

    def __init__(self, folder: Path, spare_bytes: int, progress: Callable[[int], None]) -> None:
        self._folder, self._spare, self._progress = folder, spare_bytes, progress

    @property
    def bundle(self) -> Path:
        return self._folder / "bundle"

    @property
    def parts(self) -> Path:
        return self._folder / "parts"

    def clear(self) -> None:
        remove_tree(self._folder)

    def copy(self, source: Path) -> None:
        """Take a copy; UpdateFailed where it cannot be read or there is no room, BundleRefused where it is none."""
        self.clear()
        with guarded(self._folder):
            self._folder.mkdir(mode=0o700, parents=True)
        with guarded(source):
            file = open_regular(source)
        with file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise BundleRefused(f"{source.name} has {size} bytes; at most {MAX_BYTES} are read")
            self._room(self._folder, size)
            with guarded(self._folder), self.bundle.open("xb") as copy:
                self._pour(file, copy, source, size)

    def room_for(self, manifest: Manifest, bundle: Bundle, releases: Path) -> None:
        """UpdateFailed where the parts or the release would not fit."""
        parts = sum(part.size for name, part in bundle.parts.items() if not name.startswith(METADATA))
        if is_one_disk(self._folder, releases):
            self._room(releases, parts + manifest.installed_bytes)
        else:
            self._room(self._folder, parts)
            self._room(releases, manifest.installed_bytes)

    def unpack(self, bundle: Bundle) -> Path:
        """The folder with a verified bundle's parts; the bundle's copy is gone then."""
        with guarded(self._folder):
            for name in bundle.parts:
                if not name.startswith(METADATA):
                    path = self.parts / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with path.open("xb") as file:
                        file.writelines(bundle.blocks(name))
            self.bundle.unlink()
        return self.parts

    def _pour(self, file: BinaryIO, copy: BinaryIO, source: Path, size: int) -> None:
        done = 0
        while True:
            with guarded(source):
                block = file.read(BLOCK)
            if not block:
                break
            copy.write(block)
            done += len(block)
            self._progress(len(block))
            if done > size:
                break
        if done != size:
            raise UpdateFailed(f"{source}: its length changes while it is read: is it still being copied? Update "
                               "again when that is done")

    def _room(self, folder: Path, wanted: int) -> None:
        free, needed = free_bytes(folder), wanted + self._spare
        if free < needed:
            raise UpdateFailed(f"{folder}: {free >> 20} MiB are free and {(needed >> 20) + 1} are needed; free some "
                               "space, then update again")
