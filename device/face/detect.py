"""Where the faces of a picture are: BlazeFace, short range first and full range as the fallback.

Called by `face.pipeline` at the door and by `face.portrait` for stills. Input, anchors, decoding and thresholds
follow MediaPipe's graphs `face_detection_short_range` and `face_detection_full_range`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, log

import cv2
import numpy as np
import numpy.typing as npt

from device.face.runtime import Network
from device.face.types import Box, Face, Floats
from device.frame import Pixels

SAME_FACE = 0.3
"""IoU from which two raw boxes are the same face (MediaPipe's non-maximum suppression)."""

SURE = 0.75
"""Score from which a face of the short range needs no second opinion. Measured: of 1,421 LFW faces the 38 that the
full range misses score at least .80 here, of 8 animals that the short range takes for faces 7 score at most .68."""

LEAST_TILE = 256
"""Smallest square of a still that is searched by itself, pixels."""


@dataclass(frozen=True, slots=True)
class Range:
    """One of the two detectors: cells per side and anchors per cell of each grid, and its score threshold."""

    grids: tuple[tuple[int, int], ...]
    threshold: float


SHORT = Range(grids=((16, 2), (8, 6)), threshold=0.5)
FULL = Range(grids=((48, 1),), threshold=0.6)


class Halves:
    """One picture at half its size, a quarter and so on, each made when it is first needed.

    Exact halves are four times as fast as any other share, and 1280×720 is read but once for both detectors.
    """

    def __init__(self, pixels: Pixels) -> None:
        self._levels = [pixels]

    def shrunk(self, width: int, height: int) -> Pixels:
        """The picture at another size: means of areas where it shrinks, bilinear for what is left after halving."""
        level = 0
        while self._has(level + 1, width, height):
            level += 1
        picture = self._levels[level]
        is_area = level == 0 and (picture.shape[1] > width or picture.shape[0] > height)
        way = cv2.INTER_AREA if is_area else cv2.INTER_LINEAR
        small: Pixels = cv2.resize(picture, (width, height), interpolation=way)
        return small

    def _has(self, level: int, width: int, height: int) -> bool:
        """Whether that level exists (only even sides are halved) and is not smaller than what is asked for."""
        rows, columns = self._levels[level - 1].shape[:2]
        if rows % 2 or columns % 2 or columns < 2 * width or rows < 2 * height:
            return False
        if level == len(self._levels):
            half = cv2.resize(self._levels[-1], (columns // 2, rows // 2), interpolation=cv2.INTER_AREA)
            self._levels.append(half)
        return True


class Detector:
    """One BlazeFace network with its anchors and input buffers; used on one thread at a time."""

    def __init__(self, network: Network, kind: Range) -> None:
        self._network = network
        self._side = network.input_shape[1]
        self._anchors = anchors(kind)
        self._least_logit = log(kind.threshold / (1.0 - kind.threshold))
        self._rgb = np.zeros((self._side, self._side, 3), np.uint8)
        self._values = np.empty((1, self._side, self._side, 3), np.float32)
        self._pasted = (0, 0)

    def find(self, pixels: Pixels, halves: Halves | None = None) -> list[Face]:
        """The faces of an H×W×3 BGR picture, best score first; empty where there is none.

        halves  of the same picture, where another detector looks at it too
        """
        width, height, left, top = self._letter_box(pixels, halves or Halves(pixels))
        outputs = self._network.run(self._values)
        # The order of the two outputs is not fixed: the one with 16 columns holds the boxes.
        boxes, logits = outputs if outputs[0].shape[-1] == 16 else outputs[::-1]
        logits = logits.reshape(-1)
        chosen = np.flatnonzero(logits >= self._least_logit)
        if not chosen.size:
            return []
        points = self._decode(boxes.reshape(-1, 16)[chosen], self._anchors[chosen])
        points[:, :, 0] = (points[:, :, 0] - left) * (pixels.shape[1] / width)
        points[:, :, 1] = (points[:, :, 1] - top) * (pixels.shape[0] / height)
        scores = 1.0 / (1.0 + np.exp(-np.clip(logits[chosen], -80.0, 80.0)))
        return _merge(points, scores.astype(np.float32))

    def _letter_box(self, pixels: Pixels, halves: Halves) -> tuple[int, int, int, int]:
        rows, columns = pixels.shape[:2]
        scale = self._side / max(rows, columns)
        width, height = max(round(columns * scale), 1), max(round(rows * scale), 1)
        left, top = (self._side - width) // 2, (self._side - height) // 2
        if self._pasted != (width, height):
            self._rgb[:] = 0
            self._pasted = (width, height)
        small = halves.shrunk(width, height)
        cv2.cvtColor(small, cv2.COLOR_BGR2RGB, dst=self._rgb[top:top + height, left:left + width])
        np.multiply(self._rgb, np.float32(1.0 / 127.5), out=self._values[0])
        np.subtract(self._values, np.float32(1.0), out=self._values)
        return width, height, left, top

    def _decode(self, raw: Floats, anchor: Floats) -> Floats:
        """k×8×2 in input pixels: top left, bottom right, six keypoints."""
        pairs = raw.reshape(-1, 8, 2)
        centre = pairs[:, 0] + anchor * self._side
        points = np.empty_like(pairs)
        points[:, 0] = centre - pairs[:, 1] / 2
        points[:, 1] = centre + pairs[:, 1] / 2
        points[:, 2:] = pairs[:, 2:] + anchor[:, None] * self._side
        return points


class Finder:
    """Both detectors. The short range sees faces from about a tenth of the picture's longer side up, the full range
    from about a fifteenth, but it misses 3 % of those that fill the picture."""

    def __init__(self, short: Network, full: Network) -> None:
        self.short = Detector(short, SHORT)
        self.full = Detector(full, FULL)

    def find(self, pixels: Pixels) -> list[Face]:
        """Faces of the picture, best score first: the short range's where it is sure, else the full range's."""
        halves = Halves(pixels)
        return self.find_near(pixels, halves)[0] or self.full.find(pixels, halves)

    def find_near(self, pixels: Pixels, halves: Halves | None = None) -> tuple[list[Face], bool]:
        """The faces of which the short range is sure, and whether it suspects more; cheap."""
        found = self.short.find(pixels, halves)
        sure = [face for face in found if face.score >= SURE]
        return sure, len(sure) < len(found)

    def survey(self, pixels: Pixels) -> list[Face]:
        """Faces of a still, small ones too: both ranges over the whole, the full range over halves of it."""
        halves = Halves(pixels)
        faces = self.find_near(pixels, halves)[0] + self.full.find(pixels, halves)
        for left, top, side in tiles(pixels.shape[1], pixels.shape[0]):
            part = pixels[top:top + side, left:left + side]
            rows, columns = part.shape[:2]
            faces += [_moved(face, left, top) for face in self.full.find(part)
                      if not _is_cut(face.box, columns, rows)]
        return distinct(faces)


def tiles(width: int, height: int) -> list[tuple[int, int, int]]:
    """(left, top, side) of overlapping squares of half the longer side; none for a small picture."""
    side = max(width, height) // 2
    if side < LEAST_TILE:
        return []
    return [(x, y, side) for y in _starts(height, side) for x in _starts(width, side)]


def distinct(faces: list[Face]) -> list[Face]:
    """Each face once: of boxes that overlap the one that comes first in the list."""
    kept: list[Face] = []
    for face in faces:
        if not any(iou(face.box, other.box) > SAME_FACE for other in kept):
            kept.append(face)
    return kept


def iou(a: Box, b: Box) -> float:
    """Intersection over union, 0..1."""
    width = min(a.left + a.width, b.left + b.width) - max(a.left, b.left)
    height = min(a.top + a.height, b.top + b.height) - max(a.top, b.top)
    if width <= 0 or height <= 0:
        return 0.0
    common = width * height
    return common / (a.area + b.area - common)


def anchors(kind: Range) -> Floats:
    """N×2 anchor centres 0..1, row by row, the anchors of a cell consecutive."""
    grids = []
    for cells, each in kind.grids:
        line = (np.arange(cells, dtype=np.float32) + np.float32(0.5)) / np.float32(cells)
        y, x = np.meshgrid(line, line, indexing="ij")
        grids.append(np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2), each, axis=0))
    return np.concatenate(grids)


def overlaps(corners: npt.NDArray[np.floating], corner: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Intersection over union of k×2×2 corners with one 2×2 corner pair."""
    low = np.maximum(corners[:, 0], corner[0])
    high = np.minimum(corners[:, 1], corner[1])
    common = np.prod(np.maximum(high - low, 0.0), axis=1)
    areas = np.prod(np.maximum(corners[:, 1] - corners[:, 0], 0.0), axis=1)
    area = np.prod(np.maximum(corner[1] - corner[0], 0.0))
    union: npt.NDArray[np.floating] = common / np.maximum(areas + area - common, 1e-9)
    return union


def _merge(points: Floats, scores: Floats) -> list[Face]:
    """Weighted non-maximum suppression: the means of each group, weighted by score."""
    order = np.argsort(-scores, kind="stable")
    points, scores = points[order], scores[order]
    faces = []
    while scores.size:
        same = overlaps(points[:, :2], points[0, :2]) > SAME_FACE
        same[0] = True
        weights = scores[same]
        mean = np.tensordot(weights / weights.sum(), points[same], axes=1).astype(np.float32)
        faces.append(_face(mean, float(scores[0])))
        points, scores = points[~same], scores[~same]
    return faces


def _face(points: Floats, score: float) -> Face:
    (left, top), (right, bottom) = points[0].tolist(), points[1].tolist()
    return Face(Box(left, top, right - left, bottom - top), points[2:], score)


def _starts(length: int, side: int) -> list[int]:
    """Where squares begin along one direction so that neighbours share at least a third."""
    if length <= side:
        return [0]
    steps = ceil((length - side) / (side * 2 / 3))
    return [round(step * (length - side) / steps) for step in range(steps + 1)]


def _moved(face: Face, left: int, top: int) -> Face:
    box = Box(face.box.left + left, face.box.top + top, face.box.width, face.box.height)
    return replace(face, box=box, keypoints=face.keypoints + np.array([left, top], np.float32))


def _is_cut(box: Box, width: int, height: int) -> bool:
    """Whether the box runs over the edge of its tile: the neighbouring tile, or the whole, has it better."""
    return box.left < 0 or box.top < 0 or box.left + box.width > width or box.top + box.height > height
