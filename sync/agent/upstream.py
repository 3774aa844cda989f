"""Sends the journal: whatever follows the cursor that the hub last acknowledged, a bounded amount at a time.

A PUBACK says nothing about durability; only the hub's `Acked`, sent after its commit, moves the cursor, and only the
cursor lets doord prune. Journals that were set aside are sent too, each under its own id, as far as they can be read.

A terminal that was set back to an earlier state writes on where the hub has other entries already: its journal
forks. The hub's word shows it, since it has more entries than there are or another hash; doord then begins a new
journal, and what the forked one holds goes up as a branch, of which the hub takes what it has not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

from device.clock import Clock
from device.errors import StoreError
from device.store.cache_writer import CacheWriter
from device.store.journal import JournalReader
from device.store.records import Entry
from sync.agent.journal_watch import JournalWatch
from sync.wire.messages import BRANCH, Acked, JournalPage, JournalRow

log = logging.getLogger(__name__)

PAGE = 250  # entries; about 80 KB
WINDOW = 2000  # entries that may be under way
RESEND_S = 10.0  # without an acknowledgement, what is under way is sent again
LOOK_ASIDE_S = 60.0
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)

Send = Callable[[JournalPage], bool]


class _Source:
    """One journal, the name that it goes by, and how far it has been sent."""

    def __init__(self, reader: JournalReader, name: str, acked: int) -> None:
        self.reader, self.name = reader, name
        self.acked = self.sent = acked
        self.word = 0  # the number of the hub's newest word about it

    @property
    def journal_id(self) -> str:
        return self.reader.journal_id

    def has_forked(self, message: Acked) -> bool:
        """Whether the hub has what this journal has not, or another entry at that place."""
        if message.seq > self.reader.head:
            return True
        mine = self.reader.entries(message.seq - 1, 1) if message.hash and message.seq > self.reader.anchor else []
        return bool(mine) and mine[0].hash != message.hash


class Upstream:
    """Owned by the agent's main thread. `ahead` holds the id of a journal of which the hub has more than there is:
    this terminal was set back to an earlier state, and the journal must not go on under that id."""

    def __init__(self, terminal_id: str, path: Path, watch: JournalWatch, writer: CacheWriter, clock: Clock) -> None:
        self._terminal_id, self._path = terminal_id, path
        self._watch, self._writer, self._clock = watch, writer, clock
        self._followed: _Source | None = None
        self._aside: list[_Source] = []
        self._looked_at = 0.0
        self._moved_at = clock.mono()
        self._to_store: dict[str, int] = {}
        self.ahead = ""

    @property
    def journal_id(self) -> str:
        current = self._current
        return current.journal_id if current else ""

    @property
    def acked_seq(self) -> int:
        current = self._current
        return current.acked if current else 0

    @property
    def waiting(self) -> int:
        """Entries that the hub has not acknowledged."""
        current = self._current
        return max(current.reader.head - current.acked, 0) if current else 0

    def pump(self, send: Send) -> bool:
        """Send what may be sent now; whether anything was. `send` is false where the link takes no more."""
        is_any = False
        for source in self._sources():
            try:
                for page in self._pages(source):
                    if not send(page):
                        return is_any
                    source.sent, is_any = page.to_seq, True
                    self._moved_at = self._clock.mono()
            except StoreError as error:
                self._unreadable(source, error)
        return is_any

    def acked(self, message: Acked) -> None:
        """The hub has stored a journal up to a seq."""
        for source in self._held():
            if source.name != message.journal_id:
                continue
            if source.has_forked(message):
                self._fork(source)
            elif message.seq > source.acked:
                source.acked, source.sent = message.seq, max(source.sent, message.seq)
                self._to_store[message.journal_id] = message.seq
                self._moved_at = self._clock.mono()
            elif message.seq < source.acked and message.number > source.word:
                # The hub was set back to before it had stored this: it gets again what is still here.
                source.acked = source.sent = max(message.seq, source.reader.anchor)
            source.word = max(source.word, message.number)

    def _fork(self, source: _Source) -> None:
        self._writer.set_acked(source.journal_id + BRANCH, 0)
        if source is self._current:
            self.ahead = source.journal_id
        else:
            self._looked_at = 0.0  # it is opened anew, as a branch

    def again(self) -> None:
        """The link is new: whatever is not acknowledged is sent again."""
        for source in self._sources():
            source.sent = source.acked

    def store_acked(self) -> None:
        """Write the cursors, by which doord may prune, into gallery.db; late is harmless."""
        for journal_id, seq in self._to_store.items():
            self._writer.set_acked(journal_id, seq)
        self._to_store.clear()

    def close(self) -> None:
        for source in self._aside:
            source.reader.close()
        self._aside = []

    def _held(self) -> list[_Source]:
        current = self._current
        return ([current] if current else []) + self._aside

    def _sources(self) -> list[_Source]:
        self._judge_current()
        now = self._clock.mono()
        if now >= self._looked_at:
            self._looked_at = now + LOOK_ASIDE_S
            self._look_aside()
        sources = self._held()
        if now > self._moved_at + RESEND_S:
            self._moved_at = now
            for source in sources:
                source.sent = source.acked
        return [source for source in sources if source.journal_id != self.ahead]

    @property
    def _current(self) -> _Source | None:
        """The journal that doord writes, as the watch has it open at this moment."""
        reader = self._watch.reader
        if reader is None:
            self._followed = None
        elif self._followed is None or self._followed.reader is not reader:
            self._followed = _Source(reader, reader.journal_id, self._writer.acked(reader.journal_id))
            self._looked_at = 0.0  # its predecessor may just have been set aside
        return self._followed

    def _judge_current(self) -> None:
        """Whether the hub has more of it than there is."""
        current = self._current
        if current is None:
            return
        if current.acked > current.reader.head or self._writer.knows_acked(current.journal_id + BRANCH):
            self.ahead = current.journal_id
        elif self.ahead != current.journal_id:
            self.ahead = ""

    def _look_aside(self) -> None:
        self.close()
        for path in sorted(self._path.parent.glob(f"{self._path.name}.aside-*")):
            if path.name.endswith(("-wal", "-shm")):
                continue
            try:
                reader = JournalReader.open(path)
                source = self._of(reader)
                if source.acked < reader.head and source.journal_id != self.journal_id:
                    self._aside.append(source)
                else:
                    reader.close()
            except StoreError as error:
                log.debug("a journal that was set aside cannot be read: %s", error)

    def _of(self, reader: JournalReader) -> _Source:
        """A journal that was set aside; one that forked, or of which the hub has more, as a branch."""
        name = reader.journal_id
        if self._writer.acked(name) > reader.head or self._writer.knows_acked(name + BRANCH):
            name += BRANCH + "".join(entry.hash[:16] for entry in reader.last(1))
        return _Source(reader, name, self._writer.acked(name))

    def _pages(self, source: _Source) -> Iterator[JournalPage]:
        while source.sent - source.acked < WINDOW:
            entries = source.reader.entries(source.sent, PAGE)
            if not entries:
                return
            yield self._page(source, entries)

    def _page(self, source: _Source, entries: list[Entry]) -> JournalPage:
        return JournalPage(terminal_id=self._terminal_id, journal_id=source.name, from_seq=entries[0].seq - 1,
                           to_seq=entries[-1].seq, rows=tuple(map(_row, entries)), anchor=source.reader.anchor)

    def _unreadable(self, source: _Source, error: StoreError) -> None:
        log.error("journal %s cannot be read further: %s", source.journal_id, error)
        if source in self._aside:
            self._aside.remove(source)
            source.reader.close()


def _row(entry: Entry) -> JournalRow:
    return JournalRow(entry.seq, max((entry.at - _EPOCH) // _MICROSECOND, 0), entry.mono, entry.boot_id,
                      entry.clock_quality, entry.kind, entry.reason, entry.person_id, entry.detail, entry.prev_hash,
                      entry.hash)
