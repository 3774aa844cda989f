"""The rigid-plane test on rendered heads and pictures, and on photographed prints and people."""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from pad_scenes import judged, views
from rehearsal_samples import models

from device.face.landmarks import LEAST_PRESENCE
from device.face.pad.judge import View
from device.face.pad.parallax import LEAST_POINTS, Patch, Reference, measure
from device.face.pad.plane import LITTLE_MOTION, NO_MOTION, PlaneTest, is_relief
from device.face.quality import DOOR, Inspector
from device.frame import Frame
from device.rehearsal.light import DARK, DAY, Light
from device.rehearsal.people import SITTER, STRANGERS
from device.rehearsal.pose import Pose
from device.rehearsal.scenes import Scene, held_up, performs, stands
from device.rehearsal.stage import Person
from device.rehearsal.stage import View as Before


@pytest.mark.parametrize("light", [DAY, DARK], ids=["day", "dark"])
def test_a_head_that_turns_is_a_head(light: Light) -> None:
    last = judged(PlaneTest(), views(performs("turn_left", light=light), 1.6))[-1]
    assert last.score == 1.0
    assert last.reason == "relief"


def test_a_head_that_only_sways_is_one_within_half_a_second_when_near() -> None:
    near = stands(pose=Pose(z=0.55), seed=1)
    assert judged(PlaneTest(), views(near, 0.7))[-1].reason == "relief"


def test_other_people_are_heads_too() -> None:
    for who in STRANGERS[:3]:
        assert judged(PlaneTest(), views(performs("turn_right", who), 1.6))[-1].score == 1.0, who


@pytest.mark.parametrize("instrument", ["print-photo", "print-a4", "screen-phone", "screen-laptop"])
def test_a_waved_picture_is_never_a_head(instrument: str) -> None:
    said = judged(PlaneTest(), views(held_up(instrument, waved=True), 2.5, start=0.2, fps=20))
    assert said
    assert {one.reason for one in said} <= {"flat", NO_MOTION, LITTLE_MOTION}


def test_a_small_print_that_is_waved_is_flat() -> None:
    last = judged(PlaneTest(), views(held_up("print-photo", waved=True), 1.6, 0.3, 20, (1280, 720)))[-1]
    assert last.score == 0.0
    assert last.reason == "flat"


@pytest.mark.parametrize("bend", [0.8, 1.2])
def test_a_bent_sheet_is_not_a_head(bend: float) -> None:
    bent = held_up("print-a4", waved=True, bend=bend)
    assert "relief" not in {one.reason for one in judged(PlaneTest(), views(bent, 3.0, start=0.2))}


def test_a_face_that_does_not_move_says_nothing() -> None:
    still = Scene("statue", 1.0, lambda t: Before((Person(SITTER, Pose(z=0.7)),)))
    assert {(one.score, one.reason) for one in judged(PlaneTest(), views(still, 0.7))} == {(None, NO_MOTION)}


def test_a_picture_held_still_says_nothing() -> None:
    said = judged(PlaneTest(), views(held_up("print-a3"), 1.0, start=1.0))
    assert {one.score for one in said} == {None}


def test_a_face_that_ends_is_forgotten() -> None:
    judge = PlaneTest()
    shown = list(views(performs("turn_left"), 1.6))
    assert judged(judge, iter(shown))[-1].score == 1.0
    judge.forget(shown[-1].track_id)
    assert judge.judge(shown[-1]).score is None


def test_two_views_without_anything_in_common_say_nothing_for_a_head() -> None:
    view = next(views(stands(), 0.2))
    patch = Patch.of(view.frame.pixels, view.mesh)
    noise = np.random.default_rng(1).integers(0, 256, patch.grey.shape, np.uint8)
    reference = Reference.of(patch)
    assert len(reference.points) >= LEAST_POINTS
    parallax = measure(reference, replace(patch, grey=noise))
    assert parallax is None or not is_relief(parallax)


@pytest.mark.data
@pytest.mark.slow
def test_prints_in_peoples_hands_never_move_like_heads(data_dir: Path) -> None:
    sequences: dict[tuple[str, str], list[str]] = defaultdict(list)
    with (data_dir / "nuaa" / "labels.csv").open(encoding="utf-8") as labels:
        for row in csv.DictReader(labels):
            sequences[row["label"], row["image"].rsplit("_", 1)[0]].append(row["image"])
    spoke = {label: sum(_relief_frames(data_dir / "nuaa", images) for (kind, _), images in sequences.items()
                        if kind == label) for label in ("live", "print")}
    assert spoke["print"] == 0
    assert spoke["live"] >= 10


def _relief_frames(folder: Path, images: list[str]) -> int:
    """Frames of one sequence that spoke for a head."""
    judge, inspector, count = PlaneTest(), Inspector(DOOR), 0
    ordered = sorted(images, key=lambda name: int(Path(name).stem.rsplit("_", 1)[1]))
    for number, name in enumerate(ordered):
        pixels = np.asarray(cv2.imread(str(folder / name)), np.uint8)
        for found in models().finder.find(pixels)[:1]:
            face = models().landmarks.of_face(pixels, found)
            if face.presence >= LEAST_PRESENCE:
                quality = inspector.inspect(pixels, face)
                said = judge.judge(View(Frame(number, number * 0.2, pixels), replace(face, track_id=1), quality))
                count += said.score is not None and said.score >= judge.threshold
    return count
