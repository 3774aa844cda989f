"""The lists and folders that evaluation reads; every byte of them is hostile until parsed.

A list is CSV with a header line: UTF-8 with or without byte order mark, any line ends. What is wrong with the
whole list (no such file, a column missing) raises UsageError; what is wrong with one row becomes a remark, one
line that names the row, and the run goes on without it. Paths in a list are relative to the folder of images
and may not leave it.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeVar

from device.errors import UsageError
from device.face.types import Box

PICTURES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp"))
_TRUE, _FALSE = frozenset(("1", "true", "yes")), frozenset(("0", "false", "no"))
_LIVE = frozenset(("live", "bona_fide", "bonafide"))
_T = TypeVar("_T")


@dataclass(slots=True)
class Remarks:
    """What was left out and why, one line each, in the order met; `missing` names files that are not there."""

    lines: list[str] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)

    def say(self, line: str) -> None:
        self.lines.append(line)

    def miss(self, name: str, why: str) -> None:
        """A picture that cannot be used: counted and named once, however often it is listed."""
        if name not in self.missing:
            self.missing.add(name)
            self.lines.append(f"{name}: {why}; left out")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures to compare 1:1; names are paths below the folder of images."""

    fold: str
    is_same: bool
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class Labelled:
    """One picture and whose it is; an empty person is someone who is not enrolled."""

    person: str
    image: str


@dataclass(frozen=True, slots=True)
class Marked:
    """One picture and the boxes of the faces in it."""

    image: str
    boxes: tuple[Box, ...]
    sources: frozenset[str]


@dataclass(frozen=True, slots=True)
class Presentation:
    """What was presented to a camera: a picture, a clip, or a folder with the pictures of a clip.

    species  of an attack; empty for a live face ("bona fide")
    subject  whoever it is, so far as the list says
    """

    name: str
    species: str
    subject: str

    @property
    def is_attack(self) -> bool:
        return bool(self.species)

    @property
    def is_still(self) -> bool:
        return PurePosixPath(self.name).suffix.lower() in PICTURES


def read_pairs(path: Path, root: Path, remarks: Remarks) -> list[Pair]:
    """Rows of `fold,same,a,b` whose pictures are there; without a column fold all are of one."""
    pairs = []
    for where, row in _rows(path, ("same", "a", "b"), ("fold",), remarks):
        same = row["same"].lower()
        if same not in _TRUE | _FALSE:
            remarks.say(f"{where}: same is {_shown(row['same'])}, not 1 or 0; row left out")
            continue
        a, b = (_picture(root, row[column], where, remarks) for column in ("a", "b"))
        if a is None or b is None:
            continue
        if a == b:
            remarks.say(f"{where}: a picture compared with itself says nothing; row left out")
            continue
        pairs.append(Pair(row.get("fold", ""), same in _TRUE, a, b))
    return _some(pairs, path, "pair")


def read_people(path: Path, root: Path, remarks: Remarks, *, person_column: str = "person",
                where: Mapping[str, str] | None = None, allow_unknown: bool = False) -> list[Labelled]:
    """Rows of `image,person` whose picture is there and whose columns equal `where`; each picture once."""
    wanted = dict(where or {})
    rows, seen, offered = [], set[str](), set[str]()
    for at, row in _rows(path, ("image", person_column, *wanted), (), remarks):
        if wanted:
            offered.add(",".join(f"{column}={_shown(row[column])}" for column in wanted))
        if any(row[column] != value for column, value in wanted.items()):
            continue
        person, image = row[person_column], _picture(root, row["image"], at, remarks)
        if image is None:
            continue
        if not person and not allow_unknown:
            remarks.say(f"{at}: {person_column} is empty; row left out")
        elif image in seen:
            remarks.say(f"{at}: {_shown(image)} is listed already; row left out")
        else:
            seen.add(image)
            rows.append(Labelled(person, image))
    if not rows and wanted and offered:
        raise UsageError(f"{path}: no usable row has {_terms(wanted)}; it holds {', '.join(sorted(offered)[:10])}")
    return _some(rows, path, "picture")


def persons_of(path: Path) -> frozenset[str]:
    """Everybody whom a list of people names, whether their pictures are there or not."""
    return frozenset(row["person"] for _, row in _rows(path, ("image", "person"), (), Remarks()) if row["person"])


def read_presentations(path: Path, root: Path, remarks: Remarks) -> list[Presentation]:
    """Rows of `image,label` and perhaps `subject`; each picture, clip or folder of pictures once."""
    rows, seen = [], set[str]()
    for where, row in _rows(path, ("image", "label"), ("subject",), remarks):
        name = _picture(root, row["image"], where, remarks, may_be_folder=True)
        label = _shown(row["label"]) if row["label"] else ""
        if name is None:
            continue
        if not label:
            remarks.say(f"{where}: label is empty; write live, or the attack's species; row left out")
        elif name in seen:
            remarks.say(f"{where}: {_shown(name)} is listed already; row left out")
        else:
            seen.add(name)
            species = "" if label.lower().replace(" ", "_") in _LIVE else label
            rows.append(Presentation(name, species, row.get("subject", "")))
    return _some(rows, path, "presentation")


def read_boxes(path: Path, root: Path, remarks: Remarks) -> list[Marked]:
    """Rows of `image,left,top,width,height`, gathered per picture."""
    boxes: dict[str, list[Box]] = {}
    sources: dict[str, set[str]] = {}
    for where, row in _rows(path, ("image", "left", "top", "width", "height"), ("source",), remarks):
        sides = [_number(row[column]) for column in ("left", "top", "width", "height")]
        if any(side is None for side in sides) or min(sides[2] or 0.0, sides[3] or 0.0) <= 0:
            remarks.say(f"{where}: left, top, width and height must be numbers, the last two above 0; row left out")
            continue
        image = _picture(root, row["image"], where, remarks)
        if image is not None:
            boxes.setdefault(image, []).append(Box(*(side or 0.0 for side in sides)))
            sources.setdefault(image, set()).add(row.get("source", ""))
    return _some([Marked(image, tuple(found), frozenset(sources[image])) for image, found in boxes.items()],
                 path, "box")


def people_of_folders(root: Path, remarks: Remarks) -> list[Labelled]:
    """Every picture of a folder that has one folder per person, in the order of the names."""
    rows = []
    for entry in sorted(folder_of(root).iterdir()):
        if entry.is_dir():
            rows += [Labelled(entry.name, f"{entry.name}/{file.name}") for file in sorted(entry.iterdir())
                     if file.suffix.lower() in PICTURES and file.is_file()]
        elif entry.suffix.lower() in PICTURES:
            remarks.say(f"{entry.name}: lies in no person's folder; left out")
    if not rows:
        raise UsageError(f"{root}: no picture found; expected a folder per person, or name a list after --all-pairs")
    return rows


def pictures_below(root: Path) -> list[str]:
    """Names of all pictures in a folder and the folders below it, sorted."""
    names = sorted(file.relative_to(root).as_posix() for file in folder_of(root).rglob("*")
                   if file.suffix.lower() in PICTURES and file.is_file())
    if not names:
        raise UsageError(f"{root}: no picture found ({', '.join(sorted(PICTURES))})")
    return names


def folder_of(path: Path) -> Path:
    """The path itself; UsageError where it is no folder."""
    if not path.is_dir():
        raise UsageError(f"{path}: no such folder; name the folder that the pictures lie in")
    return path


def _rows(path: Path, required: tuple[str, ...], optional: tuple[str, ...],
          remarks: Remarks) -> Iterator[tuple[str, dict[str, str]]]:
    """("list.csv:7", row) per data row with as many columns as the header has."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            columns = _header(path, next(reader, []), required, optional, remarks)
            for row in reader:
                where = f"{path.name}:{reader.line_num}"
                if not any(cell.strip() for cell in row):
                    continue
                if len(row) != len(columns):
                    remarks.say(f"{where}: {len(row)} columns where the header has {len(columns)}; row left out")
                    continue
                yield where, {column: cell.strip() for column, cell in zip(columns, row, strict=True)}
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: is not UTF-8 text; save the list as CSV in UTF-8") from None
    except csv.Error as error:
        raise UsageError(f"{path}: is not CSV ({error})") from None


def _header(path: Path, cells: list[str], required: tuple[str, ...], optional: tuple[str, ...],
            remarks: Remarks) -> list[str]:
    columns = [cell.strip() for cell in cells]
    if not any(columns):
        raise UsageError(f"{path}: is empty; expected a header line with {', '.join(required)}")
    for column in required:
        if column not in columns:
            raise UsageError(f"{path}: has no column {column}; its columns are {_shown(', '.join(columns))}")
    if len(set(columns)) != len(columns):
        raise UsageError(f"{path}: a column is named twice in {_shown(', '.join(columns))}")
    unused = [column for column in columns if column not in required + optional]
    if unused:
        remarks.say(f"{path.name}: columns not used: {_shown(', '.join(unused))}")
    return columns


def _picture(root: Path, name: str, where: str, remarks: Remarks, may_be_folder: bool = False) -> str | None:
    """The picture's name below `root`, None (with a remark) where it has none or is not there."""
    # Lists made on Windows write the other slash.
    path = PurePosixPath(name.replace("\\", "/"))
    if not name or path.is_absolute() or ".." in path.parts or "\0" in name or path.parts[:1] == ():
        remarks.say(f"{where}: {_shown(name)} does not lie in the folder of images; row left out")
        return None
    try:
        is_there = (root / path).is_file() or (may_be_folder and (root / path).is_dir())
    except (OSError, ValueError):
        is_there = False
    if not is_there:
        remarks.miss(_shown(path.as_posix()), f"no such picture (first named in {where})")
        return None
    return path.as_posix()


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _some(rows: list[_T], path: Path, what: str) -> list[_T]:
    if not rows:
        raise UsageError(f"{path}: not one usable {what} in it")
    return rows


def _shown(text: str) -> str:
    """Text from a list, fit for one line of a terminal."""
    short = text if len(text) <= 120 else text[:117] + "..."
    return "".join(letter if letter.isprintable() else "?" for letter in short) or '""'


def _terms(wanted: Mapping[str, str]) -> str:
    return " and ".join(f"{column}={value}" for column, value in wanted.items())


def parse_where(terms: Iterable[str]) -> dict[str, str]:
    """{"label": "live"} from ["label=live"]."""
    wanted = {}
    for term in terms:
        column, equals, value = term.partition("=")
        if not equals or not column.strip():
            raise UsageError(f"--where {term}: write COLUMN=VALUE, for example --where label=live")
        wanted[column.strip()] = value.strip()
    return wanted
