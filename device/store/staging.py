"""Snapshots and repairs, staged part by part beside the living records and taken over in one transaction.

Used by door-syncd. What is staged is sealed like everything else; it is never read by doord. A record that is
dropped meanwhile is emptied at once; its leaf stays, by which the digest still proves that the stage is whole.
"""

# ruff: noqa: S608  (what is put into SQL are names of tables and columns, all constants)

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from device.store.cache_writer import CacheWriter
from device.store.synced import Dropped, SyncedRecords, Told, grouped

log = logging.getLogger(__name__)

_FEW = 50  # drops up to here look through the stage one by one


@dataclass(frozen=True, slots=True)
class Stage:
    """A snapshot ("snapshot") or repair ("repair") that arrives in parts."""

    stream: str
    epoch: str
    form: str
    to_seq: int
    digest: bytes
    parts: int


class Staging:
    """Owned by the writer's thread."""

    def __init__(self, writer: CacheWriter, records: SyncedRecords) -> None:
        self._writer, self._db, self._records = writer, writer._db, records
        self._conn: Any = writer._db.conn

    def stage(self, stream: str) -> Stage | None:
        """The snapshot or repair that is arriving."""
        rows = self._all("SELECT stream, epoch, form, to_seq, digest, parts FROM stages WHERE stream = ?", [stream])
        return Stage(*rows[0]) if rows else None

    def begin(self, stage: Stage) -> None:
        """Stage something new; what was staged of this stream goes."""
        self.end(stage.stream)
        with self._writer.quietly():
            self._db.execute("INSERT INTO stages (stream, epoch, form, to_seq, digest, parts) "
                             "VALUES (?, ?, ?, ?, ?, ?)",
                             [stage.stream, stage.epoch, stage.form, stage.to_seq, stage.digest, stage.parts])

    def has_part(self, stream: str, part: int) -> bool:
        return bool(self._all("SELECT 1 FROM stage_parts WHERE stream = ? AND part = ?", [stream, part]))

    def parts_missing(self, stream: str) -> int:
        return int(self._all("SELECT parts - (SELECT count(*) FROM stage_parts p WHERE p.stream = s.stream) "
                             "FROM stages s WHERE stream = ?", [stream])[0][0])

    def add(self, stream: str, part: int, told: Sequence[Told], buckets: Iterable[int] = ()) -> None:
        """Keep one part; buckets are those that a repair speaks for."""
        gone = {(one.kind, one.key) for one in self._records.gone_ahead(stream, told)}
        finders = {one.key: self._records.finder(one) for one in told if one.kind == "credential"}
        with self._writer.quietly():
            self._many("INSERT INTO staged (stream, bucket, kind, key, version, leaf, person_id, model_id, method, "
                       "finder, is_consented, sealed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                       [(stream, bucket, kind, key, version, leaf, person_id, model_id, method,
                         finders.get(key) if kind == "credential" else None, is_consented,
                         None if gone and (kind, key) in gone else sealed)
                        for (kind, key, bucket, version, leaf, _, person_id, model_id, method, _, is_consented),
                        sealed in zip(told, self._records.seal_all(told), strict=True)])
            self._many("INSERT OR IGNORE INTO stage_buckets (stream, bucket) VALUES (?, ?)",
                       [(stream, bucket) for bucket in set(buckets)])
            self._db.execute("INSERT INTO stage_parts (stream, part) VALUES (?, ?)", [stream, part])

    def drop(self, stream: str, epoch: str, drops: Sequence[Dropped]) -> None:
        """Empty staged records of this epoch that were dropped meanwhile."""
        stage = self.stage(stream) if drops else None
        if stage is None or stage.epoch != epoch:
            return
        with self._writer.quietly():
            emptied = self._empty(stream, drops) if len(drops) <= _FEW else self._empty_many(stream, drops)
            if emptied:
                self._writer._erasure.owe((drop.kind, drop.key) for drop in drops)

    def buckets(self, stream: str) -> Iterator[tuple[int, list[bytes]]]:
        """(bucket, leaves) of what is staged."""
        return grouped(self._records.rows("SELECT bucket, leaf FROM staged WHERE stream = ? ORDER BY bucket",
                                          [stream]))

    def repaired_buckets(self, stream: str) -> set[int]:
        """Buckets that the staged repair speaks for."""
        return {row[0] for row in self._all("SELECT bucket FROM stage_buckets WHERE stream = ?", [stream])}

    def take_over(self, stage: Stage) -> tuple[list[Dropped], int]:
        """Make what is staged the stream's living set (a repair: of its buckets); what the stream no longer holds,
        and how many records were refused. Records that have not changed are not touched. Call it in `together`,
        with the cursor."""
        stream = stage.stream
        with self._writer.together() as generation:
            gone = self._left_out(stage)
            self._records.drop_living(self._records.unheld(gone), generation)
            # Of a stream of which nothing is held, everything that is staged has changed.
            is_first = not self._all("SELECT 1 FROM synced WHERE stream = ? LIMIT 1", [stream])
            changed = _STAGED if is_first else _CHANGED
            self._take_people(stream, generation, changed)
            refused = self._refuse(stream)
            self._take_dependent(stream, generation, changed)
            self._undrop(stream)
            self._take_leaves(stream)
            return gone, refused

    def end(self, stream: str) -> None:
        """Forget what is staged of a stream."""
        with self._writer.quietly(), self._unerased():
            for table in ("stages", "stage_parts", "stage_buckets"):
                self._db.execute(f"DELETE FROM {table} WHERE stream = ?", [stream])
            if self._all("SELECT 1 FROM staged WHERE stream != ? LIMIT 1", [stream]):
                self._db.execute("DELETE FROM staged WHERE stream = ?", [stream])
            else:
                self._db.execute("DELETE FROM staged")  # SQLite drops all pages at once where there is no condition

    @contextlib.contextmanager
    def _unerased(self) -> Iterator[None]:
        """For letting go of what was staged: it was sealed, and whoever is removed has their key destroyed, so that
        its pages, 80 MB with 100 000 people, need not be overwritten."""
        self._conn.execute("PRAGMA secure_delete=OFF")
        try:
            yield
        finally:
            self._conn.execute("PRAGMA secure_delete=ON")

    def forget(self, stream: str) -> None:
        """A stream that is held no longer, and of which nothing is held: its cursor goes. Its past stays closed."""
        with self._writer.quietly():
            self.end(stream)
            for table in ("cursors", "drops_ahead"):
                self._db.execute(f"DELETE FROM {table} WHERE stream = ?", [stream])

    @contextlib.contextmanager
    def in_bulk(self) -> Iterator[None]:
        """For staging and taking over: fewer checkpoints and more memory; what is staged may be lost in a power cut,
        since whoever reports the old cursor is sent it again. Not inside a transaction."""
        # Sorting 200 000 leaves in memory took 45 MB; on disk it takes the size of the cache.
        for pragma in ("synchronous=NORMAL", "wal_autocheckpoint=4000", "cache_size=-4000", "temp_store=FILE"):
            self._conn.execute("PRAGMA " + pragma)
        try:
            yield
        finally:
            for pragma in ("synchronous=FULL", "wal_autocheckpoint=100", "cache_size=-2000", "temp_store=MEMORY"):
                self._conn.execute("PRAGMA " + pragma)

    # --- inside ----------------------------------------------------------------------------------------------

    def _all(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        return self._writer._all(sql, values)

    def _many(self, sql: str, rows: Sequence[Any]) -> int:
        return int(self._conn.executemany(sql, rows).rowcount) if rows else 0

    def _empty(self, stream: str, drops: Sequence[Dropped]) -> int:
        return self._many("UPDATE staged SET sealed = NULL, finder = NULL WHERE stream = ? AND kind = ? AND key = ? "
                          "AND version <= ?", [(stream, drop.kind, drop.key, drop.seq) for drop in drops])

    def _empty_many(self, stream: str, drops: Sequence[Dropped]) -> int:
        self._db.execute("CREATE TEMP TABLE IF NOT EXISTS gone (kind TEXT, key TEXT, seq INTEGER, "
                         "PRIMARY KEY (kind, key)) WITHOUT ROWID")
        self._many("INSERT OR REPLACE INTO temp.gone VALUES (?, ?, ?)", [(d.kind, d.key, d.seq) for d in drops])
        emptied = self._conn.execute(
            "UPDATE staged SET sealed = NULL, finder = NULL WHERE stream = ? AND EXISTS (SELECT 1 FROM temp.gone g "
            "WHERE g.kind = staged.kind AND g.key = staged.key AND staged.version <= g.seq)", [stream]).rowcount
        self._db.execute("DELETE FROM temp.gone")
        return int(emptied)

    def _left_out(self, stage: Stage) -> list[Dropped]:
        """What the stream holds and the stage does not; taken from `synced`."""
        scope, values = _scope(stage)
        rows = self._all(
            f"SELECT y.kind, y.key, y.bucket FROM synced y WHERE {scope} AND (y.kind, y.key) NOT IN "
            "(SELECT kind, key FROM staged WHERE stream = ?)", [*values, stage.stream])
        self._many("DELETE FROM synced WHERE stream = ? AND bucket = ? AND kind = ? AND key = ?",
                   [(stage.stream, row[2], row[0], row[1]) for row in rows])
        return [Dropped(row[0], row[1], row[2], stage.to_seq) for row in rows]

    def _take_people(self, stream: str, generation: int, changed: str) -> None:
        unconsented = self._all(f"SELECT key FROM staged s WHERE {changed} AND kind = 'person' "
                                "AND NOT is_consented", [stream])
        self._db.execute(
            "INSERT INTO people (person_id, sealed, generation, is_consented) SELECT key, sealed, ?, is_consented "
            f"FROM staged s WHERE {changed} AND kind = 'person' ORDER BY key ON CONFLICT DO UPDATE SET "
            "sealed = excluded.sealed, generation = excluded.generation, is_consented = excluded.is_consented",
            [generation, stream])
        for row in unconsented:
            self._records.drop_templates_of(row[0], generation)

    def _take_dependent(self, stream: str, generation: int, changed: str) -> None:
        """Templates, credentials and records."""
        self._db.execute(
            "INSERT INTO templates (template_id, person_id, model_id, sealed, generation) "
            f"SELECT key, person_id, model_id, sealed, ? FROM staged s WHERE {changed} "
            "AND kind = 'template' ORDER BY key ON CONFLICT DO UPDATE SET person_id = excluded.person_id, "
            "sealed = excluded.sealed, generation = excluded.generation", [generation, stream])
        self._db.execute(
            "INSERT INTO credentials (credential_id, person_id, method, finder, sealed, generation) "
            f"SELECT key, person_id, method, finder, sealed, ? FROM staged s WHERE {changed} "
            "AND kind = 'credential' ON CONFLICT DO UPDATE SET person_id = excluded.person_id, "
            "method = excluded.method, finder = excluded.finder, sealed = excluded.sealed, "
            "generation = excluded.generation", [generation, stream])
        self._db.execute(
            f"INSERT INTO records (kind, key, sealed, generation) SELECT kind, key, sealed, ? FROM staged s "
            f"WHERE {changed} AND kind NOT IN ('person', 'template', 'credential') "
            "ON CONFLICT DO UPDATE SET sealed = excluded.sealed, generation = excluded.generation",
            [generation, stream])

    def _undrop(self, stream: str) -> None:
        if self._all("SELECT 1 FROM drops LIMIT 1"):
            self._db.execute("DELETE FROM drops WHERE (kind, key) IN (SELECT kind, key FROM staged "
                             "WHERE stream = ? AND sealed IS NOT NULL)", [stream])

    def _refuse(self, stream: str) -> int:
        """Strike out staged records that the rules do not allow; how many."""
        widths = dict(self._all("SELECT model_id, min(length(sealed)) FROM staged WHERE stream = ? AND "
                                "kind = 'template' AND sealed IS NOT NULL GROUP BY model_id", [stream]))
        widths.update((model_id, row[0][0]) for model_id in widths if (row := self._all(
            "SELECT length(sealed) FROM templates WHERE model_id = ? LIMIT 1", [model_id])))
        is_other_width = " OR ".join(["(model_id = ? AND length(sealed) != ?)"] * len(widths)) or "FALSE"
        struck = int(self._conn.execute(
            "DELETE FROM staged WHERE stream = ? AND sealed IS NOT NULL AND ("
            f"(kind = 'template' AND ({is_other_width} OR NOT EXISTS (SELECT 1 FROM people p WHERE p.person_id = "
            "staged.person_id AND p.is_consented IS NOT 0) OR EXISTS (SELECT 1 FROM templates t WHERE "
            "t.template_id = staged.key AND t.model_id != staged.model_id))) OR (kind = 'credential' AND NOT EXISTS "
            "(SELECT 1 FROM people p WHERE p.person_id = staged.person_id)))",
            [stream, *(value for pair in widths.items() for value in pair)]).rowcount)
        if struck:
            log.error("%d records of %s are refused: no consent, or of another length or model", struck, stream)
        return struck

    def _take_leaves(self, stream: str) -> None:
        self._db.execute(
            "INSERT INTO synced (stream, bucket, kind, key, version, leaf) "
            "SELECT stream, bucket, kind, key, version, leaf FROM staged WHERE stream = ? ORDER BY bucket, kind, key "
            "ON CONFLICT DO UPDATE SET version = excluded.version, leaf = excluded.leaf", [stream])


_STAGED = "s.stream = ? AND s.sealed IS NOT NULL"
# Of the record that is staged, the stream holds another version or none.
_CHANGED = (f"{_STAGED} AND NOT EXISTS (SELECT 1 FROM synced y WHERE y.stream = s.stream "
            "AND y.bucket = s.bucket AND y.kind = s.kind AND y.key = s.key AND y.leaf = s.leaf)")


def _scope(stage: Stage) -> tuple[str, list[Any]]:
    if stage.form == "repair":
        return ("y.stream = ? AND y.bucket IN (SELECT bucket FROM stage_buckets WHERE stream = ?)",
                [stage.stream, stage.stream])
    return "y.stream = ?", [stage.stream]
