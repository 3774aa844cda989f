"""Tracks: one face, one id, and no face inherits another one's."""

from __future__ import annotations

import numpy as np
import pytest

from device.face.landmarks import bounds
from device.face.track import ABSENCE_S, MOST_MISSES, MOST_TRACKS, Tracker
from device.face.types import Face

RNG = np.random.default_rng(7)
SHAPE = RNG.uniform((-40, -50, -20), (40, 50, 20), (468, 3)).astype(np.float32)


def face_at(x: float, y: float, size: float = 1.0) -> Face:
    mesh = (SHAPE * size + np.array([x, y, 0], np.float32)).astype(np.float32)
    return Face(bounds(mesh), mesh[:6, :2].copy(), 0.9, mesh, 1.0)


def mesh_at(x: float, y: float, size: float = 1.0) -> np.ndarray:
    mesh = face_at(x, y, size).mesh
    assert mesh is not None
    return mesh


@pytest.fixture
def tracker() -> Tracker:
    return Tracker()


def test_a_walking_face_keeps_its_id(tracker: Tracker) -> None:
    track = tracker.admit(face_at(100, 100), 0.0)
    assert track is not None
    for step in range(1, 40):
        assert tracker.follow(track, mesh_at(100 + 12 * step, 100 + 3 * step, 1 + step / 80), 0.99, step / 30)
    assert [(one.track_id, one.face.track_id) for one in tracker.tracks] == [(1, 1)]
    assert track.face.box.left == pytest.approx(float(mesh_at(568, 217, 1 + 39 / 80)[:, 0].min()), abs=1.0)
    assert not track.is_doubtful


def test_a_jump_is_not_followed(tracker: Tracker) -> None:
    track = tracker.admit(face_at(100, 100), 0.0)
    assert track is not None
    assert not tracker.follow(track, mesh_at(190, 100), 1.0, 1 / 30)
    assert not track.is_seen


def test_a_sudden_change_of_size_is_not_followed(tracker: Tracker) -> None:
    track = tracker.admit(face_at(100, 100), 0.0)
    assert track is not None
    assert not tracker.follow(track, mesh_at(100, 100, 1.8), 1.0, 1 / 30)


def test_what_the_mesh_does_not_see_is_lost_and_soon_over(tracker: Tracker) -> None:
    track = tracker.admit(face_at(100, 100), 10.0)
    assert track is not None
    assert not tracker.follow(track, mesh_at(100, 100), 0.2, 10.0 + 1 / 30)
    tracker.end(10.0 + ABSENCE_S - 0.01)
    assert tracker.tracks == [track]
    tracker.end(10.0 + ABSENCE_S + 0.01)
    assert tracker.tracks == []


def test_an_id_is_never_used_again(tracker: Tracker) -> None:
    ids = []
    for second in range(5):
        track = tracker.admit(face_at(100, 100), float(second))
        assert track is not None
        ids.append(track.track_id)
        tracker.end(second + 0.9)
    assert ids == [1, 2, 3, 4, 5]


def test_a_face_found_again_is_doubtful(tracker: Tracker) -> None:
    track = tracker.admit(face_at(100, 100), 0.0)
    assert track is not None
    tracker.follow(track, mesh_at(100, 100), 0.1, 1 / 30)
    found = face_at(104, 100)
    assert tracker.owner(found) is track
    tracker.find_again(track, found, 2 / 30)
    assert track.is_doubtful
    assert track.is_seen
    assert track.face.track_id == 1


def test_a_renewed_track_has_an_id_of_its_own(tracker: Tracker) -> None:
    track = tracker.admit(face_at(100, 100), 0.0)
    assert track is not None
    track.is_doubtful = True
    tracker.renew(track)
    assert track.track_id == track.face.track_id == 2
    assert not track.is_doubtful


def test_faces_that_pass_each_other_at_a_distance_keep_their_ids(tracker: Tracker) -> None:
    left, right = tracker.admit(face_at(100, 100), 0.0), tracker.admit(face_at(500, 260), 0.0)
    assert left is not None
    assert right is not None
    for step in range(1, 41):
        tracker.follow(left, mesh_at(100 + 10 * step, 100), 1.0, step / 30)
        tracker.follow(right, mesh_at(500 - 10 * step, 260), 1.0, step / 30)
        tracker.part()
    assert [track.track_id for track in tracker.tracks] == [1, 2]
    assert left.face.box.left > right.face.box.left


def test_tracks_that_come_to_lie_on_one_face_both_end(tracker: Tracker) -> None:
    left, right = tracker.admit(face_at(100, 100), 0.0), tracker.admit(face_at(300, 100), 0.0)
    assert left is not None
    assert right is not None
    for step in range(1, 20):
        tracker.follow(left, mesh_at(100 + 10 * step, 100), 1.0, step / 30)
        tracker.follow(right, mesh_at(max(300 - 10 * step, 100 + 10 * step), 100), 1.0, step / 30)
        tracker.part()
    assert tracker.tracks == []
    again = tracker.admit(face_at(200, 100), 1.0)
    assert again is not None
    assert again.track_id == 3


def test_a_tracked_face_is_not_admitted_twice(tracker: Tracker) -> None:
    tracker.admit(face_at(100, 100), 0.0)
    assert tracker.admit(face_at(108, 103), 0.0) is None
    assert tracker.admit(face_at(250, 100), 0.0) is not None


def test_a_crowd_is_tracked_up_to_a_limit(tracker: Tracker) -> None:
    admitted = [tracker.admit(face_at(150.0 * place, 100), 0.0) for place in range(MOST_TRACKS + 2)]
    assert sum(track is not None for track in admitted) == MOST_TRACKS


def test_a_face_that_detection_keeps_missing_ends(tracker: Tracker) -> None:
    track = tracker.admit(face_at(100, 100), 0.0)
    assert track is not None
    for _ in range(MOST_MISSES):
        tracker.end(0.1)
        assert tracker.tracks == [track]
        track.misses += 1
    tracker.end(0.1)
    assert tracker.tracks == []


def test_growth_tells_who_comes_from_who_goes(tracker: Tracker) -> None:
    coming, going = tracker.admit(face_at(100, 100), 0.0), tracker.admit(face_at(500, 100), 0.0)
    assert coming is not None
    assert going is not None
    for step in range(1, 31):
        tracker.follow(coming, mesh_at(100, 100, 1 + 0.01 * step), 1.0, step / 30)
        tracker.follow(going, mesh_at(500, 100, 1 - 0.01 * step), 1.0, step / 30)
    assert 0.15 < coming.growth < 0.35
    assert going.growth < -0.3
