"""The camera module of a Raspberry Pi, with a stand-in for picamera2, which exists on its own OS only."""

from __future__ import annotations

import sys
from concurrent import futures
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from device.camera.camera import CameraSilent, open_camera
from device.clock import HandClock
from device.config import CameraConfig
from device.errors import CameraLost


class Request:
    def __init__(self, stamp_s: float) -> None:
        self.stamp_s = stamp_s
        self.is_released = False

    def make_array(self, name: str) -> Any:
        return np.full((120, 160, 3), 9, np.uint8)

    def get_metadata(self) -> dict[str, int]:
        return {"SensorTimestamp": int(self.stamp_s * 1e9)}

    def release(self) -> None:
        self.is_released = True


class Picamera2:
    """As much of picamera2's class as is used; `answers` are what waiting yields."""

    attached: int = 1
    answers: list[Any]
    made: list[Picamera2]

    def __init__(self, number: int) -> None:
        self.jobs = 0
        self.is_closed = False
        self.made.append(self)

    @classmethod
    def global_camera_info(cls) -> list[dict[str, str]]:
        return [{}] * cls.attached

    def create_video_configuration(self, **wanted: Any) -> dict[str, Any]:
        return wanted

    def configure(self, wanted: dict[str, Any]) -> None:
        self.wanted = wanted

    def start(self) -> None:
        return

    def capture_request(self, wait: bool) -> object:
        assert not wait
        self.jobs += 1
        return object()

    def wait(self, job: object, timeout: float) -> Request:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Request)
        return answer

    def stop(self) -> None:
        return

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def pi(monkeypatch: pytest.MonkeyPatch) -> type[Picamera2]:
    Picamera2.attached, Picamera2.answers, Picamera2.made = 1, [], []
    module = ModuleType("picamera2")
    module.Picamera2 = Picamera2  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "picamera2", module)
    return Picamera2


def test_frames_carry_the_sensors_time(pi: type[Picamera2]) -> None:
    requests = [Request(999.98), Request(1.0)]
    pi.answers.extend(requests)
    camera = open_camera(CameraConfig(source="picamera", rotate=90), HandClock(mono=1000.0))
    frames = [camera.read(1.0), camera.read(1.0)]
    assert [(frame.seq, frame.mono) for frame in frames] == [(0, 999.98), (1, 1000.0)]
    assert frames[0].pixels.shape == (160, 120, 3)
    assert all(request.is_released for request in requests)
    assert pi.made[0].wanted["main"] == {"size": (1280, 720), "format": "RGB888"}


def test_a_late_frame_is_waited_for_with_the_same_request(pi: type[Picamera2]) -> None:
    pi.answers.extend([futures.TimeoutError(), futures.TimeoutError(), Request(1000.0)])
    camera = open_camera(CameraConfig(source="picamera"), HandClock(mono=1000.0))
    for _ in range(2):
        with pytest.raises(CameraSilent):
            camera.read(0.1)
    assert camera.read(0.1).seq == 0
    assert pi.made[0].jobs == 1


def test_a_resting_module_copies_five_pictures_a_second(pi: type[Picamera2]) -> None:
    requests = [Request(999.5 + n / 30) for n in range(9)]
    pi.answers.extend(requests)
    camera = open_camera(CameraConfig(source="picamera"), HandClock(mono=1000.0))
    assert camera.read(1.0).seq == 0
    camera.rest(True)  # type: ignore[attr-defined]
    assert camera.read(1.0).seq == 6
    camera.rest(False)  # type: ignore[attr-defined]
    assert camera.read(1.0).seq == 7
    assert all(request.is_released for request in requests[:8])


def test_a_stopped_camera_is_lost_and_closed_once(pi: type[Picamera2]) -> None:
    pi.answers.append(RuntimeError("dequeue failed"))
    camera = open_camera(CameraConfig(source="picamera"), HandClock())
    with pytest.raises(CameraLost, match="ribbon"):
        camera.read(0.1)
    camera.close()
    camera.close()
    assert pi.made[0].is_closed


def test_a_module_that_is_not_attached_is_said_plainly(pi: type[Picamera2]) -> None:
    pi.attached = 0
    with pytest.raises(CameraLost, match="no such camera module"):
        open_camera(CameraConfig(source="picamera"), HandClock())


def test_a_missing_picamera2_is_said_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(CameraLost, match="sudo apt install python3-picamera2"):
        open_camera(CameraConfig(source="picamera"), HandClock())
