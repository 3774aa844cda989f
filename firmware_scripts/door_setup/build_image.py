"""build_image: a terminal's whole system, ready to be started, from an official image or from nothing but Debian.

    --image FILE          an official Raspberry Pi OS, unpacked: its system is copied out and customised
    --debootstrap SUITE   a Debian (or Ubuntu) of that name

Both end in a folder that holds the system with the terminal installed, its root never to be written; --out makes a
disk image of it with two systems side by side, for updates of the whole by RAUC (systemd/rauc).
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from door_setup import disk_image, install, official, readonly
from door_setup.chroot import seen
from door_setup.machine import Board
from door_setup.plan import Step, Stop, WrongUsage, carry_out, guarded, run
from door_setup.services import UNITS
from door_setup.tree import Tree, file_step, link_step

SUITES = {"bookworm": "debian", "trixie": "debian", "jammy": "ubuntu", "noble": "ubuntu"}
PACKAGES = {
    "systemd-sysv": "starts the system",
    "dbus": "by it the parts of systemd talk",
    "udev": "gives devices their groups",
    "systemd-timesyncd": "sets the clock",
    "systemd-resolved": "asks name servers",
    "python3": "runs everything",
    "python3-venv": "makes the release's own environment",
    "ca-certificates": "whom to believe when wheels and packs are fetched",
    "util-linux": "mount, losetup, runuser",
    "tzdata": "time zones",
}
WITHIN_SYSTEMD = {"jammy": {"systemd-resolved"}}
"""What an older suite has in another of the packages."""

UNITS_OF_SYSTEM = "/usr/lib/systemd/system"
NETWORK = b"[Match]\nType=ether\nKind=!*\n\n[Network]\nDHCP=yes\n"
RESOLVER = b"[Resolve]\nLLMNR=no\nMulticastDNS=no\n"


def main(arguments: list[str] | None = None) -> int:
    """0 built, 1 failed, 2 wrong usage."""
    options = _parser().parse_args(arguments)
    os.umask(0o022)
    return guarded("build_image", lambda: _build(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="build_image",
        description="Build a terminal's whole system in a folder, and a disk image of it. Where it was interrupted, "
                    "run it again.",
        epilog="example: sudo firmware_scripts/build_image --image raspios-lite.img --into system --out door.img "
               "--config terminal.toml")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--image", type=Path, metavar="FILE", help="an official Raspberry Pi OS, unpacked")
    source.add_argument("--debootstrap", choices=sorted(SUITES), metavar="SUITE", help=", ".join(sorted(SUITES)))
    parser.add_argument("--into", type=Path, required=True, metavar="DIR", help="the folder to make the system in")
    parser.add_argument("--out", type=Path, metavar="IMAGE", help="a disk image to write; uses up the folder")
    parser.add_argument("--mirror", metavar="URL", help="where packages come from, if not from debootstrap's own")
    parser.add_argument("--writable", action="store_true", help="leave the root as it is, without a data partition")
    terminal = parser.add_argument_group("handed to install")
    for name, about in (("--config", "terminal.toml"), ("--wheels", "wheels, without a package index"),
                        ("--release", "a release that was built elsewhere"), ("--cache", "a cache of model packs"),
                        ("--update-root", "whose updates are taken")):
        terminal.add_argument(name, type=Path, metavar="PATH", help=about)
    terminal.add_argument("--rehearsal", action="store_true")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
    return parser


def _build(options: argparse.Namespace) -> int:
    board = Board.PI if options.image else Board.OTHER
    if not options.dry_run:
        options.into.mkdir(parents=True, exist_ok=True)
    tree = Tree(options.into.resolve())
    if tree.is_live:
        raise WrongUsage("--into must be a folder of its own, not the system that runs")
    carry_out(_source_steps(options, tree), options.dry_run)
    words = _handed(options, tree, board)
    print(f"install {' '.join(words)}")
    if not options.dry_run and install.main(words) != 0:
        raise Stop("the terminal could not be installed into the system; see above")
    carry_out(_image_steps(options, tree, board), options.dry_run)
    return 0


def _source_steps(options: argparse.Namespace, tree: Tree) -> Iterator[Step]:
    if options.image:
        if not options.dry_run:
            official.check(options.image)
        yield official.copy_step(options.image, tree)
        return
    suite = options.debootstrap
    packages = {name: about for name, about in PACKAGES.items() if name not in WITHIN_SYSTEMD.get(suite, ())}
    why = "; ".join(f"{name} {about}" for name, about in packages.items())
    mirror = options.mirror or "debootstrap's own mirror"
    yield Step(f"debootstrap {suite} from {mirror} into {tree.root}", f"the least that runs a terminal: {why}",
               lambda: tree.at("/usr/bin/dpkg").exists() and not tree.at("/debootstrap").exists(),
               lambda: _debootstrap(suite, options.mirror, tuple(packages), tree))
    yield file_step(tree, "/etc/hostname", b"door\n", "a name of its own")
    yield from _network_steps(tree)


def _network_steps(tree: Tree) -> Iterator[Step]:
    """A bare Debian takes no address by itself."""
    yield file_step(tree, "/etc/systemd/network/80-door.network", NETWORK, "an address by cable, from whoever gives "
                    "them; write another file for a fixed one")
    yield file_step(tree, "/etc/systemd/resolved.conf.d/door.conf", RESOLVER, "no port is open beyond this machine")
    for name in ("systemd-networkd.service", "systemd-resolved.service"):
        yield link_step(tree, f"{UNITS}/multi-user.target.wants/{name}", f"{UNITS_OF_SYSTEM}/{name}",
                        "it starts at boot")


def _debootstrap(suite: str, mirror: str | None, packages: tuple[str, ...], tree: Tree) -> None:
    if os.geteuid() != 0:
        raise Stop("only root can debootstrap: run it with sudo")
    if shutil.which("debootstrap") is None:
        raise Stop("install first: sudo apt-get install -y debootstrap")
    components = "main,universe" if SUITES[suite] == "ubuntu" else "main"
    run(["debootstrap", "--variant=minbase", f"--components={components}", f"--include={','.join(packages)}", suite,
         tree.root, *([mirror] if mirror else [])], is_shown=True)


def _handed(options: argparse.Namespace, tree: Tree, board: Board) -> list[str]:
    words = ["--root", str(tree.root), "--board", board.value]
    for name in ("config", "wheels", "release", "cache", "update_root"):
        if getattr(options, name) is not None:
            words += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    return [*words, *(["--rehearsal"] if options.rehearsal else [])]


def _image_steps(options: argparse.Namespace, tree: Tree, board: Board) -> Iterator[Step]:
    if options.writable:
        return
    yield from readonly.steps(tree, readonly.AB)
    if board is Board.PI:
        backend = Path(__file__).resolve().parents[2] / "systemd" / "rauc" / "tryboot-backend"
        yield file_step(tree, "/usr/lib/rauc/tryboot-backend", backend.read_bytes(), "RAUC's way to the firmware",
                        0o755)
    if options.out is not None:
        work = options.out.with_name(f"{options.out.name}.parts")
        if options.dry_run:
            print(f"  would pack {seen(tree, '/')} into {options.out}: {', '.join(disk_image.PARTITIONS)}")
            return
        yield from disk_image.steps(tree, options.out, work, board)
