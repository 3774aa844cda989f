"""selftest: is this terminal fit for service? A table of what is well, what is doubtful and what is wrong.

The last part, each wire and the camera, is walked by the installed release's own `doorctl selftest`; the door is out
of service meanwhile, so that part is done only where --yes agrees to it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from door_setup import checks, machine, packages
from door_setup.as_service import run_as
from door_setup.checks import Row, Verdict
from door_setup.chroot import seen
from door_setup.configuration import PATH as CONFIGURATION
from door_setup.credential import Store
from door_setup.plan import Stop, guarded, run
from door_setup.release import installed_version, program
from door_setup.services import is_active
from door_setup.tree import Tree


def main(arguments: list[str] | None = None) -> int:
    """0 nothing failed, 1 something did."""
    options = _parser().parse_args(arguments)
    return guarded("selftest", lambda: _selftest(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="selftest",
        description="Whether this terminal is fit for service. Changes nothing, unless --yes lets it take the door "
                    "out of service for a minute and move each wire.",
        epilog="example: sudo firmware_scripts/selftest --yes")
    parser.add_argument("--yes", action="store_true", help="walk the wires: releases the lock and switches relays")
    parser.add_argument("--json", action="store_true", help="one JSON document; without the wires")
    parser.add_argument("--root", type=Path, default=Path("/"), metavar="DIR")
    parser.add_argument("--dry-run", action="store_true", help="say what would be looked at")
    return parser


def _selftest(options: argparse.Namespace) -> int:
    tree = Tree.of(options.root)
    if options.dry_run:
        print("would look at release, configuration, files and rights, keys, units, clock, disk, watchdog, camera "
              "and model pack" + (", stop doord, walk the wires, and start it again" if options.yes else ""))
        return 0
    if tree.is_live and os.geteuid() != 0:
        raise Stop("only root may look at keys and rights: run it with sudo")
    store = Store.of(tree, packages.systemd_of(tree, machine.look(tree)))
    rows = []
    for row in _rows(store):
        rows.append(row)
        if not options.json:
            print(f"{row.verdict.value:8}{row.name:16}{row.said}", flush=True)
    if options.json:
        print(json.dumps([{"name": row.name, "verdict": row.verdict.value, "said": row.said} for row in rows]))
    failed = sum(row.verdict is Verdict.FAIL for row in rows)
    if not options.json:
        failed += not _wires(store, options.yes)
        print("fit for service" if not failed else f"{failed} failed")
    return int(failed > 0)


def _rows(store: Store) -> Iterator[Row]:
    tree = store.tree
    yield from checks.release_rows(tree)
    yield checks.configuration_row(tree)
    yield from checks.right_rows(tree)
    yield from checks.key_rows(store)
    yield from checks.unit_rows(tree)
    yield checks.clock_row(tree)
    yield checks.disk_row(tree)
    yield checks.watchdog_row(tree)
    yield checks.camera_row(tree)
    yield checks.pack_row(tree)


def _wires(store: Store, is_agreed: bool) -> bool:
    """Have the release walk the wires; False where it found something wrong."""
    if not is_agreed or not _has_selftest(store.tree):
        print(f"{'-':8}{'wires':16}not walked: " + ("this release has no doorctl selftest" if is_agreed else
                                                    "--yes takes the door out of service for that"))
        return True
    is_running = store.tree.has_systemd and is_active("doord.service")
    if is_running:
        run(["systemctl", "stop", "doord.service", "door-relay.service"])
    try:
        return run_as(store, "doord", "doorctl", "selftest", "--yes", "--config",
                      seen(store.tree, CONFIGURATION), is_shown=True).returncode == 0
    finally:
        if is_running:
            run(["systemctl", "start", "door-relay.service", "doord.service"])


def _has_selftest(tree: Tree) -> bool:
    if installed_version(tree) is None:
        return False
    return subprocess.run([*program(tree, "doorctl"), "selftest", "--help"], capture_output=True,
                          check=False).returncode == 0
