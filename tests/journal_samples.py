"""Journals as terminals send them, entry by entry, with a chain of hashes that holds."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from sync_samples import row_of

from device.store import chain
from device.store.records import Entry
from sync.wire.messages import JournalRow

BEGUN = datetime(2026, 1, 5, 8, 0, tzinfo=timezone.utc)
JOURNAL = "ab" * 16
PERSON = f"{7:032x}"


class Journal:
    """One terminal's; `rows` go on where the last ones ended."""

    def __init__(self, journal_id: str = JOURNAL) -> None:
        self.journal_id = journal_id
        self._seq, self._hash = 0, chain.genesis(journal_id)

    def rows(self, *reasons: str | tuple[str, str], person_id: str | None = PERSON,
             **detail: str | int | float | bool | None) -> list[JournalRow]:
        """Entries of these reasons, each with its kind where it is no release."""
        return [self._row(*(reason if isinstance(reason, tuple) else ("release", reason)), person_id, detail)
                for reason in reasons]

    def _row(self, kind: str, reason: str, person_id: str | None, detail: dict) -> JournalRow:
        self._seq += 1
        entry = Entry(self.journal_id, self._seq, BEGUN + timedelta(seconds=self._seq), float(self._seq), "b" * 32,
                      "synced", kind, reason, person_id, tuple(detail.items()), self._hash, "")
        self._hash = chain.entry_hash(entry)
        return row_of(Entry(*(getattr(entry, name) for name in entry.__slots__[:-1]), self._hash))
