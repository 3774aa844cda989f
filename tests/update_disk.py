"""A card that loses power: whatever it had not been told to keep may be gone, in part, or as it was before.

`ForgetfulDisk` stands between this process and a folder. It knows what is durable there: everything at the start, a
file's bytes once it was synced, a folder's names once that was synced, everything after a sync of all. At a cut each
difference between that and what can be seen is kept or undone by chance, and what was written but not synced is kept
in part. That is more than a real file system forgets: it also reorders.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WATCHED = ("replace", "rename", "symlink", "unlink", "remove", "mkdir", "rmdir", "fchmod")


@dataclass(frozen=True, slots=True)
class Node:
    """What a name stands for; data: of a file its bytes, of a link its target."""

    kind: str
    data: bytes = b""
    mode: int = 0o755


class ForgetfulDisk:
    """`tick` is called before each change, and may cut."""

    def __init__(self, root: Path, chance: random.Random, tick: Callable[[], None]) -> None:
        self._root, self._chance, self._tick = root, chance, tick
        self._durable = seen(root)
        self._synced: dict[int, bytes] = {}
        self._real: dict[str, Any] = {name: getattr(os, name) for name in (*WATCHED, "fsync", "sync")}

    def insert(self) -> None:
        """From now on the process writes through this disk."""
        for name in WATCHED:
            setattr(os, name, self._watched(self._real[name]))
        os.fsync, os.sync = self._fsync, self._sync  # type: ignore[assignment]

    def remove(self) -> None:
        """From now on it writes past it again."""
        for name, real in self._real.items():
            setattr(os, name, real)

    def cut(self) -> None:
        """The power goes: leave the folder as the card might have it then."""
        self.remove()
        current = seen(self._root)
        left = {}
        for path in sorted(self._durable.keys() | current.keys()):
            node = self._survivor(path, self._durable.get(path), current.get(path))
            if node is not None and (path.parent in left or path.parent == self._root):
                left[path] = node
        rebuild(self._root, left)

    def _survivor(self, path: Path, before: Node | None, now: Node | None) -> Node | None:
        if before == now or self._chance.random() < 0.5:
            return before
        if now is None or now.kind != "file" or self._synced.get(os.lstat(path).st_ino) == now.data:
            return now
        return Node("file", now.data[: self._chance.choice((0, len(now.data) // 2, len(now.data)))], now.mode)

    def _watched(self, real: Any) -> Any:
        def call(*arguments: Any, **more: Any) -> Any:
            self._tick()
            return real(*arguments, **more)

        return call

    def _fsync(self, descriptor: int) -> None:
        self._tick()
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if not path.is_relative_to(self._root):
            return
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            self._synced[os.fstat(descriptor).st_ino] = path.read_bytes()
            return
        names = {child: node for child, node in seen(path).items() if child.parent == path}
        for child in [child for child in self._durable if child.parent == path and child not in names]:
            self._lose(child)
        for child, node in names.items():
            self._durable[child] = self._kept(child, node)

    def _kept(self, path: Path, node: Node) -> Node:
        """What a synced folder says of a name: of a file that was not synced itself, only that it is there."""
        known = self._durable.get(path)
        if node.kind != "file" or self._synced.get(os.lstat(path).st_ino) == node.data:
            return node
        return known if known is not None and known.data == node.data else Node("file", b"", node.mode)

    def _lose(self, path: Path) -> None:
        for child in [child for child in self._durable if child == path or path in child.parents]:
            del self._durable[child]

    def _sync(self) -> None:
        self._tick()
        self._durable = seen(self._root)


def seen(root: Path) -> dict[Path, Node]:
    """Everything below a folder."""
    found = {}
    for path in root.rglob("*"):
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            found[path] = Node("link", os.readlink(path).encode())
        elif stat.S_ISDIR(status.st_mode):
            found[path] = Node("folder")
        elif stat.S_ISREG(status.st_mode):
            found[path] = Node("file", path.read_bytes(), stat.S_IMODE(status.st_mode))
    return found


def rebuild(root: Path, nodes: dict[Path, Node]) -> None:
    """Make the folder hold just this; parents come before what is in them."""
    shutil.rmtree(root)
    root.mkdir()
    for path in sorted(nodes):
        node = nodes[path]
        if node.kind == "folder":
            path.mkdir()
        elif node.kind == "link":
            path.symlink_to(node.data.decode())
        else:
            path.write_bytes(node.data)
            path.chmod(node.mode)
