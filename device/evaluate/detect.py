"""How many faces are found, and how often one is found where there is none: `doorctl evaluate detect`.

A face counts as found as the door takes it: by the detector, and confirmed by the landmarks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from device.commands.console import with_progress
from device.errors import PictureRefused
from device.evaluate.inputs import Marked, Remarks
from device.evaluate.intervals import Interval, ratio_interval
from device.evaluate.metrics import Scores, Tally
from device.face.photo import read_photo, shrunk_by
from device.face.types import Box
from device.frame import Pixels

# The marked boxes of photo collections are drawn tighter than the detector's: 0.5 would judge the drawing.
LEAST_OVERLAP = 0.35
# Pictures whose marks come from a person who marked some of the faces only: further finds there are not false.
PARTLY_MARKED = frozenset(("human",))



@dataclass(frozen=True, slots=True)
class Find:
    """A face that was found, and the detector's score of it, 0..1."""

    box: Box
    score: float = 1.0


Finder = Callable[[Pixels], Sequence[Find]]


@dataclass(frozen=True, slots=True)
class Folder:
    """False finds in the pictures of one folder without faces, and the interval of their number per picture."""

    false: int
    images: int
    per_image_95: Interval | None


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """Recall over marked faces, and finds that nobody marked, each with its 95 % interval (pictures drawn again).

    false_per_image     over the pictures without a face where such a folder was given, else `extra_per_image`
    extra_per_image     over the marked pictures whose marks are complete; None where none is
    by_folder           of each folder below the one without faces
    missed              marked faces that were not found, per picture
    scores              of the finds: those of marked faces as genuine, false ones as impostor
    """

    faces: int
    found: int
    images: int
    recall: float
    recall_95: Interval | None
    false_per_image: float | None
    false_per_image_95: Interval | None
    extra_per_image: float | None
    extra_per_image_95: Interval | None
    without_images: int
    by_folder: dict[str, Folder]
    missed: dict[str, int]
    scores: Tally


def detect(marked: Sequence[Marked], root: Path, without: Sequence[str], without_root: Path | None, find: Finder, *,
           remarks: Remarks, least_overlap: float = LEAST_OVERLAP) -> Detection:
    """Look at the marked pictures and at those without a face."""
    found, faces, extra, missed, scores = [], [], [], dict[str, int](), Tally()
    for picture in with_progress("marked pictures", marked, len(marked)):
        finds = _finds(root / picture.image, picture.image, find, remarks)
        if finds is None:
            continue
        of_marks = matched(picture.boxes, [each.box for each in finds], least_overlap)
        found.append(len(of_marks))
        faces.append(len(picture.boxes))
        if len(of_marks) < len(picture.boxes):
            missed[picture.image] = len(picture.boxes) - len(of_marks)
        others = [each for number, each in enumerate(finds) if number not in of_marks]
        scores.add(_scores([finds[number] for number in of_marks]), _scores([]))
        if not picture.sources & PARTLY_MARKED:
            extra.append(len(others))
            scores.add(_scores([]), _scores(others if without_root is None else []))
    if not faces:
        raise PictureRefused("not one of the marked pictures could be read; check --images")
    false = _false_finds(without, without_root, find, remarks, scores)
    counted = [finds for _, finds in false] if without_root is not None else extra
    return Detection(
        faces=sum(faces), found=sum(found), images=len(faces), recall=sum(found) / sum(faces),
        recall_95=_per_picture(found, faces),
        false_per_image=float(np.mean(counted)) if counted else None,
        false_per_image_95=_per_picture(counted, [1] * len(counted)),
        extra_per_image=float(np.mean(extra)) if extra else None,
        extra_per_image_95=_per_picture(extra, [1] * len(extra)),
        without_images=len(false), by_folder=_by_folder(false), missed=missed, scores=scores)


def matched(marks: Sequence[Box], boxes: Sequence[Box], least_overlap: float) -> list[int]:
    """The boxes that have a mark of their own: the best overlapping pair first, each mark and box once."""
    overlaps = sorted(((overlap(mark, box), i, j) for i, mark in enumerate(marks) for j, box in enumerate(boxes)),
                      reverse=True)
    marks_left, boxes_left, taken = set(range(len(marks))), set(range(len(boxes))), []
    for share, i, j in overlaps:
        if share < least_overlap:
            break
        if i in marks_left and j in boxes_left:
            marks_left.remove(i)
            boxes_left.remove(j)
            taken.append(j)
    return taken


def overlap(one: Box, other: Box) -> float:
    """Intersection over union, 0..1."""
    width = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    height = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    shared = max(width, 0.0) * max(height, 0.0)
    union = one.area + other.area - shared
    return shared / union if union > 0 else 0.0


def _false_finds(names: Sequence[str], root: Path | None, find: Finder, remarks: Remarks,
                 scores: Tally) -> list[tuple[str, int]]:
    """(folder, false finds) of each picture without a face."""
    false: list[tuple[str, int]] = []
    if root is None:
        return false
    for name in with_progress("pictures without a face", names, len(names)):
        finds = _finds(root / name, name, find, remarks)
        if finds is not None:
            false.append((PurePosixPath(name).parent.as_posix(), len(finds)))
            scores.add(_scores([]), _scores(finds))
    return false


def _by_folder(false: Sequence[tuple[str, int]]) -> dict[str, Folder]:
    folders: dict[str, list[int]] = {}
    for folder, finds in false:
        folders.setdefault(folder, []).append(finds)
    return {folder: Folder(sum(counts), len(counts), _per_picture(counts, [1] * len(counts)))
            for folder, counts in folders.items()}


def _finds(path: Path, name: str, find: Finder, remarks: Remarks) -> Sequence[Find] | None:
    """The faces of a picture in the coordinates of the file; None (with a remark) where it cannot be read."""
    try:
        pixels = read_photo(path)
    except PictureRefused as error:
        remarks.miss(name, str(error).removeprefix(f"{path.name}: "))
        return None
    scale = shrunk_by(path, pixels)
    return [Find(_scaled(each.box, scale), each.score) for each in find(pixels)]


def _scaled(box: Box, scale: float) -> Box:
    return Box(box.left * scale, box.top * scale, box.width * scale, box.height * scale)


def _scores(finds: Sequence[Find]) -> Scores:
    return np.array([each.score for each in finds], np.float32)


def _per_picture(events: Sequence[int], trials: Sequence[int]) -> Interval | None:
    return ratio_interval(np.array(events, np.float64), np.array(trials, np.float64), np.arange(len(trials)))
