"""What the system itself is told: devices for their groups, watchdog, logs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from door_setup.machine import Board
from door_setup.plan import Step
from door_setup.tree import Tree, file_step

WATCHDOG = "dtparam=watchdog=on"
FIRMWARE = ("/boot/firmware/config.txt", "/boot/config.txt")

_FILES = (
    ("udev/70-door.rules", "/etc/udev/rules.d/70-door.rules", "pins, cameras and readers for their groups"),
    ("system.conf.d/door-watchdog.conf", "/etc/systemd/system.conf.d/door-watchdog.conf",
     "a machine that hangs is restarted by its hardware; in force from the next boot on"),
    ("journald.conf.d/door.conf", "/etc/systemd/journald.conf.d/door.conf",
     "logs must neither fill nor wear out the card"),
    ("70-door.preset", "/etc/systemd/system-preset/70-door.preset", "what runs on a terminal"),
)


def board_steps(tree: Tree, folder: Path, board: Board) -> Iterator[Step]:
    """folder: systemd/ of the release."""
    for name, target, why in _FILES:
        yield file_step(tree, target, (folder / name).read_bytes(), why)
    path = next((path for path in FIRMWARE if tree.at(path).exists()), None)
    if board is Board.PI and path is not None:
        yield Step(f"set {WATCHDOG} in {path}", "the firmware leaves the watchdog to Linux",
                   lambda: WATCHDOG in _lines(tree, path), lambda: _set_watchdog(tree, path))


def _set_watchdog(tree: Tree, path: str) -> None:
    text = "\n".join([*_lines(tree, path), "", "[all]", WATCHDOG, ""])
    # A FAT partition knows no owners; a file beside, renamed, is as whole there as anywhere.
    fresh = tree.at(f"{path}.fresh")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(tree.at(path))


def _lines(tree: Tree, path: str) -> list[str]:
    return (tree.read(path) or b"").decode(errors="replace").rstrip("\n").splitlines()
