"""Only one process at a time updates, judges or goes back: a lock that a killed process leaves open."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from device.clock import Clock
from device.update.disk import UpdateFailed, guarded

_LOOK_S = 0.5


@contextlib.contextmanager
def turn(path: Path, clock: Clock, wait: Callable[[float], None], patience_s: float) -> Iterator[None]:
    """Hold the lock at `path`; UpdateFailed where another process still holds it after `patience_s`."""
    # A lock and not a queue: the others are separate processes, such as the unit that judges a trial.
    with guarded(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(descriptor, clock, wait, clock.mono() + patience_s)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, clock: Clock, wait: Callable[[float], None], deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if clock.mono() >= deadline:
                raise UpdateFailed("another update is under way, or a release is on trial: `firmware_scripts/update "
                                   "--status` says which; try again when it is over") from None
            wait(_LOOK_S)
