"""Where an import's pictures come from: a folder, or a zip that is read in place and never unpacked.

Names are looked up among those that were listed, so that no name can lead out of the folder or the zip. Called by
`importing` through the CLI.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

from device.errors import PictureRefused, UsageError
from device.face.photo import MOST_BYTES

MOST_FILES = 400_000
MOST_RATIO = 200
"""A picture hardly shrinks; whatever unpacks to so many times its size was made to fill a memory."""


class Folder:
    """The pictures in a folder and the folders below it; a link that leads out of it is not followed."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise UsageError(f"{root}: no such folder")
        self._root = root.resolve()
        self._files: dict[str, Path] = {}
        for path in sorted(self._root.rglob("*")):
            if path.is_file() and path.resolve().is_relative_to(self._root):
                self._files[path.relative_to(self._root).as_posix()] = path
            if len(self._files) > MOST_FILES:
                raise UsageError(f"{root}: more than {MOST_FILES} files")

    def names(self) -> list[str]:
        return list(self._files)

    def read(self, name: str) -> bytes:
        path = self._files.get(_plain(name))
        if path is None:
            raise PictureRefused(f"{name[:80]}: no such picture in the folder")
        try:
            with path.open("rb") as file:
                return file.read(MOST_BYTES + 1)
        except OSError as error:
            raise PictureRefused(f"{name[:80]}: {(error.strerror or 'cannot be read').lower()}") from None


class Zip:
    """The pictures in a zip file."""

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            reason = getattr(error, "strerror", None) or "not a zip file, or damaged"
            raise UsageError(f"{path}: {reason}") from None
        self._files: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            if info.is_dir():
                continue
            name = _plain(_named(info))
            if name.startswith("/") or ".." in name.split("/") or ":" in name:
                raise UsageError(f"{path}: the zip names a file outside itself; it was made to do harm")
            self._files[name] = info
        if len(self._files) > MOST_FILES:
            raise UsageError(f"{path}: more than {MOST_FILES} files")

    def names(self) -> list[str]:
        return list(self._files)

    def read(self, name: str) -> bytes:
        info = self._files.get(_plain(name))
        if info is None:
            raise PictureRefused(f"{name[:80]}: no such picture in the zip")
        if info.flag_bits & 1:
            raise PictureRefused(f"{name[:80]}: the zip is locked with a password")
        if info.file_size > MOST_BYTES or info.file_size > MOST_RATIO * max(info.compress_size, 1):
            raise PictureRefused(f"{name[:80]}: unpacks to far too much")
        try:
            with self._zip.open(info) as file:
                return file.read(MOST_BYTES + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError):
            raise PictureRefused(f"{name[:80]}: damaged in the zip") from None

    def close(self) -> None:
        self._zip.close()


def _plain(name: str) -> str:
    """The name with forward slashes and without a leading "./"."""
    return name.replace("\\", "/").removeprefix("./")


def _named(info: zipfile.ZipInfo) -> str:
    """The name as it was meant: zips made on Chinese Windows hold GBK, which Python takes for CP437."""
    if info.flag_bits & 0x800:
        return info.filename
    try:
        raw = info.filename.encode("cp437")
    except UnicodeEncodeError:
        return info.filename
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return info.filename
