"""468 landmarks of one face: MediaPipe's face mesh on a rotated square of the frame.

Called by `face.pipeline` and `face.portrait` with a square from the detector, or from the mesh of the frame before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import atan2, cos, exp, sin

import cv2
import numpy as np

from device.face.align import Matrix, warp
from device.face.runtime import Network
from device.face.types import Box, Face, Floats
from device.frame import Pixels

LEAST_PRESENCE = 0.5
"""Below that the mesh says that there is no face (MediaPipe's graph; 1 of 7,701 LFW faces fell below)."""

EYES = (33, 263)
"""Outer corners, image left and image right."""

_MARGIN = 1.5
_FIRST, _SECOND = np.array([(33, 133), (362, 263), (1, 1), (13, 14), (234, 234), (454, 454)]).T


@dataclass(frozen=True, slots=True)
class Roi:
    """A square of the frame: centre and side in pixels, angle in radians clockwise."""

    x: float
    y: float
    side: float
    angle: float


class Landmarks:
    """The mesh network with its input buffer; used on one thread at a time."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._side = network.input_shape[1]
        self._values = np.empty((1, self._side, self._side, 3), np.float32)

    def look(self, pixels: Pixels, roi: Roi) -> tuple[Floats, float]:
        """(468×3 mesh in frame pixels, presence 0..1) of the face in that square."""
        forward = _matrix(roi, self._side)
        # Landmarks count pixel centres at .5, the warp counts them at 0.
        centred = forward.copy()
        centred[:, 2] += forward[:, :2] @ (0.5, 0.5) - 0.5
        crop = warp(pixels, centred, self._side, cv2.BORDER_REPLICATE)
        np.multiply(cv2.cvtColor(crop, cv2.COLOR_BGR2RGB), np.float32(1.0 / 255.0), out=self._values[0])
        outputs = self._network.run(self._values)
        points, belief = outputs if outputs[0].size > 1 else outputs[::-1]
        crop_mesh = points.reshape(-1, 3)
        mesh = np.empty(crop_mesh.shape, np.float32)
        mesh[:, :2] = crop_mesh[:, :2] @ forward[:, :2].T + forward[:, 2]
        mesh[:, 2] = crop_mesh[:, 2] * (roi.side / self._side)
        return mesh, 1.0 / (1.0 + exp(-max(min(float(belief.reshape(-1)[0]), 80.0), -80.0)))

    def of_face(self, pixels: Pixels, face: Face) -> Face:
        """The detected face with its mesh and presence: the mean of two looks, the second one at the square that the
        first one gave, so that little depends on the detector. On the 3,000 LFW pairs of the development half 99.30 %
        were right after one look or with the mean, 99.23 % with the second alone; TAR over all pairs at FAR 1e-4
        .953, .954, .954."""
        first, presence = self.look(pixels, roi_of_face(face))
        if presence < LEAST_PRESENCE:
            return replace(face, mesh=first, presence=presence)
        second, again = self.look(pixels, roi_of_mesh(first))
        return replace(face, mesh=(first + second) * np.float32(0.5), presence=min(presence, again))


def roi_of_face(face: Face) -> Roi:
    """The square for a face as the detector gave it: upright along the eyes, 1.5 times the box."""
    box, (right_eye, left_eye) = face.box, face.keypoints[:2]
    angle = atan2(float(left_eye[1] - right_eye[1]), float(left_eye[0] - right_eye[0]))
    side = _MARGIN * max(box.width, box.height)
    return Roi(box.left + box.width / 2, box.top + box.height / 2, side, angle)


def roi_of_mesh(mesh: Floats) -> Roi:
    """The square for the next frame: bounds of the mesh in the frame of its eye line, 1.5 times as large."""
    across = mesh[EYES[1], :2] - mesh[EYES[0], :2]
    angle = atan2(float(across[1]), float(across[0]))
    c, s = cos(angle), sin(angle)
    box = bounds(mesh[:, :2] @ np.array([[c, -s], [s, c]], np.float32))
    x, y = box.left + box.width / 2, box.top + box.height / 2
    return Roi(c * x - s * y, s * x + c * y, _MARGIN * max(box.width, box.height), angle)


def bounds(mesh: Floats) -> Box:
    """The upright rectangle around a mesh."""
    # Column by column: numpy takes six times as long for both at once.
    x, y = mesh[:, 0], mesh[:, 1]
    left, top = float(x.min()), float(y.min())
    return Box(left, top, float(x.max()) - left, float(y.max()) - top)


def keypoints(mesh: Floats) -> Floats:
    """The detector's six keypoints, read off a mesh."""
    points: Floats = (mesh[_FIRST, :2] + mesh[_SECOND, :2]) * np.float32(0.5)
    return points


def interocular_px(mesh: Floats) -> float:
    """Distance of the eye centres (mean of inner and outer corner) in the picture's plane."""
    gap = (mesh[362, :2] + mesh[263, :2] - mesh[33, :2] - mesh[133, :2]) / 2
    return float(np.hypot(gap[0], gap[1]))


def _matrix(roi: Roi, side: int) -> Matrix:
    """2×3 from crop to frame, in continuous coordinates."""
    step = roi.side / side
    a, b = step * cos(roi.angle), step * sin(roi.angle)
    half = side / 2
    return np.array([[a, -b, roi.x - a * half + b * half], [b, a, roi.y - b * half - a * half]])
