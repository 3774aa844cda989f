"""Vectors from chips, with both packs."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from face_scenes import Pixels

from device.errors import ModelMismatch
from device.face.card import Card
from device.face.extract import Extractor, unit
from device.face.models import Models
from device.face.runtime import Network


@pytest.fixture(scope="module", params=["pack", "dlib_pack"])
def models(request: pytest.FixtureRequest) -> Models:
    return Models.load(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def chip(models: Models, portrait: Pixels) -> Pixels:
    mesh = models.landmarks.of_face(portrait, models.finder.find(portrait)[0]).mesh
    assert mesh is not None
    return models.aligner.chip(portrait, mesh)


@pytest.mark.parametrize("mirror", [False, True])
def test_a_vector_has_the_cards_dimensions_at_unit_length(models: Models, chip: Pixels, mirror: bool) -> None:
    vector = models.extractor.vector(chip, mirror)
    assert vector is not None
    assert vector.shape == (models.card.recogniser.dimensions,)
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-6)


def test_a_mirror_mean_is_the_same_for_the_mirrored_face(models: Models, chip: Pixels) -> None:
    flipped = np.ascontiguousarray(chip[:, ::-1])
    one, other = models.extractor.vector(chip, True), models.extractor.vector(flipped, True)
    single, flipped_single = models.extractor.vector(chip, False), models.extractor.vector(flipped, False)
    assert one is not None
    assert other is not None
    assert single is not None
    assert flipped_single is not None
    assert np.allclose(one, other, atol=1e-5)
    assert not np.allclose(single, flipped_single, atol=1e-3)


def test_the_mirror_mean_is_taken_as_the_card_says(models: Models, chip: Pixels) -> None:
    network = Network(models.card.path("recogniser"))
    rgb = cv2.cvtColor(chip, cv2.COLOR_BGR2RGB).astype(np.float32)
    raw = [network.run(np.ascontiguousarray(picture)[None])[0].reshape(-1).copy() for picture in (rgb, rgb[:, ::-1])]
    if models.card.recogniser.mirror == "unit":
        raw = [vector / np.linalg.norm(vector) for vector in raw]
    expected = (raw[0] + raw[1]) / np.linalg.norm(raw[0] + raw[1])
    found = models.extractor.vector(chip, True)
    assert found is not None
    assert np.allclose(found, expected, atol=1e-5)


def test_vectors_do_not_overwrite_each_other(models: Models, chip: Pixels) -> None:
    first = models.extractor.vector(chip, False)
    assert first is not None
    kept = first.copy()
    models.extractor.vector(np.zeros_like(chip), False)
    assert np.array_equal(first, kept)


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf, 1e-12])
def test_what_has_no_direction_is_no_vector(bad: float) -> None:
    assert unit(np.full(192, bad, np.float32)) is None


def test_one_bad_value_spoils_a_vector() -> None:
    vector = np.ones(192, np.float32)
    vector[7] = np.nan
    assert unit(vector) is None


def test_a_network_of_another_size_is_refused(pack: Card) -> None:
    with pytest.raises(ModelMismatch, match="its card says"):
        Extractor(Network(pack.path("mesh")), pack.recogniser)
