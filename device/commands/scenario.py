"""`doorctl scenario`: play scripted days at a door, and compare what came of them with what should."""

from __future__ import annotations

import argparse
import difflib
from pathlib import Path
from typing import Any

from device.commands.console import say


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "scenario", help="play a scripted day at a door",
        description="Play scenario files through the real terminal, with a hand-held clock and mock pins, and "
                    "compare its journal and its pins with FILE.expected beside each.",
        epilog="example: doorctl scenario tests/scenarios/face_opens.toml --update")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--update", action="store_true", help="take what came of it as what should")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 all as expected, 1 where one was not; the difference is shown."""
    has_failed = False
    for path in arguments.files:
        played = played_text(path)
        expected = expected_path(path)
        if arguments.update:
            expected.write_text(played, encoding="utf-8")
            say(f"{path.name}: {len(played.splitlines())} lines kept")
            continue
        wanted = expected.read_text(encoding="utf-8") if expected.exists() else ""
        difference = list(difflib.unified_diff(wanted.splitlines(), played.splitlines(), "expected", "played", "", "",
                                               1, ""))
        has_failed |= bool(difference)
        say(f"{path.name}: {'not as expected' if difference else 'as expected'}")
        for line in difference:
            say(line)
    return int(has_failed)


def expected_path(path: Path) -> Path:
    return path.with_suffix(".expected")


def played_text(path: Path) -> str:
    """What came of a scenario, as its expected file has it."""
    from device.rehearsal.player import play
    from device.rehearsal.scenario import read_scenario

    scenario = read_scenario(path)
    return "\n".join([f"# {scenario.about}", *play(scenario)]) + "\n"
