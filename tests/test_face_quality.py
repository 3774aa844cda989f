"""Quality: each gate is failed by a picture that deserves it, and by no other reason first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from face_scenes import Pixels, head, pasted, room

from device.face.card import Card
from device.face.models import Models
from device.face.photo import read_photo
from device.face.portrait import explain
from device.face.quality import DOOR, ENROLMENT, HINTS, Inspector, completeness, judged, pose
from device.face.types import Face, Quality
from device.sighting import Hint

MASK = [234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 454, 346,
        330, 280, 195, 50, 101, 117]
RIGHT_GLASS = [70, 63, 105, 66, 107, 55, 193, 122, 196, 236, 126, 100, 101, 118, 117, 111, 143, 156]
LEFT_GLASS = [300, 293, 334, 296, 336, 285, 417, 351, 419, 456, 355, 329, 330, 347, 346, 340, 372, 383]


@pytest.fixture(scope="module")
def models(pack: Card) -> Models:
    return Models.load(pack)


def inspect(models: Models, picture: Pixels, gates: object = ENROLMENT) -> Quality:
    face = models.landmarks.of_face(picture, models.finder.find(picture)[0])
    return Inspector(gates).inspect(picture, face)  # type: ignore[arg-type]


def covered(models: Models, picture: Pixels, parts: list[list[int]], colour: tuple[int, int, int]) -> Pixels:
    """The picture with the hulls of those landmarks painted over, shaded and noisy as cloth is."""
    mesh = models.landmarks.of_face(picture, models.finder.find(picture)[0]).mesh
    assert mesh is not None
    mask = np.zeros(picture.shape[:2], np.uint8)
    for part in parts:
        cv2.fillConvexPoly(mask, cv2.convexHull(mesh[part, :2].astype(np.float32)).astype(np.int32), 255)
    noise = np.random.default_rng(2).normal(0, 3, picture.shape)
    shade = np.linspace(1.1, 0.8, len(picture))[:, None, None]
    cloth = np.clip(np.array(colour) * shade + noise, 0, 255).astype(np.uint8)
    return np.where(cv2.GaussianBlur(mask, (3, 3), 0)[:, :, None] > 127, cloth, picture)


def test_a_good_portrait_passes_every_gate(models: Models, portrait: Pixels) -> None:
    quality = inspect(models, portrait)
    assert quality.is_usable
    assert quality.reasons == ()
    assert quality.hint is Hint.NONE
    assert quality.completeness == 1.0
    assert quality.value > 0.3
    assert abs(quality.yaw) < 8
    assert abs(quality.pitch) < 12
    assert set(quality.occlusion) == {"eyes", "nose", "mouth", "chin", "cheeks"}
    assert max(quality.occlusion.values()) < 0.3


@pytest.mark.parametrize(("reason", "hint", "spoil"), [
    ("too_dark", Hint.MORE_LIGHT, lambda p: (p * 0.08).astype(np.uint8)),
    ("too_bright", Hint.LESS_LIGHT, lambda p: np.clip(p.astype(int) + 65, 0, 255).astype(np.uint8)),
    ("no_contrast", Hint.MORE_LIGHT, lambda p: (p * 0.12 + 110).astype(np.uint8)),
    ("blurred", Hint.HOLD_STILL, lambda p: cv2.GaussianBlur(p, (0, 0), 3)),
    ("blurred", Hint.HOLD_STILL, lambda p: cv2.filter2D(p, -1, np.ones((1, 15), np.float32) / 15)),
    ("blurred", Hint.HOLD_STILL, lambda p: cv2.filter2D(p, -1, np.ones((15, 1), np.float32) / 15)),
    ("head_tilted", Hint.LOOK_AT_CAMERA, lambda p: cv2.warpAffine(
        p, cv2.getRotationMatrix2D((225, 125), -40, 1), (512, 512), borderMode=cv2.BORDER_REPLICATE)),
    ("too_far", Hint.COME_CLOSER, lambda p: cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)),
    ("cut_off", Hint.SHOW_WHOLE_FACE, lambda p: np.ascontiguousarray(p[:, 205:])),
])
def test_a_spoilt_picture_fails_for_its_own_reason(models: Models, portrait: Pixels, reason: str, hint: Hint,
                                                   spoil: object) -> None:
    quality = inspect(models, spoil(portrait))  # type: ignore[operator]
    assert reason in quality.reasons
    assert not quality.is_usable
    if reason != "no_contrast":
        assert quality.hint is hint


def test_a_face_before_the_lens_is_asked_to_step_back(models: Models, portrait: Pixels) -> None:
    quality = inspect(models, portrait, replace(DOOR, max_interocular_px=40.0))
    assert quality.reasons == ("too_near",)
    assert quality.hint is Hint.STEP_BACK


@pytest.mark.parametrize(("parts", "colour", "region"), [
    ([RIGHT_GLASS, LEFT_GLASS], (20, 18, 18), "eyes"),
    ([RIGHT_GLASS], (20, 18, 18), "eyes"),
    ([RIGHT_GLASS, LEFT_GLASS], (60, 70, 90), "eyes"),
    ([MASK], (225, 225, 225), "mouth"),
    ([MASK], (205, 175, 125), "nose"),
    ([MASK], (205, 175, 125), "chin"),
    ([MASK], (150, 170, 205), "mouth"),
])
def test_covers_are_seen_where_they_are(models: Models, portrait: Pixels, parts: list[list[int]],
                                        colour: tuple[int, int, int], region: str) -> None:
    large = cv2.resize(portrait, None, fx=1.5, fy=1.5, interpolation=cv2.INTER_CUBIC)
    quality = inspect(models, covered(models, large, parts, colour), DOOR)
    assert quality.occlusion[region] > 0.6
    assert not quality.is_usable
    assert quality.hint is Hint.SHOW_WHOLE_FACE
    if region == "eyes":
        assert max(quality.occlusion[free] for free in ("nose", "chin", "cheeks")) < 0.3
    else:
        assert quality.occlusion["eyes"] < 0.3


@pytest.mark.parametrize("change", [
    lambda p: cv2.cvtColor(cv2.cvtColor(p, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR),
    lambda p: cv2.GaussianBlur(p, (0, 0), 2.5),
    lambda p: (p * 0.4).astype(np.uint8),
    lambda p: np.clip(p * np.array([1.25, 1.0, 0.8]), 0, 255).astype(np.uint8),
])
def test_grey_blurred_dark_and_tinted_faces_are_not_covered(models: Models, portrait: Pixels, change: object) -> None:
    quality = inspect(models, change(portrait), DOOR)  # type: ignore[operator]
    assert "covered" not in quality.reasons


def test_a_moustache_and_a_beard_are_no_cover(models: Models, portrait: Pixels) -> None:
    large = cv2.resize(portrait, None, fx=1.5, fy=1.5, interpolation=cv2.INTER_CUBIC)
    beard = [172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 406, 313, 18, 83, 182]
    moustache = [164, 167, 165, 92, 40, 39, 37, 0, 267, 269, 270, 322, 391, 393]
    quality = inspect(models, covered(models, large, [beard, moustache], (35, 33, 32)), DOOR)
    assert "covered" not in quality.reasons


def turned(yaw: float = 0.0, pitch: float = 0.0) -> np.ndarray:
    """Four landmarks of a level head, turned as the signs of Quality say; x right, y down, z away."""
    mesh = np.zeros((468, 3), np.float32)
    mesh[234], mesh[454], mesh[10], mesh[152] = (-70, 0, 0), (70, 0, 0), (0, -90, 0), (0, 90, 0)
    mesh[33], mesh[263], mesh[1] = (-45, -30, -10), (45, -30, -10), (0, 20, -60)
    y, p = np.radians(yaw), np.radians(pitch)
    # The nose points towards the camera (-z): looking to the image's right moves it to +x, looking up to -y.
    side = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    up = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    return (mesh @ (side @ up).T).astype(np.float32)


def test_yaw_is_positive_to_the_images_right() -> None:
    mesh = turned(yaw=25)
    assert mesh[1, 0] > 0
    assert pose(mesh)[0] == pytest.approx(25, abs=0.1)
    assert pose(turned(yaw=-40))[0] == pytest.approx(-40, abs=0.1)


def test_pitch_is_positive_upwards() -> None:
    level = pose(turned())[1]
    mesh = turned(pitch=20)
    assert mesh[1, 1] < turned()[1, 1]
    assert pose(mesh)[1] - level == pytest.approx(20, abs=0.1)


def test_roll_is_positive_clockwise_in_a_real_picture(models: Models, portrait: Pixels) -> None:
    upright = inspect(models, portrait).roll
    clockwise = cv2.warpAffine(portrait, cv2.getRotationMatrix2D((225, 125), -20, 1), (512, 512),
                               borderMode=cv2.BORDER_REPLICATE)
    assert inspect(models, clockwise).roll - upright == pytest.approx(20, abs=3)


def test_half_a_face_is_half_complete() -> None:
    mesh = np.zeros((468, 3), np.float32)
    mesh[:, 1] = 50
    mesh[:234, 0] = -5
    assert completeness(np.zeros((100, 100, 3), np.uint8), mesh) == 0.5


def test_a_face_without_landmarks_is_not_usable(models: Models, portrait: Pixels) -> None:
    quality = Inspector(DOOR).inspect(portrait, models.finder.find(portrait)[0])
    assert quality.reasons == ("no_landmarks",)


def test_a_doubtful_mesh_is_not_usable(models: Models, portrait: Pixels) -> None:
    face = models.landmarks.of_face(portrait, models.finder.find(portrait)[0])
    assert Inspector(DOOR).inspect(portrait, replace(face, presence=0.8)).reasons == ("no_landmarks",)


def test_a_worse_picture_has_a_lower_value(models: Models, portrait: Pixels) -> None:
    values = [inspect(models, picture, DOOR).value for picture in (
        portrait, cv2.GaussianBlur(portrait, (0, 0), 1.5), cv2.GaussianBlur(portrait, (0, 0), 3))]
    assert values == sorted(values, reverse=True)
    assert values[0] > 2 * values[2]


def test_every_reason_has_a_hint_and_words(models: Models, portrait: Pixels) -> None:
    good = inspect(models, portrait)
    for reason in HINTS:
        words = explain(replace(good, reasons=(reason,)), ENROLMENT)
        assert "\n" not in words
        assert len(words) > 20
    assert all(hint is not Hint.NONE for hint in HINTS.values())


def test_gates_decide_nothing_but_the_verdict(models: Models, portrait: Pixels) -> None:
    strict = inspect(models, portrait, replace(ENROLMENT, min_interocular_px=99.0))
    assert judged(strict, DOOR).is_usable
    assert strict.interocular_px == judged(strict, DOOR).interocular_px


def test_a_small_face_far_off_in_a_frame_is_too_far(models: Models, portrait: Pixels) -> None:
    scene = pasted(room(640, 360), head(portrait), 300, 100, 0.45)
    assert inspect(models, scene, replace(DOOR, min_interocular_px=32.0)).hint is Hint.COME_CLOSER


@pytest.mark.data
def test_hardly_any_ordinary_photo_is_refused_at_the_door(models: Models, data_dir: Path) -> None:
    photos = sorted(data_dir.glob("lfw/*/*_0001.jpg"))[::25]
    usable = []
    for photo in photos:
        picture = read_photo(photo)
        faces: list[Face] = models.finder.find(picture)
        face = models.landmarks.of_face(picture, max(faces, key=lambda face: face.box.area))
        usable.append(Inspector(DOOR).inspect(picture, face).is_usable)
    assert len(photos) > 100
    assert np.mean(usable) >= 0.97
