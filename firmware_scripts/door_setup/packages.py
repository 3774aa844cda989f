"""Debian packages: which ones a terminal or a hub needs, and why."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from door_setup.chroot import inside
from door_setup.machine import Board, Machine, has_programs
from door_setup.plan import Step, Stop, run
from door_setup.tree import Tree

CLOCKS = ("systemd-timesyncd", "chrony", "ntpsec", "openntpd")


@dataclass(frozen=True, slots=True)
class Package:
    name: str
    why: str


def wanted(tree: Tree, machine: Machine, *, is_terminal: bool, is_hub: bool, has_screen: bool) -> list[Package]:
    """What must be there; nothing more is asked for."""
    there = installed(tree)
    found = [Package("python3-venv", "makes the release's own environment")]
    if not any(clock in there for clock in CLOCKS):
        found.append(Package("systemd-timesyncd", "sets the clock from the network: whoever may enter by the hour "
                             "depends on it"))
    if tree.at("/dev/tpmrm0").exists():
        found.append(Package("tpm2-tools", "brings the libraries by which systemd seals keys to the TPM"))
    if is_terminal and machine.board is Board.PI:
        found += [Package("python3-picamera2", "drives the Raspberry Pi camera; exists only as a Debian package"),
                  Package("python3-lgpio", "drives the pins")]
    if is_terminal and machine.board is Board.JETSON:
        found.append(Package("gstreamer1.0-tools", "reads the CSI cameras"))
    if is_hub:
        found.append(Package("mosquitto", "carries messages between the hub and its terminals"))
    if has_screen:
        found += [Package("chromium", "shows the screen at the door"),
                  Package("cage", "shows one program on a screen, and nothing else"),
                  Package("seatd", "gives it screen and touch panel without a log-in")]
    return found


def packages_step(tree: Tree, packages: list[Package]) -> Step:
    """Install what is missing, with apt-get. In a tree without Debian it says what must be there instead."""
    missing = [package for package in packages if package.name not in installed(tree)]
    names = [package.name for package in missing]
    why = "; ".join(f"{package.name} {package.why}" for package in missing) or "everything that is needed is there"
    if tree.is_live or has_programs(tree):
        return Step(f"install Debian packages {' '.join(names)}".rstrip(), why, lambda: not names,
                    lambda: _install(tree, names))
    return Step(f"at what {tree.root} lacks", f"it holds no Debian; where it runs there must be {', '.join(names)}",
                lambda: False, lambda: None, is_look=True)


def installed(tree: Tree) -> dict[str, str]:
    """Package -> version of everything that dpkg says is installed, whatever the architecture."""
    text = (tree.read("/var/lib/dpkg/status") or b"").decode(errors="replace")
    found = {}
    for block in text.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Status|Version): (.*)$", block, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            found[fields.get("Package", "")] = fields.get("Version", "")
    return found


def systemd_of(tree: Tree, machine: Machine) -> int:
    """Version of the systemd that will run the tree; that of this machine's where the tree holds none."""
    found = re.match(r"\d+", installed(tree).get("systemd", ""))
    return int(found[0]) if found else machine.systemd_version


def _install(tree: Tree, names: list[str]) -> None:
    if os.geteuid() != 0:
        raise Stop(f"only root may install packages: sudo apt-get install -y {' '.join(names)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(inside(tree, ["apt-get", "update", "-qq"]), environment=environment, is_shown=True)
    run(inside(tree, ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *names]),
        environment=environment, is_shown=True)
