from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from rehearsal_samples import mesh_of, people, seen, stage, vector_of

from device.errors import PictureRefused
from device.face.quality import pose as measured_pose
from device.rehearsal import reshape
from device.rehearsal.figure import posed
from device.rehearsal.head import Scale
from device.rehearsal.light import DAY
from device.rehearsal.people import SITTER, STRANGERS, People, people_of
from device.rehearsal.pose import Pose
from device.rehearsal.render import Texture, draw
from device.rehearsal.stage import Person, Pixels, View, enrolment_photo, png

NEAR = Pose(z=0.8)


def shot(pose: Pose, name: str = SITTER) -> Pixels:
    return stage().render(View((Person(name, pose),)), 0)


def opening(mesh: np.ndarray, upper: int, lower: int, left: int, right: int) -> float:
    """Height over width of eye or mouth."""
    return float(np.linalg.norm(mesh[upper, :2] - mesh[lower, :2]) / np.linalg.norm(mesh[left, :2] - mesh[right, :2]))


def test_the_nose_moves_more_than_the_ears_when_the_head_turns() -> None:
    before = posed(people().figure(SITTER), NEAR, DAY)[1].points
    after = posed(people().figure(SITTER), replace(NEAR, yaw=15.0), DAY)[1].points
    lens = stage().lens
    moved = np.abs(lens.project(after) - lens.project(before))[:, 0]
    face = slice(len(before) - _face_points(), None)
    mesh_moved = moved[face]
    assert mesh_moved[1] > 2.5 * max(mesh_moved[234], mesh_moved[454])


def test_the_rendered_head_is_no_plane() -> None:
    """No homography explains a turn: the nose is left over by far more than the mesh's own error."""
    a, b = mesh_of(shot(replace(NEAR, yaw=-12.0)))[:, :2], mesh_of(shot(replace(NEAR, yaw=12.0)))[:, :2]
    plane, _ = cv2.findHomography(a, b, 0)
    left = np.linalg.norm(cv2.perspectiveTransform(a[:, None], plane)[:, 0] - b, axis=1)
    assert left.max() > 0.04 * np.ptp(b[:, 0])


@pytest.mark.parametrize(("yaw", "pitch", "roll"), [(20.0, 0.0, 0.0), (-20.0, 0.0, 0.0), (0.0, 12.0, 0.0),
                                                   (0.0, -12.0, 0.0), (0.0, 0.0, 14.0)])
def test_the_mesh_measures_the_pose_that_was_rendered(yaw: float, pitch: float, roll: float) -> None:
    rest = np.array(measured_pose(mesh_of(shot(NEAR))))
    found = np.array(measured_pose(mesh_of(shot(replace(NEAR, yaw=yaw, pitch=pitch, roll=roll))))) - rest
    assert np.abs(found - (yaw, pitch, roll)).max() < 9.0
    assert found @ (yaw, pitch, roll) > 0


def test_closed_eyes_are_seen_as_closed() -> None:
    open_eyes, closed = mesh_of(shot(NEAR)), mesh_of(shot(replace(NEAR, blink=1.0)))
    for upper, lower, left, right in ((159, 145, 33, 133), (386, 374, 362, 263)):
        assert opening(closed, upper, lower, left, right) < 0.8 * opening(open_eyes, upper, lower, left, right)


def test_an_open_mouth_is_seen_as_open() -> None:
    shut, wide = mesh_of(shot(NEAR)), mesh_of(shot(replace(NEAR, mouth=1.0)))
    assert opening(wide, 13, 14, 78, 308) > opening(shut, 13, 14, 78, 308) + 0.15


@pytest.mark.parametrize("pose", [NEAR, replace(NEAR, yaw=25.0), replace(NEAR, yaw=-25.0), replace(NEAR, pitch=13.0),
                                  replace(NEAR, pitch=-11.0), replace(NEAR, mouth=1.0)])
def test_a_head_has_no_holes(pose: Pose) -> None:
    shape = np.zeros((480, 640, 3), np.uint8)
    for surface in posed(people().figure(SITTER), pose, DAY):
        blank = Texture.of(np.full_like(surface.texture.levels[0], 255))
        draw(shape, replace(surface, texture=blank, shade=np.ones_like(surface.shade)), stage().lens)
    outlines, _ = cv2.findContours(shape[..., 0] // 128, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0:2]
    holes = [outline for outline in outlines if cv2.contourArea(outline, True) > 0 and len(outline) > 12]
    filled = np.zeros((480, 640), np.uint8)
    cv2.drawContours(filled, [max(outlines, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    assert int(filled.sum()) - int((shape[..., 0] >= 128).sum()) < 30, holes


def test_the_enrolment_photo_shows_the_person_of_the_portrait() -> None:
    photo = enrolment_photo(people())
    assert photo.shape == (1280, 960, 3)
    assert vector_of(photo) @ vector_of(people().portrait) > 0.65
    assert vector_of(photo) @ vector_of(shot(replace(NEAR, yaw=10.0))) > 0.65


def test_the_stranger_of_the_rehearsal_is_somebody_else() -> None:
    enrolled = vector_of(enrolment_photo(people()))
    assert all(enrolled @ vector_of(shot(replace(NEAR, yaw=yaw), STRANGERS[0])) < 0.40 for yaw in (-15.0, 0.0, 15.0))


def test_strangers_differ_from_one_another_in_six_of_eleven_measures() -> None:
    rows = [reshape.row(number) for number in range(1, len(STRANGERS) + 1)]
    assert len(set(rows)) == 11
    for a in range(11):
        for b in range(a):
            assert sum(x != y for x, y in zip(rows[a], rows[b], strict=True)) == 6


def test_unchanged_measures_leave_the_head_as_it_is() -> None:
    scale = Scale(people().mesh)
    points = scale.head(people().mesh)
    assert np.allclose(reshape.reshape(points, points, reshape.Measures()), points, atol=1e-7)


@pytest.mark.parametrize("measure", reshape.names())
def test_each_measure_changes_the_face(measure: str) -> None:
    points = Scale(people().mesh).head(people().mesh)
    wide = reshape.reshape(points, points, replace(reshape.Measures(), **{measure: 1.24}))
    assert np.linalg.norm(wide - points, axis=1).max() > 0.001


def test_a_portrait_without_a_face_is_refused() -> None:
    from rehearsal_samples import models

    blank = png(np.full((512, 512, 3), 120, np.uint8))
    with pytest.raises(PictureRefused, match="no face"):
        people_of(blank, models().finder, models().landmarks)
    with pytest.raises(PictureRefused, match="cannot be decoded"):
        people_of(b"", models().finder, models().landmarks)
    with pytest.raises(PictureRefused, match="512"):
        People(np.zeros((10, 10, 3), np.uint8), people().mesh)


def test_everyone_is_seen_as_a_face() -> None:
    assert all(seen(shot(NEAR, name)) is not None for name in (SITTER, *STRANGERS))


def _face_points() -> int:
    """How many points at the end of the head's part are the face's and the lids'."""
    from device.rehearsal.head import face, lids

    scale = Scale(people().mesh)
    return len(face(people().mesh, scale).points) + len(lids(people().mesh, scale).points)
