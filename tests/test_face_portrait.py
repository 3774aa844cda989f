"""Stills: what enrolment, `identify` and evaluation see."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from face_scenes import Pixels, head, pasted, room

from device.errors import EnrolmentRefused
from device.face.card import Card
from device.face.models import Models
from device.face.portrait import Examiner, explain
from device.face.quality import DOOR, ENROLMENT


@pytest.fixture(scope="module")
def examiner(pack: Card) -> Examiner:
    return Examiner(Models.load(pack), ENROLMENT)


def test_the_only_face_becomes_a_probe(examiner: Examiner, pack: Card, portrait: Pixels) -> None:
    probe = examiner.one(portrait, "portrait.png")
    assert probe.model_id == pack.model_id
    assert probe.vector.shape == (pack.recogniser.dimensions,)
    assert np.linalg.norm(probe.vector) == pytest.approx(1.0, abs=1e-6)
    assert probe.quality.is_usable


def test_the_same_face_elsewhere_and_larger_gives_nearly_the_same_vector(examiner: Examiner,
                                                                         portrait: Pixels) -> None:
    there = pasted(room(900, 700), head(portrait), 321.3, 200.7, 1.4)
    assert float(examiner.one(portrait, "a").vector @ examiner.one(there, "b").vector) > 0.93


def test_no_face_is_refused_by_name(examiner: Examiner) -> None:
    with pytest.raises(EnrolmentRefused, match=r"^room\.png: no face found"):
        examiner.one(room(), "room.png")


def test_two_faces_are_refused(examiner: Examiner, portrait: Pixels) -> None:
    scene = pasted(pasted(room(), head(portrait), 200, 200, 2), head(portrait), 800, 150, 1.5)
    with pytest.raises(EnrolmentRefused, match="2 faces"):
        examiner.one(scene, "two.png")


def test_a_face_far_behind_does_not_count(examiner: Examiner, portrait: Pixels) -> None:
    scene = pasted(pasted(room(), head(portrait), 200, 100, 2.5), head(portrait), 1000, 200, 0.7)
    assert len(examiner.survey(scene)) == 2
    assert examiner.one(scene, "a").quality.is_usable


@pytest.mark.parametrize(("words", "spoil"), [
    ("blurred", lambda p: cv2.GaussianBlur(p, (0, 0), 3)),
    ("too dark", lambda p: (p * 0.2).astype(np.uint8)),
    ("between the eyes", lambda p: cv2.resize(p, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)),
])
def test_a_poor_picture_is_refused_with_the_reason(examiner: Examiner, portrait: Pixels, words: str,
                                                   spoil: object) -> None:
    with pytest.raises(EnrolmentRefused, match=words) as refusal:
        examiner.one(spoil(portrait), "poor.png")  # type: ignore[operator]
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).startswith("poor.png: ")


def test_a_face_of_which_a_little_is_missing_is_not_said_to_be_whole(examiner: Examiner, portrait: Pixels) -> None:
    whole = examiner.survey(portrait)[0].quality
    cut = replace(whole, completeness=467 / 468, reasons=("cut_off",))
    assert explain(cut, ENROLMENT).startswith("only 99% of the face")


def test_every_face_is_examined_the_largest_first(examiner: Examiner, portrait: Pixels) -> None:
    scene = pasted(pasted(room(), head(portrait), 100, 300, 0.9), head(portrait), 700, 100, 2)
    findings = examiner.examine(scene)
    assert len(findings) == 2
    assert findings[0].face.box.area > findings[1].face.box.area
    assert all(finding.probe is not None for finding in findings)


def test_a_poor_face_is_examined_all_the_same(examiner: Examiner, portrait: Pixels) -> None:
    finding, = examiner.examine(cv2.GaussianBlur(portrait, (0, 0), 3))
    assert not finding.quality.is_usable
    assert finding.probe is not None


def test_survey_gives_no_vectors(examiner: Examiner, portrait: Pixels) -> None:
    assert [finding.probe for finding in examiner.survey(portrait)] == [None]


def test_without_mirror_the_vector_differs_a_little(pack: Card, portrait: Pixels) -> None:
    models = Models.load(pack)
    one, two = (Examiner(models, DOOR, mirror=mirror).one(portrait, "a").vector for mirror in (False, True))
    assert 0.9 < float(one @ two) < 0.99999


def test_pictures_of_a_few_pixels_hold_no_face(examiner: Examiner) -> None:
    for shape in ((1, 1, 3), (2, 900, 3), (900, 1, 3)):
        assert examiner.examine(np.zeros(shape, np.uint8)) == []
