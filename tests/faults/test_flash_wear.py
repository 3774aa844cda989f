"""What a day at the door writes to its card: 2000 passes, each granted and entered.

The journal's own code writes through a disk that counts; what SQLite writes twice, to its log and to the database, is
counted twice, as it wears twice. What the file system and the card add is not in it.
"""

from __future__ import annotations

from pathlib import Path

from fault_figures import Figure
from forgetful_disk import Medium, forgetful
from store_samples import BOOT, release

from device.clock import HandClock
from device.door.reasons import entry
from device.store.journal import Journal
from device.store.sqlite import WriterLock

PASSES = 2000
MOST_MB = 50.0


class Counter(Medium):
    """Keeps nothing, and counts what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0

    def write(self, name: str, offset: int, data: bytes) -> None:
        self.written += len(data)

    def sync(self, name: str) -> None:
        """Nothing is kept."""


def test_a_day_of_two_thousand_passes_writes_little(tmp_path: Path, figure: Figure) -> None:
    medium, path = Counter(), tmp_path / "journal.db"
    Journal.open(path, HandClock(), BOOT).close()
    with forgetful(path, medium) as disk:
        disk.conn.execute("PRAGMA wal_autocheckpoint=100")  # as the product has it
        journal = Journal(path, disk, HandClock(), BOOT, WriterLock(tmp_path / "other"))
        for number in range(PASSES):
            journal.append(release(number))
            journal.append(entry("entered", f"{number:032x}"))
        journal.close()
    written_mb = medium.written / 1e6
    assert written_mb <= MOST_MB
    figure("F12", f"{PASSES} passes, granted and entered: {written_mb:.0f} MB written to the journal and its log")
