"""Writes that a power cut leaves whole: each is there as it was, or as it is to be, and durable when it returns.

A file or link is made beside its place, synced and renamed into it, and then the folder is synced; ext4 and f2fs keep
the order of that. What other programs wrote (a virtual environment) is made durable at once by `settle`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from device.errors import TerminalError

BLOCK = 1 << 20
FRESH = ".fresh-"
"""How the name of a file begins that is not in its place yet; what a cut left of it may go."""

_REMEDIES = {
    errno.ENOSPC: "the card is full; free some space, then update again",
    errno.EDQUOT: "the card is full; free some space, then update again",
    errno.EIO: "cannot be read or written: was the stick pulled out, or does the card fail?",
    errno.ENODEV: "is gone: put the stick back in, then update again",
    errno.ENXIO: "is gone: put the stick back in, then update again",
    errno.ELOOP: "is a link; name the file itself",
    errno.EROFS: "is read-only; make it writable, then update again",
}


class UpdateFailed(TerminalError, OSError):
    """An update cannot be carried out; the message says why and what to do. The release that runs goes on."""


@contextlib.contextmanager
def guarded(what: object) -> Iterator[None]:
    """Anything that the system refuses inside becomes UpdateFailed about `what`."""
    try:
        yield
    except TerminalError:
        raise
    except OSError as error:
        known = _REMEDIES.get(error.errno or 0)
        raise UpdateFailed(f"{what}: {known or error.strerror or 'cannot be used'}") from None


def write_durably(path: Path, data: bytes, mode: int = 0o644) -> None:
    """`data` at `path`."""
    fresh = path.with_name(FRESH + path.name)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with open(fd, "wb") as file:
        os.fchmod(fd, mode)
        file.write(data)
        file.flush()
        os.fsync(fd)
    os.replace(fresh, path)
    sync_folder(path.parent)


def point(link: Path, target: str) -> None:
    """Make `link` a symbolic link to `target`, whether or not it was one to something else."""
    fresh = link.with_name(FRESH + link.name)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh)
    os.symlink(target, fresh)
    os.replace(fresh, link)
    sync_folder(link.parent)


def remove(path: Path) -> None:
    """No file at `path` any more, whether or not there was one."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
        sync_folder(path.parent)


def remove_tree(path: Path) -> None:
    """No folder at `path` any more; UpdateFailed where something of it cannot be removed."""
    with guarded(path), contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


def sync_folder(path: Path) -> None:
    """What was renamed into or removed from the folder is durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def settle() -> None:
    """Everything that any program has written is durable."""
    os.sync()


def free_bytes(path: Path) -> int:
    """What may still be written to the file system that `path` lies on or would."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def is_one_disk(one: Path, other: Path) -> bool:
    """Whether two existing paths share their free space."""
    return one.stat().st_dev == other.stat().st_dev
