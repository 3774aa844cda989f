"""Where archives and built packs live, and how two builders keep out of each other's way.

$DOOR_CACHE, else systemd's $CACHE_DIRECTORY, else $XDG_CACHE_HOME/door, else ~/.cache/door; inside it `archives/`
and `packs/<name>/`. Weights never lie in the repository.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from device.errors import StoreError, TerminalError

_WAIT_S = 900.0


def cache_folder() -> Path:
    """The cache folder of this process's surroundings; it need not exist yet."""
    if chosen := os.environ.get("DOOR_CACHE"):
        return Path(chosen).expanduser()
    if given := os.environ.get("CACHE_DIRECTORY"):
        return Path(given.split(":")[0])  # systemd joins several folders with colons
    if home := os.environ.get("XDG_CACHE_HOME"):
        return Path(home) / "door"
    return Path.home() / ".cache" / "door"


def archives_folder() -> Path:
    """Downloaded archives, created where it is missing."""
    return _made(cache_folder() / "archives")


def packs_folder() -> Path:
    """Built packs, one folder each, created where it is missing."""
    return _made(cache_folder() / "packs")


@contextmanager
def builder_lock(folder: Path) -> Iterator[None]:
    """Only one process at a time builds in `folder`; others wait up to 15 minutes, then StoreError."""
    # A lock and not a queue: the others are separate processes, such as `make run` beside `make test`.
    descriptor = _open_lock(folder / ".lock")
    try:
        _wait_for(descriptor, folder)
        _sweep(folder)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A fresh folder that takes the place of `target` at the end, and vanishes where the block fails."""
    fresh = _temporary(".new-", target.parent)
    try:
        fresh.chmod(0o755)
        yield fresh
        _swap(fresh, target)
    except TerminalError:
        raise
    except OSError as error:
        raise _unwritable(target, error) from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


@contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """A throw-away folder beside the real ones, so that a final rename stays on one file system. StoreError where
    the block cannot write."""
    folder = _temporary(".work-", parent)
    try:
        yield folder
    except TerminalError:
        raise
    except OSError as error:
        raise _unwritable(parent, error) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """`text` at `path` in one step: a reader sees the old file or the new one. StoreError where it cannot be."""
    fresh = _temporary(".text-", path.parent) / path.name
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from None
    finally:
        shutil.rmtree(fresh.parent, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove what a killed build left behind; the lock is held, so nobody is using it."""
    for left in (*folder.glob(".new-*"), *folder.glob(".old-*"), *folder.glob(".work-*")):
        shutil.rmtree(left, ignore_errors=True)


def _swap(fresh: Path, target: Path) -> None:
    # A folder cannot be replaced in one step; a reader between the two renames sees no pack, never half a pack.
    old = target.parent / f".old-{fresh.name}"
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _temporary(prefix: str, parent: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    except OSError as error:
        raise _unwritable(parent, error) from None


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise _unwritable(path.parent, error) from None


def _wait_for(descriptor: int, folder: Path) -> None:
    deadline = time.monotonic() + _WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StoreError(f"{folder} has been locked by another build for 15 minutes; end that one") from None
            time.sleep(0.1)


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from None
    return folder


def _unwritable(folder: Path, error: OSError) -> StoreError:
    return StoreError(f"{folder} cannot be written ({error.strerror}); free space there, or set DOOR_CACHE to "
                      "another folder")
