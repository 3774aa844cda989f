"""The tree inside an official image: a boot partition and a root partition, copied out by loop mounts."""

from __future__ import annotations

import contextlib
import os
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from door_setup.plan import Step, Stop, run
from door_setup.tree import Tree

BLOCK, TABLE = 512, 446
KINDS = (0x0B, 0x0C, 0x83)  # FAT32 twice, Linux


@dataclass(frozen=True, slots=True)
class Part:
    """Where a partition lies in the image, in bytes."""

    begin: int
    size: int


def copy_step(image: Path, tree: Tree) -> Step:
    """The system in the image, with its boot partition in /boot/firmware."""
    return Step(f"copy the system of {image.name} into {tree.root}", "the image itself stays as it is",
                lambda: tree.at("/usr/bin/dpkg").exists(), lambda: _copy(image, tree))


def check(image: Path) -> None:
    """Stop where this machine cannot look into an image."""
    if not image.is_file():
        raise Stop(f"{image}: no such file; unpack the image first (xz -d)")
    with image.open("rb") as file:
        if file.read(512)[510:] != b"\x55\xaa":
            raise Stop(f"{image}: has no table of partitions; unpack it first where it is compressed (xz -d)")
    if os.geteuid() != 0:
        raise Stop("only root can mount the partitions of an image: run it with sudo, or use --debootstrap")
    if not Path("/dev/loop-control").exists():
        raise Stop("this machine has no loop devices: modprobe loop, or use --debootstrap")


def _copy(image: Path, tree: Tree) -> None:
    boot, root = partitions(image)
    with tempfile.TemporaryDirectory() as scratch:
        with _mounted(image, root, Path(scratch)):
            run(["cp", "-a", "--no-target-directory", scratch, tree.root], is_shown=True)
        firmware = tree.at("/boot/firmware")
        firmware.mkdir(parents=True, exist_ok=True)
        with _mounted(image, boot, Path(scratch)):
            run(["cp", "-r", "--no-target-directory", scratch, firmware], is_shown=True)


def partitions(image: Path) -> tuple[Part, Part]:
    """Boot and root of the table in the image's first block; Stop where it has not two such."""
    with image.open("rb") as file:
        head = file.read(BLOCK)
    rows = [struct.unpack_from("<4xB3xII", head, TABLE + 16 * number) for number in range(4)]
    found = [Part(start * BLOCK, count * BLOCK) for kind, start, count in rows if kind in KINDS and count]
    if len(found) != 2 or found[1].begin + found[1].size > image.stat().st_size:
        raise Stop(f"{image}: has not the two partitions of a Raspberry Pi OS, or was cut short")
    return found[0], found[1]


@contextlib.contextmanager
def _mounted(image: Path, part: Part, folder: Path) -> Iterator[None]:
    run(["mount", "-o", f"ro,loop,offset={part.begin},sizelimit={part.size}", image, folder])
    try:
        yield
    finally:
        run(["umount", folder])
