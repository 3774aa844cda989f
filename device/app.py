"""doord: the door's daemon, from its command line to its end."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from device.clock import SystemClock
from device.config import DEFAULT_PATH
from device.errors import TerminalError
from device.hardware.link import RelayLink
from device.hardware.orders import Ack
from device.hardware.pins import VARIABLE
from device.hub_settings import HubSettings
from device.observe.logs import set_up
from device.store.places import places
from device.terminal import Terminal

effects = logging.getLogger(f"{__name__}.effects")


def main(arguments: Sequence[str] | None = None) -> int:
    """doord: runs until SIGTERM. 0 stopped, 1 failed, 2 wrong configuration or no pins."""
    parser = argparse.ArgumentParser(prog="doord", description="The door's daemon: camera, faces, lock, journal.")
    parser.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE")
    parser.add_argument("--relay-socket", type=Path, metavar="PATH", help="where a door-relay service listens")
    parser.add_argument("--until-ready", action="store_true", help="start, print the status as JSON, stop")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args(arguments)
    set_up(logging.INFO if options.verbose else logging.WARNING)
    try:
        return _serve(options)
    except TerminalError as error:
        sys.stderr.write(f"doord: {error}\n")
        return error.exit_code


def _serve(options: argparse.Namespace) -> int:
    where, clock = places(), SystemClock()
    settings = HubSettings(options.config, where.journal_db.parent)
    config = settings.config
    relay = RelayLink(config.pins.lock, config.pins.active_low, clock, options.relay_socket)
    is_mock = os.environ.get(VARIABLE, "").strip() == "mock"
    with Terminal(config, where, clock, relay=relay, settings=settings,
                  acknowledged=_acknowledged if is_mock else None, echo=_echo if is_mock else None) as terminal:
        obey_signals(terminal)
        if is_mock:
            effects.setLevel(logging.INFO)  # whatever else is logged: it is all that such a door does
            effects.warning("pins are mock: nothing is moved")
        terminal.start()
        if options.until_ready:
            sys.stdout.write(terminal.status().to_json() + "\n")
        else:
            terminal.run()
    return 0


def _acknowledged(ack: Ack) -> None:
    effects.info("%s", ack.text())


def _echo(line: str) -> None:
    effects.info("%s", line)


def obey_signals(terminal: Terminal) -> None:
    """SIGTERM and SIGINT end the door's loop in order; SIGUSR1 is a reset given at the door, SIGUSR2 lets an OSDP
    device be paired, SIGHUP says that the clock is right."""
    def reset(number: int, frame: FrameType | None) -> None:
        terminal.requests.reset()

    def pair(number: int, frame: FrameType | None) -> None:
        terminal.requests.pair()

    def confirm(number: int, frame: FrameType | None) -> None:
        terminal.requests.confirm_clock()

    def stop(number: int, frame: FrameType | None) -> None:
        terminal.requests.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGUSR1, reset)
    signal.signal(signal.SIGUSR2, pair)
    signal.signal(signal.SIGHUP, confirm)
