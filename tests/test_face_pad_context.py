"""The judges that look beside the face: borders that move along with it, and frames without noise."""

from __future__ import annotations

from functools import cache
from typing import cast

import numpy as np
import pytest
from rehearsal_samples import models, stage

from device.face.lookout import Lookout
from device.face.pad.context import BorderJudge, FrozenJudge
from device.face.pad.judge import Judge, View
from device.face.types import Box, Face, Quality
from device.frame import Frame, Pixels
from device.rehearsal.scenes import SCENES, Scene, held_up


@cache
def views(scene: Scene, begin_s: float, count: int) -> list[View]:
    """What the first track of a scene shows at 15 frames a second."""
    lookout, seen = Lookout(models()), []
    for seq in range(count):
        frame = Frame(seq, seq / 15, stage().render(scene.at(begin_s + seq / 15), seq))
        seen += [View(frame, track.face, cast(Quality, None)) for track in lookout.see(frame)[:1]]
    assert len({view.track_id for view in seen}) == 1
    return seen


def last_said(judge: Judge, shown: list[View]) -> tuple[float | None, str]:
    said = [judge.judge(view) for view in shown][-1]
    return said.score, said.reason


@pytest.mark.parametrize("instrument", ["print-a4", "screen-tablet"])
def test_the_border_of_a_waved_instrument_is_found(instrument: str) -> None:
    assert last_said(BorderJudge(), views(held_up(instrument, waved=True), 0.9, 60)) == (0.0, "border")


@pytest.mark.parametrize("name", ["enrolled_walks_up", "enrolled_side_light"])
def test_the_lines_of_a_room_do_not_convict_who_walks_and_turns_before_them(name: str) -> None:
    assert last_said(BorderJudge(), views(SCENES[name], 2.6, 75)) == (None, "no_border")


def test_a_border_that_does_not_move_says_nothing() -> None:
    assert last_said(BorderJudge(), views(held_up("print-a4"), 1.5, 40)) == (None, "no_border")


def test_a_found_border_is_forgotten_with_its_track() -> None:
    judge, shown = BorderJudge(), views(held_up("screen-tablet", waved=True), 0.9, 60)
    assert last_said(judge, shown)[0] == 0.0
    judge.forget(shown[0].track_id)
    assert judge.judge(shown[0]).score is None


def noisy(seed: int, level: float) -> Pixels:
    rng = np.random.default_rng(7)
    picture = rng.integers(40, 200, (240, 320, 3)).astype(np.float64)
    picture += np.random.default_rng(seed).normal(0.0, level, picture.shape) if level else 0.0
    return np.clip(picture, 0, 255).astype(np.uint8)


def still(seq: int, pixels: Pixels, seconds_each: float = 0.1) -> View:
    face = Face(Box(100, 60, 120, 120), np.zeros((6, 2), np.float32), 0.9, np.zeros((468, 3), np.float32), 1.0, 1)
    return View(Frame(seq, seq * seconds_each, pixels), face, cast(Quality, None))


def test_frames_that_are_equal_to_the_last_pixel_are_no_camera() -> None:
    judge = FrozenJudge()
    said = [judge.judge(still(seq, noisy(0, 0.0))) for seq in range(30)]
    assert said[0].score is None
    assert (said[-1].score, said[-1].reason) == (0.0, "frozen")


def test_the_faintest_noise_of_a_sensor_is_enough() -> None:
    judge = FrozenJudge()
    assert all(judge.judge(still(seq, noisy(seq, 0.5))).score is None for seq in range(60))


def test_a_camera_that_shows_every_picture_three_times_is_one() -> None:
    judge = FrozenJudge()
    assert all(judge.judge(still(seq, noisy(seq // 3, 2.0))).score is None for seq in range(60))


def test_many_equal_frames_within_a_moment_say_nothing_yet() -> None:
    judge = FrozenJudge()
    assert all(judge.judge(still(seq, noisy(0, 0.0), 0.01)).score is None for seq in range(40))


def test_a_picture_without_room_for_noise_says_nothing() -> None:
    judge = FrozenJudge()
    black = np.zeros((240, 320, 3), np.uint8)
    assert all(judge.judge(still(seq, black)).score is None for seq in range(40))
    assert all(judge.judge(still(seq, black + 255)).score is None for seq in range(40))
