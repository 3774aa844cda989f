"""`doorctl pair`: lets an OSDP reader or controller be paired, for five minutes, on the terminal itself."""

from __future__ import annotations

import argparse
import signal
from typing import Any

from device.commands.console import say, say_json
from device.commands.running import tell_doord


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "pair", help="let an OSDP reader or controller be paired for five minutes",
        description="Opens the pairing window: for five minutes the OSDP device that is configured is given a new, "
                    "random key. Who records the line in that time has the key: pair over a short cable.",
        epilog="example: sudo -u door doorctl pair")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 told to doord; 1 where it does not run or may not be told."""
    tell_doord(signal.SIGUSR2, "pair")
    if arguments.json:
        say_json({"is_told": True})
    else:
        say("doord is told; `doorctl journal` shows when the pairing is done")
    return 0
