"""Motion in front of the camera, and what is none."""

from __future__ import annotations

import numpy as np
import pytest
from face_scenes import Pixels, head, pasted, room

from device.face.motion import Motion


@pytest.fixture
def motion() -> Motion:
    seen = Motion()
    seen.seen(room())
    return seen


def noisy(scene: Pixels, seed: int, deviation: float = 6.0) -> Pixels:
    rng = np.random.default_rng(seed)
    return np.clip(scene + rng.normal(0, deviation, scene.shape), 0, 255).astype(np.uint8)


def test_the_first_frame_is_looked_at() -> None:
    assert Motion().seen(room())


def test_a_still_scene_does_not_move(motion: Motion) -> None:
    assert not any(motion.seen(room()) for _ in range(5))


def test_the_cameras_noise_is_no_motion(motion: Motion) -> None:
    assert not any(motion.seen(noisy(room(), seed)) for seed in range(8))


def test_a_lamp_and_the_cameras_exposure_are_no_motion(motion: Motion) -> None:
    assert not motion.seen(np.clip(room().astype(int) + 25, 0, 255).astype(np.uint8))


def test_somebody_far_off_is_motion(motion: Motion, portrait: Pixels) -> None:
    assert motion.seen(noisy(pasted(room(), head(portrait), 700, 300, 0.6), 3))


def test_what_comes_to_rest_is_background_again(motion: Motion, portrait: Pixels) -> None:
    scene = pasted(room(), head(portrait), 700, 300, 0.6)
    assert motion.seen(scene)
    assert not [motion.seen(scene) for _ in range(60)][-1]


def test_frames_of_another_size_start_anew(motion: Motion) -> None:
    assert motion.seen(room(640, 480))
    assert not motion.seen(room(640, 480))


def test_the_smallest_pictures_do_no_harm() -> None:
    for shape in ((1, 1, 3), (9, 9, 3), (5, 900, 3)):
        motion = Motion()
        motion.seen(np.zeros(shape, np.uint8))
        assert not motion.seen(np.zeros(shape, np.uint8))
