"""From a face in the frame to the chip that the recogniser was trained on.

Called by `face.extract` with the landmarks that the pack's card names; `warp` is also how the mesh's input is cut.
"""

from __future__ import annotations

from math import hypot

import cv2
import numpy as np
import numpy.typing as npt

from device.face.card import Recogniser
from device.face.types import Floats
from device.frame import Pixels

Matrix = npt.NDArray[np.float64]


FIVE_POINTS = Recogniser(
    size=112,
    points=((33, 133), (362, 263), (1,), (61,), (291,)),
    template_xy=((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)),
    mirror="unit",
    dimensions=0,
)
"""The usual geometry of 112 px chips (InsightFace's): eyes, nose tip, mouth corners. Quality is measured in it."""


class Aligner:
    """Cuts chips for one recogniser."""

    def __init__(self, recogniser: Recogniser) -> None:
        self.size = recogniser.size
        self.geometry = (recogniser.size, recogniser.points, recogniser.template_xy)
        self._indices = np.array([index for point in recogniser.points for index in point])
        # One row per alignment point, averaging its mesh landmarks.
        self._means = np.zeros((len(recogniser.points), len(self._indices)))
        column = 0
        for row, point in enumerate(recogniser.points):
            self._means[row, column:column + len(point)] = 1.0 / len(point)
            column += len(point)
        self._template = np.array(recogniser.template_xy, np.float64)

    def matrix(self, mesh: Floats) -> Matrix:
        """2×3 similarity from chip to frame. Template places are integer-centre pixels and landmarks are taken as
        they are: the operating points were measured so, without half-pixel compensation."""
        return similarity(self._template, self._means @ mesh[self._indices, :2])

    def chip(self, pixels: Pixels, mesh: Floats) -> Pixels:
        """size×size×3 BGR; black where the face leaves the frame."""
        return warp(pixels, self.matrix(mesh), self.size, cv2.BORDER_CONSTANT)


def similarity(source: npt.NDArray[np.floating], target: npt.NDArray[np.floating]) -> Matrix:
    """2×3 least-squares similarity (scale, rotation, shift; no reflection) that takes k×2 source onto target."""
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    s, t = source - source_mean, target - target_mean
    spread = max(float(np.vdot(s, s)), 1e-12)
    a = float(np.vdot(s, t)) / spread
    b = float(s[:, 0] @ t[:, 1] - s[:, 1] @ t[:, 0]) / spread
    x, y = float(source_mean[0]), float(source_mean[1])
    return np.array([[a, -b, float(target_mean[0]) - a * x + b * y], [b, a, float(target_mean[1]) - b * x - a * y]])


def inverse(matrix: Matrix, mesh: Floats) -> Floats:
    """n×2 places in the chip of a mesh's landmarks, where matrix is the similarity from chip to frame."""
    a, b = matrix[0, 0], matrix[1, 0]
    back = np.array([[a, b], [-b, a]], np.float32) / np.float32(a * a + b * b)
    places: Floats = (mesh[:, :2] - matrix[:, 2].astype(np.float32)) @ back.T
    return places


def warp(pixels: Pixels, matrix: Matrix, size: int, border: int) -> Pixels:
    """size×size picture whose pixel (u, v) shows the frame at matrix·(u, v, 1), both counted at pixel centres.

    Bilinear, after halving the frame while one step of the chip is more than two pixels of it.
    """
    levels, step = 0, hypot(matrix[0, 0], matrix[1, 0])
    while step > 2.0:
        step /= 2.0
        levels += 1
    if levels:
        pixels, matrix = _halved(pixels, matrix, size, levels)
    chip: Pixels = cv2.warpAffine(pixels, matrix, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                                  borderMode=border)
    return chip


def _halved(pixels: Pixels, matrix: Matrix, size: int, levels: int) -> tuple[Pixels, Matrix]:
    """The part of the frame that the chip shows, halved `levels` times, and the matrix that fits it."""
    corners = matrix @ np.array([[0, size, 0, size], [0, 0, size, size], [1, 1, 1, 1]], np.float64)
    reach = 4 << levels
    height, width = pixels.shape[:2]
    left, top = (int(np.clip(np.floor(low) - reach, 0, limit - 1))
                 for low, limit in zip(corners.min(axis=1), (width, height), strict=True))
    right, bottom = (int(np.clip(np.ceil(high) + reach, 1, limit))
                     for high, limit in zip(corners.max(axis=1), (width, height), strict=True))
    part = pixels[top:max(bottom, top + 1), left:max(right, left + 1)]
    shifted = matrix.copy()
    shifted[:, 2] -= (left, top)
    for _ in range(levels):
        if min(part.shape[:2]) < 2:
            break
        # Means of four pixels: a fifth of what pyrDown takes. The centre of the first lies between them.
        columns, rows = part.shape[1] // 2, part.shape[0] // 2
        part = cv2.resize(part[: 2 * rows, : 2 * columns], (columns, rows), interpolation=cv2.INTER_AREA)
        shifted[:, 2] -= 0.5
        shifted /= 2.0
    return part, shifted
