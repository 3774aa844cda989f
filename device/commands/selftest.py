"""`doorctl selftest`: every wire, the camera, the files and the clock, tried one after the other by an installer."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from typing import Any

from device.camera.camera import CameraSilent, open_camera
from device.clock import Clock, SystemClock
from device.commands.console import ask, say, say_json
from device.commands.opened import add_config_option, configuration, pack
from device.config import Config, other_pins
from device.errors import StoreError, TerminalError
from device.findings import Finding, Verdict, worst
from device.hardware.board import Board
from device.hardware.link import RelayLink
from device.status import running_status, status_path
from device.store.cache import CacheReader
from device.store.journal import JournalReader
from device.store.nameplate import Nameplate
from device.store.places import Places, is_linked, places
from device.store.seal import load_key
from device.wiretest import WireTest

FRAMES = 15
CAMERA_S = 8.0
LEAST_FREE_MB = 200


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "selftest", help="try every wire, the camera, the files and the clock",
        description="Walk through each wire of this door, its camera, its files and its clock. doord must not run "
                    "meanwhile: sudo systemctl stop doord.",
        epilog="example: sudo -u door doorctl selftest --yes")
    parser.add_argument("--yes", action="store_true", help="release the lock and switch relays without asking")
    parser.add_argument("--json", action="store_true", help="one JSON document; nobody is asked anything")
    add_config_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 nothing failed, 1 something did."""
    config, where, clock = configuration(arguments), places(), SystemClock()
    _refuse_running(where, clock)
    installer = _AtTheDoor(arguments.yes, arguments.json)
    findings: list[Finding] = []
    for finding in _everything(config, where, clock, installer):
        findings.append(finding)
        if not arguments.json:
            say(finding.line())
    if arguments.json:
        say_json([{"name": one.name, "verdict": one.verdict.value, "said": one.said} for one in findings])
    return worst(findings)


class _AtTheDoor:
    """The person at the keyboard, if there is one."""

    def __init__(self, is_agreed: bool, is_silent: bool) -> None:
        self.is_there = sys.stdin.isatty() and not is_silent
        self._is_agreed, self._is_silent = is_agreed, is_silent

    def tell(self, text: str) -> None:
        if not self._is_silent:
            say(text)

    def agrees(self, question: str) -> bool:
        if question.endswith("Go on?") and self._is_agreed:
            self.tell(question.removesuffix(" Go on?"))
            return True
        if not self.is_there:
            return False
        return ask(f"{question} [y/N] ") in ("y", "yes", "j", "是")


def _everything(config: Config, where: Places, clock: Clock, installer: _AtTheDoor) -> Iterator[Finding]:
    yield from _files(where)
    yield _guarded("model pack", lambda: f"{pack(config).model_id} tests itself")
    yield _clock(clock)
    yield _camera(config, clock)
    try:
        board = Board.open(config.pins, clock, others=other_pins(config))
    except TerminalError as error:
        yield Finding("pins", Verdict.FAIL, str(error))
        return
    relay = RelayLink(config.pins.lock, config.pins.active_low, clock)
    with contextlib.ExitStack() as stack:
        stack.callback(board.close)
        stack.callback(relay.close)
        try:
            relay.start()
        except TerminalError as error:
            yield Finding("lock", Verdict.FAIL, str(error))
            return
        yield from WireTest(config, board, relay, clock, installer, time.sleep).run()


def _refuse_running(where: Places, clock: Clock) -> None:
    if running_status(status_path(where), clock) is not None:
        raise StoreError("doord runs and holds the pins and the camera: sudo systemctl stop doord, then try again")


def _files(where: Places) -> Iterator[Finding]:
    yield _guarded("key", lambda: "can be read" if load_key(where) else "")
    free = shutil.disk_usage(where.root if where.root.exists() else "/").free // 2**20
    yield Finding("disk", Verdict.OK if free >= LEAST_FREE_MB else Verdict.FAIL, f"{free} MiB free" + (
        "" if free >= LEAST_FREE_MB else f"; at least {LEAST_FREE_MB} are needed: remove what does not belong here"))
    for name, path in (("gallery", where.gallery_db), ("journal", where.journal_db)):
        if not path.exists() and Nameplate(path).read() is None:
            yield Finding(name, Verdict.WARN, "is not there yet; it is made when doord starts")
        elif path.exists() and not os.access(path, os.R_OK):
            yield Finding(name, Verdict.FAIL, f"{path} cannot be read by this account: run as the account door")
        else:
            yield _guarded(name, lambda name=name: _opened(name, where))


def _opened(name: str, where: Places) -> str:
    if name == "journal":
        journal = JournalReader.open(where.journal_db)
        try:
            return f"{journal.head - journal.anchor} entries, the newest are sound"
        finally:
            journal.close()
    gallery = CacheReader.open(where.gallery_db, load_key(where))
    try:
        return f"{gallery.people_count()} people{', from the hub' if is_linked() else ''}"
    finally:
        gallery.close()


def _guarded(name: str, check: Any) -> Finding:
    try:
        return Finding(name, Verdict.OK, check())
    except TerminalError as error:
        return Finding(name, Verdict.FAIL, str(error))


def _clock(clock: Clock) -> Finding:
    now = clock.now()
    is_plausible = 2026 <= now.year < 2100
    return Finding("clock", Verdict.OK if is_plausible else Verdict.FAIL,
                   f"{now:%Y-%m-%d %H:%M:%S} UTC" + ("" if is_plausible else "; set the clock, or give it a network: "
                                                     "nobody is let in by the hour until then"))


def _camera(config: Config, clock: Clock) -> Finding:
    try:
        camera = open_camera(config.camera, clock)
    except TerminalError as error:
        return Finding("camera", Verdict.FAIL, str(error))
    try:
        return _pictures(camera, clock)
    finally:
        camera.close()


def _pictures(camera: Any, clock: Clock) -> Finding:
    levels: list[float] = []
    size = ""
    until = clock.mono() + CAMERA_S
    while len(levels) < FRAMES and clock.mono() < until:
        try:
            frame = camera.read(1.0)
        except CameraSilent:
            continue
        except TerminalError as error:
            return Finding("camera", Verdict.FAIL, str(error))
        levels.append(float(frame.pixels.mean()))
        size = f"{frame.pixels.shape[1]}x{frame.pixels.shape[0]}"
    if len(levels) < FRAMES:
        return Finding("camera", Verdict.FAIL, f"{camera.description}: {len(levels)} pictures in {CAMERA_S:.0f} s; "
                       "check its cable and [camera]")
    mean = sum(levels) / len(levels)
    is_lit = 25 < mean < 230
    return Finding("camera", Verdict.OK if is_lit else Verdict.WARN, f"{camera.description}, {size}, mean brightness "
                   f"{mean:.0f} of 255" + ("" if is_lit else "; look at the light and at what the camera sees"))
