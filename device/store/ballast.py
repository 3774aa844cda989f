"""Ballast: space held back beside each file, given up when the disk is full.

On a full disk SQLite cannot even delete. With the ballast gone, a thousand further journal entries fit, and the
removal of people who ask for it.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

SIZE_BYTES = 1 << 20

# Space that must be free before the ballast is filled again, so that it is not given up and filled by turns.
FILL_WHEN_FREE_BYTES = 4 * SIZE_BYTES


class Ballast:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.is_filled = self._is_whole()

    def fill(self) -> bool:
        """Take the space where the disk has plenty; whether the ballast is there."""
        if self.is_filled:
            return True
        with contextlib.suppress(OSError):
            disk = os.statvfs(self._path.parent)
            if disk.f_bavail * disk.f_frsize >= FILL_WHEN_FREE_BYTES:
                self._write()
        self.is_filled = self._is_whole()
        return self.is_filled

    def release(self) -> bool:
        """Give the space up; false where it was gone already."""
        self.is_filled = False
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def _write(self) -> None:
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o660)
        try:
            os.posix_fallocate(fd, 0, SIZE_BYTES)
        finally:
            os.close(fd)

    def _is_whole(self) -> bool:
        try:
            return self._path.stat().st_size >= SIZE_BYTES
        except OSError:
            return False
