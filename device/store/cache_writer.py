"""gallery.db as its one writer fills it: doorctl on a stand-alone terminal, door-syncd on one with a hub.

Each method is one transaction with one new generation; `together` joins several into one. What is removed is gone
from the file and its write-ahead log when the method returns (`is_erasure_due` says when a reader is in the way).
"""

from __future__ import annotations

import contextlib
import logging
import math
import re
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from device.clock import Clock
from device.errors import EnrolmentRefused, StoreError
from device.store import body, schema
from device.store.ballast import Ballast
from device.store.cache import KEY_CHECK, TEMPLATE_HEAD, CacheReader, check_key, open_slots
from device.store.erasure import Erasure
from device.store.nameplate import Nameplate
from device.store.records import AccessRule, Consent, Credential, Person, Schedule, Template, sought
from device.store.seal import NONCE_BYTES, TAG_BYTES, Key, Sealer
from device.store.slots import SlotSealer, fresh_salts
from device.store.sqlite import (
    LOST_TRACK,
    Damaged,
    DiskFull,
    InUse,
    WriterLock,
    is_blank,
    open_to_read,
    open_to_write,
    reporting,
    set_aside,
)

log = logging.getLogger(__name__)

# Names of what was dropped are kept for readers that were away; beyond so many they read all anew.
DROPS_KEPT = 20_000
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,99}")


class CacheWriter(CacheReader):
    """Owned by one thread; a second writer of the same file waits for `lock_wait_s`, then is refused.

    set_aside          where a damaged predecessor lies, if this start found one, and the gallery's own path where
                       it was gone; the gallery is then empty and must be filled anew by the hub or by enrolling
    erases_at_once     whether each transaction that removes something ends with `erase`; one that applies many pages
                       turns it off and erases when it is through
    is_all_synced      whether streams hold every record, so that the records of a slot are found by them; set by
                       whoever has made sure of it
    """

    def __init__(self, path: Path, db: Database, sealer: Sealer, slots: SlotSealer, clock: Clock,
                 lock: WriterLock) -> None:
        super().__init__(path, db, sealer, slots)
        self._erasure = Erasure(db, slots)
        self.set_aside: Path | None = None
        self.erases_at_once = True
        self.is_all_synced = False
        self._clock, self._lock = clock, lock
        self._writing = 0  # generation of the transaction that is open, 0 for none
        self._widths: dict[str, int] = {}
        self._ballast = Ballast(path.with_name(path.name + ".ballast"))
        self._ballast.fill()
        self._consents: dict[str, bool] = {}  # of people seen in this transaction
        if self.is_erasure_due:
            self.erase()

    @classmethod
    def open(cls, path: Path, key: Key, clock: Clock, *, busy_ms: int = 5000,  # type: ignore[override]
             lock_wait_s: float = 5.0) -> CacheWriter:
        """The gallery in `path`, made where there is none and brought up to date.

        StoreError where another process writes it or the folder can't be written; SealBroken where it was sealed
        under another key. A file that is damaged or no gallery is set aside and a new, empty one begins.
        """
        lock = WriterLock(path, lock_wait_s)
        try:
            try:
                _judge(path)
                return cls._begin(path, key, clock, busy_ms, lock)
            except Damaged as error:
                aside = set_aside(path, clock)
                aside = aside if aside.exists() else path
                log.warning("%s; %s", error, f"set aside as {aside.name}" if aside != path else "a new one is begun")
            writer = cls._begin(path, key, clock, busy_ms, lock)
            writer.set_aside = aside
            return writer
        except BaseException:
            lock.release()
            raise

    @classmethod
    def _begin(cls, path: Path, key: Key, clock: Clock, busy_ms: int, lock: WriterLock) -> CacheWriter:
        sealer = Sealer(key)
        db = open_to_write(path, busy_ms)
        try:
            with reporting(path):
                schema.migrate(db, schema.gallery, lambda fresh: _begin(fresh, sealer))
                check_key(db, sealer, path)
                slots = open_slots(db, key, path)
            Nameplate(path).write(f"{schema.GALLERY_ID:x}")
            return cls(path, db, sealer, slots, clock, lock)
        except BaseException:
            db.conn.close()
            raise

    def close(self) -> None:
        super().close()
        self._lock.release()

    @contextlib.contextmanager
    def together(self) -> Iterator[int]:
        """One transaction for all that is put and dropped inside; its generation. All of it is stored, or nothing."""
        with reporting(self._path):
            if self._writing:
                yield self._writing
                return
            try:
                with self._db.atomic():
                    self._writing = self._state()[0] + 1
                    yield self._writing
                    self._db.execute("UPDATE state SET generation = ?", [self._writing])
            finally:
                self._writing = 0
                self._widths.clear()
                self._consents.clear()
        if self.erases_at_once and self.is_erasure_due:
            self.erase()

    @contextlib.contextmanager
    def quietly(self) -> Iterator[None]:
        """One transaction for what is nobody's record (stages, cursors of journals, letters to doord): the generation
        stays, so that no reader takes it for a change of who may enter."""
        with reporting(self._path):
            if self._writing:
                yield
                return
            with self._db.atomic():
                yield

    def put_person(self, person: Person) -> None:
        """Add or replace a person. Without consent in the new record, the person's templates go."""
        _check_id(person.person_id, "person")
        with self.together() as generation:
            sealed = self._slots.seal(body.encode(person), "person", person.person_id)
            is_named = bool(person.consent and person.consent.consent_id and person.consent.text_version)
            self._put("people", ("person_id", "sealed", "generation", "is_consented"),
                      (person.person_id, sealed, generation, int(is_named)))
            self._undrop("person", person.person_id)
            self._consents[person.person_id] = self._is_consented(person.consent)
            if not self._consents[person.person_id]:
                self._drop_where("template", "templates", "template_id", "person_id = ?", [person.person_id])

    def put_template(self, template: Template) -> None:
        """Add or replace a template. EnrolmentRefused without its person's record and valid consent, or where the
        vector is none: empty, zero, not of unit length, not of its model's length."""
        for name in (template.template_id, template.person_id, template.model_id):
            _check_id(name, "template")
        check_vector(template)
        with self.together() as generation:
            self._check_consent(template.person_id)
            self._check_width(template)
            text = TEMPLATE_HEAD.pack(template.scale, template.quality, template.created_at.timestamp())
            sealed = self._slots.seal(text + template.vector, "template", template.template_id, template.person_id,
                                      template.model_id)
            self._put("templates", ("template_id", "person_id", "model_id", "sealed", "generation"),
                      (template.template_id, template.person_id, template.model_id, sealed, generation))
            self._undrop("template", template.template_id)

    def put_credential(self, credential: Credential) -> None:
        """Add or replace a credential of a person who is known."""
        for name in (credential.credential_id, credential.person_id):
            _check_id(name, "credential")
        with self.together() as generation:
            if self.person(credential.person_id) is None:
                raise EnrolmentRefused(f"person {credential.person_id} is not known: add the person first")
            sealed = self._slots.seal(body.encode(credential), "credential", credential.credential_id)
            finder = self._sealer.finder(credential.method.value.encode(),
                                         sought(credential.method, credential.secret))
            columns = ("credential_id", "person_id", "method", "finder", "sealed", "generation")
            self._put("credentials", columns, (credential.credential_id, credential.person_id,
                                               credential.method.value, finder, sealed, generation))
            self._undrop("credential", credential.credential_id)

    def put_rule(self, rule: AccessRule) -> None:
        self.put_record("rule", rule.rule_id, rule)

    def put_schedule(self, schedule: Schedule) -> None:
        self.put_record("schedule", schedule.schedule_id, schedule)

    def put_record(self, kind: str, key: str, record: Any) -> None:
        """Add or replace a record of any other kind (rule, schedule, holiday, pass, area, mode, config, key)."""
        _check_id(kind, "record")
        _check_id(key, kind)
        with self.together() as generation:
            sealed = self._slots.seal(body.encode(record), kind, key)
            self._put("records", ("kind", "key", "sealed", "generation"), (kind, key, sealed, generation))
            self._undrop(kind, key)

    def drop_person(self, person_id: str) -> bool:
        """Remove a person with all templates and credentials, from the file's bytes too; false where unknown."""
        self._consents.pop(person_id, None)
        of_person = ("person_id = ?", (person_id,))
        return self._drop(("template", "templates", "template_id", *of_person),
                          ("credential", "credentials", "credential_id", *of_person),
                          ("person", "people", "person_id", *of_person))

    def drop_template(self, template_id: str) -> bool:
        return self._drop(("template", "templates", "template_id", "template_id = ?", (template_id,)))

    def drop_credential(self, credential_id: str) -> bool:
        return self._drop(("credential", "credentials", "credential_id", "credential_id = ?", (credential_id,)))

    def drop_record(self, kind: str, key: str) -> bool:
        return self._drop((kind, "records", "key", "kind = ? AND key = ?", (kind, key)))

    def set_cursor(self, stream: str, epoch: str, seq: int, digest: bytes) -> None:
        """How far a stream has been applied; call it inside `together` with the records themselves."""
        with self.together():
            self._put("cursors", ("stream", "epoch", "seq", "digest"), (stream, epoch, seq, digest))

    def set_acked(self, journal_id: str, seq: int) -> None:
        """The hub has stored this journal up to `seq`; never moves back."""
        with self.quietly():
            self._db.execute("INSERT INTO acked (journal_id, seq) VALUES (?, ?) ON CONFLICT DO UPDATE SET "
                             "seq = max(seq, excluded.seq)", [journal_id, seq])

    @property
    def is_erasure_due(self) -> bool:
        """Whether bytes of something removed may still lie in the files; kept in the file, so that a kill changes
        nothing about it."""
        return bool(self._all("SELECT is_erasure_due FROM state")[0][0])

    def erase(self) -> bool:
        """Rid the files of the bytes of whatever was removed; false where a reader or a full disk is in the way: then
        call it again.

        `secure_delete` alone is not enough: it clears the row, but not the copies that SQLite leaves in a page's
        unused part when it moved rows between pages earlier. So the slots of what was removed are sealed anew
        (`store.slots`), or, where there are many, the whole file is written anew: for 100 000 people about 1 s.
        """
        try:
            with reporting(self._path):
                self._renew()
                is_done = not self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
                if is_done:
                    self._db.execute("UPDATE state SET is_erasure_due = 0")
        except (DiskFull, InUse):
            is_done = False
        if not is_done:
            log.warning("%s: the erasure of removed records is held up", self._path)
        return is_done

    def give_way(self) -> bool:
        """Give up the space held back for a full disk, so that removals fit; false where it was given up already."""
        return self._ballast.release()

    def refill(self) -> None:
        """Hold it back again where the disk has plenty. Call it now and then."""
        self._ballast.fill()

    def _renew(self) -> None:
        slots = self._erasure.due()
        if slots and self.is_all_synced and self._erasure.is_small(slots):
            with self._db.atomic():
                self._erasure.renew(slots)
            self._slots.follow(self._db)
        elif slots:
            self._vacuum()
            self._erasure.forgive()

    def _vacuum(self) -> None:
        # The copy that VACUUM makes lies in a file: in memory it took the gallery's size, 107 MB for 100 000 people.
        self._db.execute("PRAGMA temp_store=FILE")
        try:
            self._db.execute("VACUUM")
        finally:
            self._db.execute("PRAGMA temp_store=MEMORY")

    def _put(self, table: str, columns: Sequence[str], values: Sequence[Any]) -> None:
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        key = "kind, key" if table == "records" else columns[0]
        changes = ", ".join(f"{name} = excluded.{name}" for name in columns[1:])
        self._db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks}) "  # noqa: S608  (names are constants)
                         f"ON CONFLICT ({key}) DO UPDATE SET {changes}", values)

    def _undrop(self, kind: str, key: str) -> None:
        self._db.execute("DELETE FROM drops WHERE kind = ? AND key = ?", [kind, key])

    def _drop(self, *rows: tuple[str, str, str, str, Sequence[str]]) -> bool:
        """Drop rows in one transaction; whether there were any of the last sort. A full disk costs the ballast: who
        asks to be removed is removed."""
        try:
            with self.together():
                return [self._drop_where(*row) for row in rows][-1] > 0
        except DiskFull:
            if self._writing or not self._ballast.release():
                raise
        with self.together():
            return [self._drop_where(*row) for row in rows][-1] > 0

    def _drop_where(self, kind: str, table: str, key: str, where: str, values: Sequence[str]) -> int:
        with self.together() as generation:
            rows = self._all(f"SELECT {key} FROM {table} WHERE {where}", values)  # noqa: S608  (names are constants)
            for row in rows:
                self._put_drop(kind, row[0], generation)
            if rows:
                self._db.execute(f"DELETE FROM {table} WHERE {where}", values)  # noqa: S608
                self._forget_old_drops()
                self._erasure.owe((kind, row[0]) for row in rows)
            return len(rows)

    def _put_drop(self, kind: str, key: str, generation: int) -> None:
        self._db.execute("INSERT OR REPLACE INTO drops (kind, key, generation) VALUES (?, ?, ?)",
                         [kind, key, generation])

    def _forget_old_drops(self) -> None:
        oldest = self._all("SELECT generation FROM drops ORDER BY generation DESC LIMIT 1 OFFSET ?", [DROPS_KEPT])
        if oldest:
            self._db.execute("DELETE FROM drops WHERE generation <= ?", [oldest[0][0]])
            self._db.execute("UPDATE state SET drops_from = ?", [oldest[0][0]])

    def _check_consent(self, person_id: str) -> None:
        if person_id not in self._consents:
            person = self.person(person_id)
            if person is None:
                raise EnrolmentRefused(f"person {person_id} is not known: add the person first")
            self._consents[person_id] = self._is_consented(person.consent)
        if not self._consents[person_id]:
            raise EnrolmentRefused(f"person {person_id} has not consented, or no longer: no template is kept")

    def _check_width(self, template: Template) -> None:
        """Templates of one model have one length; a differing one would never match. An id keeps its model, so that
        readers of one model see all that becomes of its templates."""
        known = self._all("SELECT model_id FROM templates WHERE template_id = ?", [template.template_id])
        if known and known[0][0] != template.model_id:
            raise EnrolmentRefused(f"template {template.template_id} is of {known[0][0]}: use another id")
        width = self._widths.get(template.model_id)
        if width is None:
            row = self._all("SELECT length(sealed) FROM templates WHERE model_id = ? AND template_id != ? LIMIT 1",
                            [template.model_id, template.template_id])
            sealing = NONCE_BYTES + TAG_BYTES + TEMPLATE_HEAD.size
            width = self._widths[template.model_id] = row[0][0] - sealing if row else len(template.vector)
        if width != len(template.vector):
            raise EnrolmentRefused(f"templates of {template.model_id} have {width} elements, not "
                                   f"{len(template.vector)}")

    def _is_consented(self, consent: Consent | None) -> bool:
        if consent is None or not consent.consent_id or not consent.text_version:
            return False
        return consent.valid_until is None or consent.valid_until > self._clock.now()


def _judge(path: Path) -> None:
    """Damaged where the file's structure is broken or it is no gallery; rows are judged when they are opened."""
    if is_blank(path):
        return
    db = open_to_read(path, schema.GALLERY_ID)
    try:
        with reporting(path):
            if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise Damaged(f"{path}: the file is damaged")
            if schema.has_lost_track(db, schema.gallery):
                raise Damaged(f"{path}: {LOST_TRACK}")
    finally:
        db.conn.close()


def _begin(db: Database, sealer: Sealer) -> None:
    """Fill the tables of a file that was just made."""
    start = secrets.randbits(31) << 20  # far from any other file's: see `CacheReader.generation`
    db.execute("INSERT INTO state (id, generation, drops_from) VALUES (1, ?, ?)", [start, start])
    db.execute("INSERT INTO meta (name, value) VALUES ('key_check', ?)", [sealer.seal(b"door", *KEY_CHECK)])
    db.execute("INSERT INTO slots (id, version, salts) VALUES (1, 1, ?)", [fresh_salts()])


def prepare_gallery(path: Path, key: Key, clock: Clock) -> Path | None:
    """Make, mend or bring up to date the gallery of a stand-alone terminal before doord reads it; where a damaged
    one was set aside, or None. Errors as `CacheWriter.open`."""
    writer = CacheWriter.open(path, key, clock)
    try:
        return writer.set_aside
    finally:
        writer.close()


def check_vector(template: Template) -> None:
    """EnrolmentRefused where a template's vector cannot be compared."""
    import numpy as np

    steps = np.frombuffer(template.vector, np.int8).astype(np.float64)
    length = math.sqrt(float(steps @ steps)) * template.scale
    # Rounding to int8 moves a unit vector's length by less than one per cent.
    if not 0.9 < length < 1.1 or not 0.0 <= template.quality <= 1.0:
        raise EnrolmentRefused(f"template {template.template_id} holds no vector of unit length")
    if template.created_at.tzinfo is None:
        raise EnrolmentRefused(f"template {template.template_id} lacks the time zone of its making")


def _check_id(name: str, what: str) -> None:
    if type(name) is not str or not _ID.fullmatch(name):
        raise StoreError(f"the id of a {what} must be 1 to 100 letters, digits or ._:/@+-")


