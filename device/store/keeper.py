"""Keeps the door going when its journal cannot be written: entries wait in memory, in order, and follow later.

Used by doord. The decision never waits for the journal; what cannot be written is kept with the time at which it
happened, and an alarm is due for as long as anything waits.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime

from device.clock import Clock
from device.errors import JournalBroken, StoreError
from device.store import chain
from device.store.journal import CAPACITY, Journal
from device.store.nameplate import Nameplate
from device.store.records import Entry, NewEntry, UsedPass
from device.store.sqlite import Damaged, set_aside

log = logging.getLogger(__name__)

WAITING_LIMIT = 10_000
LOOK_BACK = 5000  # entries of a journal that is set aside in which commands are looked for
BATCH = 200


class JournalKeeper:
    """Owned by one thread, the journal's.

    open_journal  opens the journal anew after it was found damaged; the damaged one is then set aside
    lost          entries that found the queue full and are gone; the first one written afterwards says so
    """

    def __init__(self, open_journal: Callable[[], Journal], clock: Clock) -> None:
        self._open, self._clock = open_journal, clock
        self._waiting: deque[tuple[NewEntry, datetime, float]] = deque()
        self.lost = 0
        self.error: StoreError | None = None
        self.journal: Journal | None = None
        self._used: dict[str, UsedPass] = {}
        self._ensure_open()

    @property
    def waiting(self) -> int:
        """Entries in memory that are not yet on the medium."""
        return len(self._waiting)

    @property
    def is_degraded(self) -> bool:
        """Whether an alarm is due: something waits or was lost, or the reserve is being used up."""
        return bool(self._waiting or self.lost or self.journal is None or self.journal.is_on_reserve)

    def append(self, entry: NewEntry) -> Entry | None:
        """The stored entry; None where it waits in memory. Never raises: the door goes on whatever the medium does.

        Of an entry that no journal takes (see `chain.check_new`) only the fact is stored, and why.
        """
        entry = _sound(entry)
        if self._waiting or self.journal is None:
            self._keep(entry)
            return None
        try:
            return self.journal.append(entry)
        except StoreError as error:
            self._failed(error)
            self._keep(entry)
            return None

    def commit(self, entries: Sequence[NewEntry], uses: Sequence[UsedPass] = ()) -> bool:
        """Store what must be stored before it may happen, all or nothing; where that fails, nothing waits.

        uses  the passes that are used up by it
        """
        if self._waiting or self.journal is None:
            return False
        try:
            self.journal.append_all([(_sound(entry), None, None) for entry in entries], uses)
        except StoreError as error:
            self._failed(error)
            return False
        self._used.update({one.pass_id: one for one in uses})
        return True

    def is_used(self, pass_id: str) -> bool:
        """Whether a pass has admitted somebody already."""
        return pass_id in self._used

    def retry(self) -> int:
        """Write what waits, oldest first; how many entries were written. Call it every few seconds."""
        written = 0
        self._ensure_open()
        while self._waiting and self.journal is not None:
            batch = [self._waiting[i] for i in range(min(BATCH, len(self._waiting)))]
            try:
                self.journal.append_all(batch)
            except StoreError as error:
                self._failed(error)
                break
            for _ in batch:
                self._waiting.popleft()
            written += len(batch)
        if not self._waiting and self.journal is not None:
            self._recovered()
        return written

    def trim(self, acked: int | None, capacity: int = CAPACITY) -> int:
        """Prune what exceeds the capacity, as `Journal.surplus` has it; how many entries went. Call it every hour."""
        if self.journal is None:
            return 0
        try:
            return self.journal.prune(self.journal.surplus(acked, capacity))
        except StoreError as error:
            self._failed(error)
            return 0

    def renew(self, cause: str) -> None:
        """Set the journal aside, from where it is sent on, and begin another: this terminal was set back to an
        earlier state, and the hub has other entries under these numbers. Entries of commands go over, marked as
        carried, or a command could be obeyed a second time."""
        if self.journal is None:
            return
        old, self.journal = self.journal, None
        try:
            commands = [one for one in old.last(LOOK_BACK) if any(name == "command" for name, _ in one.detail)]
            carried = [(NewEntry(one.kind, one.reason, one.person_id, (*one.detail, ("carried", True))), one.at,
                        one.mono) for one in commands]
            old.close()
            aside = set_aside(old.path, self._clock)
            Nameplate(old.path).remove()
            self.journal = self._open()
            self.append(NewEntry("fault", "journal_set_aside", None, (("file", aside.name), ("cause", cause))))
            self.journal.append_all(carried)
            self._take_over_passes()
        except StoreError as error:
            self._failed(error)

    def close(self) -> None:
        """Write what waits and close; what nothing can be done about is at least said."""
        self.retry()
        if self._waiting or self.lost:
            log.critical("%d journal entries are gone, for the journal could not be written to the end: %s",
                         len(self._waiting) + self.lost, self.error or "no journal")
        if self.journal is not None:
            self.journal.close()
            self.journal = None

    def _keep(self, entry: NewEntry) -> None:
        if len(self._waiting) >= WAITING_LIMIT:
            self.lost += 1
            return
        self._waiting.append((entry, self._clock.now(), self._clock.mono()))

    def _failed(self, error: StoreError) -> None:
        if self.error is None:
            log.error("the journal cannot be written: %s", error)
        self.error = error
        if isinstance(error, (Damaged, JournalBroken)) and self.journal is not None:
            self.journal.close()
            self.journal = None

    def _recovered(self) -> None:
        if self.error is not None:
            log.warning("the journal is written again; %d entries lost", self.lost)
            self.error = None
        if self.lost and self.journal is not None:
            lost, self.lost = self.lost, 0
            self.append(NewEntry("fault", "journal_failed", None, (("entries_lost", lost),)))

    def _ensure_open(self) -> None:
        if self.journal is not None:
            return
        try:
            self.journal = self._open()
            self._take_over_passes()
        except StoreError as error:
            self._failed(error)

    def _take_over_passes(self) -> None:
        """What the journal knows of used passes, and it of those that were used before it began."""
        if self.journal is None:
            return
        now = self._clock.now()
        known = {one.pass_id: one for one in self.journal.used_passes(now)}
        fresh = [one for one in self._used.values() if one.pass_id not in known and one.until > now]
        self.journal.remember_passes(fresh)
        self._used = known | {one.pass_id: one for one in fresh}


def _sound(entry: NewEntry) -> NewEntry:
    try:
        chain.check_new(entry)
    except StoreError as error:
        log.error("an entry cannot be journalled: %s", error)
        return NewEntry("fault", "journal_failed", None, (("refused", str(error)[:chain.MAX_TEXT]),))
    return entry
