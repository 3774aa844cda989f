"""Detection with the real networks."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from face_scenes import Pixels, head, pasted, room

from device.face.card import Card
from device.face.detect import FULL, SHORT, Detector, anchors, distinct, iou, tiles
from device.face.landmarks import LEAST_PRESENCE
from device.face.models import Models
from device.face.photo import read_photo
from device.face.runtime import Network
from device.face.types import Box, Face


@pytest.fixture(scope="module")
def models(pack: Card) -> Models:
    return Models.load(pack)


def test_anchors_are_as_many_as_the_networks_have_outputs() -> None:
    short, full = anchors(SHORT), anchors(FULL)
    assert short.shape == (896, 2)
    assert full.shape == (2304, 2)
    assert short[0].tolist() == short[1].tolist() == [0.5 / 16, 0.5 / 16]
    assert short[2].tolist() == [1.5 / 16, 0.5 / 16]
    assert short[512].tolist() == short[517].tolist() == [0.5 / 8, 0.5 / 8]
    assert np.allclose(full[49], [1.5 / 48, 1.5 / 48])


@pytest.mark.parametrize("kind", ["short", "full"])
def test_the_portrait_is_found_once_with_its_eyes_in_place(models: Models, portrait: Pixels, kind: str) -> None:
    faces = getattr(models.finder, kind).find(portrait)
    assert len(faces) == 1
    right, left, nose, mouth = faces[0].keypoints[:4].tolist()
    assert np.hypot(right[0] - 203, right[1] - 103) < 8
    assert np.hypot(left[0] - 247, left[1] - 107) < 8
    assert right[1] < nose[1] < mouth[1]
    assert faces[0].score > 0.85


@pytest.mark.parametrize(("width", "height", "left", "top"), [(1280, 720, 900, 150), (480, 640, 20, 300)])
def test_the_letter_box_is_undone(models: Models, portrait: Pixels, width: int, height: int, left: int,
                                  top: int) -> None:
    there = models.finder.find(pasted(room(width, height), head(portrait), left, top, 1.6))
    at_home = models.finder.find(portrait)[0].keypoints
    assert len(there) == 1
    expected = (at_home - (150, 40)) * 1.6 + (left, top)
    assert np.abs(there[0].keypoints - expected)[:4].max() < 12


def test_the_size_of_the_last_frame_leaves_no_trace(pack: Card, portrait: Pixels) -> None:
    used = Detector(Network(pack.path("detector_short")), SHORT)
    tall = np.ascontiguousarray(portrait[:, 100:350])
    used.find(np.full((90, 640, 3), 255, np.uint8))
    used.find(portrait)
    fresh = Detector(Network(pack.path("detector_short")), SHORT)
    one, other = used.find(tall)[0], fresh.find(tall)[0]
    assert one.box == other.box
    assert one.score == other.score


def test_an_empty_room_noise_and_slivers_hold_no_face(models: Models) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (240, 320, 3), np.uint8)
    for picture in (room(), noise, noise[:1, :1], noise[:3], noise[:, :1]):
        assert models.finder.find(np.ascontiguousarray(picture)) == []


def test_two_people_are_two_faces(models: Models, portrait: Pixels) -> None:
    scene = pasted(pasted(room(), head(portrait), 200, 200, 1.5), head(portrait), 800, 150, 1.5)
    faces = models.finder.find(scene)
    assert len(faces) == 2
    assert iou(faces[0].box, faces[1].box) == 0


def test_a_survey_finds_the_small_face_that_a_look_at_the_whole_misses(models: Models, portrait: Pixels) -> None:
    scene = pasted(room(1920, 1080), head(portrait), 1200, 400, 0.75)
    assert models.finder.find_near(scene)[0] == []
    faces = models.finder.survey(scene)
    assert len(faces) == 1
    assert np.hypot(*(faces[0].keypoints[0] - (1200 + 53 * 0.75, 400 + 63 * 0.75))) < 8


def test_tiles_cover_the_whole_picture() -> None:
    for width, height in ((1024, 683), (600, 1920), (513, 513)):
        covered = np.zeros((height, width), bool)
        for left, top, side in tiles(width, height):
            covered[top:top + side, left:left + side] = True
        assert covered.all()
    assert tiles(500, 400) == []


def test_overlap_is_intersection_over_union() -> None:
    assert iou(Box(0, 0, 2, 2), Box(1, 0, 2, 2)) == pytest.approx(1 / 3)
    assert iou(Box(0, 0, 2, 2), Box(2, 0, 2, 2)) == 0


def test_of_overlapping_faces_the_first_stays() -> None:
    points = np.zeros((6, 2), np.float32)
    places = (Box(0, 0, 10, 10), Box(1, 1, 10, 10), Box(40, 0, 9, 9))
    faces = [Face(place, points, 0.9) for place in places]
    assert distinct(faces) == [faces[0], faces[2]]


@pytest.mark.data
def test_ninety_five_of_a_hundred_faces_of_photos_are_found(models: Models, data_dir: Path) -> None:
    folder, found, total = data_dir / "detection", 0, 0
    faces: dict[str, list[Face]] = {}
    with (folder / "boxes.csv").open(newline="") as lines:
        for row in csv.DictReader(lines):
            name = row["image"]
            if name not in faces:
                faces[name] = models.finder.survey(read_photo(folder / name))
            truth = Box(*(float(row[key]) for key in ("left", "top", "width", "height")))
            found += any(iou(face.box, truth) >= 0.35 for face in faces[name])
            total += 1
    assert total == 63
    assert found / total >= 0.95


@pytest.mark.data
def test_photos_without_people_hold_at_most_one_face_in_a_hundred(models: Models, data_dir: Path) -> None:
    photos = sorted((data_dir / "no_face" / "easy").iterdir())
    found = 0
    for picture in map(read_photo, photos):
        faces = [models.landmarks.of_face(picture, face) for face in models.finder.survey(picture)]
        found += sum(face.presence >= LEAST_PRESENCE for face in faces)
    assert found / len(photos) <= 0.01
