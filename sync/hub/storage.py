"""The hub's database: how it is opened, brought up to date, written in one piece and rid of what was removed.

SQLAlchemy Core over SQLite, or PostgreSQL where an address is given; nothing but this module knows which it is: the
pragmas, the lock of the one who writes, the copy, `erase`. Called by every module of the hub that keeps something.

    with storage.read() as tx:  ...   one consistent view
    with storage.write() as tx: ...   all of it or nothing
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event
from sqlalchemy.engine import Connection, CursorResult, Engine
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql import Executable

from device.errors import StoreError
from sync.hub import schema
from sync.hub.endings import Ending, Endings
from sync.hub.errors import FieldRefused

T = TypeVar("T")
log = logging.getLogger(__name__)

BUSY_MS = 10_000
WAIT_S = 60
PAUSE_S = 0.005
CHECKPOINT_BYTES = 4 << 20
CONNECT_S = 10
_LOCK_SERVER = f"SET LOCAL lock_timeout = '{WAIT_S}s'; SELECT pg_advisory_xact_lock({0x446F6F72})"  # "Door"
AT_ONCE = 500
FILE_MODE = 0o600
ENDINGS_SEEN = "endings_seen"
_MIGRATIONS = Path(__file__).parent / "migrations"


class Tx:
    """One transaction: statements, what is to be durable elsewhere before it is committed, and what is to be called
    after that."""

    def __init__(self, connection: Connection, is_writing: bool, endings: Endings | None = None) -> None:
        self.connection = connection
        self.is_writing = is_writing
        self._endings = endings
        self._before: dict[Callable[[list[Any]], None], list[Any]] = {}
        self._after: list[Callable[[], None]] = []

    def run(self, statement: Executable, rows: Any = None) -> CursorResult[Any]:
        """Execute a statement, once or for each of many rows of parameters."""
        result = self.connection.execute(statement) if rows is None else self.connection.execute(statement, rows)
        return cast(CursorResult[Any], result)

    def one(self, statement: Executable) -> sa.Row[Any] | None:
        """The first row, or None."""
        return self.run(statement).first()

    def all(self, statement: Executable) -> Sequence[sa.Row[Any]]:
        return self.run(statement).all()

    def value(self, statement: Executable) -> Any:
        """The first column of the first row, or None."""
        return self.run(statement).scalar()

    def before_commit(self, keep: Callable[[list[T]], None]) -> list[T]:
        """What `keep` is handed, once, right before the commit, to make it durable elsewhere: add to it. Where there
        is no commit, it never is."""
        return self._before.setdefault(keep, [])

    def ended(self, kind: str, *ids: str) -> None:
        """Something has ended for good with this transaction: no database from before it will bring it back
        (`endings`; `replay` knows the kinds)."""
        if self._endings is not None:
            self.before_commit(self._append_endings).append((kind, *ids))

    def missed_endings(self) -> list[Ending]:
        """What has ended and this database, which was set back, does not know; from now on it does, and what this
        transaction does about it is not noted again."""
        if self._endings is None:
            return []
        seen = self._endings_seen()
        missed, size = self._endings.since(seen)
        self._endings = None
        if size != seen:
            insert_or_update(self, schema.meta, [{"name": ENDINGS_SEEN, "value": str(size)}])
        return missed

    def after_commit(self, call: Callable[[], None]) -> None:
        """Have `call` called after the commit; never, where there is none. The same one is called once."""
        if call not in self._after:
            self._after.append(call)

    def committing(self) -> None:
        """Called by the storage alone: what must be durable elsewhere first is made so."""
        for keep, items in list(self._before.items()):
            keep(items)

    def committed(self) -> None:
        """Called by the storage alone: what was asked for is done, whatever one of the calls meets."""
        for call in self._after:
            try:
                call()
            except Exception:
                log.exception("a call after a commit failed; the commit stands")

    def _append_endings(self, endings: list[Ending]) -> None:
        if self._endings is not None:
            seen = self._endings.append(self._endings_seen(), endings)
            insert_or_update(self, schema.meta, [{"name": ENDINGS_SEEN, "value": str(seen)}])

    def _endings_seen(self) -> int:
        return int(self.value(sa.select(schema.meta.c.value).where(schema.meta.c.name == ENDINGS_SEEN)) or 0)


class Storage:
    """The open database; any thread may use it."""

    def __init__(self, engine: Engine, path: Path | None, endings: Endings | None = None) -> None:
        self._engine = engine
        self._path = path
        self._endings = endings
        # Not a queue: SQLite has one writer at a time anyway, and whoever waits here holds nothing else. The file
        # lock extends it to other processes (`fleethub person add` beside a running hub), so that no two
        # connections ever write or checkpoint at once, which is what SQLite's WAL-reset race needs. A server has a
        # lock for that: the numbers of a stream are given by one at a time there as well.
        self._writing = threading.RLock()
        self._lock_fd = _open_lock(path) if path else -1
        self._tx: Tx | None = None

    @classmethod
    def open(cls, where: Path | str, tables: sa.MetaData | None = None, endings: Endings | None = None) -> Storage:
        """The database in that file (made where there is none) or at that address, brought up to date.

        tables   of a small database that has no steps; without them it is the hub's
        endings  the list of what has ended for good; without one, nothing is noted
        StoreError where it cannot be opened, or is of a later release.
        """
        path = where if isinstance(where, Path) else None
        if path:
            _make_file(path)
        storage = cls(_engine(where), path, endings)
        try:
            if tables is None:
                storage._migrate()
            else:
                with storage.write() as tx:
                    tables.create_all(tx.connection)
        except BaseException:
            storage.close()
            raise
        return storage

    @contextlib.contextmanager
    def read(self) -> Iterator[Tx]:
        """One consistent view of everything; inside a `write` of the same thread, that transaction itself."""
        if (held := self._held()) is not None:
            yield held
            return
        with self._reporting(), self._engine.connect() as plain:
            connection = plain if self._path else plain.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield Tx(connection, False)

    @contextlib.contextmanager
    def write(self) -> Iterator[Tx]:
        """One transaction, committed at its end, undone by an exception. A `write` inside a `write` joins it."""
        if (held := self._held()) is not None:
            yield held
            return
        with self._alone():
            with self._reporting(), self._engine.connect() as plain:
                connection = plain.execution_options(hub_writes=True)
                with connection.begin():
                    if self._path is None:
                        connection.exec_driver_sql(_LOCK_SERVER)
                    self._tx = tx = Tx(connection, True, self._endings)
                    try:
                        yield tx
                        tx.committing()
                    finally:
                        self._tx = None
            self._checkpoint_if_due()
        tx.committed()

    def erase(self) -> bool:
        """Rid the files of the bytes of whatever was removed or replaced; false where a reader is in the way.

        The database is written anew: `secure_delete` clears a row, but not the copies that SQLite leaves in a page's
        unused part when it moved rows between pages earlier. Nothing to do for a server's database.
        """
        if self._path is None:
            return True
        with self._alone(), self._reporting(), self._raw() as cursor:
            cursor.execute("VACUUM")
            is_done = not cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if not is_done:
            log.warning("%s: the erasure of removed records is held up by a reader", self._path)
        return is_done

    def copy_to(self, target: Path) -> None:
        """A consistent copy of the database, while it is in use; StoreError where the file is there already."""
        if self._path is None:
            raise StoreError("a server's database is copied with the server's own tools")
        if target.exists():
            raise StoreError(f"{target}: exists already; name a new file")
        with self._reporting(), self._raw() as cursor:
            cursor.execute("VACUUM INTO ?", (str(target),))
        target.chmod(FILE_MODE)

    def close(self) -> None:
        self._engine.dispose()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _held(self) -> Tx | None:
        """The transaction of the `write` that this thread is in."""
        if self._tx is None or not self._writing.acquire(blocking=False):
            return None
        try:
            return self._tx
        finally:
            self._writing.release()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._writing.acquire(timeout=WAIT_S):
            raise StoreError(f"{self._path or 'the database'}: another thread has written for {WAIT_S} s; try again")
        try:
            if self._lock_fd >= 0:
                self._lock_file()
            yield
        finally:
            if self._lock_fd >= 0:
                fcntl.flock(self._lock_fd, fcntl.LOCK_UN)
            self._writing.release()

    def _lock_file(self) -> None:
        for _ in range(round(WAIT_S / PAUSE_S)):
            try:
                fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                time.sleep(PAUSE_S)
        raise StoreError(f"{self._path}: another process has written for {WAIT_S} s; try again")

    @contextlib.contextmanager
    def _raw(self) -> Iterator[Any]:
        """A cursor outside any transaction, for what SQLite refuses inside one."""
        connection = self._engine.raw_connection()
        try:
            yield connection.cursor()
        finally:
            connection.close()

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.OperationalError as error:
            raise StoreError(f"{self._path or 'the database'}: {_advice(str(error.orig))}") from None
        except sa.exc.DatabaseError as error:
            if isinstance(error, sa.exc.IntegrityError):
                raise
            if isinstance(error, sa.exc.DataError):  # PostgreSQL keeps no NUL in a text
                raise FieldRefused("text", "holds a character that cannot be kept") from None
            if self._path is None:
                raise StoreError(f"the server's database refuses: {_advice(str(error.orig))}") from None
            raise StoreError(f"{self._path or 'the database'}: the file is damaged or no database; "
                             "put a backup back with `fleethub restore`") from None

    def _checkpoint_if_due(self) -> None:
        if self._path is None:
            return
        wal = self._path.with_name(self._path.name + "-wal")
        if wal.exists() and wal.stat().st_size > CHECKPOINT_BYTES:
            with self._reporting(), self._raw() as cursor:
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _migrate(self) -> None:
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        newest = ScriptDirectory.from_config(config).get_current_head()
        known = {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}
        with self.write() as tx:
            current = MigrationContext.configure(tx.connection).get_current_revision()
            if current == newest:
                return
            if current is not None and current not in known:
                raise StoreError(f"{self._path or 'the database'}: written by a later release ({current}); install "
                                 "that one, or put back a backup from before")
            config.attributes["connection"] = tx.connection
            command.upgrade(config, "head")


def exists(where: Path | str) -> bool:
    """Whether there is a hub's database; StoreError where a server cannot be asked."""
    if isinstance(where, Path):
        return where.exists()
    engine = _engine(where)
    try:
        return bool(sa.inspect(engine).has_table(schema.meta.name))
    except sa.exc.OperationalError as error:
        raise StoreError(f"the server's database: {_advice(str(error.orig))}") from None
    finally:
        engine.dispose()


def insert_or_update(tx: Tx, table: sa.Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows; where the primary key is there already, replace the columns given."""
    if not rows:
        return
    from sqlalchemy.dialects import postgresql, sqlite

    dialect = sqlite if tx.connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table)
    keys = [column.name for column in table.primary_key]
    changed = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    tx.run(statement.on_conflict_do_update(index_elements=keys, set_=changed) if changed
           else statement.on_conflict_do_nothing(index_elements=keys), rows)


def in_parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """The items, as many at a time as one statement takes."""
    return (items[start:start + AT_ONCE] for start in range(0, len(items), AT_ONCE))


def _engine(where: Path | str) -> Engine:
    if isinstance(where, Path):
        engine = sa.create_engine(f"sqlite:///{where}")
        event.listen(engine, "connect", _set_pragmas)
        event.listen(engine, "begin", _begin)
        return engine
    try:
        return sa.create_engine(where, pool_pre_ping=True, connect_args={"connect_timeout": CONNECT_S})
    except (sa.exc.ArgumentError, ValueError):
        raise StoreError("FLEETHUB_DATABASE: no address that can be used") from None
    except ModuleNotFoundError:
        raise StoreError("FLEETHUB_DATABASE: PostgreSQL needs psycopg; install `open-door[postgres]`") from None


def _begin(connection: Connection) -> None:
    # The driver begins nothing by itself (isolation_level None): a reader takes its view at its first statement, a
    # writer its lock at once, so that it never finds at the end that another was quicker.
    writes = connection.get_execution_options().get("hub_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _set_pragmas(connection: Any, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None
    # FULL because WAL/NORMAL loses acknowledged commits at a power cut; secure_delete because what is removed must
    # leave the file; no checkpoint by itself, since only the one who holds the file lock may.
    for pragma in (f"busy_timeout={BUSY_MS}", "mmap_size=0", "journal_mode=WAL", "synchronous=FULL",
                   "foreign_keys=ON", "secure_delete=ON", "temp_store=MEMORY", "cell_size_check=ON",
                   "trusted_schema=OFF", "wal_autocheckpoint=0", "journal_size_limit=0"):
        connection.execute("PRAGMA " + pragma)


def _open_lock(path: Path) -> int:
    try:
        return os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; check that its folder exists and may be written") from None


def _make_file(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
    except FileExistsError:
        return
    except OSError as error:
        raise StoreError(f"{path}: cannot be made: {error.strerror}; check that its folder exists") from None


def _advice(text: str) -> str:
    for needle, advice in _ADVICE:
        if needle in text:
            return advice
    return text.splitlines()[0] if text else "cannot be used"


_ADVICE = (
    ("locked", "in use by another process; try again"),
    ("lock timeout", f"another process has written for {WAIT_S} s; try again"),
    ("readonly", "cannot be written: the file system or the file is read-only"),
    ("unable to open", "cannot be opened; check that its folder exists and may be written"),
    ("is full", "the disk is full; free some space"),
    ("disk I/O error", "the disk fails to read or write"),
)

__all__ = ["AT_ONCE", "Storage", "Tx", "in_parts", "insert_or_update", "schema"]
