"""`doorctl reset`: ends alarms at this door and the freedom that a fire gave it, once the fire's wire is quiet.

Given on the terminal itself, so it counts as given at the door; the hub's reset does not end a fire.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
from pathlib import Path
from typing import Any

from device.clock import SystemClock
from device.commands.console import say
from device.errors import StoreError
from device.status import STALE_S, read_status, status_path
from device.store.places import places


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "reset", help="end alarms and a fire release at this door",
        description="Ends the alarm of a forced door and, where the fire alarm's wire is quiet again, the freedom "
                    "that the fire gave the door. The journal says what came of it.",
        epilog="example: doorctl reset")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 told to doord; 1 where it does not run or may not be told."""
    found = read_status(status_path(places()))
    if found is None or SystemClock().mono() - float(found["mono"]) >= STALE_S or not _is_doord(found["pid"]):
        raise StoreError("doord does not run: there is nothing to reset")
    try:
        os.kill(found["pid"], signal.SIGUSR1)
    except PermissionError:
        raise StoreError("only root or the service's own user may reset the door: sudo doorctl reset") from None
    except ProcessLookupError:
        raise StoreError("doord does not run: there is nothing to reset") from None
    say("doord is told; `doorctl journal` shows what came of it")
    return 0


def _is_doord(pid: object) -> bool:
    """Whether a process of that number waits for this signal, which would end any other."""
    if type(pid) is not int or pid <= 1:
        return False
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
        caught = int(next(line for line in lines if line.startswith("SigCgt:")).split()[1], 16)
        return bool(caught >> (signal.SIGUSR1 - 1) & 1)
    return False
