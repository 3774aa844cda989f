"""Two cameras side by side: pictures taken together go together; the second one's loss costs the first nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from device.camera.camera import Camera, CameraSilent, open_camera
from device.camera.paired import PairedCamera
from device.clock import SystemClock
from device.config import CameraConfig, parse_config
from device.errors import CameraLost, ConfigError, TerminalError
from device.frame import Frame


class Filmed:
    """A camera whose pictures the test makes: each is of one grey level, taken at a moment that the test says."""

    description = "filmed"

    def __init__(self) -> None:
        self._next: list[Frame | CameraLost] = []
        self._changed = threading.Condition()
        self.is_closed = False

    def take(self, mono: float, level: int) -> None:
        self._give(Frame(0, mono, np.full((8, 8, 3), level, np.uint8)))

    def fail(self) -> None:
        self._give(CameraLost("filmed: unplugged"))

    def _give(self, what: Frame | CameraLost) -> None:
        with self._changed:
            self._next.append(what)
            self._changed.notify()

    def read(self, timeout_s: float) -> Frame:
        with self._changed:
            if not self._changed.wait_for(lambda: self._next, timeout_s):
                raise CameraSilent("filmed: no frame")
            found = self._next.pop(0)
        if isinstance(found, CameraLost):
            raise found
        return found

    def close(self) -> None:
        self.is_closed = True


class Pair:
    def __init__(self) -> None:
        self.first, self.second = Filmed(), Filmed()
        self.told: list[bool] = []
        self.reasons: list[str] = []
        self.opened = 0
        self.trouble: TerminalError | None = None
        self.camera = PairedCamera(self.first, self._open, 0.02, SystemClock(), self._tell)

    def _tell(self, is_lost: bool, reason: str) -> None:
        self.reasons.append(reason)
        self.told.append(is_lost)

    def _open(self) -> Camera:
        self.opened += 1
        if self.trouble is not None:
            raise self.trouble
        return self.second

    def frame(self, mono: float) -> Frame:
        self.first.take(mono, 10)
        return self.camera.read(5.0)

    def infrared(self, mono: float, level: int) -> None:
        self.second.take(mono, level)
        within(lambda: any(one.mono == mono for one in self.camera._newest))


def within(is_so: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.005)


@pytest.fixture
def pair():
    found = Pair()
    yield found
    found.camera.close()
    assert found.first.is_closed and found.second.is_closed


def test_a_frame_carries_the_infrared_picture_that_is_nearest_in_time(pair: Pair) -> None:
    for mono, level in ((1.000, 100), (1.033, 110), (1.066, 120)):
        pair.infrared(mono, level)
    infrared = pair.frame(1.040).infrared
    assert infrared is not None
    assert infrared.shape == (8, 8)
    assert infrared[0, 0] == 110
    assert not infrared.flags.writeable


def test_pictures_that_lie_apart_do_not_go_together(pair: Pair) -> None:
    pair.infrared(1.0, 100)
    assert pair.frame(1.021).infrared is None
    assert pair.frame(1.019).infrared is not None


def test_a_second_camera_that_is_lost_is_told_and_costs_the_first_nothing(pair: Pair) -> None:
    pair.infrared(1.0, 100)
    pair.second.fail()
    within(lambda: pair.told == [True])
    assert pair.reasons == ["filmed: unplugged"]
    assert pair.camera.is_lost
    assert pair.frame(1.0).infrared is None


def test_a_second_camera_that_is_back_is_told_and_used(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("device.camera.paired.AGAIN_S", 0.01)
    pair.second.fail()
    within(lambda: pair.told == [True])
    pair.infrared(2.0, 90)
    within(lambda: pair.told == [True, False])
    assert pair.frame(2.0).infrared is not None
    assert pair.opened == 2


def test_a_second_camera_that_cannot_be_understood_is_lost_and_tried_again(
        pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("device.camera.paired.AGAIN_S", 0.01)
    pair.trouble = ConfigError("camera.source: nosuch.mp4: no such file or folder")
    pair.second.fail()
    within(lambda: pair.opened >= 3)
    assert pair.told == [True]
    pair.trouble = None
    pair.infrared(2.0, 90)
    within(lambda: pair.told == [True, False])


def test_an_infrared_clip_that_is_not_there_is_told(tmp_path, portrait) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "0.png"), portrait)
    told: list[tuple[bool, str]] = []
    config = CameraConfig(source=str(tmp_path), infrared=str(tmp_path / "nosuch.mp4"))
    camera = open_camera(config, SystemClock(), infrared_lost=lambda is_lost, reason: told.append((is_lost, reason)))
    try:
        within(lambda: told)
    finally:
        camera.close()
    assert told[0][0] and "nosuch.mp4" in told[0][1]


def test_both_cameras_rest_and_the_second_after_it_was_opened_anew_too(
        pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("device.camera.paired.AGAIN_S", 0.01)
    rested: list[tuple[str, bool]] = []
    pair.first.rest = lambda is_resting: rested.append(("first", is_resting))  # type: ignore[attr-defined]
    pair.second.rest = lambda is_resting: rested.append(("second", is_resting))  # type: ignore[attr-defined]
    pair.infrared(1.0, 100)
    pair.camera.rest(True)
    assert rested == [("first", True), ("second", True)]
    pair.second.fail()
    within(lambda: len(rested) == 3)
    assert rested[2] == ("second", True)  # the one that was opened anew


def test_the_first_cameras_loss_is_the_pairs(pair: Pair) -> None:
    pair.first.fail()
    with pytest.raises(CameraLost, match="unplugged"):
        pair.camera.read(1.0)


def test_two_clips_are_paired_by_the_configuration(tmp_path) -> None:
    import cv2

    for name, level in (("day", 200), ("night", 60)):
        (tmp_path / name).mkdir()
        for number in range(300):
            cv2.imwrite(str(tmp_path / name / f"{number:03}.png"), np.full((240, 320, 3), level, np.uint8))
    config = CameraConfig(source=str(tmp_path / "day"), infrared=str(tmp_path / "night"), width=320, height=240,
                          fps=30)
    camera = open_camera(config, SystemClock())
    try:
        paired = next(frame.infrared for _ in range(1000) if (frame := camera.read(5.0)).infrared is not None)
    finally:
        camera.close()
    assert int(paired.mean()) == 60


def test_one_camera_cannot_be_both() -> None:
    with pytest.raises(ConfigError, match=r"camera\.infrared must be another camera"):
        parse_config({"door": {"lock": "strike"}, "camera": {"source": "usb:0", "infrared": "usb:0"}})
