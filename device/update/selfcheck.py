"""Whether this release decides as it must: a short day in rehearsal, played through the real terminal.

Run by the updater with the interpreter of a new release, before anything is switched to it and again when it runs:

    bin/python -m device.update.selfcheck

It reads the terminal's own configuration and model pack, and touches neither its gallery nor its journal, key, pins
or camera: state is a folder that is thrown away, pins are mock pins, and time is moved by hand.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from device.config import DEFAULT_PATH, Config, parse_config, read_config
from device.errors import TerminalError
from device.hardware.pins import VARIABLE
from device.packs import library
from device.policy_file import parse_policy
from device.rehearsal.player import play
from device.rehearsal.scenario import Actor, Deed, Scenario

# (seconds after the start, what happens, to whom, what must come of it)
_DAY = (
    (1.0, "face", "anna", "face_granted"),
    (60.0, "stranger", True, "unknown_face"),
    (120.0, "attack", "print", "attack"),
    (180.0, "face", "bea", "no_rule"),
)
_END_S = 240.0


def main(arguments: Sequence[str] | None = None) -> int:
    """0 every decision was as it must be, 1 one was not, 2 the configuration cannot be used; one line says which."""
    parser = argparse.ArgumentParser(prog="selfcheck", description="Decide in rehearsal.")
    parser.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help="terminal.toml")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="door-selfcheck-") as folder:
            os.environ.pop("CREDENTIALS_DIRECTORY", None)
            os.environ |= {VARIABLE: "mock", "DOOR_STATE": folder, "DOOR_LINK": f"{folder}/link.toml"}
            check(_configuration(options.config))
    except TerminalError as error:
        sys.stderr.write(f"selfcheck: error: {error}\n")
        return error.exit_code
    sys.stdout.write(f"selfcheck: {len(_DAY)} decisions, all as they must be\n")
    return 0


def check(config: Config) -> None:
    """TerminalError where a decision is not as it must be, or the terminal does not start at all."""
    deeds = [Deed(at, what, value) for at, what, value, _ in _DAY]
    scenario = Scenario(
        "self-check", datetime(2026, 3, 2, 8, 0, tzinfo=timezone.utc), _bare(config),
        parse_policy({"rule": [{"id": "staff", "group": "staff"}]}),
        (Actor("anna", ("staff",)), Actor("bea", ("others",))), (), (*deeds, Deed(_END_S, "wait", True)))
    library.verify(library.chosen() if config.face.pack == "auto" else config.face.pack)
    told = [line.split()[2:] for line in play(scenario)]
    reasons = [words[0] for words in told if words[0] not in ("lock", "entered")]
    wanted = [reason for *_, reason in _DAY]
    if reasons != wanted:
        raise TerminalError(f"in rehearsal {', '.join(reasons) or 'nothing'} came of it instead of "
                            f"{', '.join(wanted)}")
    if [words for words in told if words[0] == "lock"] != [["lock", "on"], ["lock", "off"]]:
        raise TerminalError("in rehearsal the lock was not released once and relocked")


def _configuration(path: Path) -> Config:
    """The terminal's own; where it has none yet, the defaults."""
    return read_config(path) if path.exists() else parse_config({"door": {"lock": "strike"}}, "the built-in defaults")


def _bare(config: Config) -> Config:
    """The door alone: its pack and its lock, without readers, wires and screen."""
    plain = parse_config({"door": {"id": "selfcheck", "lock": config.door.lock}})
    return replace(plain, face=replace(plain.face, pack=config.face.pack))


if __name__ == "__main__":
    sys.exit(main())
