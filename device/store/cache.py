"""gallery.db as doord reads it: who may enter, unsealed row by row; never written here.

`CacheReader` is what the app, the gallery and the policy's caller use; the one writer is `store.cache_writer`.
A row that does not open under the terminal's key is left out and counted: it never matches.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlite_utils import Database

from device.errors import SealBroken, StoreError
from device.store import body, schema
from device.store.records import Credential, Method, Person, Template, sought
from device.store.seal import Key, Sealer
from device.store.slots import SlotSealer
from device.store.sqlite import Damaged, open_to_read, reporting

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

log = logging.getLogger(__name__)
T = TypeVar("T")

# A template's sealed body: scale, quality, moment of making (seconds since 1970), then one byte per element.
TEMPLATE_HEAD = struct.Struct("<ffd")
SLICE = 4096
KEY_CHECK = ("key", "check")


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Templates of one model as a matrix; row i of each column belongs to the same template.

    vectors   int8, N×D, contiguous, read-only; element × scale gives the unit vector
    scales    float32, N
    rejected  ids of templates that are in the file but did not open; to be sent again by whoever enrolled them
    """

    generation: int
    model_id: str
    template_ids: tuple[str, ...]
    person_ids: tuple[str, ...]
    vectors: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]
    rejected: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.template_ids)

    def __repr__(self) -> str:
        return f"Columns({len(self)} templates of {self.model_id} at generation {self.generation})"


@dataclass(frozen=True, slots=True)
class TemplateChanges:
    """What became of one model's templates after a generation.

    puts         new or replaced templates; a replaced one comes with the id it had
    drops        ids of templates that are gone, whatever their model
    is_complete  false where so much was dropped meanwhile that the changes are no longer known: read all anew
    """

    generation: int
    puts: Columns
    drops: tuple[str, ...]
    is_complete: bool = True


class CacheReader:
    """Read-only view of gallery.db. Owned by one thread; other threads open their own."""

    def __init__(self, path: Path, db: Database, sealer: Sealer, slots: SlotSealer) -> None:
        self._path, self._db, self._sealer, self._slots = path, db, sealer, slots
        self._inode = path.stat().st_ino

    @classmethod
    def open(cls, path: Path, key: Key) -> CacheReader:
        """StoreError where there is no gallery or it can't be read; SealBroken where the key is another one."""
        db = open_to_read(path, schema.GALLERY_ID)
        try:
            sealer = Sealer(key)
            with reporting(path):
                check_key(db, sealer, path)
                slots = open_slots(db, key, path)
            return cls(path, db, sealer, slots)
        except BaseException:
            db.conn.close()
            raise

    def close(self) -> None:
        self._db.conn.close()

    def data_version(self) -> int:
        """Moves whenever another connection wrote the file (a few µs a call); compare `generation` before reloading,
        since a checkpoint moves it too. StoreError where the file was set aside meanwhile: open it anew."""
        if self.is_stale():
            raise StoreError(f"{self._path}: the file was replaced while it was read")
        with reporting(self._path):
            return int(self._db.conn.execute("PRAGMA data_version").fetchone()[0])

    def is_stale(self) -> bool:
        """Whether the file was set aside since it was opened: close this reader, open another, read all anew."""
        try:
            return self._path.stat().st_ino != self._inode
        except OSError:
            return True

    @property
    def generation(self) -> int:
        """Number of the newest transaction; rises by one with each. A new file begins at a random number, so that
        a reader never takes it for a continuation of the one it knew."""
        return self._state()[0]

    def columns(self, model_id: str) -> Columns:
        """All templates of one model that open under the key."""
        with reporting(self._path), self._db.atomic():
            generation = self._state()[0]
            return self._columns(generation, model_id, "model_id = ? ORDER BY rowid", [model_id])

    def changes_since(self, generation: int, model_id: str) -> TemplateChanges:
        """What happened to one model's templates after `generation`."""
        with reporting(self._path), self._db.atomic():
            now, drops_from = self._state()
            puts = self._columns(now, model_id, "generation > ? AND model_id = ? ORDER BY generation, rowid",
                                 [generation, model_id])
            drops = self._db.execute("SELECT key FROM drops WHERE generation > ? AND kind = 'template'", [generation])
            # A template that no longer opens must not stay in the matrix as it was.
            gone = (*(row[0] for row in drops), *puts.rejected)
            return TemplateChanges(now, puts, gone, drops_from <= generation <= now)

    def models(self) -> dict[str, int]:
        """How many templates there are of each model."""
        return dict(self._all("SELECT model_id, count(*) FROM templates GROUP BY model_id ORDER BY model_id"))

    def person(self, person_id: str) -> Person | None:
        """None where there is no such person; SealBroken where the record does not open."""
        rows = self._all("SELECT person_id, sealed FROM people WHERE person_id = ?", [person_id])
        return self._open(Person, rows[0][1], "person", person_id) if rows else None

    def people(self) -> Iterator[Person]:
        """Everyone, by person_id; a record that does not open is left out and logged."""
        rows = self._all("SELECT person_id, sealed FROM people ORDER BY person_id")
        return self._sound(Person, rows, "person")

    def people_count(self) -> int:
        return int(self._all("SELECT count(*) FROM people")[0][0])

    def templates(self, person_id: str) -> list[Template]:
        """A person's templates that open under the key."""
        rows = self._all("SELECT template_id, person_id, model_id, sealed FROM templates WHERE person_id = ? "
                         "ORDER BY rowid", [person_id])
        found = []
        for template_id, _, model_id, sealed in rows:
            try:
                text = self._unseal(sealed, "template", template_id, person_id, model_id)
                scale, quality, at = TEMPLATE_HEAD.unpack_from(text)
                found.append(Template(template_id, person_id, model_id, text[TEMPLATE_HEAD.size:], scale, quality,
                                      datetime.fromtimestamp(at, timezone.utc)))
            except (SealBroken, struct.error, ValueError, OverflowError):
                log.error("template %s does not open and is not used", template_id)
        return found

    def credentials(self, person_id: str) -> list[Credential]:
        """A person's credentials that open under the key."""
        rows = self._all("SELECT credential_id, sealed FROM credentials WHERE person_id = ? ORDER BY rowid",
                         [person_id])
        return list(self._sound(Credential, rows, "credential"))

    def find_credentials(self, method: Method, secret: bytes) -> list[Credential]:
        """Credentials that are found by this (`records.sought`): a card by its number, a PIN by the number that is
        typed before it."""
        finder = self._sealer.finder(method.value.encode(), secret)
        rows = self._all("SELECT credential_id, sealed FROM credentials WHERE finder = ? ORDER BY rowid", [finder])
        found = self._sound(Credential, rows, "credential")
        return [one for one in found if one.method is method and sought(method, one.secret) == secret]

    def records(self, kind: str, shape: type[T]) -> tuple[T, ...]:
        """All records of a kind, by key; SealBroken where one does not open: rules are whole or not used."""
        rows = self._all("SELECT key, sealed FROM records WHERE kind = ? ORDER BY key", [kind])
        return tuple(self._open(shape, sealed, kind, key) for key, sealed in rows)

    def records_since(self, kind: str, shape: type[T], generation: int) -> tuple[dict[str, T], tuple[str, ...]]:
        """What became of the records of a kind after `generation`: (key -> record, keys that are gone). A record that
        does not open counts as gone."""
        rows = self._all("SELECT key, sealed FROM records WHERE kind = ? AND generation > ?", [kind, generation])
        found: dict[str, T] = {}
        gone = [row[0] for row in self._all("SELECT key FROM drops WHERE kind = ? AND generation > ?",
                                            [kind, generation])]
        for key, sealed in rows:
            try:
                found[key] = self._open(shape, sealed, kind, key)
            except SealBroken as error:
                log.error("%s", error)
                gone.append(key)
        return found, tuple(gone)

    def has_dropped_since(self, generation: int) -> bool:
        """Whether anything was removed after `generation`: then somebody may wait for word that the matcher knows."""
        return bool(self._all("SELECT EXISTS (SELECT 1 FROM drops WHERE generation > ?)", [generation])[0][0])

    def cursor(self, stream: str) -> tuple[str, int, bytes] | None:
        """(epoch, seq, digest) up to which a stream of the hub has been applied."""
        rows = self._all("SELECT epoch, seq, digest FROM cursors WHERE stream = ?", [stream])
        return (rows[0][0], rows[0][1], rows[0][2]) if rows else None

    def acked(self, journal_id: str) -> int:
        """Up to which seq the hub has stored this journal; 0 where it has said nothing."""
        rows = self._all("SELECT seq FROM acked WHERE journal_id = ?", [journal_id])
        return int(rows[0][0]) if rows else 0

    def knows_acked(self, journal_id: str) -> bool:
        """Whether there is any word about this journal."""
        return bool(self._all("SELECT 1 FROM acked WHERE journal_id = ?", [journal_id]))

    def _state(self) -> tuple[int, int]:
        rows = self._all("SELECT generation, drops_from FROM state")
        if not rows:
            raise Damaged(f"{self._path}: the file lacks its state")
        return int(rows[0][0]), int(rows[0][1])

    def _all(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        with reporting(self._path):
            rows: list[Any] = self._db.conn.execute(sql, values).fetchall()
            return rows

    def _open(self, shape: type[T], sealed: bytes, kind: str, key: str) -> T:
        try:
            return body.decode(shape, self._unseal(sealed, kind, key))
        except SealBroken:
            raise
        except ValueError:
            raise SealBroken(f"the sealed {kind} {key} holds something else") from None

    def _unseal(self, sealed: bytes, kind: str, key: str, *more: str) -> bytes:
        """The body; where the writer has renewed the record's slot meanwhile, under its new key."""
        try:
            return self._slots.unseal(sealed, kind, key, *more)
        except SealBroken:
            if not self._slots.follow(self._db):
                raise
            return self._slots.unseal(sealed, kind, key, *more)

    def _sound(self, shape: type[T], rows: Sequence[Any], kind: str) -> Iterator[T]:
        for key, sealed in rows:
            try:
                yield self._open(shape, sealed, kind, key)
            except SealBroken as error:
                log.error("%s", error)

    def _columns(self, generation: int, model_id: str, where: str, values: Sequence[Any]) -> Columns:
        sql = f"SELECT template_id, person_id, sealed FROM templates WHERE {where}"  # noqa: S608  (constants)
        self._slots.follow(self._db)
        loading = _Loading(self._slots, model_id)
        rows = self._db.conn.execute(sql, values)
        while part := rows.fetchmany(SLICE):
            loading.take(part)
        columns = loading.columns(generation)
        if columns.rejected:
            log.error("%d templates of %s do not open and are not used", len(columns.rejected), model_id)
        return columns


class _Loading:
    """Unseals rows into columns, slice by slice, so that never more than a slice lies about as small objects."""

    def __init__(self, slots: SlotSealer, model_id: str) -> None:
        self._slots, self._model_id = slots, model_id
        self._width = 0
        self._template_ids: list[str] = []
        self._person_ids: list[str] = []
        self._rejected: list[str] = []
        self._texts: list[bytes] = []

    def take(self, rows: Sequence[tuple[Any, Any, Any]]) -> None:
        texts = []
        for row, text in zip(rows, self._slots.unseal_rows(rows, "template", self._model_id), strict=True):
            if text is None or (len(text) != self._width and not self._is_first(text)):
                self._rejected.append(str(row[0]))
                continue
            texts.append(text)
            self._template_ids.append(row[0])
            self._person_ids.append(row[1])
        self._texts.append(b"".join(texts))

    def columns(self, generation: int) -> Columns:
        import numpy as np

        width = max(self._width - TEMPLATE_HEAD.size, 0)
        row = np.dtype([("scale", "<f4"), ("quality", "<f4"), ("at", "<f8"), ("vector", "i1", (width,))])
        count, done = len(self._template_ids), 0
        vectors, scales = np.empty((count, width), np.int8), np.empty(count, np.float32)
        for text in filter(None, self._texts):
            part = np.frombuffer(text, row)
            vectors[done:done + len(part)], scales[done:done + len(part)] = part["vector"], part["scale"]
            done += len(part)
        vectors.flags.writeable = scales.flags.writeable = False
        return Columns(generation, self._model_id, tuple(self._template_ids), tuple(self._person_ids), vectors,
                       scales, tuple(self._rejected))

    def _is_first(self, text: bytes) -> bool:
        if self._width or len(text) <= TEMPLATE_HEAD.size:
            return False
        self._width = len(text)
        return True


def check_key(db: Database, sealer: Sealer, path: Path) -> None:
    """SealBroken where the file was sealed under another key."""
    row = db.execute("SELECT value FROM meta WHERE name = 'key_check'").fetchone()
    if row is None:
        raise Damaged(f"{path}: the file lacks its key check")
    try:
        sealer.unseal(row[0], *KEY_CHECK)
    except SealBroken:
        raise SealBroken(f"{path}: sealed under another key than this terminal's; put the right key back, or move "
                         "the file away and enrol again") from None


def open_slots(db: Database, key: Key, path: Path) -> SlotSealer:
    """The sealer of the file's records; Damaged where its salts are missing."""
    slots = SlotSealer(key)
    try:
        slots.follow(db)
    except SealBroken as error:
        raise Damaged(f"{path}: {error}") from None
    return slots
