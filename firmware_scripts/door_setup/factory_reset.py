"""factory_reset: the terminal forgets everybody, and whom it belonged to. Once begun it is finished."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from door_setup import machine, packages, reset
from door_setup.credential import Store
from door_setup.plan import Stop, WrongUsage, carry_out, guarded, run
from door_setup.tree import Tree

SERVICE = "door-reset.service"
STOPPED = ("door-kiosk.service", "door-syncd.service", "doord.service", "door-relay.service", "door-update.service",
           "door-judge.service", "door-time.service")


def main(arguments: list[str] | None = None) -> int:
    """0 as new; 1 it failed and goes on at the next boot; 2 wrong usage."""
    options = _parser().parse_args(arguments)
    os.umask(0o022)
    return guarded("factory_reset", lambda: _reset(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="factory_reset",
        description="Destroy this terminal's keys, its gallery and its journal, and its tie to a hub. Nothing of it "
                    "can be had back; events that the hub has not stored are lost. A hub on this machine stays.",
        epilog="example: sudo firmware_scripts/factory_reset --yes --keep-config")
    parser.add_argument("--yes", action="store_true", help="without asking")
    parser.add_argument("--keep-config", action="store_true", help="keep terminal.toml: what is wired stays the same")
    parser.add_argument("--resume", action="store_true", help="finish one that was cut short, if there is one")
    parser.add_argument("--root", type=Path, default=Path("/"), metavar="DIR")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
    return parser


def _reset(options: argparse.Namespace) -> int:
    tree = Tree.of(options.root)
    if tree.is_live and os.geteuid() != 0 and not options.dry_run:
        raise Stop("only root may do this: run it with sudo")
    store = Store.of(tree, packages.systemd_of(tree, machine.look(tree)))
    is_begun = tree.at(reset.FLAG).exists()
    if reset.is_as_new(tree) or (options.resume and not is_begun):
        print("nothing to change: no reset was cut short" if options.resume else
              "nothing to change: this terminal knows nobody and belongs to nobody")
        return 0
    keeps = reset.is_config_kept(tree) if is_begun else options.keep_config
    if options.dry_run:
        carry_out(reset.steps(store, keeps), is_dry_run=True)
        return 0
    if not is_begun:
        _ask(options)
        reset.raise_flag(tree, keeps)
    return _finish(tree, store, keeps, options.resume)


def _ask(options: argparse.Namespace) -> None:
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise WrongUsage("this cannot be undone: say --yes")
    if input("Everybody who is enrolled here and every event will be gone. Type reset to go on: ").strip() != "reset":
        raise Stop("nothing was changed")


def _finish(tree: Tree, store: Store, keeps: bool, is_service: bool) -> int:
    if tree.has_systemd and not is_service:
        # As a service it goes on though the shell that asked for it goes away.
        run(["systemctl", "start", SERVICE], is_shown=True)
    else:
        if tree.has_systemd:
            run(["systemctl", "stop", *STOPPED])
        carry_out(reset.steps(store, keeps), is_dry_run=False)
        if tree.has_systemd:
            run(["systemctl", "daemon-reload"])
            run(["systemctl", "start", "--no-block", "door.target"])
    if tree.at(reset.FLAG).exists():
        raise Stop(f"it did not end: see `journalctl -u {SERVICE}`; the door stays out of service until it has")
    print("as new: " + ("terminal.toml was kept; enrol people, or provision it" if keeps else
                        "write terminal.toml and run install --config FILE"))
    return 0
