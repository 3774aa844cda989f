"""Head: a 3-D head out of one portrait.

The face comes from the 468 landmarks of the mesh network; rings behind it give hair, ears and the underside of the
jaw their depth, so that everything turns as a head turns. Called by `rehearsal.stage`.

The outline of the hair was traced by hand on the one portrait that is used: NASA's picture of the astronaut Eileen
Collins, public domain, `skimage/data/astronaut.png` of scikit-image 0.26, 512×512.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np

from device.face.quality import pose
from device.rehearsal.figure import Part
from device.rehearsal.pose import Pose, rotation
from device.rehearsal.render import Floats, Ints

PUPILS_M = 0.063
"""Distance of an adult's pupils (Dodgson 2004: mean 63 mm)."""

OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149,
        150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
"""The mesh's rim, clockwise in the image from the top of the forehead."""

UPPER_LIDS = ((246, 161, 160, 159, 158, 157, 173), (466, 388, 387, 386, 385, 384, 398))
LOWER_LIDS = ((7, 163, 144, 145, 153, 154, 155), (249, 390, 373, 374, 380, 381, 382))
LID_FOLDS = ((247, 30, 29, 27, 28, 56, 190), (467, 260, 259, 257, 258, 286, 414))
CORNERS = ((33, 133), (263, 362))
UPPER_LIP = (185, 40, 39, 37, 0, 267, 269, 270, 409, 183, 42, 41, 38, 12, 268, 271, 272, 407,
             191, 80, 81, 82, 13, 312, 311, 310, 415, 184, 74, 73, 72, 11, 302, 303, 304, 408)
LOWER_LIP = (146, 91, 181, 84, 17, 314, 405, 321, 375, 96, 89, 179, 86, 15, 316, 403, 319, 325,
             77, 90, 180, 85, 16, 315, 404, 320, 307)
INNER_LOWER_LIP = (95, 88, 178, 87, 14, 317, 402, 318, 324)
MOUTH_CORNERS = (78, 308, 61, 291, 62, 292, 76, 306)

HAIR = ((182, 133), (176, 131), (171, 119), (160, 106), (154, 88), (153, 68), (158, 52), (172, 42), (190, 33),
        (197, 27), (210, 20), (232, 15), (255, 20), (275, 30), (290, 45), (298, 65), (301, 85), (298, 102),
        (290, 116), (282, 124), (278, 134), (270, 138))
"""Outline of hair and ears in the portrait, clockwise from the image-left ear lobe to the other one."""

_CROWN_Z = 50.0
_BACK = 62.0
_OPEN_M = 0.023
_FOLD_FALLS = 0.4  # of the gap between the lids
_FACE_LAYER = 5
_RINGS_LAYER = 3
_MOUTH_LAYER = 4
_LIDS_LAYER = 6


class Scale:
    """From the portrait's pixels (and the mesh's depth) to metres with the origin at the neck's top."""

    def __init__(self, mesh: Floats) -> None:
        left, right = mesh[[33, 133], :3].mean(axis=0), mesh[[362, 263], :3].mean(axis=0)
        self.metres = PUPILS_M / float(np.hypot(*(right - left)[:2]))
        ears = (mesh[234] + mesh[454]) / 2
        self.origin = np.array([ears[0], ears[1] + 16.0, ears[2] + 12.0], np.float32)
        yaw, pitch, roll = pose(mesh)
        self._turn = rotation(Pose(yaw=yaw, pitch=pitch, roll=roll)).T

    def upright(self, points: Floats) -> Floats:
        """N×3 of shoulders: as they stand in the portrait."""
        placed: Floats = ((points - self.origin) * np.float32(self.metres)).astype(np.float32)
        return placed

    def head(self, points: Floats) -> Floats:
        """N×3 of the head: the pose that it has in the portrait is taken out."""
        placed: Floats = (self.upright(points) @ self._turn.T).astype(np.float32)
        return placed


def face(mesh: Floats, scale: Scale) -> Part:
    """The face itself, with lids that close and a mouth that opens on teeth and dark."""
    points, texels, triangles, layers = _mouth(mesh.astype(np.float32), _inside(mesh[:, :2]), _triangles(mesh))
    placed = scale.head(points)
    return Part(
        points=placed, texels=texels, triangles=triangles, layers=layers,
        blink=_blink(placed), mouth=_jaw(placed), follow=np.ones(len(placed), np.float32),
        dim=np.ones(len(placed), np.float32),
    )


def rings(mesh: Floats, scale: Scale) -> Part:
    """Hair, ears and underside of the jaw: rings from the face's rim to the outline and round to the back."""
    rim = mesh[list(OVAL)]
    flat = rim[:, :2]
    drawn = _inside(flat)
    centre = np.array([225.0, 100.0], np.float32)
    from_chin = np.abs(np.arange(len(OVAL)) - OVAL.index(152))
    hair = np.interp(from_chin, (7, 8, 9, 10), (0.0, 0.25, 0.6, 1.0))[:, None]
    # Beside the ear lobes the outline is narrow: the picture is taken from nearer to the face there.
    reach = np.interp(from_chin, (7, 8, 9, 10, 11), (0.0, 0.2, 0.6, 0.85, 0.95))[:, None]
    # The chin goes on below the mesh's rim, the jaw's sides do not.
    chin = np.interp(from_chin, (3, 6), (1.02, 0.97))[:, None]
    out = np.array([_outline(centre, point) for point in flat])
    points, texels, dim = [], [], []
    for t in (0.0, 0.18, 0.4, 0.62, 0.8, 0.92, 1.0):
        swollen = np.column_stack([flat + (out - flat) * t, _swell(rim[:, 2], t)])
        points.append(swollen * hair + _under(rim, t) * (1 - hair))
        below = centre + (drawn - centre) * (1.0 + (chin - 1.0) * t)
        texels.append((drawn + (out - drawn) * (t * reach)) * hair + below * (1 - hair))
        dim.append(1.0 - 0.45 * t * (1 - hair[:, 0]))
    last, outermost = points[-1], texels[-1]
    middle = np.array([226.0, 95.0], np.float32)
    for angle in (20, 42, 66, 88):
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        flat_back = middle + (last[:, :2] - middle) * c
        points.append(np.column_stack([flat_back, last[:, 2] + s * (10.0 + (_BACK - 10.0) * hair[:, 0])]))
        # The back of the head is the hair beside the face, mirrored at the outline.
        mirrored = drawn + (out - drawn) * (reach * (1.0 - 0.6 * s))
        texels.append(mirrored * hair + outermost * (1 - hair))
        dim.append(np.where(hair[:, 0] > 0.5, 1.0 - 0.25 * s, 0.5))
    placed = scale.head(np.concatenate(points).astype(np.float32))
    return Part.still(placed, np.concatenate(texels).astype(np.float32), _strips(len(points), len(OVAL)),
                      _RINGS_LAYER, np.ones(len(placed), np.float32), np.concatenate(dim).astype(np.float32))


def _inside(flat: Floats) -> Floats:
    """Places of landmarks in the picture, drawn in where the mesh goes past the cheeks onto what is behind them."""
    drawn: Floats = flat.astype(np.float32).copy()
    drawn[:, 0] = np.interp(flat[:, 0], (176.0, 192.0, 254.0, 273.0), (182.5, 192.0, 254.0, 266.0))
    return drawn


def _triangles(mesh: Floats) -> Ints:
    """T×3 clockwise: Delaunay's triangulation of the landmarks inside the rim, on a cylinder about the head's axis.

    Seen from the front, points before the ear lie outside the rim; unrolled from the cylinder they do not.
    """
    axis = (mesh[234] + mesh[454]) / 2 + np.array([0.0, 0.0, 12.0], np.float32)
    away = mesh - axis
    flat = np.column_stack([np.arctan2(away[:, 0], -away[:, 2]) * 100.0, away[:, 1]]).astype(np.float32) + 500
    plane = cv2.Subdiv2D((0, 0, 1000, 1000))
    names: dict[tuple[float, float], int] = {}
    for number, (x, y) in enumerate(flat.tolist()):
        names[(x, y)] = number
        plane.insert((x, y))
    rim = flat[list(OVAL)].reshape(-1, 1, 2)
    found = []
    for x0, y0, x1, y1, x2, y2 in np.asarray(plane.getTriangleList()).tolist():
        corners = ((x0, y0), (x1, y1), (x2, y2))
        middle = ((x0 + x1 + x2) / 3, (y0 + y1 + y2) / 3)
        if all(c in names for c in corners) and cv2.pointPolygonTest(rim, middle, False) >= 0:
            a, b, c = (names[corner] for corner in corners)
            clockwise = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0) > 0
            found.append((a, b, c) if clockwise else (a, c, b))
    return np.array(sorted(found), np.int32)


def _mouth(points: Floats, texels: Floats, triangles: Ints) -> tuple[Floats, Floats, Ints, Ints]:
    """Between the lips: what the portrait shows there stays with the skull, and behind it all lies the dark."""
    lower = (*INNER_LOWER_LIP, *LOWER_LIP)
    across = np.isin(triangles, lower).any(axis=1) & np.isin(triangles, UPPER_LIP).any(axis=1)
    start = len(points)
    teeth = triangles[across].copy()
    for place, number in enumerate(lower):
        teeth[teeth == number] = start + place
    dark_from, size = start + len(lower), len(INNER_LOWER_LIP) + 2
    edge = points[[78, *INNER_LOWER_LIP, 308]]
    # One dark spot of the portrait (the collar's black cloth) serves as the inside of the mouth.
    cloth = np.tile(np.array([[222.0, 222.0]], np.float32), (2 * size, 1))
    dark = band(2, size) + dark_from
    face_layers = np.full(len(triangles), _FACE_LAYER, np.int32)
    return (
        np.concatenate([points, points[list(lower)], edge, edge]),
        np.concatenate([texels, texels[list(lower)], cloth]),
        np.concatenate([triangles[~across], teeth, dark]).astype(np.int32),
        np.concatenate([face_layers, np.full(len(dark), _MOUTH_LAYER, np.int32)]),
    )


def lids(mesh: Floats, scale: Scale) -> Part:
    """The skin that comes down over open eyes: folded away while they are open, taken from below the brow."""
    points: list[Floats] = []
    texels, triangles, moved, dim = [], [], [], []
    for upper, lower, fold, corners in zip(UPPER_LIDS, LOWER_LIDS, LID_FOLDS, CORNERS, strict=True):
        outer, inner = (mesh[[c]] for c in corners)
        top = np.concatenate([outer, mesh[list(fold)], inner])
        edge = np.concatenate([outer, mesh[list(upper)], inner])
        bottom = np.concatenate([outer, mesh[list(lower)], inner])
        start, size = len(points) * 3 * len(top), len(top)
        # The last quarter is left to the sitter's own lashes, which come down with the lid's edge.
        closed = edge + (bottom - edge) * np.float32(0.62)
        fallen = top + (bottom - edge) * np.float32(_FOLD_FALLS)
        middle = (fallen + closed) / 2 + np.array([0.0, 0.0, -2.0], np.float32)
        points.append(np.concatenate([top, top, top]))
        moved.append(np.concatenate([fallen - top, middle - top, closed - top]))
        skin = top[:, :2]
        texels.append(np.concatenate([skin, skin + np.array([0.0, -2.6], np.float32),
                                      skin + np.array([0.0, -1.6], np.float32)]))
        dim.append(np.repeat(np.array([1.0, 0.90, 0.66], np.float32), size))
        strip = band(3, size) + start
        triangles.append(strip if top[0, 0] < top[-1, 0] else strip[:, [0, 2, 1]])
    placed = scale.head(np.concatenate(points))
    target = scale.head(np.concatenate(points) + np.concatenate(moved))
    count = len(placed)
    strips = np.concatenate(triangles).astype(np.int32)
    return Part(
        points=placed, texels=np.concatenate(texels).astype(np.float32), triangles=strips,
        layers=np.full(len(strips), _LIDS_LAYER, np.int32), blink=target - placed, mouth=np.zeros_like(placed),
        follow=np.ones(count, np.float32), dim=np.concatenate(dim),
    )


def _blink(points: Floats) -> Floats:
    """Upper lids come down on the lower ones, which rise a little; the fold above falls some of the way."""
    moved = np.zeros_like(points)
    for upper, lower, fold in zip(UPPER_LIDS, LOWER_LIDS, LID_FOLDS, strict=True):
        gap = points[list(lower)] - points[list(upper)]
        moved[list(upper)] = 0.82 * gap
        moved[list(lower)] = -0.15 * gap
        moved[list(fold)] = _FOLD_FALLS * gap
    return moved


def _jaw(points: Floats) -> Floats:
    """The lower jaw drops: nothing above the line between the lips, everything at the chin."""
    moved = np.zeros_like(points)
    lips = points[[78, *INNER_LOWER_LIP, 308]]
    line = np.interp(points[:, 0], lips[:, 0], lips[:, 1])
    inside = list(INNER_LOWER_LIP)
    below = np.clip((points[:, 1] - line) / (points[152, 1] - line), 0.0, 1.0)
    half = np.abs(points[454, 0] - points[234, 0]) / 2
    middle = np.clip(1.0 - (points[:, 0] / half) ** 2, 0.0, 1.0)
    weight = np.where(points[:, 1] > line, np.clip(0.25 + 3.0 * below, 0.0, 1.0) * np.sqrt(middle), 0.0)
    # The opening is an ellipse: the lip follows less towards the corners.
    corners = points[[78, 308], 0]
    lip = [*inside, *LOWER_LIP]
    off = (points[lip, 0] - corners.mean()) / (0.5 * (corners[1] - corners[0]))
    weight[lip] = 0.2 + 0.65 * np.sqrt(np.clip(1.0 - off**2, 0.0, 1.0))
    weight[list(UPPER_LIP)] = 0.0
    weight[list(MOUTH_CORNERS)] = 0.2
    # Teeth and the upper edge of the dark stay; its lower edge goes with the lip.
    weight[468:] = 0.0
    weight[-len(lips):] = weight[[78, *inside, 308]]
    moved[:, 1] = weight * _OPEN_M
    moved[:, 2] = weight * 0.35 * _OPEN_M
    return moved


def _outline(centre: Floats, point: Floats) -> Floats:
    """Where the ray from `centre` through `point` leaves the hair's outline; below the ears, the point itself."""
    corners = np.array(HAIR, np.float32)
    ray = point - centre
    best = np.asarray(point, np.float32)
    for a, b in pairwise(corners):
        along = b - a
        cross = float(ray[0] * along[1] - ray[1] * along[0])
        if abs(cross) < 1e-9:
            continue
        gap = a - centre
        far = float(gap[0] * along[1] - gap[1] * along[0]) / cross
        share = float(gap[0] * ray[1] - gap[1] * ray[0]) / cross
        if far > 1.0 and 0.0 <= share <= 1.0:
            best = centre + ray * np.float32(far)
    return best


def _swell(depth: Floats, t: float) -> Floats:
    """Depth of the hair between rim and outline: a quarter of an ellipse, a little proud of the temple."""
    low = np.maximum(depth, -20.0)
    crown = np.maximum(low + 8.0, _CROWN_Z)
    grown: Floats = low + (crown - low) * (1.0 - np.sqrt(max(1.0 - t * t, 0.0))) - 7.0 * np.sin(np.pi * t) * (t < 1)
    return grown


def _under(rim: Floats, t: float) -> Floats:
    """Underside of the jaw: from the jaw line back to the throat."""
    throat = np.array([222.0, 150.0, 0.0], np.float32)
    row: Floats = rim + (throat - rim) * np.float32(0.22 * t)
    row[:, 2] = rim[:, 2] + (np.maximum(rim[:, 2] + 18.0, 42.0) - rim[:, 2]) * t
    return row


def band(rows: int, columns: int) -> Ints:
    """Triangles of an open grid whose rows go down and whose columns go right."""
    found = []
    for row in range(rows - 1):
        for a in range(row * columns, row * columns + columns - 1):
            found += [(a, a + 1, a + columns), (a + 1, a + columns + 1, a + columns)]
    return np.array(found, np.int32)


def _strips(rows: int, columns: int) -> Ints:
    """Triangles between closed rows of points, clockwise where the rows go clockwise and outwards."""
    found = []
    for row in range(rows - 1):
        for column in range(columns):
            a, b = row * columns + column, row * columns + (column + 1) % columns
            c, d = a + columns, b + columns
            found += [(a, c, b), (b, c, d)]
    return np.array(found, np.int32)
