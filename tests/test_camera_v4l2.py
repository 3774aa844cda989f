"""USB cameras: what is said of one that is not there, and how a driver's pictures and times are taken.

The driver itself is stood in for where no camera is attached; `real` tests use one.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

import cv2
import numpy as np
import pytest

from device.camera import v4l2
from device.camera.attached import find_attached
from device.camera.camera import CameraSilent, open_camera
from device.clock import HandClock, SystemClock
from device.config import CameraConfig
from device.errors import CameraLost


class Driver:
    """What OpenCV shows of a V4L2 camera."""

    def __init__(self, grabs: list[bool], stamp_s: float = 0.0) -> None:
        self.asked: dict[int, float] = {}
        self.picture = np.full((120, 160), 77, np.uint8)
        self.stamp_s = stamp_s
        self._grabs = iter(grabs)

    def isOpened(self) -> bool:
        return True

    def set(self, key: int, value: float) -> bool:
        self.asked[key] = value
        return False

    def get(self, key: int) -> float:
        return self.stamp_s * 1000 if key == cv2.CAP_PROP_POS_MSEC else 160.0

    def grab(self) -> bool:
        return next(self._grabs)

    def retrieve(self) -> tuple[bool, Any]:
        return True, self.picture

    def release(self) -> None:
        return


def captured(monkeypatch: pytest.MonkeyPatch, driver: Driver) -> v4l2.UsbCapture:
    monkeypatch.setattr(v4l2, "_check_device", lambda number: None)
    monkeypatch.setattr(v4l2, "open_capture", lambda number, backend: driver)
    return v4l2._opened(0, CameraConfig(), HandClock(mono=500.0))


def test_a_camera_that_is_not_there_is_said_plainly(capfd: pytest.CaptureFixture[str]) -> None:
    camera = open_camera(CameraConfig(source="usb:99"), SystemClock())
    with closing(camera), pytest.raises(CameraLost, match="usb:99: /dev/video99 is not there"):
        camera.read(5.0)
    assert capfd.readouterr().err == ""


def test_motion_jpeg_is_asked_for_before_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver([])
    captured(monkeypatch, driver)
    assert list(driver.asked)[:3] == [cv2.CAP_PROP_FOURCC, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT]
    assert driver.asked[cv2.CAP_PROP_FRAME_WIDTH] == 1280


def test_the_kernels_time_stamp_is_used_where_it_is_of_our_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    assert captured(monkeypatch, Driver([True], stamp_s=499.97)).grab() == 499.97
    assert captured(monkeypatch, Driver([True], stamp_s=1.7e9)).grab() == 500.0
    assert captured(monkeypatch, Driver([True], stamp_s=0.0)).grab() == 500.0


def test_a_torn_picture_is_passed_over_and_an_unplugged_camera_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver([False, False, True, True] + [False] * 5)
    capture = captured(monkeypatch, driver)
    capture.grab()
    picture, driver.picture = driver.picture, np.empty((0, 0), np.uint8)
    assert capture.retrieve() is None
    driver.picture = picture
    capture.grab()
    found = capture.retrieve()
    assert found is not None and found.shape == (120, 160)
    with pytest.raises(CameraLost, match="is it still plugged in"):
        capture.grab()


def test_now_and_then_a_failure_while_the_camera_rests_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    capture = captured(monkeypatch, Driver([False, True] * 20))
    for _ in range(20):
        assert capture.grab() > 0


def test_pictures_that_are_all_torn_are_a_lost_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver([True] * 9)
    driver.picture = np.empty((0, 0), np.uint8)
    capture = captured(monkeypatch, driver)
    for _ in range(4):
        capture.grab()
        assert capture.retrieve() is None
    capture.grab()
    with pytest.raises(CameraLost, match="is it still plugged in"):
        capture.retrieve()


@pytest.mark.real
def test_an_attached_camera_yields_frames() -> None:
    found = find_attached()
    if found is None or not found.startswith("usb:"):
        pytest.skip("no USB camera is attached")
    with closing(open_camera(CameraConfig(source=found), SystemClock())) as camera:
        for _ in range(100):
            try:
                assert camera.read(0.5).pixels.ndim == 3
                return
            except CameraSilent:
                continue
    raise AssertionError("no frame")
