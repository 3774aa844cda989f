"""Many persons at once: a folder, or a CSV file with a zip or folder of pictures. One report line per picture.

Every row is a transaction of its own: a person with all their pictures, or nothing and a reason. Rows that are done
are remembered by a keyed hash of what they said, so that an import that was cut short goes on where it stopped, and
one that is run again does nothing twice. What a row says is data, never a formula or a path.

Columns (the first line names them): name, photo or photos (separated by ;), consent_id, consent_given,
consent_means; optional id (the customer's own), groups (separated by ;), consent_text, consent_until, valid_from,
valid_until.
"""

from __future__ import annotations

import csv
import io
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa

from device.clock import Clock
from device.errors import TerminalError, UsageError
from device.store.records import Consent
from sync.hub.consent import Agreement
from sync.hub.enrol import Enrolled, Enroller, Photo
from sync.hub.people import Newcomer, People
from sync.hub.schema import imported
from sync.hub.storage import Storage, Tx, insert_or_update
from sync.hub.times import checked, milliseconds
from sync.hub.vault import Vault

MOST_ROWS = 200_000
MOST_CSV_BYTES = 100_000_000
LONGEST_CELL = 1_000
MOST_PHOTOS = 20
NEEDED = ("name", "photo", "consent_id", "consent_given", "consent_means")
OPTIONAL = ("id", "groups", "consent_text", "consent_until", "valid_from", "valid_until")
_SAME = {"photos": "photo", "姓名": "name", "工号": "id", "编号": "id", "照片": "photo", "分组": "groups",
         "同意书编号": "consent_id", "同意时间": "consent_given", "同意方式": "consent_means",
         "同意书版本": "consent_text", "同意截止": "consent_until", "生效时间": "valid_from",
         "失效时间": "valid_until"}
_MEANS = {"纸质": "paper", "书面": "paper", "屏幕": "screen", "口头": "verbal", "导入": "import"}
_DATE = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})")
_SHORT_HOUR = re.compile(r"^(\d):")
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


class Pictures(Protocol):
    """Where the pictures are: a folder or a zip."""

    def read(self, name: str) -> bytes:
        """The picture's bytes; PictureRefused where there is none or it may not be read."""
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """One person to be imported. line is where the row begins in the file, for reports."""

    line: int
    cells: Mapping[str, str]
    photos: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Row(line {self.line})"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one picture. state: enrolled, refused, or skipped where it was enrolled before."""

    line: int
    photo: str
    state: str
    reason: str = ""
    person_id: str | None = None
    quality: float | None = None


def read_csv(data: bytes) -> list[Row]:
    """The rows of a CSV file in UTF-8 (with or without a mark), UTF-16 with a mark, or GBK; separated by commas,
    semicolons or tabs.

    UsageError names the columns that are missing, or the line that cannot be read: then nothing is imported.
    """
    if len(data) > MOST_CSV_BYTES:
        raise UsageError(f"the list is larger than {MOST_CSV_BYTES // 1_000_000} MB; split it")
    text = _decoded(data)
    if "\0" in text:
        raise UsageError("the list holds zero bytes; save it as CSV")
    lines = text.splitlines()
    separator = max(",;\t", key=lines[0].count) if lines else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        names = _columns(next(reader, []))
        rows: list[Row] = []
        line = reader.line_num
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append(_row(line + 1, names, cells))
            if len(rows) > MOST_ROWS:
                raise UsageError(f"more than {MOST_ROWS} rows; split the list")
            line = reader.line_num
    except csv.Error as error:
        raise UsageError(f"line {reader.line_num} of the list: {error}") from None
    _refuse_twice(rows)
    return rows


def rows_of_folder(names: Iterable[str], shared: Mapping[str, str]) -> list[Row]:
    """One person per picture, named like the file without its ending; pictures in a folder of their own below it
    are of one person, named like that folder. `shared` gives the cells that are the same for all (consent, groups).
    """
    of_person: dict[str, list[str]] = {}
    for name in sorted(names):
        if not name.lower().endswith(PICTURES):
            continue
        folder, _, file = name.rpartition("/")
        of_person.setdefault(folder.rpartition("/")[2] or file.rpartition(".")[0], []).append(name)
    if not of_person:
        raise UsageError("no picture found; give JPEG, PNG, WebP or BMP files")
    # A consent is one person's: with one word for all, each row still gets an id of its own.
    return [Row(number, {**shared, "name": person, "consent_id": shared.get("consent_id", "")}, tuple(photos))
            for number, (person, photos) in enumerate(of_person.items(), 1)]


class Importer:
    """Works off rows; one at a time."""

    def __init__(self, storage: Storage, vault: Vault, people: People, enroller: Enroller, clock: Clock) -> None:
        self._storage, self._vault, self._people = storage, vault, people
        self._enroller, self._clock = enroller, clock

    def run(self, rows: Sequence[Row], pictures: Pictures, groups: Sequence[str], zone: timezone = timezone.utc,
            ) -> Iterator[Outcome]:
        """What becomes of each picture, as it becomes it. groups: of rows that name none.

        Dates without a zone are taken in `zone`.
        """
        for row in rows:
            yield from self._one(row, pictures, tuple(groups), zone)

    def _one(self, row: Row, pictures: Pictures, groups: tuple[str, ...], zone: timezone) -> list[Outcome]:
        photos: list[Photo] = []
        try:
            for name in row.photos:
                photos.append(Photo(Path(name).name, pictures.read(name)))
            finder = self._finder(row, photos)
            done = self._done_before(finder)
            if done is not None:
                return [Outcome(row.line, name, "skipped", "imported before", done) for name in row.photos]
            _refuse_formulas(row)
            agreed = _consent(row, zone, self._enroller.agreement)
            enrolled = self._enroller.enrol(_newcomer(row, groups, zone), photos, agreed,
                                            lambda tx, done: self._note(tx, finder, done))
        except TerminalError as error:
            return [Outcome(row.line, name, "refused", str(error)) for name in row.photos or ("",)]
        return [Outcome(row.line, name, "enrolled", "", enrolled.person_id, round(quality, 3))
                for name, quality in zip(row.photos, enrolled.qualities, strict=True)]

    def _note(self, tx: Tx, finder: bytes, enrolled: Enrolled) -> None:
        insert_or_update(tx, imported, [{"line": finder, "person_id": enrolled.person_id,
                                         "at": milliseconds(self._clock.now())}])

    def _finder(self, row: Row, photos: Sequence[Photo]) -> bytes:
        cells = [f"{name}={row.cells[name]}" for name in sorted(row.cells)]
        return self._vault.finder("import", *cells, *(photo.data for photo in photos))

    def _done_before(self, finder: bytes) -> str | None:
        """Who was enrolled by the same row with the same pictures, and is still there."""
        with self._storage.read() as tx:
            row = tx.one(sa.select(imported.c.person_id).where(imported.c.line == finder))
            if row is None or row.person_id is None or not self._people.has(row.person_id):
                return None
            return str(row.person_id)


def _decoded(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings: tuple[str, ...] = ("utf-16",)
    else:
        # Text in GBK is hardly ever valid UTF-8, while the reverse often is: so UTF-8 first.
        encodings = ("utf-8-sig", "gb18030")
    for encoding in encodings:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise UsageError("the list is neither UTF-8 nor GBK; save it as CSV in UTF-8")


def _columns(cells: Sequence[str]) -> list[str]:
    names = [_SAME.get(word, word) for word in (cell.strip().lower() for cell in cells)]
    if missing := [name for name in NEEDED if name not in names]:
        raise UsageError(f"the list lacks the columns {', '.join(missing)}; its first line must name "
                         f"{', '.join(NEEDED)}, and may name {', '.join(OPTIONAL)}")
    if unknown := [name for name in names if name not in NEEDED + OPTIONAL]:
        raise UsageError(f"the list has a column {unknown[0][:40]!r} that nobody reads; take it out")
    if len(set(names)) != len(names):
        raise UsageError("the list names a column twice")
    return names


def _row(line: int, names: Sequence[str], cells: Sequence[str]) -> Row:
    if len(cells) != len(names):
        raise UsageError(f"line {line} of the list has {len(cells)} cells, not {len(names)}")
    if any(len(cell) > LONGEST_CELL for cell in cells):
        raise UsageError(f"line {line} of the list has a cell of more than {LONGEST_CELL} characters")
    found = {name: cell.strip() for name, cell in zip(names, cells, strict=True)}
    photos = tuple(part.strip() for part in found.pop("photo").split(";") if part.strip())
    return Row(line, found, photos)


def _refuse_twice(rows: Sequence[Row]) -> None:
    for column in ("id", "consent_id"):
        lines: dict[str, int] = {}
        for row in rows:
            value = row.cells.get(column, "")
            if value and value in lines:
                raise UsageError(f"lines {lines[value]} and {row.line} of the list have the same {column}; every "
                                 f"{column} may be there once")
            lines[value] = row.line


def _refuse_formulas(row: Row) -> None:
    for column, cell in row.cells.items():
        if cell.startswith(("=", "+", "@", "-")):
            raise UsageError(f"line {row.line}: {column} begins like a formula; write it without")


def _newcomer(row: Row, groups: tuple[str, ...], zone: timezone) -> Newcomer:
    cells = row.cells
    if not 1 <= len(row.photos) <= MOST_PHOTOS:
        raise UsageError(f"line {row.line}: name 1 to {MOST_PHOTOS} photos")
    named = tuple(part.strip() for part in cells.get("groups", "").split(";") if part.strip())
    return Newcomer(cells["name"], named or groups, cells.get("id") or None,
                    valid_from=_moment(row, "valid_from", zone), valid_until=_moment(row, "valid_until", zone))


def _consent(row: Row, zone: timezone, agreement: Agreement) -> Consent:
    given, means = _moment(row, "consent_given", zone), row.cells.get("consent_means", "").lower()
    if given is None or not means:
        raise UsageError(f"line {row.line}: no consent, no face: fill consent_id, consent_given and consent_means")
    return Consent(row.cells.get("consent_id") or secrets.token_hex(16),
                   row.cells.get("consent_text") or agreement.text_version, agreement.kinds, agreement.purposes,
                   given, _MEANS.get(means, means), _moment(row, "consent_until", zone))


def _moment(row: Row, column: str, zone: timezone) -> datetime | None:
    text = row.cells.get(column, "")
    if not text:
        return None
    date, _, rest = text.replace("T", " ", 1).partition(" ")
    match = _DATE.fullmatch(date)
    try:
        if match is None:
            raise ValueError
        year, month, day = (int(part) for part in match.groups())
        time = _SHORT_HOUR.sub(r"0\1:", rest.strip()) or "00:00"
        at = datetime.fromisoformat(f"{year:04}-{month:02}-{day:02} {time}".replace("Z", "+00:00"))
    except ValueError:
        raise UsageError(f"line {row.line}: {column} is no date like 2026-03-01 or 2026-03-01 08:30") from None
    return checked(f"line {row.line}: {column}", at if at.tzinfo else at.replace(tzinfo=zone))
