"""The updater's command line, behind `firmware_scripts/update` and `firmware_scripts/mark_good` and in the units.

    /opt/door/current/bin/python -I -m device.update.main BUNDLE
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from device.clock import SystemClock, boot_id
from device.commands.console import Progress, say, say_json
from device.errors import TerminalError, UsageError
from device.update.disk import UpdateFailed, guarded, remove_tree
from device.update.health import Watch
from device.update.installation import VenvInstaller
from device.update.layout import Layout, layout
from device.update.manifest import write_moment
from device.update.outcome import Result, read_outcome
from device.update.release import Machine
from device.update.services import Systemd
from device.update.slots import Slots
from device.update.stage import Stage
from device.update.time_floor import TimeFloor
from device.update.trial import read_trial
from device.update.turn import turn
from device.update.updater import Surroundings, Updater
from device.update.version import Version

SPARE_BYTES = 200 << 20  # what `doorctl doctor` wants to be free
PATIENT_S = 600.0  # as long as a trial takes, and a good deal longer
_BUNDLE = re.compile(r"open-door-(?P<version>\d+\.\d+\.\d+)-(?P<arch>\w+)-py(?P<python>\d\.\d+)\.bundle", re.ASCII)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 done, 1 refused, failed or gone back, 2 wrong usage."""
    if arguments is None:
        _settle_down()
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO if options.verbose else logging.ERROR,
                        format="%(levelname)s %(name)s: %(message)s")
    try:
        return _run(options, layout(options.root.absolute()))
    except TerminalError as error:
        sys.stderr.write(f"update: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return 130


def _settle_down() -> None:
    """Run from the release's own folder, not through the link `current`: what is imported after the switch would come
    from the other release."""
    if Path(sys.prefix).is_symlink():
        python = str(Path(sys.prefix).resolve() / "bin" / "python")
        os.execv(python, [python, "-I", "-m", "device.update.main", *sys.argv[1:]])  # noqa: S606


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="update", description="Update this terminal from a signed bundle, and go back where that fails.",
        epilog="example: sudo firmware_scripts/update /media/stick")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("bundle", nargs="?", type=Path, help="a bundle, or a folder with the one for this machine")
    what.add_argument("--incoming", action="store_true", help="what door-syncd has left in the spool")
    what.add_argument("--judge", action="store_true", help="watch a release on trial until it is good, or go back")
    what.add_argument("--boot", action="store_true", help="at the start of the machine: count down, or go back")
    what.add_argument("--mark-good", action="store_true", help="end the trial now, where the terminal is well")
    what.add_argument("--back", action="store_true", help="go back to the release before")
    what.add_argument("--keep-time", action="store_true", help="remember what time it is, where a network told it")
    what.add_argument("--status", action="store_true", help="what runs, what is on trial, what came of the last one")
    parser.add_argument("--json", action="store_true", help="the status as one JSON document")
    parser.add_argument("--root", type=Path, default=Path("/"), metavar="DIR", help="where the terminal is installed")
    parser.add_argument("--verbose", action="store_true", help="log what happens inside to stderr")
    return parser


def _run(options: argparse.Namespace, where: Layout) -> int:
    if options.status:
        return _status(where, options.json)
    if not os.access(where.state, os.W_OK):
        raise UsageError(f"{where.state} cannot be written: run as root, on an installed terminal")
    clock = SystemClock()
    is_by_hand = options.bundle or options.back or options.mark_good
    with turn(where.lock, clock, time.sleep, 5.0 if is_by_hand else PATIENT_S):
        updater, floor = _updater(where, clock)
        if options.keep_time:
            floor.rise(floor.at)
            return 0
        if options.bundle:
            updater.update(_bundle(options.bundle, Machine.here()))
        if options.incoming:
            return _take_incoming(updater, where)
        return _told(_acted(updater, options))


def _acted(updater: Updater, options: argparse.Namespace) -> Result | None:
    if options.boot:
        return updater.boot()
    if options.mark_good:
        return updater.mark_good()
    if options.back:
        return updater.go_back()
    return updater.judge()


def _take_incoming(updater: Updater, where: Layout) -> int:
    """What lies in the spool goes there whatever comes of it, or it would start the updater for ever."""
    _told(updater.judge())  # a trial that is under way comes first
    if not where.incoming.exists() and not where.incoming.is_symlink():
        return 0
    try:
        updater.update(where.incoming, is_incoming=True)
    except TerminalError:
        if where.incoming.is_dir() and not where.incoming.is_symlink():
            remove_tree(where.incoming)
        else:
            with guarded(where.incoming):
                where.incoming.unlink(missing_ok=True)
        raise
    return _told(updater.judge())


def _updater(where: Layout, clock: SystemClock) -> tuple[Updater, TimeFloor]:
    floor = TimeFloor(where.floor, Slots(where).current.built, clock)
    progress = Progress("copying the bundle, MB")
    stage = Stage(where.staging, SPARE_BYTES, lambda count: progress.step(count >> 20))
    around = Surroundings(clock, Machine.here(), boot_id(), VenvInstaller(where.current.resolve(), where.staging),
                          Systemd(), Watch(where, clock), floor, time.sleep, say, _at)
    return Updater(where, stage, around), floor


def _at(step: str) -> None:
    logging.getLogger(__name__).info("step %s", step)


def _told(result: Result | None) -> int:
    words = {Result.UPDATED: "the release has shown that it works, and stays",
             Result.ROLLED_BACK: "the release before runs again; `update --status` says why"}
    if result is not None:
        say(words[result])
    return 1 if result is Result.ROLLED_BACK else 0


def _bundle(source: Path, machine: Machine) -> Path:
    """The bundle itself; of a folder, the newest one for this machine."""
    if not source.is_dir():
        return source
    found = []
    with guarded(source):
        for path in source.iterdir():
            name = _BUNDLE.fullmatch(path.name)
            if name and (name["arch"], name["python"]) == (machine.arch, machine.python):
                found.append((Version.parse(name["version"]), path))
    if not found:
        raise UsageError(f"{source} holds no open-door-*-{machine.arch}-py{machine.python}.bundle")
    return max(found)[1]


def _status(where: Layout, is_json: bool) -> int:
    slots = Slots(where)
    current, previous = slots.current, slots.previous
    if not os.access(where.state, os.X_OK):
        raise UsageError(f"{where.state} cannot be looked into: run as root, on an installed terminal")
    outcome = read_outcome(where.outcome)
    try:
        trial = read_trial(where.trial)
    except ValueError as error:
        raise UpdateFailed(f"{error}; the next start goes back to the release before") from None
    found: dict[str, Any] = {
        "current": str(current.version),
        "previous": None if previous in (None, current) else str(previous.version),
        "installed": [str(release.version) for release in slots.whole()],
        "trial": None if trial is None else {"version": str(trial.version), "boots_left": trial.boots_left},
        "last": None if outcome is None else {"at": write_moment(outcome.at), "result": outcome.result.value,
                                              "version": outcome.version, "why": outcome.why}}
    if is_json:
        say_json(found)
        return 0
    say(f"release {current.version} of {current.built:%Y-%m-%d}; before it {found['previous'] or 'none'}")
    if trial is not None:
        say(f"release {trial.version} is on trial; {trial.boots_left} boots are left")
    if outcome is not None:
        say(f"last update, {found['last']['at']}: {outcome.version or '-'} {outcome.result.value}"
            + (f": {outcome.why}" if outcome.why else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
