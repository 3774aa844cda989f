"""Nameplate: that a database was begun in this place, and its id, kept in a small file beside it.

Without it a database that was emptied or deleted could not be told from a terminal's first start. Written by the
database's one writer, once its first migration is on the medium; where it cannot be, the next start tries again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from pathlib import Path

log = logging.getLogger(__name__)

MODE = 0o660
_NAME = re.compile(r"[0-9a-f]{1,64}")


class Nameplate:
    """`path` is the database's."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".id")

    def read(self) -> str | None:
        """The id of the database that was begun here; "" where it cannot be read, None where none was begun."""
        try:
            with self._path.open("rb") as file:
                name = file.read(100).decode("ascii").strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError):
            return ""
        return name if _NAME.fullmatch(name) else ""

    def write(self, name: str) -> None:
        """Say that this one is here; on the medium when it returns, as far as that can be had."""
        if self.read() == name:
            return
        fresh = self._path.with_name(self._path.name + ".new")
        try:
            _write(fresh, name)
            fresh.replace(self._path)
            _sync(self._path.parent)
        except OSError as error:
            log.warning("%s: cannot be written: %s", self._path, error.strerror)
            with contextlib.suppress(OSError):
                fresh.unlink()

    def remove(self) -> None:
        """Whoever set the database aside says so themselves."""
        with contextlib.suppress(OSError):
            self._path.unlink()


def _write(path: Path, name: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, MODE)
    try:
        os.fchmod(fd, MODE)
        os.write(fd, f"{name}\n".encode("ascii"))
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
