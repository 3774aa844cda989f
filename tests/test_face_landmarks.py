"""The face mesh on real and turned pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from face_scenes import Pixels, head, pasted, room

from device.face.card import Card
from device.face.landmarks import LEAST_PRESENCE, Roi, bounds, interocular_px, keypoints, roi_of_face, roi_of_mesh
from device.face.models import Models
from device.face.types import Face


@pytest.fixture(scope="module")
def models(pack: Card) -> Models:
    return Models.load(pack)


@pytest.fixture(scope="module")
def face(models: Models, portrait: Pixels) -> Face:
    return models.landmarks.of_face(portrait, models.finder.find(portrait)[0])


def test_a_face_has_468_landmarks_where_the_detector_sees_it(face: Face) -> None:
    assert face.mesh is not None
    assert face.mesh.shape == (468, 3)
    assert face.presence > 0.99
    assert np.abs(keypoints(face.mesh)[:4] - face.keypoints[:4]).max() < 8
    assert interocular_px(face.mesh) == pytest.approx(43, abs=1.5)


def test_a_wall_is_no_face(models: Models) -> None:
    _, presence = models.landmarks.look(room(), Roi(600, 300, 200, 0.0))
    assert presence < LEAST_PRESENCE


@pytest.mark.parametrize("scale", [0.8, 2.5, 5.0])
def test_landmarks_scale_with_the_picture_to_a_fraction_of_a_pixel(models: Models, portrait: Pixels, face: Face,
                                                                   scale: float) -> None:
    assert face.mesh is not None
    # cv2.resize keeps continuous coordinates: x becomes x · scale, pixel centres at .5.
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    larger = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=way)
    roi = roi_of_mesh(face.mesh)
    mesh, _ = models.landmarks.look(larger, Roi(roi.x * scale, roi.y * scale, roi.side * scale, roi.angle))
    here, _ = models.landmarks.look(portrait, roi)
    error = mesh / scale - here
    assert np.abs(error[:, :2].mean(axis=0)).max() < 0.2
    assert np.abs(error[:, :2]).mean() < 0.25


@pytest.mark.parametrize("degrees", [-30, 25, 50])
def test_a_turned_picture_gives_turned_landmarks(models: Models, portrait: Pixels, face: Face,
                                                 degrees: float) -> None:
    assert face.mesh is not None
    turn = cv2.getRotationMatrix2D((225.0, 125.0), -degrees, 1.0)
    turned = cv2.warpAffine(portrait, turn, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    found = models.landmarks.of_face(turned, models.finder.find(turned)[0])
    assert found.mesh is not None
    expected = face.mesh[:, :2] @ turn[:, :2].T + turn[:, 2]
    assert np.abs(found.mesh[:, :2] - expected).mean() < 2.0
    assert np.degrees(roi_of_mesh(found.mesh).angle - roi_of_mesh(face.mesh).angle) == pytest.approx(degrees, abs=3)


def test_the_square_of_the_next_frame_holds_the_same_face(models: Models, portrait: Pixels, face: Face) -> None:
    assert face.mesh is not None
    moved = pasted(room(512, 512), head(portrait), 153, 44)
    mesh, presence = models.landmarks.look(moved, roi_of_mesh(face.mesh))
    assert presence > 0.99
    assert np.abs((mesh - face.mesh)[:, :2].mean(axis=0) - (3, 4)).max() < 1.5


def test_the_square_of_a_box_is_one_and_a_half_times_as_large(face: Face) -> None:
    roi = roi_of_face(face)
    assert roi.side == pytest.approx(1.5 * max(face.box.width, face.box.height))
    assert (roi.x, roi.y) == (pytest.approx(face.box.left + face.box.width / 2),
                              pytest.approx(face.box.top + face.box.height / 2))


@pytest.mark.parametrize("roi", [Roi(-400, 90, 150, 0.3), Roi(5, 5, 3000, 1.0), Roi(220, 120, 0.5, 0.0)])
def test_squares_outside_the_frame_huge_or_tiny_do_no_harm(models: Models, portrait: Pixels, roi: Roi) -> None:
    mesh, presence = models.landmarks.look(portrait, roi)
    assert np.isfinite(mesh).all()
    assert 0 <= presence <= 1


def test_bounds_hold_every_landmark(face: Face) -> None:
    assert face.mesh is not None
    box = bounds(face.mesh)
    assert box.left == face.mesh[:, 0].min()
    assert box.top + box.height == pytest.approx(float(face.mesh[:, 1].max()))
