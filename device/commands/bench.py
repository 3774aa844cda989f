"""`doorctl bench`: speed and memory on this machine, each beside its alternative in the same run."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from device.commands.console import say, say_json
from device.evaluate.bench import FULL, QUICK, SECTIONS, bench, remarks, table
from device.packs import library


def add_parser(commands: Any) -> None:
    """Adds `bench`."""
    parser = commands.add_parser("bench", help="measure speed and memory on this machine",
                                 epilog="example: doorctl bench --only match --json")
    parser.add_argument("--only", action="append", choices=SECTIONS, default=[],
                        help="this part only; may be given again")
    parser.add_argument("--quick", action="store_true", help="a few rounds on small galleries, to see that it works")
    parser.add_argument("--pack", metavar="NAME", help="model pack, if not the one in use")
    parser.add_argument("--json", action="store_true", help="print one JSON object, one key per figure")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; 0 whatever the figures are."""
    only = tuple(arguments.only) or SECTIONS
    figures = bench(library.open_pack(arguments.pack), QUICK if arguments.quick else FULL, only, _tell)
    for remark in remarks(figures):
        sys.stderr.write(f"doorctl: {remark}\n")
    if arguments.json:
        say_json(figures)
        return 0
    say(f"{figures['model_id']}, {figures['runtime']}, {figures['machine']}, {figures['cores']} cores, "
        f"Python {figures['python']}")
    for line in table(figures):
        say(line)
    return 0


def _tell(section: str) -> None:
    sys.stderr.write(f"doorctl: measuring {section}\n")
