"""The pump: native calls that hang, fail or yield odd pictures do no harm to who reads."""

from __future__ import annotations

import logging
import threading
from typing import Any

import numpy as np
import pytest

from device.camera.camera import CameraSilent
from device.camera.fit import Fit
from device.camera.pump import Capture, Pump
from device.clock import SystemClock
from device.errors import CameraLost
from device.frame import Frame


class Hand:
    """A capture that yields what the test lets it, one picture per permission."""

    def __init__(self) -> None:
        self.allowed = threading.Semaphore(0)
        self.released = threading.Event()
        self.trouble: Exception | None = None
        self.picture_now: Any = np.zeros((48, 64, 3), np.uint8)
        self.mono, self.step_s, self.decoded = 7.0, 0.0, 0

    def grab(self) -> float:
        assert self.allowed.acquire(timeout=30)
        if self.trouble is not None:
            raise self.trouble
        self.mono += self.step_s
        return self.mono

    def retrieve(self) -> Any:
        self.decoded += 1
        return self.picture_now

    def release(self) -> None:
        self.released.set()


def pumped(capture: Capture, name: str = "hand") -> Pump:
    return Pump(name, lambda: capture, Fit(name), SystemClock())


def next_frame(pump: Pump) -> Frame:
    for _ in range(100):
        try:
            return pump.read(0.3)
        except CameraSilent:
            continue
    raise AssertionError("no frame")


def test_a_late_reader_gets_the_newest_frame_only() -> None:
    hand = Hand()
    pump = pumped(hand)
    hand.allowed.release()
    assert next_frame(pump).seq == 0
    for _ in range(5):
        hand.allowed.release()
    frame = next_frame(pump)
    while frame.seq < 5:
        frame = next_frame(pump)
    assert (frame.seq, frame.mono) == (5, 7.0)
    with pytest.raises(CameraSilent):
        pump.read(0.01)
    hand.allowed.release()
    pump.close()
    assert hand.released.is_set()


def test_a_resting_camera_is_emptied_and_decodes_five_pictures_a_second_until_it_is_woken() -> None:
    hand = Hand()
    hand.step_s = 1 / 30
    pump = pumped(hand)
    hand.allowed.release()
    assert next_frame(pump).seq == 0
    pump.rest(True)
    hand.allowed.release(5)
    with pytest.raises(CameraSilent):
        pump.read(0.5)
    hand.allowed.release()
    assert next_frame(pump).seq == 6
    assert hand.decoded == 2
    pump.rest(False)
    hand.allowed.release()
    assert next_frame(pump).seq == 7
    hand.allowed.release()
    pump.close()


def test_a_torn_picture_is_passed_over() -> None:
    hand = Hand()
    hand.picture_now = None
    pump = pumped(hand)
    hand.allowed.release()
    with pytest.raises(CameraSilent):
        pump.read(0.3)
    hand.picture_now = np.zeros((48, 64, 3), np.uint8)
    hand.allowed.release()
    assert next_frame(pump).seq == 1
    hand.allowed.release()
    pump.close()


def test_a_failure_is_told_again_and_again() -> None:
    hand = Hand()
    pump = pumped(hand)
    hand.trouble = CameraLost("pulled out")
    hand.allowed.release()
    for _ in range(2):
        with pytest.raises(CameraLost, match="pulled out"):
            next_frame(pump)
    pump.close()
    assert hand.released.is_set()


def test_an_odd_picture_is_a_lost_camera() -> None:
    hand = Hand()
    hand.picture_now = np.zeros((48, 64, 3), np.float64)
    pump = pumped(hand)
    hand.allowed.release()
    with pytest.raises(CameraLost, match="float64"):
        next_frame(pump)
    pump.close()


def test_a_driver_that_breaks_down_is_a_lost_camera(caplog: pytest.LogCaptureFixture) -> None:
    hand = Hand()
    pump = pumped(hand)
    hand.trouble = RuntimeError("broken")
    with caplog.at_level(logging.ERROR):
        hand.allowed.release()
        with pytest.raises(CameraLost, match="the log says why"):
            next_frame(pump)
    assert "camera-pump ended by an error" in caplog.text
    pump.close()


def test_a_driver_that_hangs_costs_one_thread_however_often_it_is_tried() -> None:
    hand = Hand()
    pump = pumped(hand, "hanging")
    before = threading.active_count()
    pump.close()
    for _ in range(5):
        with pytest.raises(CameraLost, match="does not return from an earlier call"):
            pumped(Hand(), "hanging")
    assert threading.active_count() == before
    hand.allowed.release()
    assert hand.released.wait(10)
    for thread in threading.enumerate():
        if thread.name == "camera-pump":
            thread.join(10)
    again = Hand()
    pump = pumped(again, "hanging")
    again.allowed.release()
    assert next_frame(pump).seq == 0
    again.allowed.release()
    pump.close()
