"""install: from a bare board to running services.

Each step knows whether it is done, so that a second run changes nothing and says so, and one that was interrupted is
simply run again. With `--root DIR` the same files are laid out under DIR and nothing of this machine is touched.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from door_setup import by_hand, configuration, credential, machine, packages, release, services
from door_setup.as_service import ENVIRONMENT
from door_setup.board import board_steps
from door_setup.configuration import Configuration
from door_setup.hub import hub_steps
from door_setup.machine import Board, Machine
from door_setup.pack import enrolment_step, pack_steps
from door_setup.plan import Step, Stop, WrongUsage, carry_out, guarded, run
from door_setup.services import UNITS
from door_setup.shell import shell_steps
from door_setup.tree import Tree, file_step
from door_setup.trust import trust_step

STARTED = ("door.target", "door-relay.service", "doord.service", "door-kiosk.service", "fleethub.service")
REQUIREMENTS = {(True, False): "terminal.txt", (True, True): "try.txt", (False, True): "hub.txt"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asked for, and where."""

    tree: Tree
    source: release.Source
    machine: Machine
    options: argparse.Namespace

    @property
    def is_terminal(self) -> bool:
        return not self.options.no_terminal

    @property
    def units(self) -> tuple[str, ...]:
        return (*(services.TERMINAL if self.is_terminal else ()), *(services.HUB if self.options.hub else ()))

    def enabled(self, found: Configuration) -> tuple[str, ...]:
        """The units without the screen's, where there is none."""
        return tuple(unit for unit in self.units if found.has_screen or unit != "door-kiosk.service")

    @property
    def store(self) -> credential.Store:
        return credential.Store.of(self.tree, packages.systemd_of(self.tree, self.machine))

    @property
    def systemd(self) -> Path:
        """The folder of units of the release that is installed, else of the source."""
        inside = self.tree.at(f"{release.CURRENT}/{release.SHARE}/systemd")
        return inside if inside.is_dir() else self.source.folder / "systemd"


def main(arguments: list[str] | None = None) -> int:
    """0 installed, 1 failed, 2 wrong usage or configuration."""
    options = _parser().parse_args(arguments)
    os.umask(0o022)
    return guarded("install", lambda: _install(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="install", description="Install a door's terminal, or a hub, and start it. Safe to run twice.",
        epilog="example: sudo firmware_scripts/install --config terminal.toml")
    parser.add_argument("--config", type=Path, metavar="FILE", help="terminal.toml to put into /etc/door")
    parser.add_argument("--rehearsal", action="store_true",
                        help="mock pins and rendered visitors: running services on any Debian machine")
    parser.add_argument("--hub", action="store_true", help="the hub of a fleet on this machine")
    parser.add_argument("--no-terminal", action="store_true", help="with --hub: nothing but the hub")
    parser.add_argument("--site", default="main", help="with --hub: id of the first site (default main)")
    parser.add_argument("--update-root", type=Path, metavar="FILE",
                        help="the first root of trust of updates; without one no update is ever taken")
    parser.add_argument("--board", choices=[board.value for board in Board], help="instead of looking for it")
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="wheels to install from, without a package index")
    parser.add_argument("--release", type=Path, metavar="DIR", help="a release that was built elsewhere")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="a cache of packs to copy, instead of building")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--units", action="store_true", help="accounts, folders and units of the release, nothing else")
    only.add_argument("--first-boot", action="store_true", help="this board's own key, nothing else")
    parser.add_argument("--rebuild", action="store_true", help="build the release although it is there")
    parser.add_argument("--root", type=Path, default=Path("/"), metavar="DIR", help="lay everything out under DIR")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
    return parser


def _install(options: argparse.Namespace) -> int:
    wanted = _wanted(options)
    if options.first_boot or options.units:
        steps = _first_boot(wanted) if options.first_boot else _unit_steps(wanted)
        if carry_out(steps, options.dry_run) and wanted.tree.has_systemd and not options.dry_run:
            run(["systemctl", "daemon-reload"])
        return 0
    print(f"install: {wanted.machine.system or wanted.tree.root}, board {wanted.machine.board.value}, "
          f"{wanted.machine.python}, open-door {wanted.source.version}")
    data = _configuration_data(wanted) if wanted.is_terminal else b""
    changed = carry_out(_base(wanted, data), options.dry_run)
    found = _configuration(wanted)
    if found is None:
        print("  would go on as terminal.toml says, which the release reads")
        return 0
    changed += carry_out(_service_steps(wanted, found), options.dry_run)
    if options.dry_run:
        return 0
    return _begin(wanted, found, changed > 0)


def _wanted(options: argparse.Namespace) -> Wanted:
    if options.no_terminal and not options.hub:
        raise WrongUsage("--no-terminal leaves nothing to install: say --hub as well")
    tree = Tree.of(options.root)
    if tree.is_live and os.geteuid() != 0 and not options.dry_run:
        raise Stop("only root may do this: run it with sudo, or try it with --root DIR")
    if machine.is_foreign(tree):
        print("install: the tree is of another architecture; its programs run through this machine's emulation")
    board = Board(options.board) if options.board else None
    return Wanted(tree, release.source_of(Path(__file__)), machine.look(tree, board), options)


def _first_boot(wanted: Wanted) -> Iterator[Step]:
    """What must be another on each board, and so is in no image."""
    store = wanted.store
    yield from _key_steps(store)
    yield from shell_steps(store, is_hub=wanted.tree.at(f"{UNITS}/fleethub.service").exists())


def _unit_steps(wanted: Wanted) -> Iterator[Step]:
    """What a release brings for systemd; after an update, by hand, once the release is good."""
    tree, folder = wanted.tree, wanted.systemd
    names = (*(services.TERMINAL if tree.at(f"{UNITS}/doord.service").exists() else ()),
             *(services.HUB if tree.at(f"{UNITS}/fleethub.service").exists() else ()))
    yield from services.account_steps(tree, folder)
    yield from services.unit_steps(tree, folder, names, packages.systemd_of(tree, wanted.machine))
    yield from services.enable_steps(tree, tuple(name for name in names if name != "door-kiosk.service"))


def _base(wanted: Wanted, terminal_toml: bytes) -> Iterator[Step]:
    """Up to the point from which the release itself can read the configuration."""
    tree, options = wanted.tree, wanted.options
    yield packages.packages_step(tree, packages.wanted(
        tree, wanted.machine, is_terminal=wanted.is_terminal, is_hub=options.hub, has_screen=False))
    yield from services.account_steps(tree, wanted.source.folder / "systemd")
    if options.release:
        yield release.copy_step(tree, options.release)
        version = release.version_in(options.release / "release.json")
    else:
        version = wanted.source.version
        if wanted.source.is_checkout:
            recipe = release.Recipe(wanted.source, wanted.machine,
                                    REQUIREMENTS[wanted.is_terminal, options.hub], options.wheels)
            yield release.build_step(tree, recipe, options.rebuild)
    yield from release.current_steps(tree, version)
    yield from pack_steps(tree, options.cache, options.rehearsal)
    if wanted.is_terminal:
        yield configuration.configuration_step(tree, terminal_toml)


def _configuration_data(wanted: Wanted) -> bytes:
    """terminal.toml: the one that was given; else the one that is there; in rehearsal one of its own.

    WrongUsage where there is none, before anything has been done.
    """
    given, there = wanted.options.config, wanted.tree.read(configuration.PATH)
    if given is not None:
        try:
            with given.open("rb") as file:
                return bytes(file.read(configuration.MOST_BYTES + 1))
        except OSError as error:
            raise WrongUsage(f"{given}: {error.strerror}; name the terminal.toml to install") from None
    if there is None and not wanted.options.rehearsal:
        raise WrongUsage(f"{configuration.PATH}: there is none yet; copy systemd/terminal.toml, name the lock and "
                         "what is wired, and run install --config FILE (or --rehearsal)")
    return configuration.REHEARSAL.encode() if there is None else there


def _configuration(wanted: Wanted) -> Configuration | None:
    """None where there is no release yet to read it, as in a dry run."""
    if not wanted.is_terminal:
        return Configuration({})
    if not wanted.tree.at(configuration.PATH).exists() or release.installed_version(wanted.tree) is None:
        return None
    return configuration.read(wanted.tree)


def _service_steps(wanted: Wanted, found: Configuration) -> Iterator[Step]:
    tree, options, store = wanted.tree, wanted.options, wanted.store
    yield packages.packages_step(tree, packages.wanted(
        tree, wanted.machine, is_terminal=False, is_hub=False, has_screen=found.has_screen))
    yield from services.unit_steps(tree, wanted.systemd, wanted.units, packages.systemd_of(tree, wanted.machine))
    if wanted.is_terminal:
        yield from _terminal_steps(wanted, found, store)
    if options.hub:
        yield from hub_steps(store, options.site)
    yield from board_steps(tree, wanted.systemd, wanted.machine.board)
    yield from services.enable_steps(tree, wanted.enabled(found))
    yield from shell_steps(store, options.hub)
    yield services.verify_step(tree, wanted.enabled(found))
    if found.is_rehearsal:
        yield enrolment_step(store)


def _terminal_steps(wanted: Wanted, found: Configuration, store: credential.Store) -> Iterator[Step]:
    tree, board = wanted.tree, wanted.machine.board
    factory = "mock" if found.is_rehearsal or wanted.options.rehearsal else machine.PIN_FACTORIES[board]
    text = f"# Written by the installation.\nGPIOZERO_PIN_FACTORY={factory}\nDOOR_CACHE=/var/cache/door\n"
    yield file_step(tree, ENVIRONMENT, text.encode(), "the one library that drives the pins: without it doord "
                    "refuses to start")
    yield services.dropin_step(tree, "doord", "configured", configuration.dropin(found, board),
                               "devices and addresses that terminal.toml names, and no others")
    if found.has_screen:
        yield services.dropin_step(tree, "door-kiosk", "configured", configuration.kiosk_dropin(found),
                                   "the port that doord serves its page on")
    if wanted.options.update_root is not None:
        yield trust_step(tree, wanted.options.update_root)
    # Not into an image, which is the same on every board; a rehearsal has nothing to hide.
    if tree.is_live or found.is_rehearsal:
        yield from _key_steps(store)


def _key_steps(store: credential.Store) -> Iterator[Step]:
    yield store.make_step(credential.TERMINAL_KEY, "gallery and evidence are sealed under it")
    yield store.dropin_step("doord")
    yield store.dropin_step("door-syncd")


def _begin(wanted: Wanted, found: Configuration, is_changed: bool) -> int:
    """Start what was installed, or say how it is started."""
    tree = wanted.tree
    names = tuple(name for name in STARTED if name in wanted.enabled(found))
    if tree.has_systemd:
        carry_out(services.start_steps(names, is_changed), is_dry_run=False)
        return 0
    print("systemd does not run this machine, so nothing was started." if tree.is_live else
          f"{tree.root} was laid out; where it is the machine, its services start at boot.")
    print("By hand, as root, each daemon in a shell of its own:")
    for line in by_hand.lines(tree, names):
        print(f"  {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
