"""Bundle: one file with everything that an update needs; as plain a container as there can be.

    open-door bundle 1\\n
    <size> <name>\\n          one line a part, sorted by name, each name once
    \\n
    the parts' bytes, in that order, and nothing behind them

Metadata parts are `metadata/*.json` of The Update Framework, the others are its targets. This reader is all that
looks at a bundle before the signatures are verified, so it knows no more than this: no compression, no links, no
folders, no names but the expected ones, and no size beyond the limits.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from device.errors import TerminalError
from device.update.disk import BLOCK, guarded

MAGIC = b"open-door bundle 1\n"
MAX_HEADER = 65_536
MAX_PARTS = 256
MAX_BYTES = 2_000_000_000
MANIFEST = "manifest.json"
REQUIREMENTS = "requirements.txt"
WHEELS = "wheels/"

# name -> most bytes
_LIMITS = {
    re.compile(r"metadata/([1-9]\d{0,9}\.(root|snapshot|targets)|timestamp)\.json", re.ASCII): 500_000,
    re.compile(re.escape(MANIFEST)): 65_536,
    re.compile(re.escape(REQUIREMENTS)): 1_000_000,
    re.compile(WHEELS + r"[A-Za-z0-9][A-Za-z0-9_.+!-]{0,199}\.whl", re.ASCII): 1_000_000_000,
}
_LINE = re.compile(rb"(0|[1-9]\d{0,9}) ([!-~]{1,255})")


class BundleRefused(TerminalError, ValueError):
    """A bundle that is not whole, not signed as it must be, or not for this terminal; one line that says which."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file in a bundle."""

    name: str
    offset: int
    size: int


class Bundle:
    """A bundle that is open for reading. What its parts hold is not verified here (see `update.verification`)."""

    def __init__(self, file: BinaryIO, name: str, parts: Mapping[str, Part]) -> None:
        self._file, self._name = file, name
        self.parts = parts

    @classmethod
    def open(cls, path: Path) -> Bundle:
        """BundleRefused where the file is no bundle or not a whole one, UpdateFailed where it cannot be read."""
        with guarded(path):
            file = open_regular(path)
            try:
                return cls(file, path.name, _parts(file, path.name))
            except BaseException:
                file.close()
                raise

    def __enter__(self) -> Bundle:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def blocks(self, name: str) -> Iterator[bytes]:
        """A part's bytes, in blocks of up to a megabyte; KeyError where there is no such part."""
        part = self.parts[name]
        self._file.seek(part.offset)
        left = part.size
        while left:
            block = self._file.read(min(BLOCK, left))
            if not block:
                raise BundleRefused(f"{self._name} has become shorter while it was read; copy it again")
            left -= len(block)
            yield block

    def read(self, name: str) -> bytes:
        """A small part as a whole."""
        return b"".join(self.blocks(name))


def write_bundle(path: Path, parts: Mapping[str, bytes | Path]) -> None:
    """Write a bundle; a part is given as its bytes or as the file that holds them."""
    sizes = {name: len(part) if isinstance(part, bytes) else part.stat().st_size for name, part in parts.items()}
    with path.open("wb") as file:
        file.write(header(sizes))
        for name in sorted(parts):
            part = parts[name]
            file.write(part if isinstance(part, bytes) else part.read_bytes())


def header(sizes: Mapping[str, int]) -> bytes:
    """What stands before the parts."""
    return MAGIC + b"".join(f"{sizes[name]} {name}\n".encode() for name in sorted(sizes)) + b"\n"


def open_regular(path: Path) -> BinaryIO:
    """A file that must be a plain one: whoever left it may have put a link or a pipe there instead."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise BundleRefused(f"{path.name} is not a plain file")
    return open(fd, "rb")


def _parts(file: BinaryIO, name: str) -> dict[str, Part]:
    start = file.read(MAX_HEADER)
    head, end, _ = start.partition(b"\n\n")
    if not start.startswith(MAGIC):
        raise BundleRefused(f"{name} is not an update bundle")
    if not end:
        raise BundleRefused(f"{name}: the list of parts has no end; copy it again")
    lines = head[len(MAGIC):].split(b"\n")
    if len(lines) > MAX_PARTS:
        raise BundleRefused(f"{name} lists {len(lines)} parts; at most {MAX_PARTS} are read")
    parts: dict[str, Part] = {}
    offset, before = len(head) + len(end), ""
    for line in lines:
        part = _part(line, offset, name)
        if part.name <= before:
            raise BundleRefused(f"{name}: the list of parts is out of order")
        parts[part.name] = part
        offset, before = offset + part.size, part.name
    _check_length(file, offset, name)
    return parts


def _part(line: bytes, offset: int, name: str) -> Part:
    found = _LINE.fullmatch(line)
    if found is None:
        raise BundleRefused(f"{name}: a line of the list of parts is malformed")
    part = Part(found[2].decode("ascii"), offset, int(found[1]))
    limit = next((most for form, most in _LIMITS.items() if form.fullmatch(part.name)), None)
    if limit is None:
        raise BundleRefused(f"{name} holds {part.name[:60]!r}, which has no place in a bundle")
    if part.size > limit:
        raise BundleRefused(f"{name}: {part.name} says that it has {part.size} bytes; at most {limit} are read")
    return part


def _check_length(file: BinaryIO, wanted: int, name: str) -> None:
    size = os.fstat(file.fileno()).st_size
    if wanted > MAX_BYTES:
        raise BundleRefused(f"{name} says that it has {wanted} bytes; at most {MAX_BYTES} are read")
    if size < wanted:
        raise BundleRefused(f"{name} is cut short: {size} of {wanted} bytes; copy it again")
    if size > wanted:
        raise BundleRefused(f"{name} has {size - wanted} bytes too many; copy it again")
