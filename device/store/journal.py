"""journal.db: what happened at this door; append-only, hash-chained, written by doord alone.

An entry is durable when `append` returns. Readers (door-syncd, `doorctl journal`) use `JournalReader`. A damaged
file is set aside under another name and a new journal with a new id begins, whose first entry says so.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from device.clock import Clock, ClockQuality
from device.errors import JournalBroken
from device.store import chain, schema
from device.store.ballast import Ballast
from device.store.nameplate import Nameplate
from device.store.records import Entry, NewEntry, UsedPass
from device.store.sqlite import (
    LOST_TRACK,
    Damaged,
    DiskFull,
    WriterLock,
    is_blank,
    open_to_read,
    open_to_write,
    reporting,
    set_aside,
)

CAPACITY = 500_000
TAIL = 64  # entries checked at every start; the whole chain is checked by `doorctl journal verify`
_FIELDS = "seq, at, mono, boot_id, clock_quality, kind, reason, person_id, detail, prev_hash, hash"


class JournalReader:
    """Reads a journal; one that another process writes, or one that was set aside."""

    def __init__(self, path: Path, db: Database) -> None:
        self._path, self._db = path, db
        self.journal_id = str(self._chain()[0])

    @classmethod
    def open(cls, path: Path) -> JournalReader:
        """StoreError where there is no journal or it cannot be read."""
        db = open_to_read(path, schema.JOURNAL_ID)
        try:
            return JournalReader(path, db)
        except BaseException:
            db.conn.close()
            raise

    def close(self) -> None:
        self._db.conn.close()

    @property
    def path(self) -> Path:
        return self._path

    @property
    def head(self) -> int:
        """The newest entry's seq, 0 where there is none yet."""
        return int(self._chain()[3])

    @property
    def anchor(self) -> int:
        """The seq of the newest entry that was pruned, 0 where none was."""
        return int(self._chain()[1])

    def entries(self, after: int = 0, limit: int = 1000) -> list[Entry]:
        """Up to `limit` entries that follow seq `after`, oldest first; JournalBroken where one can't be read."""
        return list(self._entries(after, limit))

    def last(self, count: int) -> list[Entry]:
        """The newest entries, oldest of them first."""
        return self.entries(max(self.head - count, 0), count)

    def verify(self, each: Callable[[], None] | None = None) -> int:
        """How many entries were checked, all sound; JournalBroken names the first that is not.

        each  called once per entry, to show progress: half a million take some seconds
        """
        with reporting(self._path), self._one_view():
            _, anchor_seq, anchor_hash, head_seq, head_hash = self._chain()
            if anchor_seq == 0 and anchor_hash != chain.genesis(self.journal_id):
                raise JournalBroken("the journal's beginning has been altered")
            entries = self._entries(anchor_seq, -1)
            last = chain.follow(_counting(entries, each) if each else entries, anchor_seq, anchor_hash)
            self._check_head(last, (head_seq, head_hash))
            self._check_no_stray(anchor_seq)
            return int(head_seq - anchor_seq)

    def check_tail(self) -> None:
        """JournalBroken where the newest entries are not sound: nothing may be appended to a broken chain."""
        with reporting(self._path):
            _, anchor_seq, anchor_hash, head_seq, head_hash = self._chain()
            before = head_seq - TAIL
            if before <= anchor_seq:
                before, prev_hash = anchor_seq, anchor_hash
            else:
                row = self._db.execute("SELECT hash FROM entries WHERE seq = ?", [before]).fetchone()
                prev_hash = row[0] if row else ""
            self._check_head(chain.follow(self._entries(before, -1), before, prev_hash), (head_seq, head_hash))

    def _check_head(self, last: tuple[int, str], head: tuple[int, str]) -> None:
        if last != head:
            raise JournalBroken(f"journal entry {last[0] + 1} is missing (the newest must be {head[0]})")

    def _check_no_stray(self, anchor_seq: int) -> None:
        stray = self._db.execute("SELECT min(seq) FROM entries WHERE seq <= ?", [anchor_seq]).fetchone()[0]
        if stray is not None:
            raise JournalBroken(f"journal entry {stray} is there although it was pruned")

    def _one_view(self) -> Any:
        # deferred: a read transaction, so that the writer's appends don't move the head meanwhile
        return self._db.atomic()

    def _chain(self) -> tuple[str, int, str, int, str]:
        with reporting(self._path):
            row = self._db.execute(
                "SELECT journal_id, anchor_seq, anchor_hash, head_seq, head_hash FROM chain").fetchone()
        if row is None:
            raise Damaged(f"{self._path}: the file lacks its chain")
        return row  # type: ignore[no-any-return]

    def _entries(self, after: int, limit: int) -> Iterator[Entry]:
        sql = f"SELECT {_FIELDS} FROM entries WHERE seq > ? ORDER BY seq LIMIT ?"  # noqa: S608  (constants)
        with reporting(self._path):
            for row in self._db.execute(sql, [after, limit]):
                yield self._entry(row)

    def _entry(self, row: Sequence[Any]) -> Entry:
        seq, at, mono, boot_id, quality, kind, reason, person_id, detail, prev_hash, hash_ = row
        try:
            return Entry(self.journal_id, seq, chain.read_at(at), mono, boot_id, quality, kind, reason, person_id,
                         chain.read_detail(detail), prev_hash, hash_)
        except (ValueError, TypeError, RecursionError):
            raise JournalBroken(f"journal entry {seq} has been altered") from None


class Journal(JournalReader):
    """The journal's one writer. Owned by one thread.

    clock_quality  what is known of the wall time now; set by whoever judges the clock, written into each entry
    is_on_reserve  the disk is full and the ballast has been given up for these entries: raise an alarm
    set_aside      where a damaged predecessor lies, if this start found one and there was something left of it
    """

    def __init__(self, path: Path, db: Database, clock: Clock, boot_id: str, lock: WriterLock) -> None:
        super().__init__(path, db)
        self.clock_quality = ClockQuality.HOLDOVER
        self.set_aside: Path | None = None
        self._clock, self._boot_id, self._lock = clock, boot_id, lock
        self._ballast = Ballast(path.with_name(path.name + ".ballast"))
        self._ballast.fill()

    @classmethod
    def open(cls, path: Path, clock: Clock, boot_id: str, busy_ms: int = 1000) -> Journal:  # type: ignore[override]
        """The journal in `path`, made where there is none.

        StoreError where another process writes it or the folder can't be written. A file that is damaged or not
        a journal is set aside, never overwritten; the new journal's first entry names it, and the journal that was
        here before, also where its file is gone.
        """
        lock, cause, aside = WriterLock(path), "", None
        try:
            try:
                _judge(path)
                journal = cls._open(path, clock, boot_id, busy_ms, lock)
            except (Damaged, JournalBroken) as error:
                cause, aside = str(error).removeprefix(f"{path}: "), set_aside(path, clock)
                journal = cls._open(path, clock, boot_id, busy_ms, lock)
            journal._succeed(cause, aside)
            return journal
        except BaseException:
            lock.release()
            raise

    @classmethod
    def _open(cls, path: Path, clock: Clock, boot_id: str, busy_ms: int, lock: WriterLock) -> Journal:
        db = open_to_write(path, busy_ms)
        try:
            with reporting(path):
                schema.migrate(db, schema.journal, _begin)
            return cls(path, db, clock, boot_id, lock)
        except BaseException:
            db.conn.close()
            raise

    def _succeed(self, cause: str, aside: Path | None) -> None:
        """Take the place of the journal that was here before, and say so where it was another one.

        cause  why that one could not be continued; "" where nothing is known
        """
        plate = Nameplate(self._path)
        before = plate.read() or ""
        if cause or before not in ("", self.journal_id):
            self.set_aside = aside if aside is not None and aside.exists() else None
            told = (("file", self.set_aside.name if self.set_aside else ""),
                    ("cause", (cause or "another journal lies here")[:chain.MAX_TEXT]), ("before", before))
            self.append(NewEntry("fault", "journal_set_aside", None, tuple(pair for pair in told if pair[1])))
        plate.write(self.journal_id)

    def close(self) -> None:
        super().close()
        self._lock.release()

    @property
    def is_on_reserve(self) -> bool:
        return not self._ballast.is_filled

    def append(self, entry: NewEntry, at: Any = None, mono: float | None = None) -> Entry:
        """The entry as stored; it is on the medium when this returns. StoreError where it could not be written.

        at, mono  when it happened, where that was before now
        """
        return self.append_all([(entry, at, mono)])[0]

    def append_all(self, entries: Sequence[tuple[NewEntry, Any, float | None]],
                   uses: Sequence[UsedPass] = ()) -> list[Entry]:
        """Several entries in one transaction: all are stored, or none.

        uses  passes that are used up by what they tell
        """
        for entry, _, _ in entries:
            chain.check_new(entry)
        try:
            stored = self._write(entries, uses)
        except DiskFull:
            if not self._ballast.release():
                raise
            return self._write(entries, uses)
        self._ballast.fill()
        return stored

    def used_passes(self, now: datetime) -> list[UsedPass]:
        """The passes that were used and would still be valid; older ones are forgotten."""
        with reporting(self._path):
            with self._db.atomic():
                self._db.execute("DELETE FROM used_passes WHERE until <= ?", [now.timestamp()])
            rows = self._db.execute("SELECT pass_id, until FROM used_passes").fetchall()
        return [UsedPass(pass_id, datetime.fromtimestamp(until, timezone.utc)) for pass_id, until in rows]

    def remember_passes(self, used: Sequence[UsedPass]) -> None:
        """Take over passes whose use another journal tells of."""
        with reporting(self._path), self._db.atomic():
            self._use(used)

    def prune(self, through: int) -> int:
        """Forget entries up to seq `through`, which the hub must have acknowledged as stored; how many went."""
        gone = 0
        through = min(through, self.head)
        with reporting(self._path):
            while (anchor := self.anchor) < through:
                step = min(anchor + 2000, through)
                with self._db.atomic():
                    self._db.execute(
                        "UPDATE chain SET (anchor_seq, anchor_hash) = (SELECT seq, hash FROM entries WHERE seq = ?)",
                        [step])
                    self._db.execute("DELETE FROM entries WHERE seq <= ?", [step])
                gone += step - anchor
        return gone

    def surplus(self, acked: int | None, capacity: int = CAPACITY) -> int:
        """Up to which seq to prune so that `capacity` entries are left, 0 where there is no need.

        acked  the seq that the hub has acknowledged; what lies beyond is never given up. None on a stand-alone
               terminal, where nobody acknowledges and the oldest go.
        """
        wanted = self.head - capacity
        if acked is not None:
            wanted = min(wanted, acked)
        return wanted if wanted > self.anchor else 0

    def _write(self, entries: Sequence[tuple[NewEntry, Any, float | None]], uses: Sequence[UsedPass]) -> list[Entry]:
        stored: list[Entry] = []
        with reporting(self._path):
            _, _, _, seq, prev_hash = self._chain()
            with self._db.atomic():
                for new, at, mono in entries:
                    seq += 1
                    entry = self._continue(new, at or self._clock.now(), mono, seq, prev_hash)
                    self._insert(entry)
                    prev_hash = entry.hash
                    stored.append(entry)
                self._use(uses)
        return stored

    def _use(self, uses: Sequence[UsedPass]) -> None:
        for used in uses:
            self._db.execute("INSERT OR REPLACE INTO used_passes (pass_id, until) VALUES (?, ?)",
                             [used.pass_id, used.until.timestamp()])

    def _continue(self, new: NewEntry, at: Any, mono: float | None, seq: int, prev_hash: str) -> Entry:
        fields = (self.journal_id, seq, at, self._clock.mono() if mono is None else mono, self._boot_id,
                  self.clock_quality.value, new.kind, new.reason, new.person_id, new.detail, prev_hash)
        unhashed = Entry(*fields, hash="")
        return Entry(*fields, hash=chain.entry_hash(unhashed))

    def _insert(self, entry: Entry) -> None:
        self._db.execute(
            f"INSERT INTO entries ({_FIELDS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)",  # noqa: S608  (constants)
            (entry.seq, chain.write_at(entry.at), entry.mono, entry.boot_id, entry.clock_quality, entry.kind,
             entry.reason, entry.person_id, chain.write_detail(entry.detail), entry.prev_hash, entry.hash))


def _counting(entries: Iterator[Entry], each: Callable[[], None]) -> Iterator[Entry]:
    for entry in entries:
        yield entry
        each()


def _judge(path: Path) -> None:
    """Damaged or JournalBroken where nothing can be appended to the file; it is only read."""
    if is_blank(path):
        return
    reader = JournalReader.open(path)
    try:
        with reporting(path):
            if schema.has_lost_track(reader._db, schema.journal):
                raise Damaged(f"{path}: {LOST_TRACK}")
        reader.check_tail()
    finally:
        reader.close()


def _begin(db: Database) -> None:
    journal_id = secrets.token_hex(16)
    start = chain.genesis(journal_id)
    db.execute("INSERT INTO chain (id, journal_id, anchor_seq, anchor_hash, head_seq, head_hash) "
               "VALUES (1, ?, 0, ?, 0, ?)", [journal_id, start, start])


