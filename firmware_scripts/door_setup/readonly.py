"""A root that is never written, and a data partition that holds what changes: what an image is made to be.

/data holds /var, the release folders, the door's part of /etc and the units with their drop-ins; each is mounted
over the root's own folder, which is empty or a first copy. A card whose root is never written does not break when the
power is cut, and both systems of an A/B image share one set of people and events.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from door_setup.board import FIRMWARE
from door_setup.plan import Step, run
from door_setup.services import UNITS
from door_setup.tree import Tree, file_step, link_step

DATA = "/data"
MOVED = {
    "/var": "var",
    "/opt/door": "opt-door",
    "/etc/door": "etc-door",
    "/etc/credstore": "credstore",
    "/etc/credstore.encrypted": "credstore.encrypted",
    "/etc/systemd/system": "units",
    "/etc/NetworkManager/system-connections": "networks",
}
"""Folder of the tree -> its folder in /data."""

REREAD = "door-data.service"

_REREAD = f"""[Unit]
Description=Read the units anew that lie on the data partition
# systemd read the first copies, on the root, before {UNITS} was mounted over them.
RequiresMountsFor={UNITS} /etc/door /opt/door /var/lib/door
Before=door-reset.service door-trial.service door-relay.service doord.service door-syncd.service door-kiosk.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/systemctl daemon-reload

[Install]
WantedBy=door.target
"""


@dataclass(frozen=True, slots=True)
class Disk:
    """How the partitions are called; `select` is None where one system is alone."""

    root: str
    data: str
    boot: str | None = None
    select: str | None = None


AB = Disk("PARTLABEL=root-a", "PARTLABEL=data", "PARTLABEL=boot-a", "PARTLABEL=select")


def steps(tree: Tree, disk: Disk) -> Iterator[Step]:
    """Make the tree's root one that is never written."""
    yield file_step(tree, "/etc/fstab", fstab(tree, disk).encode(), "the root is mounted read-only, and what changes "
                    "lies on the data partition")
    for path in (DATA, *(("/boot/select",) if disk.select else ()), *_there(tree)):
        yield Step(f"make {path}", "a place to mount on", lambda path=path: tree.at(path).is_dir(),  # type: ignore[misc]
                   lambda path=path: tree.at(path).mkdir(parents=True))  # type: ignore[misc]
    yield file_step(tree, "/etc/systemd/journald.conf.d/image.conf", b"[Journal]\nStorage=volatile\n",
                    "logs stay in memory; events are in the door's own journal")
    yield file_step(tree, f"{UNITS}/{REREAD}", _REREAD.encode(), "drop-ins of the data partition are to count")
    yield link_step(tree, f"{UNITS}/door.target.wants/{REREAD}", f"../{REREAD}", "it starts at boot")
    yield link_step(tree, "/etc/resolv.conf", resolver(tree), "name servers come with the network")
    path = next((path for path in FIRMWARE if tree.at(path).parent.joinpath("cmdline.txt").exists()), None)
    if path is not None:
        line = f"{path.rpartition('/')[0]}/cmdline.txt"
        yield Step(f"set the root in {line}", "the kernel mounts this system's own root, and read-only",
                   lambda: {f"root={disk.root}", "ro"} <= set(_words(tree, line)),
                   lambda: tree.at(line).write_text(command_line(_words(tree, line), disk.root), encoding="ascii"))


def resolver(tree: Tree) -> str:
    """Where whoever manages the network writes down its name servers."""
    has_manager = tree.at("/etc/NetworkManager").is_dir()
    return "/run/NetworkManager/resolv.conf" if has_manager else "/run/systemd/resolve/stub-resolv.conf"


def fstab(tree: Tree, disk: Disk) -> str:
    rows = [(disk.root, "/", "ext4", "ro,noatime"), (disk.data, DATA, "ext4", "rw,noatime,data=ordered")]
    if disk.boot:
        rows.append((disk.boot, "/boot/firmware", "vfat", "ro,umask=0077"))
    if disk.select:
        rows.append((disk.select, "/boot/select", "vfat", "rw,sync,umask=0077"))
    rows += [(f"{DATA}/{MOVED[path]}", path, "none", f"bind,x-systemd.requires-mounts-for={DATA}")
             for path in _there(tree)]
    rows.append(("tmpfs", "/tmp", "tmpfs", "mode=1777,nosuid,nodev,size=128m"))  # noqa: S108
    return "# Written by build_image.\n" + "".join(" ".join((*row, "0", "0")) + "\n" for row in rows)


def command_line(words: list[str], root: str) -> str:
    """The kernel's command line with this root, and nothing that would write to it."""
    kept = [word for word in words if not word.startswith(("root=", "init=", "rootfstype=")) and word not in
            ("rw", "ro", "resize")]
    return " ".join([*kept, f"root={root}", "rootfstype=ext4", "ro"]) + "\n"


def move_data(tree: Tree, data: Path) -> None:
    """Fill the data partition's folder from the tree; what is large stays there alone, of the rest a first copy."""
    for path in _there(tree):
        if tree.at(path).is_dir():
            run(["cp", "-a", "--no-target-directory", tree.at(path), data / MOVED[path]])
    for path in ("/var", "/opt/door"):
        for entry in tree.at(path).iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def _there(tree: Tree) -> list[str]:
    """What is moved; a network manager's folder only where there is one."""
    return [path for path in MOVED if not path.startswith("/etc/NetworkManager") or tree.at(path).exists()]


def _words(tree: Tree, path: str) -> list[str]:
    return (tree.read(path) or b"").decode(errors="replace").split()
