"""Telling the running doord something that only somebody on this machine may: by a signal."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from device.clock import SystemClock
from device.errors import StoreError
from device.status import running_status, status_path
from device.store.places import places


def tell_doord(number: signal.Signals, word: str) -> None:
    """StoreError where doord does not run, or this account may not tell it; word: the command, for the remedy."""
    found = running_status(status_path(places()), SystemClock())
    missing = StoreError(f"doord does not run: there is nothing to {word}")
    if found is None or not _waits_for(found["pid"], number):
        raise missing
    try:
        os.kill(found["pid"], number)
    except PermissionError:
        raise StoreError(f"only root or the service's own account may do this: sudo doorctl {word}") from None
    except ProcessLookupError:
        raise missing from None


def _waits_for(pid: int, number: signal.Signals) -> bool:
    """Whether a process of that number waits for this signal, which would end any other."""
    if pid <= 1:
        return False
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
        caught = int(next(line for line in lines if line.startswith("SigCgt:")).split()[1], 16)
        return bool(caught >> (number - 1) & 1)
    return False
