"""`doorctl bench --only journal`: a journal as full as it may become is written, verified and written to again."""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from device.clock import SystemClock, boot_id
from device.commands.console import Progress
from device.door.reasons import entry
from device.store.journal import CAPACITY, Journal
from device.store.records import NewEntry

AT_ONCE = 1000
APPENDED = 200


def bench_journal(is_quick: bool = False) -> dict[str, Any]:
    """Seconds, megabytes; milliseconds for one entry, on the medium, when the journal is full."""
    count, clock = CAPACITY // (100 if is_quick else 1), SystemClock()
    with tempfile.TemporaryDirectory(prefix="door-bench-") as folder:
        path = Path(folder) / "journal.db"
        journal = Journal.open(path, clock, boot_id())
        try:
            _fill(journal, count)
            size_mb = path.stat().st_size / 1e6
            begun = clock.mono()
            sound = journal.verify()
            verify_s = clock.mono() - begun
            times_ms = []
            for _ in range(APPENDED):
                begun = clock.mono()
                journal.append(_entry(0))
                times_ms.append(1000 * (clock.mono() - begun))
            surplus = journal.surplus(None, count)
        finally:
            journal.close()
    return {"journal_entries": sound, "journal_mb": round(size_mb, 1), "journal_verify_s": round(verify_s, 2),
            "journal_append_ms": round(median(times_ms), 2), "journal_surplus": surplus}


def _fill(journal: Journal, count: int) -> None:
    progress = Progress("entries", count)
    for first in range(journal.head, count, AT_ONCE):
        journal.append_all([(_entry(number), None, None) for number in range(first, min(first + AT_ONCE, count))])
        progress.step(AT_ONCE)
    progress.close()


def _entry(number: int) -> NewEntry:
    return entry("face_granted", f"{number:032x}", methods="face", rule="staff", score=0.7123, threshold=0.561,
                 margin=0.2, model="mobilefacenet-93ee67da5c59", frames=3, track=number)
