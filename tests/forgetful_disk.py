"""A disk that forgets: at a power cut every write since the file's last sync is kept, dropped or torn at sectors, by
chance. A VFS for SQLite (apsw) writes to it, and as much of sqlite_utils.Database as the stores use lies over it.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw

from device.store import sqlite

SECTOR = 512
Write = tuple[int, bytes | None]  # (offset, what), or (length, None) where the file is cut there


class Medium:
    """Files as they are durably, and the writes that are still under way. `watch` is called after each step."""

    def __init__(self) -> None:
        self.durable: dict[str, bytes] = {}
        self.pending: dict[str, list[Write]] = {}
        self.watch: Callable[[], object] = lambda: None

    def write(self, name: str, offset: int, data: bytes) -> None:
        self.pending.setdefault(name, []).append((offset, bytes(data)))
        self.watch()

    def truncate(self, name: str, length: int) -> None:
        self.pending.setdefault(name, []).append((length, None))
        self.watch()

    def sync(self, name: str) -> None:
        self.durable[name] = self._with(name, lambda: True)
        self.pending[name] = []
        self.watch()

    def after_cut(self, chance: random.Random) -> dict[str, bytes]:
        """Contents of all files when the power went now."""
        return {name: self._with(name, lambda: chance.random() < 0.5)
                for name in self.durable.keys() | self.pending.keys()}

    def _with(self, name: str, is_kept: Callable[[], bool]) -> bytes:
        image = bytearray(self.durable.get(name, b""))
        for offset, data in self.pending.get(name, []):
            if data is None:
                if is_kept():
                    del image[offset:]
                continue
            for start in range(0, len(data), SECTOR):
                if is_kept():
                    part, at = data[start:start + SECTOR], offset + start
                    image.extend(bytes(max(at + len(part) - len(image), 0)))
                    image[at:at + len(part)] = part
        return bytes(image)


class ForgetfulFile(apsw.VFSFile):
    def __init__(self, name: Any, flags: Any, medium: Medium) -> None:
        self._name = str(name.filename() if hasattr(name, "filename") else name).rsplit("/", 1)[-1]
        self._medium = medium
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._medium.write(self._name, offset, data)
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        self._medium.truncate(self._name, newsize)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        self._medium.sync(self._name)


class ForgetfulDisk(apsw.VFS):
    def __init__(self, name: str, medium: Medium) -> None:
        self._medium = medium
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: Any) -> ForgetfulFile:
        return ForgetfulFile(name, flags, self._medium)


class Adapter:
    """As much of sqlite_utils.Database as the stores use, over an apsw connection."""

    def __init__(self, connection: Any) -> None:
        self.conn, self.execute = connection, connection.execute

    @contextlib.contextmanager
    def atomic(self) -> Iterator[None]:
        with self.conn:
            yield


@contextlib.contextmanager
def forgetful(path: Path, medium: Medium) -> Iterator[Adapter]:
    """The database in `path`, which exists, on a forgetful disk; closed by whoever opened a store over it."""
    disk = ForgetfulDisk(f"forgetful {path}", medium)
    medium.durable[path.name] = path.read_bytes()
    connection: Any = apsw.Connection(str(path), vfs=f"forgetful {path}")
    sqlite._set_pragmas(connection, path, 100)
    connection.execute("PRAGMA wal_autocheckpoint=20")
    yield Adapter(connection)
    assert disk is not None  # SQLite does not keep it


def lay_out(files: dict[str, bytes], folder: Path) -> None:
    """What a cut has left, as files in a folder of their own."""
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
