"""The entrance hall behind the visitors: painted, still, and without anything that resembles a face.

Called by `rehearsal.stage`, once per picture size.
"""

from __future__ import annotations

import cv2
import numpy as np

from device.frame import Pixels
from device.rehearsal.render import Lens

_BACK_Z, _HALF_WIDTH, _FLOOR, _CEILING = 6.5, 1.9, 1.55, -1.05
_WALL, _SIDE, _FLOOR_BGR, _CEILING_BGR = (168, 178, 182), (150, 160, 166), (96, 104, 112), (196, 200, 202)


def paint(lens: Lens, seed: int = 5) -> Pixels:
    """H×W×3 BGR: a corridor 3.8 m wide with a glazed door, lamps and a notice board, slightly out of focus."""
    picture = np.zeros((lens.height, lens.width, 3), np.uint8)
    w, top, bottom, back = _HALF_WIDTH, _CEILING, _FLOOR, _BACK_Z
    near = 0.25
    _quad(picture, lens, [(-w, top, near), (w, top, near), (w, top, back), (-w, top, back)], _CEILING_BGR)
    _quad(picture, lens, [(-w, bottom, near), (w, bottom, near), (w, bottom, back), (-w, bottom, back)], _FLOOR_BGR)
    _quad(picture, lens, [(-w, top, near), (-w, top, back), (-w, bottom, back), (-w, bottom, near)], _SIDE)
    _quad(picture, lens, [(w, top, near), (w, top, back), (w, bottom, back), (w, bottom, near)], (158, 168, 174))
    _quad(picture, lens, [(-w, top, back), (w, top, back), (w, bottom, back), (-w, bottom, back)], _WALL)
    _fittings(picture, lens)
    grain = np.random.default_rng(seed).normal(0.0, 1.0, (lens.height // 8, lens.width // 8, 1))
    uneven = cv2.GaussianBlur(cv2.resize(grain, (lens.width, lens.height), interpolation=cv2.INTER_CUBIC), (0, 0), 9)
    soft = cv2.GaussianBlur(picture, (0, 0), lens.width / 640)
    painted: Pixels = np.clip(soft + 6.0 * uneven[..., None], 0, 255).astype(np.uint8)
    return painted


def _fittings(picture: Pixels, lens: Lens) -> None:
    w, bottom, back = _HALF_WIDTH, _FLOOR, _BACK_Z
    for z in (1.6, 2.8, 4.0, 5.2):
        lamp = [(x, _CEILING, z + far) for x, far in ((-0.5, 0.0), (0.5, 0.0), (0.5, 0.5), (-0.5, 0.5))]
        _quad(picture, lens, lamp, (246, 246, 244))
    _upright(picture, lens, (-1.3, -0.6, -0.2, bottom), back, (84, 92, 104))
    _upright(picture, lens, (-1.2, -0.5, -0.3, 0.9), back, (214, 206, 190))
    _quad(picture, lens, [(w, -0.45, 3.6), (w, -0.45, 5.0), (w, 0.35, 5.0), (w, 0.35, 3.6)], (96, 128, 160))
    for z, tone in ((3.7, (230, 232, 232)), (4.1, (200, 224, 236)), (4.5, (222, 214, 196))):
        _quad(picture, lens, [(w, -0.35, z), (w, -0.35, z + 0.28), (w, 0.1, z + 0.28), (w, 0.1, z)], tone)
    _quad(picture, lens, [(-w, bottom - 0.1, 0.25), (-w, bottom - 0.1, back), (-w, bottom, back), (-w, bottom, 0.25)],
          (70, 76, 84))
    _upright(picture, lens, (0.5, 0.75, 1.6, 1.35), back - 0.4, (60, 84, 112))


def _upright(picture: Pixels, lens: Lens, edges: tuple[float, float, float, float], z: float,
             bgr: tuple[int, int, int]) -> None:
    """A rectangle that faces the camera: left, top, right, bottom in metres."""
    left, top, right, bottom = edges
    _quad(picture, lens, [(left, top, z), (right, top, z), (right, bottom, z), (left, bottom, z)], bgr)


def _quad(picture: Pixels, lens: Lens, corners: list[tuple[float, float, float]], bgr: tuple[int, int, int]) -> None:
    flat = lens.project(np.array(corners, np.float32))
    cv2.fillConvexPoly(picture, np.round(flat * 16).astype(np.int32), bgr, cv2.LINE_AA, 4)
