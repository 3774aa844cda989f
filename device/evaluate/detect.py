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
from device.face.photo import read_photo, shrunk_by
from device.face.types import Box
from device.frame import Pixels

# The marked boxes of photo collections are drawn tighter than the detector's: 0.5 would judge the drawing.
LEAST_OVERLAP = 0.35
# Pictures whose marks come from a person who marked some of the faces only: further finds there are not false.
PARTLY_MARKED = frozenset(("human",))

Find = Callable[[Pixels], Sequence[Box]]


@dataclass(frozen=True, slots=True)
class Detection:
    """Recall over marked faces, and finds that nobody marked, each with its 95 % interval (pictures drawn again).

    false_per_image     over the pictures without a face where such a folder was given, else `extra_per_image`
    extra_per_image     over the marked pictures whose marks are complete; None where none is
    by_folder           false finds and pictures of each folder below the one without faces
    missed              marked faces that were not found, per picture
    """

    faces: int
    found: int
    images: int
    recall: float
    recall_95: Interval | None
    false_per_image: float | None
    false_per_image_95: Interval | None
    extra_per_image: float | None
    without_images: int
    by_folder: dict[str, tuple[int, int]]
    missed: dict[str, int]


def detect(marked: Sequence[Marked], root: Path, without: Sequence[str], without_root: Path | None, find: Find, *,
           remarks: Remarks, least_overlap: float = LEAST_OVERLAP) -> Detection:
    """Look at the marked pictures and at those without a face."""
    found, faces, extra, missed, number_of = [], [], [], dict[str, int](), 0
    for picture in with_progress("marked pictures", marked, len(marked)):
        boxes = _boxes(root / picture.image, picture.image, find, remarks)
        if boxes is None:
            continue
        number_of += 1
        pairs = matched(picture.boxes, boxes, least_overlap)
        found.append(pairs)
        faces.append(len(picture.boxes))
        if pairs < len(picture.boxes):
            missed[picture.image] = len(picture.boxes) - pairs
        if not picture.sources & PARTLY_MARKED:
            extra.append(len(boxes) - pairs)
    if not faces:
        raise PictureRefused("not one of the marked pictures could be read; check --images")
    false, folders = _false_finds(without, without_root, find, remarks)
    counted = false if without_root is not None else extra
    return Detection(
        faces=sum(faces), found=sum(found), images=number_of, recall=sum(found) / sum(faces),
        recall_95=_per_picture(found, faces),
        false_per_image=float(np.mean(counted)) if counted else None,
        false_per_image_95=_per_picture(counted, [1] * len(counted)),
        extra_per_image=float(np.mean(extra)) if extra else None,
        without_images=len(false), by_folder=folders, missed=missed)


def matched(marks: Sequence[Box], boxes: Sequence[Box], least_overlap: float) -> int:
    """How many marks have a box of their own: the best overlapping pair first, each mark and box once."""
    overlaps = sorted(((overlap(mark, box), i, j) for i, mark in enumerate(marks) for j, box in enumerate(boxes)),
                      reverse=True)
    marks_left, boxes_left, pairs = set(range(len(marks))), set(range(len(boxes))), 0
    for share, i, j in overlaps:
        if share < least_overlap:
            break
        if i in marks_left and j in boxes_left:
            marks_left.remove(i)
            boxes_left.remove(j)
            pairs += 1
    return pairs


def overlap(one: Box, other: Box) -> float:
    """Intersection over union, 0..1."""
    width = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    height = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    shared = max(width, 0.0) * max(height, 0.0)
    union = one.area + other.area - shared
    return shared / union if union > 0 else 0.0


def _false_finds(names: Sequence[str], root: Path | None, find: Find,
                 remarks: Remarks) -> tuple[list[int], dict[str, tuple[int, int]]]:
    false, folders = list[int](), dict[str, tuple[int, int]]()
    if root is None:
        return false, folders
    for name in with_progress("pictures without a face", names, len(names)):
        boxes = _boxes(root / name, name, find, remarks)
        if boxes is None:
            continue
        false.append(len(boxes))
        folder = PurePosixPath(name).parent.as_posix()
        finds, pictures = folders.get(folder, (0, 0))
        folders[folder] = finds + len(boxes), pictures + 1
    return false, folders


def _boxes(path: Path, name: str, find: Find, remarks: Remarks) -> Sequence[Box] | None:
    """The faces of a picture in the coordinates of the file; None (with a remark) where it cannot be read."""
    try:
        pixels = read_photo(path)
    except PictureRefused as error:
        remarks.miss(name, str(error).removeprefix(f"{path.name}: "))
        return None
    scale = shrunk_by(path, pixels)
    return [Box(box.left * scale, box.top * scale, box.width * scale, box.height * scale) for box in find(pixels)]


def _per_picture(events: Sequence[int], trials: Sequence[int]) -> Interval | None:
    return ratio_interval(np.array(events, np.float64), np.array(trials, np.float64), np.arange(len(trials)))
