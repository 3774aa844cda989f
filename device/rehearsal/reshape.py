"""Strangers: other heads made from the one portrait by published numbers, none of them picked by a score.

Eleven measures of a face are each moved by `STEP`, up or down, and the eleven strangers are the rows of the
twelve-run design of Plackett and Burman (1946), so that any two of them differ in six measures. STEP is 24 %: three
standard deviations, one being some 8 % of a facial measure among adults (distance of the inner eye corners: 31.4 ±
2.5 mm in the pooled review PMC9029890). All have heavier brows than the sitter, those with an even number a beard;
colours of skin, hair and clothes go by the number too. How strong the change is was settled for all of them
together, after two had come near the sitter at 18 % and no beard: so the rehearsal shows that the terminal refuses
another face, and says nothing of how often it does.

The measures, in the order of the columns: face_length (eyes to chin), jaw_width, cheek_width, eye_gap, eye_height,
brow_height, nose_width, nose_length, nose_depth, mouth_width, lip_height. They are applied to the points of the head
in metres before anything is drawn; `rehearsal.stage` calls this.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import cv2
import numpy as np

from device.frame import Pixels
from device.rehearsal.figure import Part
from device.rehearsal.head import HAIR, OVAL
from device.rehearsal.render import Floats

STEP = 0.24

FIRST_ROW = (1, 1, -1, 1, 1, 1, -1, -1, -1, 1, -1)
"""Plackett and Burman's generating row for twelve runs; each further row is it moved on by one."""

FRINGE = ((150, 0), (176, 100), (183, 92), (187, 80), (200, 79), (215, 80), (232, 82), (245, 85), (258, 89),
          (266, 96), (272, 110), (310, 0))
"""Outline in the portrait of the hair that hangs into the forehead."""

BEARD = (93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 366, 401, 435,
         416, 434, 432, 410, 322, 391, 393, 164, 167, 165, 92, 186, 212, 214, 192, 215, 177, 137)
LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
"""Outlines of a full beard with moustache, and of the lips left out of it, as landmarks."""

BROWS = ((70, 63, 105, 66, 107), (336, 296, 334, 293, 300))


@dataclass(frozen=True, slots=True)
class Measures:
    """Factors on the sitter's own measures; 1 leaves them."""

    face_length: float = 1.0
    jaw_width: float = 1.0
    cheek_width: float = 1.0
    eye_gap: float = 1.0
    eye_height: float = 1.0
    brow_height: float = 1.0
    nose_width: float = 1.0
    nose_length: float = 1.0
    nose_depth: float = 1.0
    mouth_width: float = 1.0
    lip_height: float = 1.0


@dataclass(frozen=True, slots=True)
class Colours:
    """Added to CIE L, a, b (OpenCV's 0..255) of skin and hair; hue steps (of 180) of clothes; brows, beard 0..1."""

    skin: tuple[int, int, int] = (0, 0, 0)
    hair: tuple[int, int, int] = (0, 0, 0)
    clothes: int = 0
    brows: float = 0.0
    beard: float = 0.0


_SKINS = ((-38, 4, 6), (-14, 8, 2), (6, -2, -1), (-24, 0, 8))
_HAIRS = ((-60, -3, -16), (26, -4, -18), (-45, 8, -4))


def row(number: int) -> tuple[int, ...]:
    """The signs of stranger 1..11."""
    moved = (number - 1) % len(FIRST_ROW)
    return FIRST_ROW[len(FIRST_ROW) - moved:] + FIRST_ROW[:len(FIRST_ROW) - moved]


def measures(number: int) -> Measures:
    """Stranger 1..11; down is 1 / (1 + STEP), so that either way is the same distance."""
    return Measures(*((1 + STEP) ** sign for sign in row(number)))


def colours(number: int) -> Colours:
    """Colours of stranger 1..11."""
    return Colours(_SKINS[number % len(_SKINS)], _HAIRS[number % len(_HAIRS)], 37 * number % 180,
                   brows=0.75, beard=0.0 if number % 2 else 0.6)


def reshaped(part: Part, mesh_m: Floats, wanted: Measures) -> Part:
    """The head part with other measures; `mesh_m` N×3 are the sitter's landmarks in the same space."""
    points = part.points
    moved = reshape(points, mesh_m, wanted)
    closed = reshape(points + part.blink, mesh_m, wanted) - moved
    return replace(part, points=moved, blink=closed.astype(np.float32))


def reshape(points: Floats, mesh_m: Floats, wanted: Measures) -> Floats:
    """N×3 points moved to the wanted measures: local features first, then the face as a whole."""
    at = _Landmarks.of(mesh_m)
    moved: Floats = points.astype(np.float32).copy()
    _eyes(moved, at, wanted)
    _brows(moved, at, wanted)
    _nose(moved, at, wanted)
    _mouth(moved, at, wanted)
    below = np.maximum(moved[:, 1] - at.eyes[1], 0.0)
    chin = at.chin[1] - at.eyes[1]
    # What is not face (the nape, the neck's foot) is not lengthened further than the chin.
    moved[:, 1] += (wanted.face_length - 1.0) * np.minimum(below, 1.15 * chin)
    share = np.clip(below / chin, 0.0, 1.0)
    wide = 1.0 + (wanted.cheek_width - 1.0) * 0.55 * (1 - share) + (wanted.jaw_width - 1.0) * share
    front = np.clip((at.ear_z + 0.02 - moved[:, 2]) / 0.05, 0.0, 1.0)
    moved[:, 0] = at.eyes[0] + (moved[:, 0] - at.eyes[0]) * (1.0 + (wide - 1.0) * front)
    return moved


@dataclass(frozen=True, slots=True)
class _Landmarks:
    """Where features lie, 3 each, in metres."""

    eye_left: Floats
    eye_right: Floats
    eyes: Floats
    brow_left: Floats
    brow_right: Floats
    nose_top: Floats
    nose_tip: Floats
    nose_base: Floats
    mouth: Floats
    chin: Floats
    ear_z: float

    @classmethod
    def of(cls, mesh_m: Floats) -> _Landmarks:
        left, right = mesh_m[[33, 133]].mean(axis=0), mesh_m[[362, 263]].mean(axis=0)
        return cls(left, right, (left + right) / 2, mesh_m[list(BROWS[0])].mean(axis=0),
                   mesh_m[list(BROWS[1])].mean(axis=0), mesh_m[6], mesh_m[1], mesh_m[2],
                   mesh_m[[61, 291]].mean(axis=0), mesh_m[152], float(mesh_m[[234, 454], 2].mean()))


def _near(points: Floats, centre: Floats, wide: float, high: float) -> Floats:
    """N: 1 at the centre, falling off as a bell with those half-widths in metres."""
    away = ((points[:, 0] - centre[0]) / wide) ** 2 + ((points[:, 1] - centre[1]) / high) ** 2
    return np.asarray(np.exp(-(away**2)), np.float32)


def _eyes(points: Floats, at: _Landmarks, wanted: Measures) -> None:
    half = (at.eye_right[0] - at.eye_left[0]) / 2
    # 0.25 of the measure: the gap between inner corners is about half the distance of the eyes' centres.
    shift = half * (wanted.eye_gap - 1.0) * 0.5
    for centre, sign in ((at.eye_left, -1.0), (at.eye_right, 1.0)):
        near = _near(points, centre, 0.026, 0.020)
        points[:, 1] += near * (points[:, 1] - centre[1]) * (wanted.eye_height - 1.0)
        points[:, 0] += near * sign * shift


def _brows(points: Floats, at: _Landmarks, wanted: Measures) -> None:
    for brow, eye in ((at.brow_left, at.eye_left), (at.brow_right, at.eye_right)):
        height = eye[1] - brow[1]
        points[:, 1] -= _near(points, brow, 0.034, 0.011) * height * (wanted.brow_height - 1.0)


def _nose(points: Floats, at: _Landmarks, wanted: Measures) -> None:
    length = at.nose_base[1] - at.nose_top[1]
    down = np.clip((points[:, 1] - at.nose_top[1]) / length, 0.0, 1.2)
    near = _near(points, np.asarray((at.nose_tip + at.nose_base) / 2, np.float32), 0.021, 0.030)
    points[:, 0] += near * (points[:, 0] - at.nose_tip[0]) * (wanted.nose_width - 1.0)
    points[:, 1] += near * down * length * (wanted.nose_length - 1.0)
    points[:, 2] += near * (wanted.nose_depth - 1.0) * (at.nose_tip[2] - at.mouth[2]) * 0.8


def _mouth(points: Floats, at: _Landmarks, wanted: Measures) -> None:
    near = _near(points, at.mouth, 0.036, 0.016)
    points[:, 0] += near * (points[:, 0] - at.mouth[0]) * (wanted.mouth_width - 1.0)
    points[:, 1] += near * (points[:, 1] - at.mouth[1]) * (wanted.lip_height - 1.0)


def recoloured(portrait: Pixels, mesh: Floats, wanted: Colours) -> Pixels:
    """The portrait with other skin, hair, brows and clothes."""
    size = portrait.shape[:2]
    face = _mask(size, [mesh[list(OVAL), :2]], 2.5)
    neck = _mask(size, [np.array([(180, 140), (184, 184), (222, 192), (258, 184), (268, 140)], np.float32)], 3.0)
    skin = np.maximum(face, neck)
    fringe = _mask(size, [np.array(FRINGE, np.float32)], 1.5)
    skin = skin * (1 - fringe)
    hair = _mask(size, [np.array(HAIR, np.float32)], 2.0) * (1 - skin)
    lab = cv2.cvtColor(portrait, cv2.COLOR_BGR2LAB).astype(np.float32)
    lab += skin[..., None] * np.array(wanted.skin, np.float32) + hair[..., None] * np.array(wanted.hair, np.float32)
    coloured = cv2.cvtColor(np.clip(lab, 0, 255).astype(np.uint8), cv2.COLOR_LAB2BGR)
    coloured = _dressed(coloured, wanted.clothes)
    hairy = _mask(size, [mesh[list(BEARD), :2]], 2.0) - _mask(size, [mesh[list(LIPS), :2]], 0.8)
    stubble = np.random.default_rng(11).normal(1.0, 0.25, size).astype(np.float32)
    growth = (np.clip(hairy, 0.0, 1.0) * np.clip(stubble, 0.4, 1.6) * wanted.beard)[..., None]
    coloured = coloured * (1 - np.float32(0.8) * np.clip(growth, 0.0, 1.0))
    brows = np.zeros(size, np.uint8)
    for brow in BROWS:
        line = np.round(mesh[list(brow), :2] * 16).astype(np.int32)
        cv2.polylines(brows, [line], False, 255, 3, cv2.LINE_AA, 4)
    dark = cv2.GaussianBlur(brows, (0, 0), 1.0).astype(np.float32)[..., None] / 255 * wanted.brows
    out: Pixels = np.round(coloured * (1 - dark) + coloured * np.float32(0.25) * dark).astype(np.uint8)
    return out


def _dressed(picture: Pixels, turn: int) -> Pixels:
    hsv = cv2.cvtColor(picture, cv2.COLOR_BGR2HSV)
    hue = hsv[..., 0]
    rows = np.arange(picture.shape[0])[:, None]
    is_cloth = (hsv[..., 1] > 110) & (rows > 200)
    hsv[..., 0] = np.where(is_cloth, (hue.astype(np.int16) + turn) % 180, hue).astype(np.uint8)
    dressed: Pixels = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    return dressed


def _mask(size: tuple[int, ...], outlines: list[Floats], soft: float) -> Floats:
    mask = np.zeros(size[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(outline).astype(np.int32) for outline in outlines], 255)
    blurred: Floats = cv2.GaussianBlur(mask, (0, 0), soft).astype(np.float32) / 255
    return blurred


def names() -> tuple[str, ...]:
    """The names of the measures, in the order of the columns."""
    return tuple(field.name for field in fields(Measures))
