"""A disk image for a Raspberry Pi with two systems, of which the firmware starts one and tries the other.

    select   FAT: autoboot.txt, by which the firmware chooses
    boot-a, boot-b    FAT: kernel and firmware of each system
    root-a, root-b    ext4, never written
    data     ext4: what both systems share (see `readonly`)

Made of files, without mounting anything: it needs no root but for the owners of what it packs.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from door_setup.machine import Board
from door_setup.plan import Step, Stop, run
from door_setup.readonly import AB, command_line, fstab, move_data
from door_setup.tree import Tree

MIB = 1 << 20
TOOLS = {"sfdisk": "fdisk", "mkfs.ext4": "e2fsprogs", "mkfs.vfat": "dosfstools", "mcopy": "mtools"}
SELECT_MIB, BOOT_MIB, DATA_MIB = 64, 512, 1024
SPARE = 1.3  # of a root file system, for what an update adds
AUTOBOOT = "[all]\ntryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=3\n"
PARTITIONS = ("select", "boot-a", "boot-b", "root-a", "root-b", "data")
_FAT, _LINUX = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7", "0FC63DAF-8483-4772-8E79-3D69D8477DE4"


@dataclass(frozen=True, slots=True)
class Parts:
    """The image's parts as files in one folder; `boot` and `root` are what an update of the whole system carries."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "root.ext4"

    @property
    def boot(self) -> Path:
        return self.folder / "boot.vfat"

    @property
    def other_boot(self) -> Path:
        return self.folder / "boot-b.vfat"

    @property
    def other_root(self) -> Path:
        return self.folder / "root-b.ext4"

    @property
    def select(self) -> Path:
        return self.folder / "select.vfat"

    @property
    def data(self) -> Path:
        return self.folder / "data.ext4"


def missing_tools() -> list[str]:
    """Debian packages whose programs are not here."""
    return sorted({package for program, package in TOOLS.items() if shutil.which(program) is None})


def steps(tree: Tree, image: Path, work: Path, board: Board) -> Iterator[Step]:
    """Pack the tree, which is used up by it, into an image. Stop where the tools are missing."""
    if missing := missing_tools():
        raise Stop(f"install first: sudo apt-get install -y {' '.join(missing)}")
    if board is not Board.PI:
        raise Stop("only the Raspberry Pi's firmware starts such an image: for another board keep the folder")
    parts = Parts(work)
    yield Step(f"pack the parts into {work}", "each system's boot and root, the choice between them, and the data",
               image.exists, lambda: _pack(tree, parts))
    yield Step(f"write {image}", "a table of partitions with the parts in their places", image.exists,
               lambda: assemble(parts, image))


def assemble(parts: Parts, image: Path) -> None:
    """The image of the parts; whole or not at all."""
    files = (parts.select, parts.boot, parts.other_boot, parts.root, parts.other_root, parts.data)
    sizes = [file.stat().st_size // MIB for file in files]
    starts = [1 + sum(sizes[:number]) for number in range(len(sizes))]
    table = "label: gpt\nunit: sectors\n" + "".join(
        f"start={start * 2048}, size={size * 2048}, name={name}, type={_FAT if index < 3 else _LINUX}\n"
        for index, (name, start, size) in enumerate(zip(PARTITIONS, starts, sizes, strict=True)))
    fresh = image.with_name(f"{image.name}.new")
    with fresh.open("wb") as out:
        out.truncate((starts[-1] + sizes[-1] + 1) * MIB)
    run(["sfdisk", "--quiet", fresh], data=table.encode())
    for file, start in zip(files, starts, strict=True):
        run(["dd", f"if={file}", f"of={fresh}", f"seek={start}", "bs=1M", "conv=notrunc,sparse", "status=none"])
    fresh.replace(image)


def _pack(tree: Tree, parts: Parts) -> None:
    parts.folder.mkdir(parents=True, exist_ok=True)
    data = parts.folder / "data"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir()
    move_data(tree, data)
    _ext4(data, parts.data, DATA_MIB + _mib(data), "data")
    shutil.rmtree(data)
    boot = tree.at("/boot/firmware")
    words = (boot / "cmdline.txt").read_text(encoding="ascii", errors="replace").split() if boot.is_dir() else []
    for file, letter in ((parts.boot, "a"), (parts.other_boot, "b")):
        if words:
            (boot / "cmdline.txt").write_text(command_line(words, f"PARTLABEL=root-{letter}"), encoding="ascii")
        _fat(sorted(boot.iterdir()) if boot.is_dir() else [], file, BOOT_MIB, f"BOOT-{letter.upper()}")
    autoboot = parts.folder / "autoboot.txt"
    autoboot.write_text(AUTOBOOT, encoding="ascii")
    _fat([autoboot], parts.select, SELECT_MIB, "SELECT")
    shutil.rmtree(boot, ignore_errors=True)
    boot.mkdir(parents=True)
    size = int(_mib(tree.root) * SPARE) + 128
    for file, letter in ((parts.root, "a"), (parts.other_root, "b")):
        own = fstab(tree, AB).replace("boot-a", f"boot-{letter}").replace("root-a", f"root-{letter}")
        tree.at("/etc/fstab").write_text(own, encoding="utf-8")
        _ext4(tree.root, file, size, f"root-{letter}")


def _ext4(folder: Path, file: Path, mib: int, label: str) -> None:
    file.unlink(missing_ok=True)
    run(["mkfs.ext4", "-q", "-L", label, "-d", folder, file, f"{mib}M"])


def _fat(entries: list[Path], file: Path, mib: int, label: str) -> None:
    file.unlink(missing_ok=True)
    with file.open("wb") as out:
        out.truncate(mib * MIB)
    run(["mkfs.vfat", "-n", label, file])
    if entries:
        run(["mcopy", "-s", "-Q", "-i", file, *entries, "::/"])


def _mib(folder: Path) -> int:
    """What a folder takes up, in whole MiB and never less than one."""
    total = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return total // MIB + 1
