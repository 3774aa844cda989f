"""OnlyOne: at most one doord on a state folder, by a lock that the kernel lets go with the process that held it.

Two of them would write one journal in turns and drive one lock against each other.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from device.errors import StoreError


class OnlyOne:
    """Held from `take` to `release`, or to the end of the process."""

    def __init__(self, path: Path) -> None:
        """path  the lock's file; it holds the number of the process and is never removed"""
        self._path = path
        self._handle: int | None = None

    def take(self) -> None:
        """StoreError where another process has it, or the file cannot be made."""
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
        except OSError as error:
            raise StoreError(f"{self._path}: {error.strerror}; run as the service's account (sudo -u door)") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(handle, 16).decode("ascii", "replace").strip()
            os.close(handle)
            raise StoreError(f"doord runs already on {self._path.parent.parent} (process {holder or 'unknown'}): "
                             "stop it first, or choose another folder by DOOR_STATE") from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode("ascii"), 0)
        self._handle = handle

    def release(self) -> None:
        """Let the next one in; again is allowed."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
