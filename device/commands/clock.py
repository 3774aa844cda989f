"""`doorctl clock`: how far the terminal's clock is trusted, and somebody's word at the terminal that it is right.

Where there is neither NTP nor a hub, timed access rests on that word: it holds until the machine starts again, as
long as the clock runs on evenly.
"""

from __future__ import annotations

import argparse
import signal
from typing import Any

from device.clock import SystemClock
from device.commands.console import say, say_json
from device.commands.running import tell_doord
from device.errors import StoreError
from device.status import running_status, status_path
from device.store.places import places


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "clock", help="how far the clock is trusted, and that it is right",
        description="Shows the time here and how far doord trusts it: synced (NTP or the hub say so), holdover (they "
                    "did, since the machine started) or untrusted, when timed access is refused. With --is-right "
                    "somebody at the terminal vouches for it; the journal says so.",
        epilog="example: sudo -u door doorctl clock --is-right")
    parser.add_argument("--is-right", action="store_true", help="the time shown is right")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 shown or told to doord; 1 where it does not run or may not be told."""
    clock = SystemClock()
    found = running_status(status_path(places()), clock)
    if found is None:
        raise StoreError("doord does not run: nobody judges the clock")
    if arguments.is_right:
        tell_doord(signal.SIGHUP, "clock --is-right")
    now = clock.now().astimezone()
    if arguments.json:
        say_json({"now": now.isoformat(timespec="seconds"), "quality": found["clock"], "is_told": arguments.is_right})
    elif arguments.is_right:
        say(f"doord is told that it is {now:%Y-%m-%d %H:%M:%S %Z}")
    else:
        say(f"{now:%Y-%m-%d %H:%M:%S %Z}, {found['clock']}")
    return 0
