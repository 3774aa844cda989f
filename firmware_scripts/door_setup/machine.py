"""Machine: what kind of board and system is being set up."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from door_setup.plan import Stop
from door_setup.tree import Tree

OLDEST, NEWEST = (3, 10), (3, 13)


class Board(Enum):
    """How pins and cameras are reached."""

    PI = "pi"
    JETSON = "jetson"
    OTHER = "other"


_ARCHES = {b"\x3e\x00": "x86_64", b"\xb7\x00": "aarch64"}  # e_machine of an ELF file
PIN_FACTORIES = {Board.PI: "lgpio", Board.JETSON: "gpiod", Board.OTHER: "gpiod"}


@dataclass(frozen=True, slots=True)
class Machine:
    """
    system           e.g. "Debian GNU/Linux 12 (bookworm)"; empty where the tree holds none
    systemd_version  0 where there is none
    python           the interpreter that releases are built with, as the tree has it
    """

    board: Board
    system: str
    systemd_version: int
    python: str


def look(tree: Tree, board: Board | None = None, python: str | None = None) -> Machine:
    """What the tree is; a board that is given is not looked for."""
    return Machine(board or _board(tree), _system(tree), systemd_version(), python or suitable_python(tree))


def suitable_python(tree: Tree) -> str:
    """An interpreter of 3.10 to 3.13 that the services' accounts can run; Stop where there is none."""
    running = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    names = ["/usr/bin/python3", f"/usr/bin/{running}",
             *(f"/usr/bin/python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1))]
    for name in names:
        found = _version_of(tree, name)
        if found is not None and OLDEST <= found <= NEWEST:
            return name
    raise Stop("no Python from 3.10 to 3.13 in /usr/bin; install one, e.g. `sudo apt-get install python3.11 "
               "python3.11-venv`")


def is_foreign(tree: Tree) -> bool:
    """Whether the tree's programs are of another architecture than this machine's."""
    return not tree.is_live and _elf_machine(tree.at("/bin/sh")) not in (None, _elf_machine(Path("/bin/sh")))


def has_programs(tree: Tree) -> bool:
    """Whether the tree is a whole system, in which commands can be run by chroot."""
    return tree.at("/usr/bin/dpkg").exists() and tree.at("/bin/sh").exists()


def systemd_version() -> int:
    """Of the systemd tools of this machine."""
    program = shutil.which("systemd-analyze")
    if program is None:
        return 0
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"systemd (\d+)", said)
    return int(found[1]) if found else 0


def arch(tree: Tree) -> str:
    """As `uname -m` says it where the tree runs."""
    return _ARCHES.get(_elf_machine(tree.at("/bin/sh")) or b"", platform.machine())


def _board(tree: Tree) -> Board:
    try:
        model = tree.at("/proc/device-tree/model").read_bytes()
    except OSError:
        return Board.OTHER
    if b"Raspberry Pi" in model:
        return Board.PI
    return Board.JETSON if b"NVIDIA" in model or b"Jetson" in model else Board.OTHER


def _system(tree: Tree) -> str:
    found = re.search(r'^PRETTY_NAME="?([^"\n]*)', (tree.read("/etc/os-release") or b"").decode(errors="replace"),
                      re.MULTILINE)
    return found[1] if found else ""


def _version_of(tree: Tree, name: str) -> tuple[int, int] | None:
    """(major, minor), from the program's own name: one of another architecture cannot be asked."""
    program = tree.at(name)
    if not program.exists() and not has_programs(tree):
        program = Path(name)  # an empty tree is set up with this machine's
    found = re.search(r"python(\d+)\.(\d+)$", str(program.resolve()) if program.exists() else "")
    return (int(found[1]), int(found[2])) if found else None


def _elf_machine(program: Path) -> bytes | None:
    """The machine that an ELF file is for."""
    try:
        with program.open("rb") as file:
            head = file.read(20)
    except OSError:
        return None
    return head[18:20] if head[:4] == b"\x7fELF" else None
