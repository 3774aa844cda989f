"""`doorctl doctor` and `doorctl support`: what is wrong and what to do; a bundle for whoever helps from afar."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from device.clock import SystemClock
from device.commands.console import say, say_json
from device.config import DEFAULT_PATH
from device.findings import worst
from device.observe.doctor import as_rows, examine
from device.observe.support import write_bundle
from device.store.places import places


def add_parser(commands: Any) -> None:
    doctor = commands.add_parser(
        "doctor", help="what is wrong with this terminal, and what to do",
        description="Look at what doord says of itself, its files, link, disk and temperature. Changes nothing.",
        epilog="example: sudo -u door doorctl doctor")
    doctor.add_argument("--json", action="store_true", help="one JSON document")
    doctor.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="terminal.toml")
    doctor.set_defaults(run=run_doctor)
    support = commands.add_parser(
        "support", help="write a bundle for whoever helps from afar",
        description="Write status, findings, settings without addresses, the newest journal entries with numbers "
                    "in place of people, and the services' logs into one file. No face, name, card, PIN or key is "
                    "in it.",
        epilog="example: sudo doorctl support support.tar.gz")
    support.add_argument("file", type=Path, metavar="FILE", help="a .tar.gz file to write")
    support.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="terminal.toml")
    support.add_argument("--json", action="store_true", help="one JSON document")
    support.set_defaults(run=run_support)


def run_doctor(arguments: argparse.Namespace) -> int:
    """0 nothing is wrong, 1 something is."""
    findings = examine(places(), SystemClock(), arguments.config)
    if arguments.json:
        say_json(as_rows(findings))
    else:
        for one in findings:
            say(one.line())
    return worst(findings)


def run_support(arguments: argparse.Namespace) -> int:
    """0 written."""
    names = write_bundle(arguments.file, places(), SystemClock(), arguments.config)
    if arguments.json:
        say_json({"file": str(arguments.file), "parts": names})
        return 0
    for name in names:
        say(f"  {name}")
    say(f"{arguments.file}: look at it before you send it")
    return 0
