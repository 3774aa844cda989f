from __future__ import annotations

import threading

import pytest
from rehearsal_samples import stage

from device.camera.camera import Camera
from device.clock import HandClock, SystemClock
from device.errors import CameraLost
from device.rehearsal.camera import RehearsalCamera
from device.rehearsal.scenes import SCENES

EMPTY, WALK = SCENES["empty"], SCENES["enrolled_walks_up"]


def opened(clock: HandClock | SystemClock | None = None, paced: bool = False, fps: float = 30.0) -> RehearsalCamera:
    return RehearsalCamera(stage(320, 240), EMPTY, fps, clock or HandClock(), paced)


def test_it_is_a_camera_with_noise() -> None:
    camera: Camera = opened()
    assert "empty" in camera.description
    assert getattr(camera, "has_noise", False)


def test_unpaced_frames_are_a_frame_time_apart_and_numbered() -> None:
    clock = HandClock()
    camera = opened(clock)
    frames = [camera.read(1.0) for _ in range(4)]
    assert [frame.seq for frame in frames] == [0, 1, 2, 3]
    assert [frame.mono - clock.mono() for frame in frames] == pytest.approx([0.0, 1 / 30, 2 / 30, 3 / 30])
    assert all(frame.pixels.shape == (240, 320, 3) and not frame.pixels.flags.writeable for frame in frames)
    assert (frames[0].pixels != frames[1].pixels).any()


def test_a_late_reader_misses_frames_but_no_number() -> None:
    clock = HandClock()
    camera = opened(clock, paced=True)
    first = camera.read(1.0)
    clock.advance(1.0)
    second = camera.read(1.0)
    assert second.seq == first.seq + 1
    assert second.mono == pytest.approx(first.mono + 1.0)


def test_a_paced_frame_never_comes_before_its_time() -> None:
    clock = SystemClock()
    camera = opened(clock, paced=True, fps=60.0)
    for _ in range(5):
        frame = camera.read(1.0)
        assert frame.mono <= clock.mono()


def test_a_frame_that_comes_too_late_is_not_waited_for() -> None:
    camera = opened(HandClock(), paced=True, fps=1.0)
    camera.read(1.0)
    with pytest.raises(CameraLost, match="later"):
        camera.read(0.2)


def test_another_scene_begins_at_its_beginning() -> None:
    camera = opened()
    for _ in range(10):
        camera.read(1.0)
    camera.show(WALK)
    frame = camera.read(1.0)
    assert "enrolled_walks_up" in camera.description
    expected = stage(320, 240).render(WALK.at(0.0), 10)
    assert (frame.pixels == expected).all()


def test_a_closed_camera_gives_no_frames_and_wakes_its_reader() -> None:
    camera = opened(SystemClock(), paced=True, fps=0.2)
    camera.read(10.0)
    told = []

    def read() -> None:
        try:
            camera.read(10.0)
        except CameraLost as error:
            told.append(str(error))

    reader = threading.Thread(target=read)
    reader.start()
    camera.close()
    reader.join(5.0)
    assert told == ["the rehearsal's camera is closed"]
    camera.close()
    with pytest.raises(CameraLost, match="closed"):
        camera.read(1.0)
