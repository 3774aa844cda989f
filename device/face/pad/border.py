"""Straight borders that move with the face: the edge of a sheet, the bezel of a screen.

Called by `face.pad.context`. A line is described twice: as it lies about the face (in box widths, upright along the
eyes) and as it lies in the picture. Where the face has moved, a door frame behind a visitor stays in the picture and
the edge of a print stays with the face.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from device.face.pad.judge import View

SIDE = 128
SPAN = 3.2
"""The region that is searched, in box widths."""

NEAR, FAR = 0.5, 1.5
"""In box widths from the middle of the face: where a border is looked for."""

LEAST_LENGTH = 0.75
SAME_ANGLE = np.radians(5.0)
SAME_PLACE = 0.06
APART = 0.15
"""In box widths: how long a line must be, how near two must lie to be the same, and how far from every line that
stays a line must lie to have moved along."""

Doubles = npt.NDArray[np.float64]
_EYES = (33, 133, 362, 263)
_QUARTER = np.pi / 2


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """The straight lines about a face in one picture, and where that face was.

    centre, size, roll   of the face, in pixels and radians
    feet                 n×2, the point of each line nearest to the face's middle, in pixels from there
    middles              n×2, the middle of what is seen of each line, likewise
    """

    centre: Doubles
    size: float
    roll: float
    feet: Doubles
    middles: Doubles

    @classmethod
    def of(cls, view: View) -> Surroundings:
        box, mesh = view.face.box, view.mesh
        size = (box.width + box.height) / 2
        centre = np.array([box.left + box.width / 2, box.top + box.height / 2])
        right, left = mesh[_EYES[:2], :2].mean(axis=0), mesh[_EYES[2:], :2].mean(axis=0)
        roll = float(np.arctan2(left[1] - right[1], left[0] - right[0]))
        feet, middles = _lines(view.frame.pixels, centre, size)
        return cls(centre, size, roll, feet, middles)

    def has_moved_from(self, other: Surroundings) -> bool:
        """Whether a line that stays in the picture would look otherwise about the face."""
        shift = float(np.hypot(*(self.centre - other.centre))) / self.size
        return shift >= APART or abs(np.log(self.size / other.size)) >= APART or abs(self.roll - other.roll) >= APART

    def sides_moved_along(self, other: Surroundings) -> int:
        """How many sides of the face have a line that stayed with the face since `other` and not in the picture."""
        if not len(self.feet) or not len(other.feet):
            return 0
        with_face = _turned(other.feet, self.roll - other.roll) * self.size / other.size
        in_picture = _feet_about(other.feet, self.centre - other.centre)
        along = self._distances(with_face)
        stayed = self._distances(in_picture)
        is_along = along.min(axis=1) < SAME_PLACE
        is_apart = stayed.min(axis=1) >= APART
        angles = np.arctan2(self.feet[:, 1], self.feet[:, 0]) - self.roll
        sides = np.round(angles / _QUARTER).astype(int) % 4
        return len(set(sides[is_along & is_apart].tolist()))

    def _distances(self, others: Doubles) -> Doubles:
        """[own, other]: how far each line's middle lies from the other line, in box widths; infinite across it."""
        lengths = np.maximum(np.hypot(others[:, 0], others[:, 1]), 1e-6)
        normals = others / lengths[:, None]
        own = self.feet / np.maximum(np.hypot(self.feet[:, 0], self.feet[:, 1]), 1e-6)[:, None]
        apart = np.abs(self.middles @ normals.T - lengths) / self.size
        is_parallel = np.abs(own @ normals.T) >= np.cos(SAME_ANGLE)
        far: Doubles = np.where(is_parallel, apart, np.inf)
        return far


def _lines(pixels: npt.NDArray[np.uint8], centre: Doubles, size: float) -> tuple[Doubles, Doubles]:
    """Feet and middles of the straight lines about the face."""
    half = SPAN * size / 2
    height, width = pixels.shape[:2]
    left, top = max(int(centre[0] - half), 0), max(int(centre[1] - half), 0)
    right, bottom = min(int(centre[0] + half), width), min(int(centre[1] + half), height)
    scale = SIDE / (2 * half)
    shape = (max(round((right - left) * scale), 8), max(round((bottom - top) * scale), 8))
    small = cv2.resize(pixels[top:bottom, left:right, 1], shape, interpolation=cv2.INTER_AREA)
    edges = cv2.Canny(small, 40, 120)
    least = LEAST_LENGTH * size * scale
    found = cv2.HoughLinesP(edges, 1, np.pi / 180, 24, minLineLength=least, maxLineGap=3)
    if found is None:
        return np.zeros((0, 2)), np.zeros((0, 2))
    ends = found.reshape(-1, 2, 2).astype(np.float64) / scale + np.array([left, top]) - centre
    along = ends[:, 1] - ends[:, 0]
    normals = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.hypot(along[:, 0], along[:, 1])[:, None]
    offsets = (ends[:, 0] * normals).sum(axis=1)
    feet = normals * offsets[:, None]
    is_about = (np.abs(offsets) >= NEAR * size) & (np.abs(offsets) <= FAR * size)
    return feet[is_about], ends.mean(axis=1)[is_about]


def _turned(points: Doubles, angle: float) -> Doubles:
    c, s = np.cos(angle), np.sin(angle)
    turned: Doubles = points @ np.array([[c, s], [-s, c]])
    return turned


def _feet_about(feet: Doubles, shift: Doubles) -> Doubles:
    """The same lines of the picture, their feet about a middle that lies `shift` further."""
    lengths = np.maximum(np.hypot(feet[:, 0], feet[:, 1]), 1e-6)
    normals = feet / lengths[:, None]
    moved: Doubles = normals * (lengths - normals @ shift)[:, None]
    return moved
