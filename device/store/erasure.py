"""Removal down to the bytes: which slots of records must be sealed anew because something of theirs was removed.

Used by `store.cache_writer`, in the writer's thread. What is due is kept in the file itself, so that a kill at any
moment changes nothing about it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

from sqlite_utils import Database

from device.errors import SealBroken
from device.store.slots import PER_SLOT, SlotSealer, slot_of

log = logging.getLogger(__name__)

MOST_SLOTS = 128
"""From more slots on, the whole file is written anew instead, which then costs less."""

_TEMPLATES = "SELECT template_id, person_id, model_id, sealed FROM templates WHERE template_id = ?"


class Erasure:
    """The writer's part that deals with what was removed."""

    def __init__(self, db: Database, sealer: SlotSealer) -> None:
        self._db, self._sealer = db, sealer
        self._conn: Any = db.conn

    def owe(self, names: Iterable[tuple[str, str]]) -> None:
        """Records (kind, key) are removed by the transaction that is open."""
        self._conn.executemany("INSERT OR IGNORE INTO erasures (slot) VALUES (?)",
                               {(slot_of(kind, key),) for kind, key in names})
        self._db.execute("UPDATE state SET is_erasure_due = 1")

    def due(self) -> list[int]:
        return [row[0] for row in self._conn.execute("SELECT slot FROM erasures ORDER BY slot")]

    def is_small(self, slots: list[int]) -> bool:
        """Whether to seal these anew rather than write the whole file: they are few, and no snapshot is arriving,
        whose records lie in the same slots."""
        return len(slots) <= MOST_SLOTS and not self._conn.execute("SELECT 1 FROM staged LIMIT 1").fetchone()

    def renew(self, slots: list[int]) -> None:
        """Seal all that streams hold of these slots under fresh keys, and nothing else may live in the file; inside a
        transaction, and `follow` after it."""
        successor = self._sealer.successor(slots)
        for slot in slots:
            for table, column, kind, key, bound, sealed in self._records(slot):
                try:
                    fresh = successor.resealed(sealed, kind, key, *bound)
                except SealBroken as error:
                    log.error("%s", error)  # rotten before; the next start asks the hub for it
                    continue
                more = " AND kind = ?" if table == "records" else ""
                self._conn.execute(f"UPDATE {table} SET sealed = ? WHERE {column} = ?{more}",  # noqa: S608  (constants)
                                   (fresh, key, kind) if more else (fresh, key))
        successor.store(self._db)
        self.forgive()

    def forgive(self) -> None:
        """Nothing is owed any more."""
        self._db.execute("DELETE FROM erasures")

    def _records(self, slot: int) -> Iterator[tuple[str, str, str, str, tuple[str, ...], bytes]]:
        """(table, key column, kind, key, what else it is bound to, sealed) of what a slot holds."""
        names: set[tuple[str, str]] = set()
        for stream in self._conn.execute("SELECT stream FROM cursors").fetchall():
            names.update(self._conn.execute(
                "SELECT kind, key FROM synced WHERE stream = ? AND bucket BETWEEN ? AND ?",
                (stream[0], slot * PER_SLOT, slot * PER_SLOT + PER_SLOT - 1)))
        for kind, key in names:
            yield from self._record(kind, key)

    def _record(self, kind: str, key: str) -> Iterator[tuple[str, str, str, str, tuple[str, ...], bytes]]:
        if kind == "template":
            for row in self._conn.execute(_TEMPLATES, (key,)).fetchall():
                yield "templates", "template_id", kind, key, (row[1], row[2]), row[3]
            return
        table, column = {"person": ("people", "person_id"), "credential": ("credentials", "credential_id")}.get(
            kind, ("records", "key"))
        more = " AND kind = ?" if table == "records" else ""
        sql = f"SELECT sealed FROM {table} WHERE {column} = ?{more}"  # noqa: S608  (constants)
        for row in self._conn.execute(sql, (key, kind) if more else (key,)).fetchall():
            yield table, column, kind, key, (), row[0]
