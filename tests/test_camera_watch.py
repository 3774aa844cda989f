"""Whether the camera still sees: every fault noticed within 3 s, every recovery too, no false alarm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from device.camera.camera import open_camera
from device.camera.watch import CameraState, CameraWatch
from device.clock import HandClock
from device.config import CameraConfig
from device.errors import CameraLost
from device.frame import Frame, Pixels

RNG = np.random.default_rng(7)
NOISE = [RNG.normal(0, 1, (360, 640, 3)).astype(np.float32) for _ in range(11)]
Picture = Callable[[int], Pixels]


def corridor() -> npt.NDArray[np.float32]:
    """A still scene: floor, walls, a door, a lamp."""
    scene = np.full((360, 640, 3), 110, np.float32)
    cv2.rectangle(scene, (0, 250), (640, 360), (70, 80, 90), -1)
    cv2.rectangle(scene, (250, 90), (370, 300), (60, 90, 140), -1)
    cv2.line(scene, (0, 360), (250, 250), (40, 40, 40), 3)
    cv2.line(scene, (640, 360), (370, 250), (40, 40, 40), 3)
    cv2.circle(scene, (320, 30), 20, (250, 250, 250), -1)
    return scene


SCENE = corridor()
SMEAR = cv2.GaussianBlur(SCENE, (0, 0), 90) * 0.5


def noisy(scene: npt.NDArray[np.float32], sigma: float) -> Picture:
    pictures = [np.clip(scene + sigma * noise + 0.5, 0, 255).astype(np.uint8) for noise in NOISE]
    return lambda n: pictures[n % len(pictures)]


def still(scene: npt.NDArray[np.float32]) -> Picture:
    picture = np.clip(scene, 0, 255).astype(np.uint8)
    return lambda _: picture


FINE = noisy(SCENE, 2.0)
FAULTS = {
    CameraState.DARK: noisy(np.full_like(SCENE, 1.0), 1.5),
    CameraState.BRIGHT: noisy(np.full_like(SCENE, 254.0), 2.0),
    CameraState.COVERED: noisy(SMEAR, 6.0),
    CameraState.FROZEN: still(SCENE),
}


class Stage:
    """A watch and the time that passes while it looks at pictures."""

    def __init__(self, fps: float = 10.0, has_noise: bool = True) -> None:
        self.mono = 50.0
        self.watch = CameraWatch(self.mono, has_noise)
        self.fps = fps
        self.count = 0

    def show(self, picture: Picture, seconds: float) -> Iterator[CameraState]:
        until = self.mono + seconds
        while self.mono < until:
            self.mono += 1 / self.fps
            self.count += 1
            yield self.watch.see(Frame(self.count, self.mono, picture(self.count)), self.mono)

    def seconds_until(self, picture: Picture, state: CameraState) -> float:
        start = self.mono
        for seen in self.show(picture, 10.0):
            if seen is state:
                return self.mono - start
        raise AssertionError(f"{state} was not noticed within 10 s")


@pytest.mark.parametrize("fps", [5.0, 10.0, 30.0])
@pytest.mark.parametrize("fault", list(FAULTS))
def test_each_fault_is_noticed_within_three_seconds_and_taken_back(fault: CameraState, fps: float) -> None:
    stage = Stage(fps)
    assert set(stage.show(FINE, 3.0)) == {CameraState.FINE}
    assert stage.seconds_until(FAULTS[fault], fault) <= 3.0
    assert set(stage.show(FAULTS[fault], 3.0)) == {fault}
    assert stage.seconds_until(FINE, CameraState.FINE) <= 3.0


def test_a_still_empty_corridor_at_night_is_not_frozen() -> None:
    stage = Stage(5.0)
    night = noisy(SCENE * 0.2, 0.5)
    assert set(stage.show(night, 60.0)) == {CameraState.FINE}


def test_a_single_lamp_in_the_dark_is_not_a_covered_lens() -> None:
    lamp = np.full_like(SCENE, 3.0)
    cv2.circle(lamp, (320, 100), 60, (240, 240, 240), -1)
    assert set(Stage().show(noisy(lamp, 1.0), 5.0)) == {CameraState.FINE}


def test_a_window_behind_the_visitor_is_not_over_exposure() -> None:
    window = SCENE.copy()
    window[:, :320] = 255
    assert set(Stage().show(noisy(window, 2.0), 5.0)) == {CameraState.FINE}


def test_a_passing_hand_is_no_fault() -> None:
    stage = Stage(10.0)
    for _ in range(10):
        assert set(stage.show(FAULTS[CameraState.COVERED], 1.0)) <= {CameraState.OPENING, CameraState.FINE}
        assert list(stage.show(FINE, 1.0))[-1] is CameraState.FINE


def test_a_clip_without_noise_is_never_frozen() -> None:
    assert set(Stage(has_noise=False).show(still(SCENE), 10.0)) == {CameraState.FINE}


def test_a_clip_that_has_shown_a_sensors_noise_is_frozen_when_its_pictures_repeat() -> None:
    stage = Stage(has_noise=False)
    assert set(stage.show(FINE, 4.0)) == {CameraState.FINE}
    assert stage.seconds_until(still(SCENE), CameraState.FROZEN) <= 3.0
    assert stage.seconds_until(FINE, CameraState.FINE) <= 3.0


def test_a_clip_in_which_somebody_moves_and_then_stands_is_not_frozen() -> None:
    def walker(n: int) -> Pixels:
        picture = np.clip(SCENE, 0, 255).astype(np.uint8)
        cv2.circle(picture, (40 + 10 * n % 560, 200), 90, (90, 120, 180), -1)
        return picture

    stage = Stage(has_noise=False)
    assert set(stage.show(walker, 10.0)) == {CameraState.FINE}
    assert set(stage.show(still(SCENE), 10.0)) == {CameraState.FINE}


def test_faults_that_change_into_each_other_are_noticed_all_the_same() -> None:
    stage = Stage(10.0)
    list(stage.show(FINE, 1.0))
    flicker: Picture = lambda n: FAULTS[CameraState.DARK if n % 4 < 2 else CameraState.COVERED](n)  # noqa: E731
    assert list(stage.show(flicker, 3.0))[-1] in (CameraState.DARK, CameraState.COVERED)


def test_silence_is_a_lost_camera_within_three_seconds() -> None:
    stage = Stage()
    list(stage.show(FINE, 1.0))
    assert stage.watch.silence(stage.mono + 2.0) is CameraState.FINE
    assert stage.watch.silence(stage.mono + 2.75) is CameraState.LOST
    stage.mono += 30
    assert stage.seconds_until(FINE, CameraState.FINE) <= 3.0


def test_a_lost_camera_that_comes_back_covered_is_covered() -> None:
    stage = Stage()
    stage.watch.lost(stage.mono)
    assert stage.seconds_until(FAULTS[CameraState.COVERED], CameraState.COVERED) <= 3.0


def test_another_picture_size_is_no_fault() -> None:
    stage = Stage()
    sizes: Picture = lambda n: cv2.resize(FINE(n), (640, 360) if n % 10 < 5 else (320, 240))  # noqa: E731
    assert set(stage.show(sizes, 5.0)) == {CameraState.FINE}


@pytest.mark.data
def test_real_clips_give_no_alarm(data_dir: Path) -> None:
    for clip in sorted((data_dir / "video").glob("*.gif")):
        stage = Stage(12.5)
        camera = open_camera(CameraConfig(source=str(clip)), HandClock(), paced=False)
        try:
            while True:
                pixels = camera.read(1.0).pixels
                assert set(stage.show(lambda _, pixels=pixels: pixels, 0.05)) == {CameraState.FINE}
        except CameraLost:
            continue


@pytest.mark.parametrize("fault", list(FAULTS))
def test_each_fault_is_noticed_through_motion_jpeg_too(fault: CameraState) -> None:
    def packed(picture: Picture) -> Picture:
        sent = [cv2.imencode(".jpg", picture(n))[1] for n in range(len(NOISE))]
        seen = [cv2.imdecode(data, cv2.IMREAD_COLOR) for data in sent]
        return lambda n: seen[n % len(seen)]

    stage = Stage(10.0)
    assert set(stage.show(packed(FINE), 3.0)) == {CameraState.FINE}
    assert stage.seconds_until(packed(FAULTS[fault]), fault) <= 3.0
    assert stage.seconds_until(packed(FINE), CameraState.FINE) <= 3.0
