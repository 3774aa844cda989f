"""The name of the ledger's history, its epoch, and the mark outside the database by which an old database is noticed.

Each state of the ledger has a number, its generation; the mark, beside the keys, says which was reached. A database
that stands behind its mark, or has none, was set back. Used by `ledger` alone.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import sqlalchemy as sa

from device.errors import StoreError
from sync.hub.schema import meta
from sync.hub.storage import Storage, Tx, insert_or_update

EPOCH = "epoch"
_GENERATION = "generation"


def epoch_of(tx: Tx) -> str:
    """The epoch that this transaction sees; empty before the first."""
    return _value(tx, EPOCH)


class History:
    """The mark of one ledger. Without a path there is none, and every database is believed."""

    def __init__(self, storage: Storage, mark: Path | None) -> None:
        self._storage, self._mark = storage, mark

    def is_old(self, tx: Tx) -> bool:
        """Whether the database stands behind the mark; never for one that has no epoch yet."""
        known = epoch_of(tx)
        return bool(known) and not self._agrees(tx, known)

    def move_on(self, tx: Tx) -> None:
        """The transaction makes one more state of the ledger; the mark says so once it is committed."""
        tx.before_commit(self._count).append(tx)

    def _count(self, moved: list[Tx]) -> None:
        tx = moved[0]
        insert_or_update(tx, meta, [{"name": _GENERATION, "value": str(_generation(tx) + 1)}])
        tx.after_commit(self._write)

    def _agrees(self, tx: Tx, epoch: str) -> bool:
        if self._mark is None:
            return True
        try:
            words = self._mark.read_text(encoding="ascii").split()
            return words[0] == epoch and int(words[1]) <= _generation(tx)
        except (OSError, ValueError, IndexError):
            return False

    def _write(self) -> None:
        if self._mark is None:
            return
        with self._storage.read() as tx:
            text = f"{epoch_of(tx)} {_generation(tx)}\n"
        fresh = self._mark.with_name(f"{self._mark.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            fresh.write_text(text, encoding="ascii")
            fresh.replace(self._mark)
        except OSError as error:
            raise StoreError(f"{self._mark}: cannot be written: {error.strerror}") from None


def _generation(tx: Tx) -> int:
    return int(_value(tx, _GENERATION) or 0)


def _value(tx: Tx, name: str) -> str:
    found = tx.value(sa.select(meta.c.value).where(meta.c.name == name))
    return str(found) if found is not None else ""
