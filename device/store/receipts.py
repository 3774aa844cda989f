"""Deletions that the hub is owed a receipt for; written with the deletion, sent once doord's matcher has followed.

Used by door-syncd.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from device.store.cache_writer import CacheWriter
from device.store.synced import Dropped

MOST = 20_000  # deletions in one receipt, so that it fits into a message


@dataclass(frozen=True, slots=True)
class Receipt:
    """Deletions that were applied in one transaction, of the given generation; digest is the stream's after them."""

    number: int
    stream: str
    epoch: str
    seq: int
    digest: bytes
    generation: int
    dropped: tuple[tuple[str, str, int], ...]


class Receipts:
    """Owned by the writer's thread."""

    def __init__(self, writer: CacheWriter) -> None:
        self._writer, self._db = writer, writer._db

    def owe(self, stream: str, epoch: str, seq: int, digest: bytes, drops: Sequence[Dropped]) -> None:
        """A receipt is due for these drops; call it in the transaction that applied them."""
        with self._writer.together() as generation:
            for start in range(0, max(len(drops), 1), MOST):
                dropped = json.dumps([(drop.kind, drop.key, drop.seq) for drop in drops[start:start + MOST]])
                self._db.execute("INSERT INTO receipts (stream, epoch, seq, digest, generation, dropped) "
                                 "VALUES (?, ?, ?, ?, ?, ?)", [stream, epoch, seq, digest, generation, dropped])

    def due(self, generation: int, is_again: bool = False) -> list[Receipt]:
        """Receipts for what is gone at this generation of the matcher; `is_again` with those sent before."""
        rows = self._writer._all(
            "SELECT number, stream, epoch, seq, digest, generation, dropped FROM receipts "
            "WHERE generation <= ? AND is_sent <= ? ORDER BY number LIMIT 100", [generation, int(is_again)])
        return [Receipt(number, stream, epoch, seq, digest, made, tuple((kind, key, at) for kind, key, at in
                                                                        json.loads(dropped)))
                for number, stream, epoch, seq, digest, made, dropped in rows]

    def are_owed(self) -> bool:
        """Whether one has never been sent."""
        return bool(self._writer._all("SELECT 1 FROM receipts WHERE is_sent = 0 LIMIT 1"))

    def sent(self, receipt: Receipt) -> None:
        """Of the receipts that were sent, each stream's newest are kept, to be sent again after the link was lost."""
        with self._writer.quietly():
            self._db.execute("UPDATE receipts SET is_sent = 1 WHERE number = ?", [receipt.number])
            self._db.execute("DELETE FROM receipts WHERE stream = ? AND is_sent = 1 AND seq < ?",
                             [receipt.stream, receipt.seq])
