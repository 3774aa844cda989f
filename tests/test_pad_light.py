"""Judges that need light of their own: the screen's colours, and the lamps of a second, infrared camera."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, count, pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from pad_scenes import VGA, judged, lit, seeded, views
from rehearsal_samples import models, people

from device.face.lookout import Lookout
from device.face.pad import screenlight
from device.face.pad.infrared import FRAMES, Infrared, Pairing
from device.face.pad.judge import View
from device.face.pad.screenlight import (
    COLOURS,
    FLASH_S,
    LEAST_FLASHES,
    LEAST_REFLECTION,
    LONGEST_LAG_S,
    Flashes,
    ScreenLight,
)
from device.face.quality import DOOR, Inspector
from device.frame import Frame
from device.rehearsal.infrared import InfraredStage
from device.rehearsal.light import DARK, DAY, Light
from device.rehearsal.people import SITTER, STRANGERS
from device.rehearsal.pose import Pose
from device.rehearsal.scenes import Scene, held_up, stands
from device.rehearsal.stage import Person
from device.rehearsal.stage import View as Before

# --- the screen's light ------------------------------------------------------------------------------------


def reflecting(scene: Scene, flashes: Flashes, shown: Flashes | None = None, lag: float = 0.08,
               strength: float = 0.06) -> tuple[float | None, str]:
    """The judgement on a scene that reflects `shown` (as a rule what was flashed), `lag` seconds late."""
    judge, really = ScreenLight(), shown or flashes
    scene = lit(scene, lambda t: really.colour_at(100.0 + t - lag) or (0, 0, 0), strength)
    last = None
    for view in views(scene, FLASH_S * LEAST_FLASHES + 0.2):
        if last is None:
            judge.shine(view.track_id, flashes)
        last = judge.judge(view)
    assert last is not None
    return last.score, last.reason


@pytest.fixture
def flashes() -> Flashes:
    return Flashes.at_random(seeded(3), 100.0)


@pytest.mark.parametrize("light", [DAY, DARK], ids=["day", "dark"])
def test_a_live_face_follows_the_screens_colours(flashes: Flashes, light: Light) -> None:
    score, reason = reflecting(stands(pose=Pose(z=0.6), light=light), flashes)
    assert score is not None
    assert score > ScreenLight.threshold
    assert reason == "follows"


def test_a_recording_of_other_colours_does_not_pass(flashes: Flashes) -> None:
    for seed in (4, 5):
        other = Flashes.at_random(seeded(seed), 100.0)
        score, reason = reflecting(stands(pose=Pose(z=0.6)), flashes, other)
        assert score is not None
        assert score < ScreenLight.threshold, seed
        assert reason == "screen"


def test_a_reflection_that_comes_too_late_does_not_pass(flashes: Flashes) -> None:
    score, _ = reflecting(stands(pose=Pose(z=0.6)), flashes, lag=2.5 * FLASH_S)
    assert score is not None
    assert score < ScreenLight.threshold


def test_a_screen_that_shines_by_itself_does_not_pass(flashes: Flashes) -> None:
    tablet = held_up("screen-tablet")
    score, _ = reflecting(Scene("held", 5.0, lambda t: tablet.at(t + 1.0)), flashes)
    assert score is None or score < ScreenLight.threshold


def test_where_the_screens_light_is_lost_it_abstains(flashes: Flashes) -> None:
    still = Scene("statue", 5.0, lambda t: Before((Person(SITTER, Pose(z=0.6)),)))
    assert reflecting(still, flashes, strength=0.0) == (None, "too_bright_here")


def test_without_flashes_it_abstains() -> None:
    assert {one.reason for one in judged(ScreenLight(), views(stands(), 0.3))} == {"no_flashes"}


def test_colours_are_random_and_change_every_time() -> None:
    sequences = [Flashes.at_random(seeded(seed), 0.0).colours for seed in range(50)]
    assert len(set(sequences)) > 45
    for colours in sequences:
        assert len(colours) == LEAST_FLASHES
        assert all(colour in COLOURS for colour in colours)
        assert all(first != second for first, second in pairwise(colours))


def test_no_random_sequence_is_taken_for_another() -> None:
    times = [step / 30 for step in range(int((FLASH_S * LEAST_FLASHES + 0.2) * 30))]
    sequences = [Flashes.at_random(seeded(seed), 0.0) for seed in range(60)]
    seen = [screenlight._balance(np.array([one.colour_at(t - 0.08) or (0, 0, 0) for t in times], np.float32))
            for one in sequences]
    lags = [0.02 * step for step in range(int(LONGEST_LAG_S / 0.02) + 1)]
    scores = [max(screenlight._likeness(seen[other], times, sequences[one], lag) for lag in lags)
              for one, other in combinations(range(60), 2)]
    print(f"{len(scores)} pairs: highest {max(scores):.3f}; {sum(score >= 0.7 for score in scores)} of .7 or more")
    assert max(scores) < ScreenLight.threshold


def test_people_before_a_real_webcam_reflect_nothing_where_nothing_flashes(data_dir: Path) -> None:
    deviations = [deviation for path in sorted((data_dir / "video").glob("*.gif")) for deviation in moved(path)]
    print(f"deviations of the balance without flashes: {', '.join(f'{one:.4f}' for one in sorted(deviations))}")
    assert deviations
    assert max(deviations) < LEAST_REFLECTION


def moved(path: Path, fps: float = 12.5) -> Iterator[float]:
    """Deviation of the colour balance of each face of a clip, over as long as flashes last."""
    lookout, capture, colours = Lookout(models()), cv2.VideoCapture(str(path)), dict[int, list[np.ndarray]]()
    for number in count():
        is_read, picture = capture.read()
        if not is_read:
            break
        frame = Frame(number, 100.0 + number / fps, cv2.resize(picture, (960, 540)))
        for track in lookout.see(frame):
            if track.face.mesh is not None:
                view = View(frame, track.face, Inspector(DOOR).inspect(frame.pixels, track.face))
                colours.setdefault(track.face.track_id, []).append(screenlight.skin_colour(view))
    for seen in colours.values():
        if len(seen) >= 3 * LEAST_FLASHES:
            yield float(screenlight._balance(np.log(np.maximum(np.array(seen[:41]), 1.0))).std())


# --- infrared ----------------------------------------------------------------------------------------------


def paired(scene: Scene, other: Scene | None = None, seconds: float = 0.5, start: float = 0.0,
           size: tuple[int, int] = VGA) -> Iterator[View]:
    """The scene's views, each with what the infrared camera sees of it (or of another scene)."""
    second = InfraredStage(people(), size)
    for view in views(scene, seconds, start, fps=20):
        picture = second.grey((other or scene).at(view.mono - 100.0), view.frame.seq)
        yield View(replace(view.frame, infrared=picture), view.face, view.quality)


@pytest.mark.parametrize("who", [SITTER, *STRANGERS[:4]])
def test_a_live_face_is_skin(who: str) -> None:
    last = judged(Infrared(), paired(stands(who, Pose(z=0.85))))[-1]
    assert (last.score, last.reason) == (1.0, "skin")


def test_a_face_in_the_dark_is_skin_by_the_lamps() -> None:
    assert judged(Infrared(), paired(stands(pose=Pose(z=0.85), light=DARK)))[-1].score == 1.0


def test_a_second_camera_of_another_size_is_paired_by_its_shares() -> None:
    assert judged(Infrared(), paired(stands(pose=Pose(z=0.85)), size=(320, 240)))[-1].score == 1.0


@pytest.mark.parametrize("instrument", ["print-photo", "print-a4"])
def test_a_print_loses_its_eyes(instrument: str) -> None:
    last = judged(Infrared(), paired(held_up(instrument), start=1.2))[-1]
    assert (last.score, last.reason) == (0.0, "print")


@pytest.mark.parametrize("instrument", ["screen-phone", "screen-tablet"])
def test_a_screen_is_dark(instrument: str) -> None:
    last = judged(Infrared(), paired(held_up(instrument), start=1.2))[-1]
    assert (last.score, last.reason) == (0.0, "screen")


def test_a_screen_that_fills_the_picture_is_dark_too() -> None:
    assert judged(Infrared(), paired(held_up("screen-laptop", full_frame=True), start=1.2))[-1].reason == "screen"


def test_another_face_before_the_second_camera_does_not_count() -> None:
    """A mask of the first camera's view by a screen while somebody stands beside it."""
    aside = stands(pose=Pose(z=0.85, yaw=35.0, roll=15.0))
    last = judged(Infrared(), paired(stands(pose=Pose(z=0.85)), aside))[-1]
    assert last.score is not None
    assert last.score < ScreenLight.threshold


def test_nobody_before_the_second_camera_is_no_live_face() -> None:
    empty = Scene("empty", 1.0, lambda t: Before())
    last = judged(Infrared(), paired(stands(pose=Pose(z=0.85)), empty))[-1]
    assert last.score == 0.0


def test_without_a_second_camera_it_abstains() -> None:
    assert {one.reason for one in judged(Infrared(), views(stands(), 0.3))} == {"no_second_camera"}


def test_it_takes_several_frames() -> None:
    said = judged(Infrared(), paired(stands(pose=Pose(z=0.85))))
    assert {one.score for one in said[:FRAMES - 1]} == {None}
    assert said[FRAMES - 1].score == 1.0


def test_a_pairing_moves_the_face_to_where_the_second_camera_has_it() -> None:
    mesh = np.array([[320.0, 240.0, 0.0], [0.0, 0.0, 0.0]], np.float32)
    pixels, infrared = np.zeros((480, 640, 3), np.uint8), np.zeros((240, 320), np.uint8)
    placed = Pairing(a=0.5, b=0.5, c=0.25, d=0.1).place(mesh, pixels, infrared)
    assert placed.tolist() == [[160.0, pytest.approx(84.0)], [80.0, pytest.approx(24.0)]]
