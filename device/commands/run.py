"""`doorctl run`: the door in the foreground, each decision a line; with `--try`, on any machine, to see it work."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from device.app import obey_signals
from device.clock import SystemClock
from device.commands.console import say
from device.commands.told import Teller
from device.config import DEFAULT_PATH, Config, parse_config, read_config
from device.errors import UsageError
from device.kiosk.enrolment.registrar import Registrar
from device.store.places import places
from device.terminal import Terminal

TRY_STATE = Path("state")
TRIED: dict[str, Any] = {
    "door": {"lock": "strike"},
    "kiosk": {"enabled": True, "port": 0, "enrol": "open", "purpose": "To try the door",
              "retention": "Until you remove yourself", "contact": "Whoever runs this command"},
}
"""The configuration of a terminal that is only tried out."""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "run", help="run the door in the foreground",
        description="Run the door in the foreground and print each decision. With --try nothing need be installed or "
                    "wired: an attached camera is used, or else the rehearsal, and the pins are printed.",
        epilog="example: doorctl run --try")
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"terminal.toml (default {DEFAULT_PATH})")
    parser.add_argument("--try", dest="is_try", action="store_true",
                        help="no installation: state in ./state, mock pins, camera or rehearsal")
    add_rehearsal_options(parser)
    parser.set_defaults(run=run)


def add_rehearsal_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rehearsal", action="store_true", help="the rehearsal even if a camera is attached")
    parser.add_argument("--seconds", type=float, metavar="S",
                        help="rehearse for so long and end with 0 only if the right person alone got in "
                             "(default: the environment's DOOR_SECONDS)")


def run(arguments: argparse.Namespace) -> int:
    """0 stopped, or the rehearsal went as it must; 1 it did not; 2 wrong configuration or no pins."""
    seconds = seconds_of(arguments)
    if arguments.is_try:
        os.environ.setdefault("GPIOZERO_PIN_FACTORY", "mock")
        os.environ.setdefault("DOOR_STATE", str(TRY_STATE.absolute()))
    config = _config(arguments)
    if seconds is not None or arguments.rehearsal or config.camera.source == "rehearsal" or (
            arguments.is_try and not has_camera()):
        from device.rehearsal.show import rehearse

        return rehearse(config, seconds, say)
    return serve(config, arguments.is_try)


def serve(config: Config, is_try: bool = False, registrar: Registrar | None = None) -> int:
    """The door before its camera, until it is told to stop."""
    teller = Teller(say)
    with Terminal(config, places(), SystemClock(), observers=[teller], acknowledged=teller.acknowledged,
                  echo=lambda line: say(f"          {line}"), registrar=registrar) as terminal:
        obey_signals(terminal)
        terminal.start()
        status = terminal.status()
        say(f"{status.door_id}: ready after {status.ready_s:.1f} s, {status.people} people, {status.templates} "
            f"templates, {status.model_id}; liveness {status.liveness}")
        if terminal.kiosk is not None:
            say(f"screen: {terminal.kiosk.address}")
            if (pin := terminal.kiosk.first_pin()) is not None:
                say(f"installer's page: {terminal.kiosk.address}setup, PIN {pin}")
            if config.kiosk.enrol == "open" and not status.templates:
                say(f"nobody is enrolled yet; on the screen: {terminal.kiosk.address}enrol")
        if is_try and not status.templates:
            say(f"to enrol from a picture, in another terminal: DOOR_STATE={places().root} "
                f"{Path(sys.argv[0])} enrol NAME PHOTO")
        terminal.run()
    return 0


def _config(arguments: argparse.Namespace) -> Config:
    if arguments.config is None and arguments.is_try:
        return parse_config(TRIED, "the built-in configuration")
    return read_config(arguments.config or DEFAULT_PATH)


def has_camera() -> bool:
    """Whether a camera is attached to this machine."""
    from device.camera.attached import find_attached

    return find_attached() is not None


def seconds_of(arguments: argparse.Namespace) -> float | None:
    """For how long to rehearse; None where nothing was said."""
    given = arguments.seconds if arguments.seconds is not None else os.environ.get("DOOR_SECONDS")
    if given in (None, ""):
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    if not 10 <= seconds <= 86_400:
        raise UsageError(f"DOOR_SECONDS must be a number from 10 to 86400, not {given!r}: the rehearsal takes 10 s")
    return seconds
