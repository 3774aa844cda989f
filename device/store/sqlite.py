"""One SQLite file: how it is opened, what its errors mean, and how a damaged one is set aside.

Used by `store.cache` and `store.journal` only. Each file has one writing process, held to that by a lock beside
it, and any number of readers that never write and never checkpoint.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from sqlite_utils import Database

from device.clock import Clock
from device.errors import StoreError
from device.store.nameplate import Nameplate

# A group's member must be able to write the shared-memory file, whose rights SQLite copies from the database's.
FILE_MODE = 0o660
WAL_LIMIT_BYTES = 1 << 20
SMALLEST_BYTES = 512  # of a database: one page


class Damaged(StoreError):
    """The file is no database, not ours, or broken inside."""


class DiskFull(StoreError):
    """Nothing more can be written."""


class InUse(StoreError):
    """Another process writes this file."""


def sqlite_warning(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> str | None:
    """A line for the log where the SQLite library has the WAL-reset race, else None.

    3.7.0 to 3.51.2 are exposed; fixed in 3.51.3, 3.50.7 and 3.44.6 (sqlite.org, release notes). Distributions may
    have patched theirs. One writer, one checkpointing connection and no memory map keep clear of the race.
    """
    fixed = version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)
    if fixed or version < (3, 7):
        return None
    name = ".".join(map(str, version))
    return f"SQLite {name} may have the WAL-reset race (fixed in 3.51.3, 3.50.7 and 3.44.6)"


def diagnose(error: sqlite3.Error, path: Path) -> StoreError:
    """What an SQLite error means for this file, in one line; never quotes a value."""
    text = str(error)
    for needle, kind, advice in _DIAGNOSES:
        if needle in text:
            return kind(f"{path}: {advice}")
    # SQLITE_CORRUPT and SQLITE_NOTADB come as plain DatabaseError, on Python 3.10 without a word where SQLite's own
    # message quotes bytes of the file that are no text.
    if type(error) is sqlite3.DatabaseError:
        return Damaged(f"{path}: {_DAMAGED}")
    return StoreError(f"{path}: {text.splitlines()[0] if text else 'cannot be used'}")


_DAMAGED = "the file is damaged"
LOST_TRACK = "the file has lost track of its tables"
_DIAGNOSES: tuple[tuple[str, type[StoreError], str], ...] = (
    ("locked", InUse, "in use by another process; end it and try again"),
    ("readonly", StoreError, "cannot be written: the file system or the file is read-only"),
    ("unable to open", StoreError, "cannot be opened; check that its folder exists and may be written"),
    ("is full", DiskFull, "the disk is full; free some space"),
    ("disk I/O error", StoreError, "the disk fails to read or write"),
    ("not a database", Damaged, "the file is not a database"),
    ("malformed", Damaged, _DAMAGED),
    ("unsupported file format", Damaged, _DAMAGED),
    ("Could not decode", Damaged, _DAMAGED),
    ("no such table", Damaged, "the file lacks a table"),
    ("no such column", Damaged, "the file lacks a column"),
    ("already exists", Damaged, LOST_TRACK),  # of a migration that has run, and of which nothing is known any more
    ("duplicate column", Damaged, LOST_TRACK),
)


@contextlib.contextmanager
def reporting(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into StoreError with one clear line."""
    try:
        yield
    except sqlite3.Error as error:
        raise diagnose(error, path) from None
    except UnicodeDecodeError:  # also raised instead of sqlite3.Error, where SQLite's own message quotes the file
        raise Damaged(f"{path}: {_DAMAGED}") from None


class WriterLock:
    """Held for as long as a process writes a file; ends with the process, however that ends."""

    def __init__(self, path: Path, wait_s: float = 0.0) -> None:
        beside = path.with_name(path.name + ".lock")
        try:
            self._fd = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
        except OSError as error:
            raise StoreError(f"{beside}: {error.strerror}; check that its folder exists and may be written") from None
        with contextlib.suppress(OSError):
            os.fchmod(self._fd, FILE_MODE)
        if not self._take(wait_s):
            os.close(self._fd)
            raise InUse(f"{path}: another process is writing it; end that one (doord, door-syncd or doorctl) first")

    def _take(self, wait_s: float) -> bool:
        pauses = int(wait_s / 0.05)
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if pauses <= 0:
                    return False
                pauses -= 1
                time.sleep(0.05)
            else:
                return True

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def is_blank(path: Path) -> bool:
    """Whether there is no database yet: no file, an empty one, or one whose first migration never ended.

    Damaged where there is something that is no database, or where one was begun here that is gone or empty now.
    Nothing is written.
    """
    if not _is_void(path):
        return False
    if Nameplate(path).read() is not None:
        raise Damaged(f"{path}: the file is {'empty' if path.exists() else 'gone'}")
    return True


def _is_void(path: Path) -> bool:
    if not path.exists() or path.stat().st_size == 0:
        return True
    if path.stat().st_size < SMALLEST_BYTES:  # SQLite would take it for an empty one and write over it
        raise Damaged(f"{path}: the file is not a database")
    with reporting(path):
        connection = _connect_to_read(path, 2000)
        try:
            return _holds_nothing(connection)
        finally:
            connection.close()


def _holds_nothing(connection: sqlite3.Connection) -> bool:
    found = connection.execute("PRAGMA application_id").fetchone()[0]
    return not found and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0


def open_to_write(path: Path, busy_ms: int) -> Database:
    """A connection for the file's one writer; the file is made where there is none.

    Its contents must have been judged by a reader before: closing this connection carries the write-ahead log into
    the database, and a damaged one is to be set aside as it was found.
    """
    _make_file(path)
    with reporting(path):
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            _set_pragmas(connection, path, busy_ms)
            return Database(connection, execute_plugins=False)
        except BaseException:
            connection.close()
            raise


def open_to_read(path: Path, application_id: int, busy_ms: int = 2000) -> Database:
    """A connection that cannot write; the file must exist.

    Damaged where the file is not a database, an empty one or another application's; StoreError where it cannot be
    opened.
    """
    if not path.is_file():
        was_there = Nameplate(path).read() is not None
        raise StoreError(f"{path}: no such file; " + (
            "it was there before: put it back, or start the terminal, which begins a new one" if was_there
            else "the terminal has not been started yet"))
    with reporting(path):
        connection = _connect_to_read(path, busy_ms)
        try:
            if _holds_nothing(connection):
                raise Damaged(f"{path}: the file is empty")
            if connection.execute("PRAGMA application_id").fetchone()[0] != application_id:
                raise Damaged(f"{path}: the file belongs to another application")
            return Database(connection, recursive_triggers=False, execute_plugins=False)
        except BaseException:
            connection.close()
            raise


def set_aside(path: Path, clock: Clock) -> Path:
    """Rename a database with its write-ahead log, never over another file; the new path of the database."""
    stamp = clock.now().strftime("%Y%m%dT%H%M%SZ")
    target, count = path.with_name(f"{path.name}.aside-{stamp}"), 1
    while target.exists() or _beside(target, "-wal").exists():
        count += 1
        target = path.with_name(f"{path.name}.aside-{stamp}-{count}")
    try:
        for suffix in ("-wal", "-shm", ""):
            if _beside(path, suffix).exists():
                _beside(path, suffix).rename(_beside(target, suffix))
        sync_folder(path.parent)
    except OSError as error:
        raise StoreError(f"{path}: damaged, and cannot be set aside: {error.strerror}") from None
    return target


def sync_folder(folder: Path) -> None:
    """Make renames and new names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _connect_to_read(path: Path, busy_ms: int) -> sqlite3.Connection:
    mode = "mode=ro&immutable=1" if _is_frozen(path) else "mode=ro"
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, isolation_level=None,
                                 check_same_thread=False)
    try:
        for pragma in (f"busy_timeout={busy_ms}", "query_only=ON", "mmap_size=0", "temp_store=MEMORY",
                       "cell_size_check=ON", "trusted_schema=OFF"):
            connection.execute("PRAGMA " + pragma)
    except BaseException:
        connection.close()
        raise
    return connection


def _make_file(path: Path) -> None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    except FileExistsError:
        return
    except OSError as error:
        advice = "check that its folder exists and may be written"
        raise StoreError(f"{path}: cannot be made: {error.strerror}; {advice}") from None
    os.fchmod(fd, FILE_MODE)
    os.close(fd)
    sync_folder(path.parent)


def _set_pragmas(connection: sqlite3.Connection, path: Path, busy_ms: int) -> None:
    # mmap off and one checkpointing connection keep clear of the WAL-reset race; FULL because WAL/NORMAL loses
    # acknowledged commits at a power cut; secure_delete because a deleted template must leave the file.
    connection.execute(f"PRAGMA busy_timeout={busy_ms}")
    connection.execute("PRAGMA mmap_size=0")
    mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    if mode != "wal":
        raise StoreError(f"{path}: the file system does not allow a write-ahead log; use a local disk")
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "secure_delete=ON", "temp_store=MEMORY",
                   "cell_size_check=ON", "trusted_schema=OFF", f"journal_size_limit={WAL_LIMIT_BYTES}",
                   "wal_autocheckpoint=100"):
        connection.execute("PRAGMA " + pragma)


def _is_frozen(path: Path) -> bool:
    """Whether the file system is read-only and there is no log to read: the file can't change under the reader."""
    wal = _beside(path, "-wal")
    is_read_only = bool(os.statvfs(path.parent).f_flag & os.ST_RDONLY)
    return is_read_only and (not wal.exists() or wal.stat().st_size == 0)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
