"""Parallax: how far the points of a face moved otherwise than the points of any flat picture can.

Called by `face.pad.plane`. Two views of a plane differ by a homography (Hartley and Zisserman, Multiple View
Geometry, 13.1). Two views of a head differ by that and by its relief times the change of view ("plane plus
parallax"). What is left after the best homography is therefore noise for a picture, however it is moved, and for a
head what its relief predicts. The motion is measured in the pixels (Lucas and Kanade's optical flow on a patch around
each point), never taken from the landmarks: their network imagines depth in flat pictures too.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import atan2, cos, hypot, sin, sqrt

import cv2
import numpy as np
import numpy.typing as npt

from device.face.types import Floats
from device.frame import Pixels

Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

SIDE = 160
"""Pixels of the patch that a face is brought to, upright and always of one size, before its motion is measured."""

SPREAD = 38.0
"""Root mean square distance of the landmarks from their centre in that patch; the eyes are then about 44 px apart."""

FOCAL_SHARE = 0.85
"""Focal length over the picture's longer side: 61 degrees across, between a Pi camera's 66 and a webcam's 55."""

POINTS = 64
LEAST_POINTS = 20
_CORNER_GAP = 4
_AGREE_PX = 0.4
_SAME_PX = 0.25
_TRIMS = 2

_MOVING = (
    # Lids and lips move by themselves; what is tracked must belong to the skull.
    7, 163, 144, 145, 153, 154, 155, 246, 161, 160, 159, 158, 157, 173,
    249, 390, 373, 374, 380, 381, 382, 466, 388, 387, 386, 385, 384, 398,
    185, 40, 39, 37, 0, 267, 269, 270, 409, 183, 42, 41, 38, 12, 268, 271, 272, 407, 191, 80, 81, 82, 13, 312, 311,
    310, 415, 184, 74, 73, 72, 11, 302, 303, 304, 408, 146, 91, 181, 84, 17, 314, 405, 321, 375, 96, 89, 179, 86, 15,
    316, 403, 319, 325, 77, 90, 180, 85, 16, 315, 404, 320, 307, 95, 88, 178, 87, 14, 317, 402, 318, 324, 78, 308, 61,
    291, 62, 292, 76, 306,
)
FIRM: Indices = np.setdiff1d(np.arange(468), np.array(_MOVING))
_WINDOW, _LEVELS, _UNTIL = (21, 21), 2, (3, 12, 0.03)
_POSE_POINTS: Indices = FIRM[::4]


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A face in one frame, brought to one size.

    grey     SIDE×SIDE
    flat     468×2 landmarks in the patch
    depth    468, the landmarks' own depth in pixels of the patch, away positive
    solid    468×3 landmarks in the camera's space, in units of the eyes' distance; what a head would be there
    scale    patch pixels per frame pixel
    place    2×3 from frame to patch
    camera   3×3 of a camera of the usual width
    """

    grey: Pixels
    flat: Floats
    depth: Floats
    solid: Doubles
    scale: float
    place: Doubles
    camera: Doubles

    @classmethod
    def of(cls, pixels: Pixels, mesh: Floats) -> Patch:
        """The face with that mesh in that frame (H×W×3)."""
        place, scale = _place(mesh)
        height, width = pixels.shape[:2]
        focal = FOCAL_SHARE * max(width, height)
        camera = np.array([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])
        flat = (mesh[:, :2] @ place[:, :2].T + place[:, 2] - 0.5).astype(np.float32)
        depth = mesh[:, 2] * np.float32(scale)
        return cls(_cut(pixels, place, scale), flat, depth, _solid(mesh, camera), scale, place, camera)


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A patch to compare later ones with.

    points  landmarks that lie on something that can be followed
    relief  their nearness, in sides of the patch
    """

    patch: Patch
    points: Indices
    relief: Floats

    @classmethod
    def of(cls, patch: Patch) -> Reference:
        points = _textured(patch)
        return cls(patch, points, (-patch.depth[points] / SIDE).astype(np.float32))


@dataclass(frozen=True, slots=True)
class Parallax:
    """What two views of a face say of its relief; lengths are pixels of the patch, root mean square over the points.

    seen      motion beyond a homography that the face's relief explains, whatever the change of view was
    noise     motion beyond a homography that nothing explains
    share     0..1, how much of the motion beyond a homography (squared) the relief explains: high on a head that
              moves, low on a picture
    beyond    the same of the motion that no bent sheet makes either: a cylinder or another surface of second order
    expected  motion beyond a homography that a head would have shown, by the change of pose in the landmarks
    gain      how much of that was seen: about 0 on a flat picture, about 1 on a head
    points    how many points were followed
    """

    seen: float
    noise: float
    share: float
    beyond: float
    expected: float
    gain: float
    points: int


def measure(reference: Reference, patch: Patch) -> Parallax | None:
    """The parallax between two views of one face; None where too little could be followed."""
    points = reference.points
    if len(points) < LEAST_POINTS:
        return None
    start = reference.patch.flat[points]
    head = _turned(reference, patch)
    plane = head - _off_plane(start, head - start)
    # A point whose surroundings say nothing stays where the search began: one that is found from both beginnings,
    # where a picture would have it and where a head would, was seen.
    is_apart = np.hypot(*(head - plane).T) > _SAME_PX
    both, is_found_both = _follow(reference.patch.grey, patch.grey, np.concatenate([start, start[is_apart]]),
                                  np.concatenate([plane, head[is_apart]]))
    seen, is_found = both[:len(points)], is_found_both[:len(points)]
    again, is_found_again = seen.copy(), is_found.copy()
    again[is_apart], is_found_again[is_apart] = both[len(points):], is_found_both[len(points):]
    kept = is_found & is_found_again & (np.hypot(*(seen - again).T) < _AGREE_PX)
    return _compare(start, (seen + again) * np.float32(0.5) - start, head - start, reference.relief, kept)


def _compare(start: Floats, seen: Floats, head: Floats, relief: Floats, kept: Flags) -> Parallax | None:
    """The parallax on the points that are kept, without those that fit neither a head nor a plane; None where too
    few are left."""
    for trims in range(_TRIMS, -1, -1):
        count = int(kept.sum())
        if count < LEAST_POINTS:
            return None
        fields = _Fields.of(start[kept], relief[kept])
        left = fields.off_plane(seen[kept])
        explained = fields.explained(left)
        if trims:
            rest = np.hypot(*(left - explained).reshape(2, -1))
            kept = kept.copy()
            kept[np.flatnonzero(kept)[rest > max(2.5 * float(np.median(rest)), 0.3)]] = False
    beyond = _beyond_sheets(start[kept], relief[kept], seen[kept])
    return _parallax(left, explained, fields.off_plane(head[kept]), beyond, count)


@dataclass(frozen=True, slots=True, eq=False)
class _Fields:
    """Displacements of points between two views, orthonormal: those that a homography makes, and those beyond them
    that a small change of view makes by the points' depth.

    plane   2N×8
    relief  2N×3
    """

    plane: Doubles
    relief: Doubles

    @classmethod
    def of(cls, start: Floats, relief: Floats) -> _Fields:
        x, y = _places(start)
        basis, _ = np.linalg.qr(np.column_stack([_of_plane(x, y), _of_depth(x, y, relief)]))
        return cls(basis[:, :8], basis[:, 8:])

    def off_plane(self, flow: Floats) -> Doubles:
        """2N, what is left of N×2 displacements after those of a plane."""
        both = _flat(flow)
        return np.asarray(both - self.plane @ (both @ self.plane))

    def explained(self, left: Doubles) -> Doubles:
        """The part of it that the relief can make."""
        return np.asarray(self.relief @ (left @ self.relief))


def _beyond_sheets(start: Floats, relief: Floats, flow: Floats) -> float:
    """0..1, how much of what bent sheets leave (squared) the relief explains."""
    x, y = _places(start)
    basis, _ = np.linalg.qr(np.column_stack([_of_plane(x, y), _of_sheets(x, y), _of_depth(x, y, relief)]))
    both = _flat(flow)
    parts = both @ basis
    sheets, depth = parts[:-3], parts[-3:]
    return float(depth @ depth) / max(float(both @ both) - float(sheets @ sheets), 1e-9)


def _parallax(left: Doubles, explained: Doubles, wanted: Doubles, beyond: float, count: int) -> Parallax:
    all_left, seen = float(left @ left), float(explained @ explained)
    square = float(wanted @ wanted)
    return Parallax(
        seen=sqrt(seen / count), noise=sqrt(max(all_left - seen, 0.0) / count), share=seen / max(all_left, 1e-9),
        beyond=beyond, expected=sqrt(square / count), gain=float(left @ wanted) / max(square, 1e-9), points=count)


def _places(start: Floats) -> tuple[Doubles, Doubles]:
    """Across and down from the patch's middle, in its sides."""
    x, y = ((start - SIDE / 2) / SIDE).astype(np.float64).T
    return x, y


def _of_plane(x: Doubles, y: Doubles) -> Doubles:
    """2N×8, the displacements that a homography near the identity makes, to first order. Between two patches of one
    size the second order is below .1 px up to 20 degrees."""
    one, none = np.ones_like(x), np.zeros_like(x)
    across = np.stack([one, x, y, none, none, none, x * x, x * y], axis=1)
    down = np.stack([none, none, none, one, x, y, x * y, y * y], axis=1)
    return np.concatenate([across, down])


def _of_depth(x: Doubles, y: Doubles, depth: Floats | Doubles) -> Doubles:
    """2N×3: what a small change of view does to points by their depth (the parallax points to one place, whichever
    that is)."""
    none = np.zeros_like(x)
    return np.stack([np.concatenate([depth, none]), np.concatenate([none, depth]),
                     np.concatenate([depth * x, depth * y])], axis=1)


def _of_sheets(x: Doubles, y: Doubles) -> Doubles:
    """2N×7: the same for surfaces whose depth is a polynomial of second order of the place, as a sheet's that is bent
    in any direction. Two of the nine fields are others of them and a homography's, and left out."""
    return np.concatenate([_of_depth(x, y, x * x), _of_depth(x, y, x * y)[:, ::2], _of_depth(x, y, y * y)[:, ::2]],
                          axis=1)


def _flat(flow: Floats) -> Doubles:
    return np.concatenate([flow[:, 0], flow[:, 1]]).astype(np.float64)


def _off_plane(start: Floats, flow: Floats) -> Floats:
    """What is left of N×2 displacements after those of a plane."""
    plane, _ = np.linalg.qr(_of_plane(*_places(start)))
    both = _flat(flow)
    left: Floats = (both - plane @ (both @ plane)).reshape(2, -1).T.astype(np.float32)
    return left


def _follow(before: Pixels, after: Pixels, start: Floats, guess: Floats) -> tuple[Floats, Flags]:
    ends, found, _ = cv2.calcOpticalFlowPyrLK(
        before, after, start, guess.astype(np.float32).copy(), winSize=_WINDOW, maxLevel=_LEVELS, criteria=_UNTIL,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW)
    inside = ((ends > 2) & (ends < SIDE - 3)).all(axis=1)
    return ends, (found[:, 0] > 0) & inside


def _turned(reference: Reference, patch: Patch) -> Floats:
    """N×2 in the patch: where the reference's points would be, were it a head turned to the patch's pose."""
    frame = (patch.flat[_POSE_POINTS] + 0.5 - patch.place[:, 2]) @ np.linalg.inv(patch.place[:, :2]).T
    solid = reference.patch.solid
    turn, shift = np.zeros(3), np.zeros(3)
    cv2.solvePnP(solid[_POSE_POINTS], frame, patch.camera, None, turn, shift, True)
    seen, _ = cv2.projectPoints(solid[reference.points], turn, shift, patch.camera, None)
    placed: Floats = (seen[:, 0] @ patch.place[:, :2].T + patch.place[:, 2] - 0.5).astype(np.float32)
    return placed


def _place(mesh: Floats) -> tuple[Doubles, float]:
    """2×3 from frame to patch and its scale."""
    right, left = (mesh[33, :2] + mesh[133, :2]) / 2, (mesh[362, :2] + mesh[263, :2]) / 2
    centre = mesh[:, :2].mean(axis=0)
    spread = float(np.sqrt(((mesh[:, :2] - centre) ** 2).sum(axis=1).mean()))
    scale = SPREAD / max(spread, 1e-3)
    angle = -atan2(float(left[1] - right[1]), float(left[0] - right[0]))
    c, s = scale * cos(angle), scale * sin(angle)
    turn = np.array([[c, -s], [s, c]])
    return np.column_stack([turn, np.array([SIDE / 2, SIDE / 2 + 4.0]) - turn @ centre]), scale


def _cut(pixels: Pixels, place: Doubles, scale: float) -> Pixels:
    """The grey patch; large faces are smoothed first, so that shrinking makes no false detail."""
    height, width = pixels.shape[:2]
    corners = (np.array([[0, 0], [SIDE, 0], [0, SIDE], [SIDE, SIDE]]) - place[:, 2]) @ np.linalg.inv(place[:, :2]).T
    low = np.clip(np.floor(corners.min(axis=0)).astype(int) - 2, 0, (width - 2, height - 2))
    high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 2, low + 2, (width, height))
    grey = cv2.cvtColor(pixels[low[1]:high[1], low[0]:high[0]], cv2.COLOR_BGR2GRAY)
    if scale < 0.7:
        grey = cv2.GaussianBlur(grey, (0, 0), 0.35 / scale)
    forward = place.copy()
    forward[:, 2] += place[:, :2] @ (low + 0.5) - 0.5
    patch: Pixels = cv2.warpAffine(grey, forward, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    return patch


def _solid(mesh: Floats, camera: Doubles) -> Doubles:
    """468×3 in the camera's space: the mesh's own depth, at the distance that the eyes' one (63 mm) tells."""
    focal = float(camera[0, 0])
    gap = (mesh[362] + mesh[263] - mesh[33] - mesh[133]) / 2
    unit = max(hypot(float(gap[0]), hypot(float(gap[1]), float(gap[2]))), 1.0)
    z = focal / unit * (1.0 + (mesh[:, 2] - mesh[:, 2].mean()).astype(np.float64) / focal)
    return np.column_stack([(mesh[:, 0] - camera[0, 2]) / focal * z, (mesh[:, 1] - camera[1, 2]) / focal * z, z])


def _textured(patch: Patch) -> Indices:
    """The landmarks on the clearest corners of the picture, not too near to one another."""
    strength = cv2.cornerMinEigenVal(cv2.GaussianBlur(patch.grey, (0, 0), 1.0), 7)
    places = np.round(patch.flat[FIRM]).astype(int)
    inside = ((places > 8) & (places < SIDE - 8)).all(axis=1)
    firm, places = FIRM[inside], places[inside]
    order = np.argsort(-strength[places[:, 1], places[:, 0]])
    is_taken = np.zeros((SIDE, SIDE), bool)
    chosen: list[int] = []
    for number in order.tolist():
        x, y = places[number].tolist()
        if not is_taken[y, x]:
            chosen.append(int(firm[number]))
            is_taken[y - _CORNER_GAP:y + _CORNER_GAP + 1, x - _CORNER_GAP:x + _CORNER_GAP + 1] = True
            if len(chosen) == POINTS:
                break
    return np.array(chosen, np.int64)
