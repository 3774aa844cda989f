"""`doorctl reset`: ends alarms at this door and the freedom that a fire gave it, once the fire's wire is quiet.

Given on the terminal itself, so it counts as given at the door; the hub's reset does not end a fire.
"""

from __future__ import annotations

import argparse
import signal
from typing import Any

from device.commands.console import say, say_json
from device.commands.running import tell_doord


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "reset", help="end alarms and a fire release at this door",
        description="Ends the alarm of a forced door and, where the fire alarm's wire is quiet again, the freedom "
                    "that the fire gave the door. The journal says what came of it.",
        epilog="example: doorctl reset")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 told to doord; 1 where it does not run or may not be told."""
    tell_doord(signal.SIGUSR1, "reset")
    if arguments.json:
        say_json({"is_told": True})
    else:
        say("doord is told; `doorctl journal` shows what came of it")
    return 0
