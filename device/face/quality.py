"""Whether a face picture is fit for recognition, and what would help where it is not.

Called by `face.pipeline` with the door's gates and by `face.portrait` with those of enrolment. Measured on the mesh
and on a chip of 112 px in the usual five-point geometry, so that figures mean the same for every pack and distance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import atan2, degrees, hypot

import cv2
import numpy as np

from device.face.align import FIVE_POINTS, Aligner, inverse, warp
from device.face.landmarks import interocular_px
from device.face.occlusion import occlusion
from device.face.types import Face, Floats, Quality
from device.frame import Pixels
from device.sighting import Hint


@dataclass(frozen=True, slots=True)
class Gates:
    """The limits that a picture must keep; see `DOOR` and `ENROLMENT` for the measurements behind them."""

    min_presence: float
    min_interocular_px: float
    max_interocular_px: float
    min_sharpness: float
    max_yaw: float
    max_pitch: float
    max_roll: float
    min_exposure: float
    max_exposure: float
    min_contrast: float
    min_completeness: float
    max_occlusion: float


DOOR = Gates(
    min_presence=0.9, min_interocular_px=24.0, max_interocular_px=400.0, min_sharpness=4.0, max_yaw=45.0,
    max_pitch=35.0, max_roll=45.0, min_exposure=0.08, max_exposure=0.9, min_contrast=0.025, min_completeness=0.95,
    max_occlusion=0.6)
"""Lenient: what the recogniser still copes with. Measured on 200 genuine LFW pairs of the development half, one photo
of each pair spoilt, share of matches at the score of FMR 1e-4, which is .950 for unspoilt ones:

    eyes 25 px apart .950, 21 px .945, 17 px .945, 13 px .920     tilted by 20, 40, 60 degrees .950, .950, .954
    blurred to sharpness 4 about .85, to 2 about .55              contrast .069 .935, .035 .860, .017 .108
    turned aside by 20 to 45 degrees .95 (of 192)                 up or down by more than 20 .88 (of 119)
    exposure .20 .940, .10 .895, .05 .497                         exposure .77 .940, .89 .782, .95 .534

Presence of 250 unspoilt faces: 98.8 % above .999; of those with a mask half are below .9.
"""

ENROLMENT = Gates(
    min_presence=0.9, min_interocular_px=32.0, max_interocular_px=1000.0, min_sharpness=10.0, max_yaw=25.0,
    max_pitch=20.0, max_roll=30.0, min_exposure=0.2, max_exposure=0.82, min_contrast=0.05, min_completeness=1.0,
    max_occlusion=0.6)
"""Strict: where a template loses nothing against an unspoilt one, and where 94 % of 1,081 LFW photos lie."""

LEVEL_PITCH = -5.5
"""Degrees that the mesh gives for a level face: the median of 1,081 LFW photos."""

HINTS = {
    "no_landmarks": Hint.SHOW_WHOLE_FACE,
    "cut_off": Hint.SHOW_WHOLE_FACE,
    "too_far": Hint.COME_CLOSER,
    "too_near": Hint.STEP_BACK,
    "turned_aside": Hint.LOOK_AT_CAMERA,
    "looking_up_or_down": Hint.LOOK_AT_CAMERA,
    "head_tilted": Hint.LOOK_AT_CAMERA,
    "too_dark": Hint.MORE_LIGHT,
    "too_bright": Hint.LESS_LIGHT,
    "no_contrast": Hint.MORE_LIGHT,
    "covered": Hint.SHOW_WHOLE_FACE,
    "blurred": Hint.HOLD_STILL,
}
"""What helps against each failed gate, in the order in which the visitor is told."""

class Inspector:
    """Judges faces by one set of gates."""

    def __init__(self, gates: Gates) -> None:
        self.gates = gates
        self.aligner = Aligner(FIVE_POINTS)

    def inspect(self, pixels: Pixels, face: Face, chip: Pixels | None = None) -> Quality:
        """The quality of a face of that picture; a face without mesh fails as `no_landmarks`.

        chip  the face as `aligner` cuts it, where the caller has it already
        """
        if face.mesh is None:
            return _without_mesh(face)
        matrix = self.aligner.matrix(face.mesh)
        if chip is None:
            chip = warp(pixels, matrix, self.aligner.size, cv2.BORDER_CONSTANT)
        points = inverse(matrix, face.mesh)
        grey = cv2.cvtColor(chip, cv2.COLOR_BGR2GRAY)
        yaw, pitch, roll = pose(face.mesh)
        inner = grey[24:104, 24:88]
        mean, deviation = cv2.meanStdDev(inner)
        measured = Quality(
            is_usable=True, interocular_px=interocular_px(face.mesh), sharpness=sharpness(inner), yaw=yaw,
            pitch=pitch, roll=roll, exposure=float(mean[0, 0]) / 255.0, contrast=float(deviation[0, 0]) / 255.0,
            occlusion=occlusion(chip, points), completeness=completeness(pixels, face.mesh), value=0.0)
        return judged(measured, self.gates, face.presence)


def pose(mesh: Floats) -> tuple[float, float, float]:
    """Yaw, pitch and roll in degrees, signed as in `Quality`, from the depths of the mesh's own head axes:
    cheek to cheek (234, 454), and brow to chin (10, 152)."""
    across, down = (mesh[454] - mesh[234]).tolist(), (mesh[152] - mesh[10]).tolist()
    eyes = (mesh[263] - mesh[33]).tolist()
    yaw = atan2(across[2], hypot(across[0], across[1]))
    pitch = atan2(-down[2], hypot(down[0], down[1]))
    return degrees(yaw), degrees(pitch) - LEVEL_PITCH, degrees(atan2(eyes[1], eyes[0]))


def sharpness(grey: Pixels) -> float:
    """Variance of the second derivative, grey levels squared, across or down, whichever is less: the variance of the
    Laplacian (Pech-Pacheco et al., 2000) is their sum and does not notice that a moving face is blurred one way."""
    across = cv2.meanStdDev(cv2.Sobel(grey, cv2.CV_16S, 2, 0, ksize=1))[1][0, 0]
    down = cv2.meanStdDev(cv2.Sobel(grey, cv2.CV_16S, 0, 2, ksize=1))[1][0, 0]
    return float(min(across, down)) ** 2


def completeness(pixels: Pixels, mesh: Floats) -> float:
    """Share of the landmarks that lie inside the picture."""
    height, width = pixels.shape[:2]
    x, y = mesh[:, 0], mesh[:, 1]
    return float(np.count_nonzero((x >= 0) & (y >= 0) & (x <= width) & (y <= height))) / len(mesh)


def judged(measured: Quality, gates: Gates, presence: float = 1.0) -> Quality:
    """The same measurements with verdict, reasons, hint and value under those gates."""
    reasons = _reasons(measured, gates, presence)
    return replace(measured, is_usable=not reasons, value=_value(measured), reasons=reasons,
                   hint=HINTS[reasons[0]] if reasons else Hint.NONE)


def _reasons(q: Quality, gates: Gates, presence: float) -> tuple[str, ...]:
    failed = {
        "no_landmarks": presence < gates.min_presence,
        "cut_off": q.completeness < gates.min_completeness,
        "too_far": q.interocular_px < gates.min_interocular_px,
        "too_near": q.interocular_px > gates.max_interocular_px,
        "turned_aside": abs(q.yaw) > gates.max_yaw,
        "looking_up_or_down": abs(q.pitch) > gates.max_pitch,
        "head_tilted": abs(q.roll) > gates.max_roll,
        "too_dark": q.exposure < gates.min_exposure,
        "too_bright": q.exposure > gates.max_exposure,
        "no_contrast": q.contrast < gates.min_contrast,
        "covered": _covered(q) > gates.max_occlusion,
        "blurred": q.sharpness < gates.min_sharpness,
    }
    return tuple(name for name in HINTS if failed.get(name, False))


def _value(q: Quality) -> float:
    """0..1: the product of size, sharpness, pose, light and completeness, each saturating at good."""
    size = min(q.interocular_px / 64.0, 1.0)
    sharp = q.sharpness / (q.sharpness + 20.0)
    frontal = max(1.0 - hypot(q.yaw, q.pitch) / 60.0, 0.0)
    light = max(1.0 - abs(q.exposure - 0.5) / 0.5, 0.0)
    free = 1.0 - _covered(q)
    return float(min(max(size * sharp * frontal * (0.5 + 0.5 * light) * free * q.completeness, 0.0), 1.0))


def _covered(q: Quality) -> float:
    """The most covered part that counts. The chin does not: a scarf over it leaves the vector at a cosine of .9 (a
    mask .5, dark glasses .65), and beards and microphones look like one."""
    return max((share for region, share in q.occlusion.items() if region != "chin"), default=0.0)


def _without_mesh(face: Face) -> Quality:
    gap = face.keypoints[1] - face.keypoints[0]
    return Quality(is_usable=False, interocular_px=float(np.hypot(gap[0], gap[1])), sharpness=0.0, yaw=0.0,
                   pitch=0.0, roll=0.0, exposure=0.0, contrast=0.0, occlusion={}, completeness=0.0, value=0.0,
                   reasons=("no_landmarks",), hint=HINTS["no_landmarks"])
