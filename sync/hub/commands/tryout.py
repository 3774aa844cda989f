"""`fleethub try`: hub, broker, door-syncd and doord on this machine, to see the whole work."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from device.commands.console import say
from device.commands.run import TRIED, TRY_STATE, add_rehearsal_options, has_camera, seconds_of, serve
from device.config import parse_config


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "try", help="the whole on this machine: hub, broker, door",
        description="Start a hub with a private broker, tie a terminal to it, and run the terminal's door: with an "
                    "attached camera, or in rehearsal. Pins are printed. Nothing need be installed.",
        epilog="example: fleethub try")
    add_rehearsal_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 stopped, or the rehearsal went as it must; 1 it did not."""
    from sync.tryout import serve_camera, try_out

    seconds = seconds_of(arguments)
    os.environ.setdefault("GPIOZERO_PIN_FACTORY", "mock")
    config = parse_config(TRIED, "the built-in configuration")
    if seconds is not None or arguments.rehearsal or not has_camera():
        return try_out(config, seconds, say)
    root: Path = arguments.state or TRY_STATE
    return serve_camera(root.absolute(), say, lambda registrar: serve(config, registrar=registrar))
