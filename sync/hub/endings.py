"""What has ended for good: an append-only list beside the keys, which no backup holds and no restore sets back.

A person's removal, a withdrawn consent, a group that was left, a token or terminal that was revoked: each is a line,
on the disk before the database commits it, and the database notes up to where it has seen the list. A database that
was set back has seen less of it; what it missed is done again before anything is served (`replay`). Deletion so
outranks whatever a backup holds.

Lines are JSON lists of strings, ids only. Called by `storage`, which ties the list to its transactions.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from device.errors import StoreError
from device.store.sqlite import sync_folder

log = logging.getLogger(__name__)

FILE_MODE = 0o600
Ending = tuple[str, ...]
"""The kind, then the ids that it is about."""


class Endings:
    """The list of one hub. Only the one who writes the database calls it, so no two do at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, seen: int, endings: Sequence[Ending]) -> int:
        """Put lines after what the database has seen, durably; up to where it has seen the list then.

        What lies beyond `seen` belongs to a transaction that never came to its commit, and gives way.
        StoreError where it cannot be written.
        """
        data = b"".join(json.dumps(one, separators=(",", ":")).encode() + b"\n" for one in endings)
        is_new = not self._path.exists()
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
            try:
                begin = min(seen, os.fstat(fd).st_size)
                os.ftruncate(fd, begin)
                os.pwrite(fd, data, begin)
                os.fsync(fd)
            finally:
                os.close(fd)
            if is_new:
                sync_folder(self._path.parent)
        except OSError as error:
            raise StoreError(f"{self._path}: cannot be written: {error.strerror}") from None
        return begin + len(data)

    def since(self, seen: int) -> tuple[list[Ending], int]:
        """(what the database has not seen, in order; up to where the list goes). StoreError where it is damaged."""
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(min(seen, size))
                data = file.read()
        except FileNotFoundError:
            size, data = 0, b""
        except OSError as error:
            raise StoreError(f"{self._path}: cannot be read: {error.strerror}") from None
        if size < seen:
            log.error("%s: shorter than the database knows it; put the newest copy of its folder back", self._path)
        # A line that a kill cut short was never committed.
        whole = data[:data.rfind(b"\n") + 1]
        return [self._read(line) for line in whole.splitlines()], size - len(data) + len(whole)

    def _read(self, line: bytes) -> Ending:
        try:
            words = json.loads(line)
        except (ValueError, RecursionError):
            words = None
        if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
            raise StoreError(f"{self._path}: damaged; put the newest copy of its folder back")
        return tuple(words)
