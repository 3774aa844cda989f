"""Alignment: least squares, warps and their inverses."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from face_scenes import Pixels

from device.face.align import FIVE_POINTS, Aligner, inverse, similarity, warp
from device.face.card import Card
from device.face.models import Models

TEMPLATE = np.array(FIVE_POINTS.template_xy)


def test_a_known_similarity_is_found_again() -> None:
    a, b, x, y = 1.7, -0.6, 33.0, -12.0
    target = TEMPLATE @ np.array([[a, b], [-b, a]]) + (x, y)
    assert np.allclose(similarity(TEMPLATE, target), [[a, -b, x], [b, a, y]])


def test_the_fit_is_the_least_of_squares() -> None:
    rng = np.random.default_rng(4)
    target = TEMPLATE * 1.3 + 20 + rng.normal(0, 4, TEMPLATE.shape)
    best = similarity(TEMPLATE, target)

    def error(matrix: np.ndarray) -> float:
        return float(((TEMPLATE @ matrix[:, :2].T + matrix[:, 2] - target) ** 2).sum())

    for _ in range(50):
        a, b = best[0, 0] + rng.normal(0, 0.02), best[1, 0] + rng.normal(0, 0.02)
        other = np.array([[a, -b, best[0, 2] + rng.normal()], [b, a, best[1, 2] + rng.normal()]])
        assert error(best) <= error(other)


def test_a_mirrored_face_is_never_unmirrored() -> None:
    mirrored = TEMPLATE * (-1, 1)
    assert np.linalg.det(similarity(TEMPLATE, mirrored)[:, :2]) >= 0


def test_points_that_coincide_give_no_nan() -> None:
    assert np.isfinite(similarity(np.zeros((5, 2)), TEMPLATE)).all()


def test_the_cards_geometry_is_the_usual_one_for_the_default_pack(pack: Card, dlib_pack: Card) -> None:
    assert Aligner(pack.recogniser).geometry == Aligner(FIVE_POINTS).geometry
    assert Aligner(dlib_pack.recogniser).geometry != Aligner(FIVE_POINTS).geometry


@pytest.mark.parametrize("which", ["pack", "dlib_pack"])
def test_the_chip_has_the_landmarks_where_the_template_wants_them(which: str, portrait: Pixels,
                                                                  request: pytest.FixtureRequest) -> None:
    models = Models.load(request.getfixturevalue(which))
    mesh = models.landmarks.of_face(portrait, models.finder.find(portrait)[0]).mesh
    assert mesh is not None
    recogniser = models.card.recogniser
    places = inverse(models.aligner.matrix(mesh), mesh)
    for indices, wanted in zip(recogniser.points, recogniser.template_xy, strict=True):
        assert np.abs(places[list(indices)].mean(axis=0) - wanted).max() < 0.065 * recogniser.size
    assert models.aligner.chip(portrait, mesh).shape == (recogniser.size, recogniser.size, 3)


def test_a_warp_reads_the_frame_at_the_matrix() -> None:
    y, x = np.mgrid[0:80, 0:100]
    picture = np.repeat((x + y).astype(np.uint8)[:, :, None], 3, axis=2)
    chip = warp(picture, np.array([[1.0, 0, 10], [0, 1.0, 20]]), 32, cv2.BORDER_CONSTANT)
    assert chip[3, 5, 0] == 10 + 5 + 20 + 3


def test_shrinking_halves_first_so_that_nothing_aliases() -> None:
    stripes = np.zeros((800, 800, 3), np.uint8)
    stripes[:, ::2] = 255
    chip = warp(stripes, np.array([[6.0, 0, 40], [0, 6.0, 40]]), 100, cv2.BORDER_CONSTANT)
    assert chip.min() >= 118
    assert chip.max() <= 137


@pytest.mark.parametrize("step", [1.9, 2.1, 4.3, 9.0])
def test_halving_moves_nothing(step: float) -> None:
    y, x = np.mgrid[0:1100, 0:1100]
    ramp = np.repeat((x * 0.1 + y * 0.12).astype(np.uint8)[:, :, None], 3, axis=2)
    chip = warp(ramp, np.array([[step, 0, 50.0], [0, step, 60.0]]), 100, cv2.BORDER_CONSTANT)
    v, u = np.mgrid[0:100, 0:100]
    expected = (u * step + 50) * 0.1 + (v * step + 60) * 0.12
    assert np.abs(chip[:, :, 0] + 0.5 - expected).mean() < 0.5


def test_outside_the_frame_a_chip_is_black() -> None:
    white = np.full((200, 200, 3), 255, np.uint8)
    for step in (1.0, 5.0):
        chip = warp(white, np.array([[step, 0, -50 * step], [0, step, 0.0]]), 112, cv2.BORDER_CONSTANT)
        assert chip[10, :40].max() == 0
        assert chip[10, 60:80].min() == 255
    assert warp(white, np.array([[5.0, 0, 900], [0, 5.0, 900]]), 112, cv2.BORDER_CONSTANT).max() == 0
