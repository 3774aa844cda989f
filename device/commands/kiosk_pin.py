"""`doorctl kiosk-pin`: the setup PIN, which opens the installer's page on the terminal's screen."""

from __future__ import annotations

import argparse
from typing import Any

from device.commands.console import ask_secret, say, say_json
from device.errors import UsageError
from device.kiosk.setup.pin import LEAST_DIGITS, fresh_pin, set_pin
from device.store.places import make_folders, places


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "kiosk-pin", help="set the PIN of the installer's page",
        description=f"Sets the PIN that opens the installer's page at /setup, of {LEAST_DIGITS} digits and more: "
                    "typed twice unseen, or one line of standard input. With --fresh one is made at random where "
                    "none is set, and shown this once.",
        epilog="example: sudo -u door doorctl kiosk-pin")
    parser.add_argument("--fresh", action="store_true", help="make one at random, where none is set")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 set; 1 it cannot be kept; 2 no such PIN, or --fresh where one is set."""
    where = places()
    make_folders(where)
    made = None
    if arguments.fresh:
        made = fresh_pin(where)
        if made is None:
            raise UsageError("a setup PIN is set already; leave out --fresh to set another")
    else:
        set_pin(where, ask_secret("setup PIN"))
    if arguments.json:
        say_json({"is_set": True, **({"pin": made} if made is not None else {})})
    else:
        say(f"setup PIN: {made}" if made is not None else "the setup PIN is set")
    return 0
