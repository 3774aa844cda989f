"""What a hub told this terminal, stream by stream, beside the records themselves; written by door-syncd.

A record may be held by several streams (a person in two groups). `synced` says what each stream holds; the living
record is the one that was put last, and goes when no stream holds it any more. The rules of `CacheWriter` hold here
as well: no template without its person's record of consent, one length to a model, an id keeps its model. A record
that breaks them is refused alone: it gets no leaf, so that the stream's digest says that it is missing.

Snapshots and repairs are staged beside all this and taken over in one transaction (`store.staging`).
"""

# ruff: noqa: S608  (what is put into SQL are names of tables and columns, all constants)

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from device.errors import SealBroken
from device.store import body
from device.store.cache_writer import CacheWriter, _check_id
from device.store.records import Method, Person, sought
from device.store.seal import NONCE_BYTES, TAG_BYTES
from device.store.slots import PER_SLOT, bucket_of

log = logging.getLogger(__name__)

AT_ONCE = 500  # values in one statement
SLICE = 4096

# kind -> (table, its key column); every other kind lies in `records`
TABLES = {"person": ("people", "person_id"), "template": ("templates", "template_id"),
           "credential": ("credentials", "credential_id")}


class Told(NamedTuple):
    """One record as a stream tells it.

    version, leaf  as the stream's digest sees it
    plain          what is sealed at rest
    person_id, model_id, method, secret, is_consented  where its kind has them
    """

    kind: str
    key: str
    bucket: int
    version: int
    leaf: bytes
    plain: bytes
    person_id: str = ""
    model_id: str = ""
    method: str = ""
    secret: bytes = b""
    is_consented: bool = False


class Dropped(NamedTuple):
    """A record that a stream no longer holds; seq is that of the drop."""

    kind: str
    key: str
    bucket: int
    seq: int


class SyncedRecords:
    """A `CacheWriter` seen by streams. Owned by the writer's thread."""

    def __init__(self, writer: CacheWriter) -> None:
        self._writer, self._db, self._sealer, self._slots = writer, writer._db, writer._sealer, writer._slots
        self._conn: Any = writer._db.conn

    # --- what the streams hold -------------------------------------------------------------------------------

    def streams(self) -> dict[str, tuple[str, int, bytes]]:
        """stream -> (epoch, seq, digest) of all streams that were ever applied."""
        return {row[0]: (row[1], row[2], row[3])
                for row in self._all("SELECT stream, epoch, seq, digest FROM cursors ORDER BY stream")}

    def leaves(self, stream: str, bucket: int) -> list[bytes]:
        return [row[0] for row in self._all("SELECT leaf FROM synced WHERE stream = ? AND bucket = ?",
                                            [stream, bucket])]

    def buckets(self, stream: str) -> Iterator[tuple[int, list[bytes]]]:
        """(bucket, leaves) of all that a stream holds."""
        return grouped(self.rows("SELECT bucket, leaf FROM synced WHERE stream = ? ORDER BY bucket", [stream]))

    def count(self, stream: str) -> int:
        return int(self._all("SELECT count(*) FROM synced WHERE stream = ?", [stream])[0][0])

    def is_past(self, stream: str, epoch: str) -> bool:
        """Whether the stream has left this epoch for another."""
        return bool(self._all("SELECT 1 FROM past_epochs WHERE stream = ? AND epoch = ?", [stream, epoch]))

    # --- one page of changes ---------------------------------------------------------------------------------

    def drop(self, stream: str, drops: Sequence[Dropped]) -> set[int]:
        """Take records from a stream; they go for good where no other stream holds them. Buckets that changed."""
        with self._writer.together() as generation:
            wanted = self._due(stream, drops)
            self._many("DELETE FROM synced WHERE stream = ? AND bucket = ? AND kind = ? AND key = ?",
                       [(stream, drop.bucket, drop.kind, drop.key) for drop in wanted])
            self.drop_living(self.unheld(wanted), generation)
            return {drop.bucket for drop in wanted}

    def drop_ahead(self, stream: str, drops: Sequence[Dropped]) -> None:
        """Obey drops before what precedes them is there: the records go now and are not put again by anything older;
        their leaves stay until the stream has come so far, so that its digest remains what the hub knows."""
        with self._writer.together() as generation:
            wanted = self._due(stream, drops)
            self._many("INSERT INTO drops_ahead (stream, kind, key, seq) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE "
                       "SET seq = max(seq, excluded.seq)", [(stream, d.kind, d.key, d.seq) for d in wanted])
            self.drop_living(self.unheld(wanted, besides=stream), generation)

    def put(self, stream: str, records: Sequence[Told]) -> tuple[set[int], int]:
        """Add or replace records; (buckets that changed, how many were refused). A newer version stays."""
        with self._writer.together() as generation:
            fresh = [told for told in records if not self._is_newer(stream, told, told.version)]
            gone = self.gone_ahead(stream, fresh)
            kept = self._put_living([told for told in fresh if told not in gone], generation)
            self._many("DELETE FROM drops WHERE kind = ? AND key = ?", [(told.kind, told.key) for told in kept])
            kept += gone
            self._many("INSERT INTO synced (stream, bucket, kind, key, version, leaf) VALUES (?, ?, ?, ?, ?, ?) "
                       "ON CONFLICT DO UPDATE SET version = excluded.version, leaf = excluded.leaf",
                       [(stream, told.bucket, told.kind, told.key, told.version, told.leaf) for told in kept])
            return {told.bucket for told in kept}, len(fresh) - len(kept)

    def move_to(self, stream: str, epoch: str, seq: int, digest: bytes) -> None:
        """The stream's cursor; call it in the transaction of what led there."""
        self._writer.set_cursor(stream, epoch, seq, digest)
        self._db.execute("DELETE FROM drops_ahead WHERE stream = ? AND seq <= ?", [stream, seq])

    def leave_epoch(self, stream: str, epoch: str) -> None:
        """Never enter this history of the stream again."""
        with self._writer.quietly():
            self._db.execute("INSERT OR IGNORE INTO past_epochs (stream, epoch) VALUES (?, ?)", [stream, epoch])
            self._db.execute("DELETE FROM drops_ahead WHERE stream = ?", [stream])

    def gone_ahead(self, stream: str, records: Sequence[Told]) -> list[Told]:
        """Those that a drop further on in the stream has removed already."""
        if not self._all("SELECT 1 FROM drops_ahead WHERE stream = ? LIMIT 1", [stream]):
            return []
        sql = "SELECT 1 FROM drops_ahead WHERE stream = ? AND kind = ? AND key = ? AND seq > ?"
        return [told for told in records
                if self._conn.execute(sql, (stream, told.kind, told.key, told.version)).fetchone()]

    def clear_strays(self) -> int:
        """Drop every record that no stream holds: what was enrolled by hand before the hub took over."""
        strays = []
        for kind, (table, key) in TABLES.items():
            rows = self.rows(f"SELECT {key} FROM {table}")
            strays += [Dropped(kind, row[0], bucket_of(kind, row[0]), 0) for row in rows]
        strays += [Dropped(row[0], row[1], bucket_of(row[0], row[1]), 0)
                   for row in self.rows("SELECT kind, key FROM records")]
        unheld = self.unheld(strays)
        if unheld:
            with self._writer.together() as generation:
                self.drop_living(unheld, generation)
        self._writer.is_all_synced = True
        return len(unheld)

    # --- health ----------------------------------------------------------------------------------------------

    def heal(self) -> int:
        """Let go of records that no longer open or whose row is missing, in every stream that holds them, so that
        the digests ask for them anew; how many. Reads everything: for the start."""
        unsound = self._unsound()
        unsound += self._dependants(unsound)
        held = [Dropped(row[0], row[1], row[2], 0) for row in self._missing()]
        if unsound or held:
            with self._writer.together() as generation:
                self._many("DELETE FROM synced WHERE bucket = ? AND kind = ? AND key = ?",
                           [(drop.bucket, drop.kind, drop.key) for drop in (*unsound, *held)])
                self.drop_living([(drop.kind, drop.key) for drop in unsound], generation)
        return len(unsound) + len(held)

    # --- inside ----------------------------------------------------------------------------------------------

    def _all(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        return self._writer._all(sql, values)

    def rows(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """Rows, a slice at a time."""
        rows = self._conn.execute(sql, values)
        while part := rows.fetchmany(SLICE):
            yield from part

    def _many(self, sql: str, rows: Sequence[Any]) -> None:
        if rows:
            self._conn.executemany(sql, rows)

    def _is_newer(self, stream: str, record: Told | Dropped, version: int) -> bool:
        sql = "SELECT version FROM synced WHERE stream = ? AND bucket = ? AND kind = ? AND key = ?"
        row = self._conn.execute(sql, (stream, record.bucket, record.kind, record.key)).fetchone()
        return row is not None and row[0] > version

    def _due(self, stream: str, drops: Sequence[Dropped]) -> list[Dropped]:
        wanted = [drop for drop in drops if not self._is_newer(stream, drop, drop.seq)]
        return wanted + self._dependants(wanted)

    def _dependants(self, drops: Sequence[Dropped]) -> list[Dropped]:
        """Templates and credentials of the persons dropped: they cannot stay without them."""
        found = []
        for person in drops:
            if person.kind != "person":
                continue
            for kind in ("template", "credential"):
                table, key = TABLES[kind]
                rows = self._conn.execute(f"SELECT {key} FROM {table} WHERE person_id = ?",
                                          (person.key,)).fetchall()
                found += [Dropped(kind, row[0], bucket_of(kind, row[0]), person.seq) for row in rows]
        return found

    def unheld(self, drops: Sequence[Dropped], besides: str = "") -> list[tuple[str, str]]:
        """(kind, key) of those that no stream holds any more; none but the stream `besides`."""
        streams = [row[0] for row in self._all("SELECT stream FROM cursors WHERE stream != ?", [besides])]
        sql = "SELECT 1 FROM synced WHERE stream = ? AND bucket = ? AND kind = ? AND key = ?"
        return [(drop.kind, drop.key) for drop in drops
                if not any(self._conn.execute(sql, (stream, drop.bucket, drop.kind, drop.key)).fetchone()
                           for stream in streams)]

    def drop_living(self, records: Sequence[tuple[str, str]], generation: int) -> None:
        """Remove records whatever the streams say, with a word for readers; a person with all that is theirs."""
        by_kind: dict[str, list[str]] = {}
        persons = [Dropped(kind, key, 0, 0) for kind, key in records if kind == "person"]
        for kind, key in {*records, *((drop.kind, drop.key) for drop in self._dependants(persons))}:
            by_kind.setdefault(kind, []).append(key)
        gone: list[tuple[str, str]] = []
        # Persons last: their templates and credentials would go with them and leave no word for readers.
        for kind in sorted(by_kind, key=lambda kind: kind == "person"):
            gone += [(kind, key) for key in self._drop_kind(kind, by_kind[kind], generation)]
        if gone:
            self._writer._forget_old_drops()
            self._writer._erasure.owe(gone)

    def _drop_kind(self, kind: str, keys: Sequence[str], generation: int) -> list[str]:
        """Those that were there."""
        table, column = TABLES.get(kind, ("records", "key"))
        where = f"{column} = ?" if kind in TABLES else "key = ? AND kind = ?"
        more = () if kind in TABLES else (kind,)
        sql = f"SELECT 1 FROM {table} WHERE {where}"
        there = [key for key in keys if self._conn.execute(sql, (key, *more)).fetchone()]
        self._many("INSERT OR REPLACE INTO drops (kind, key, generation) VALUES (?, ?, ?)",
                   [(kind, key, generation) for key in there])
        self._many(f"DELETE FROM {table} WHERE {where}", [(key, *more) for key in there])
        return there

    def _put_living(self, records: Sequence[Told], generation: int) -> list[Told]:
        """Store what may be stored; it."""
        for told in records:
            _check_id(told.key, told.kind)
        people = [told for told in records if told.kind == "person"]
        self._many("INSERT INTO people (person_id, sealed, generation, is_consented) VALUES (?, ?, ?, ?) "
                   "ON CONFLICT DO UPDATE SET sealed = excluded.sealed, generation = excluded.generation, "
                   "is_consented = excluded.is_consented",
                   [(told.key, sealed, generation, told.is_consented)
                    for told, sealed in zip(people, self.seal_all(people), strict=True)])
        for told in people:
            if not told.is_consented:
                self.drop_templates_of(told.key, generation)
        templates = self._allowed_templates([told for told in records if told.kind == "template"])
        self._many(_PUT_TEMPLATE, [(told.key, told.person_id, told.model_id, sealed, generation)
                                   for told, sealed in zip(templates, self.seal_all(templates), strict=True)])
        credentials = self._of_known([told for told in records if told.kind == "credential"])
        self._many(_PUT_CREDENTIAL, [(told.key, told.person_id, told.method, self.finder(told), sealed, generation)
                                     for told, sealed in zip(credentials, self.seal_all(credentials), strict=True)])
        others = [told for told in records if told.kind not in TABLES]
        self._many(_PUT_RECORD, [(told.kind, told.key, sealed, generation)
                                 for told, sealed in zip(others, self.seal_all(others), strict=True)])
        return [*people, *templates, *credentials, *others]

    def drop_templates_of(self, person_id: str, generation: int) -> None:
        """Remove the templates of a person who no longer consents."""
        rows = self._all("SELECT template_id FROM templates WHERE person_id = ?", [person_id])
        self._many("DELETE FROM synced WHERE bucket = ? AND kind = 'template' AND key = ?",
                   [(bucket_of("template", row[0]), row[0]) for row in rows])
        self.drop_living([("template", row[0]) for row in rows], generation)

    def _allowed_templates(self, templates: Sequence[Told]) -> list[Told]:
        consented = self._consented({told.person_id for told in templates})
        allowed = []
        for model_id in {told.model_id for told in templates}:
            of_model = [told for told in templates if told.model_id == model_id and told.person_id in consented]
            allowed += self._fitting(model_id, of_model)
        if refused := len(templates) - len(allowed):
            log.error("%d templates are refused: no consent, or of another length or model", refused)
        return allowed

    def _fitting(self, model_id: str, templates: Sequence[Told]) -> list[Told]:
        """Templates of the length that the model's have, and whose id is not one of another model."""
        row = self._all("SELECT length(sealed) FROM templates WHERE model_id = ? LIMIT 1", [model_id])
        width = row[0][0] - NONCE_BYTES - TAG_BYTES if row else len(templates[0].plain) if templates else 0
        strangers: set[str] = set()
        for part in _parts([told.key for told in templates]):
            strangers |= {row[0] for row in self._all(
                f"SELECT template_id FROM templates WHERE template_id IN ({_marks(part)}) AND model_id != ?",
                [*part, model_id])}
        return [told for told in templates if len(told.plain) == width and told.key not in strangers]

    def _of_known(self, records: Sequence[Told]) -> list[Told]:
        known: set[str] = set()
        for part in _parts(list({told.person_id for told in records})):
            known |= {row[0] for row in self._all(
                f"SELECT person_id FROM people WHERE person_id IN ({_marks(part)})", part)}
        return [told for told in records if told.person_id in known]

    def _consented(self, person_ids: set[str]) -> set[str]:
        found: set[str] = set()
        for part in _parts(list(person_ids)):
            for person_id, is_consented, sealed in self._all(
                    "SELECT person_id, is_consented, iif(is_consented IS NULL, sealed, NULL) FROM people "
                    f"WHERE person_id IN ({_marks(part)})", part):
                if is_consented or (is_consented is None and self._is_consented(person_id, sealed)):
                    found.add(person_id)
        return found

    def _is_consented(self, person_id: str, sealed: bytes) -> bool:
        try:
            person = body.decode(Person, self._slots.unseal(sealed, "person", person_id))
        except (SealBroken, ValueError):
            return False
        return bool(person.consent and person.consent.consent_id and person.consent.text_version)

    def seal_all(self, records: Sequence[Told]) -> list[bytes]:
        """The bodies as they are kept."""
        # The loop that decides how fast a snapshot is taken in: random bytes are fetched once, nothing is looked up.
        cipher, random = self._slots.cipher, secrets.token_bytes(NONCE_BYTES * len(records))
        sealed = []
        for i, told in enumerate(records):
            nonce = random[i * NONCE_BYTES:(i + 1) * NONCE_BYTES]
            if told.kind == "template":
                bound = f"template\0{told.key}\0{told.person_id}\0{told.model_id}".encode()
            else:
                bound = f"{told.kind}\0{told.key}".encode()
            sealed.append(nonce + cipher(told.bucket // PER_SLOT).encrypt(nonce, told.plain, bound))
        return sealed

    def finder(self, told: Told) -> bytes | None:
        """By what a credential is found; None for other kinds."""
        if told.kind != "credential":
            return None
        return self._sealer.finder(told.method.encode(), sought(Method(told.method), told.secret))

    def _unsound(self) -> list[Dropped]:
        """Living rows that do not open."""
        found = []
        for kind, sql in _SEALED.items():
            for part in _slices(self.rows(sql)):
                for row in part:
                    try:
                        self._slots.unseal(row[-1], *row[1:-1])
                    except Exception:  # whatever a rotten row makes of it, it does not open
                        key = row[2]
                        found.append(Dropped(row[0], key, bucket_of(row[0], key), 0))
            log.debug("checked %s", kind)
        return found

    def _missing(self) -> list[Any]:
        """(kind, key, bucket) of leaves without a living row."""
        found = []
        here = ("SELECT kind, key, bucket FROM synced y WHERE NOT EXISTS (SELECT 1 FROM drops_ahead a "
                "WHERE a.stream = y.stream AND a.kind = y.kind AND a.key = y.key)")
        for kind, (table, key) in TABLES.items():
            found += self._all(f"{here} AND kind = ? AND NOT EXISTS "
                               f"(SELECT 1 FROM {table} t WHERE t.{key} = y.key)", [kind])
        return found + self._all(f"{here} AND kind NOT IN ('person', 'template', 'credential') AND NOT EXISTS "
                                 "(SELECT 1 FROM records r WHERE r.kind = y.kind AND r.key = y.key)")


_PUT_TEMPLATE = ("INSERT INTO templates (template_id, person_id, model_id, sealed, generation) "
                 "VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET person_id = excluded.person_id, "
                 "sealed = excluded.sealed, generation = excluded.generation")
_PUT_CREDENTIAL = ("INSERT INTO credentials (credential_id, person_id, method, finder, sealed, generation) "
                   "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET person_id = excluded.person_id, "
                   "method = excluded.method, finder = excluded.finder, sealed = excluded.sealed, "
                   "generation = excluded.generation")
_PUT_RECORD = ("INSERT INTO records (kind, key, sealed, generation) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
               "sealed = excluded.sealed, generation = excluded.generation")
# kind, what the body is bound to, the body
_SEALED = {
    "person": "SELECT 'person', 'person', person_id, sealed FROM people",
    "template": "SELECT 'template', 'template', template_id, person_id, model_id, sealed FROM templates",
    "credential": "SELECT 'credential', 'credential', credential_id, sealed FROM credentials",
    "records": "SELECT kind, kind, key, sealed FROM records",
}


def grouped(rows: Iterator[Any]) -> Iterator[tuple[int, list[bytes]]]:
    """(bucket, leaves) from rows in order of their bucket."""
    current, leaves = -1, list[bytes]()
    for bucket, leaf in rows:
        if bucket != current and leaves:
            yield current, leaves
            leaves = []
        current = bucket
        leaves.append(leaf)
    if leaves:
        yield current, leaves


def _slices(rows: Iterator[Any]) -> Iterator[list[Any]]:
    part: list[Any] = []
    for row in rows:
        part.append(row)
        if len(part) == SLICE:
            yield part
            part = []
    yield part


def _parts(values: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(values), AT_ONCE):
        yield values[start:start + AT_ONCE]


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))
