"""The tree inside an official image: a boot partition and a root partition, copied out of a loop device."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from door_setup.plan import Step, Stop, run
from door_setup.tree import Tree


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
    if shutil.which("losetup") is None or not Path("/dev/loop-control").exists():
        raise Stop("this machine has no loop devices: modprobe loop, or use --debootstrap")


def _copy(image: Path, tree: Tree) -> None:
    with _attached(image) as device, tempfile.TemporaryDirectory() as scratch:
        with _mounted(f"{device}p2", Path(scratch)):
            run(["cp", "-a", "--no-target-directory", scratch, tree.root], is_shown=True)
        firmware = tree.at("/boot/firmware")
        firmware.mkdir(parents=True, exist_ok=True)
        with _mounted(f"{device}p1", Path(scratch)):
            run(["cp", "-r", "--no-target-directory", scratch, firmware], is_shown=True)


@contextlib.contextmanager
def _attached(image: Path) -> Iterator[str]:
    device = run(["losetup", "--find", "--show", "--read-only", "--partscan", image]).decode().strip()
    try:
        if not Path(f"{device}p2").exists():
            raise Stop(f"{image}: has no second partition; it is no Raspberry Pi OS")
        yield device
    finally:
        run(["losetup", "--detach", device])


@contextlib.contextmanager
def _mounted(device: str, folder: Path) -> Iterator[None]:
    run(["mount", "-o", "ro", device, folder])
    try:
        yield
    finally:
        run(["umount", folder])
