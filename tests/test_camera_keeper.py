"""The keeper: frames go on, losses are told and mended, nothing leaks over a hundred of them."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from rtsp_server import Manners, RtspServer

from device.camera.camera import Camera, CameraRefused, CameraSilent, ClipEnded, open_camera
from device.camera.keeper import CameraEvent, CameraKeeper, Rate
from device.camera.watch import CameraState
from device.clock import HandClock, SystemClock
from device.config import CameraConfig
from device.errors import CameraLost
from device.frame import Frame, Pixels
from device.threads import Latest, Worker

RNG = np.random.default_rng(3)
SCENE = cv2.resize(RNG.integers(0, 200, (9, 16, 3), np.uint8), (160, 90), interpolation=cv2.INTER_NEAREST)
LIVE = [SCENE + RNG.integers(0, 4, SCENE.shape, np.uint8) for _ in range(11)]
BLACK = [RNG.integers(0, 3, (90, 160, 3), np.uint8) for _ in range(11)]
COVERED = [RNG.integers(60, 64, (90, 160, 3), np.uint8) for _ in range(11)]


class Scripted:
    """A camera that follows a script; each read lets 0.2 s pass on the hand clock."""

    def __init__(self, clock: HandClock, script: Iterator[Pixels | CameraLost]) -> None:
        self.description = "scripted"
        self.has_noise = True
        self._clock = clock
        self._script = script
        self._seq = 0

    def read(self, timeout_s: float) -> Frame:
        self._clock.advance(0.2)
        step = next(self._script)
        if isinstance(step, CameraLost):
            raise step
        self._seq += 1
        return Frame(self._seq, self._clock.mono(), step)

    def close(self) -> None:
        return


def live(count: int) -> Iterator[Pixels]:
    return (LIVE[n % 11] for n in range(count))


def kept(opener: Callable[[HandClock], Camera]) -> tuple[CameraKeeper, list[CameraEvent], list[Frame]]:
    """Run a keeper in this thread until its camera's script ends with ClipEnded."""
    clock = HandClock()
    events: list[CameraEvent] = []
    frames: list[Frame] = []

    class Collected(Latest[Frame]):
        def put(self, value: Frame) -> None:
            frames.append(value)

    keeper = CameraKeeper(lambda: opener(clock), Collected(), events.append, clock, back_off_s=(0.0,))
    keeper(Worker("test", lambda worker: None, clock))
    return keeper, events, frames


def scripted(*scripts: list[Pixels | CameraLost]) -> Callable[[HandClock], Camera]:
    """Each opening plays the next script; each should end with an error."""
    waiting = iter(scripts)
    return lambda clock: Scripted(clock, iter(next(waiting)))


def test_frames_are_numbered_on_over_a_reconnection() -> None:
    keeper, events, frames = kept(scripted([*live(10), CameraLost("gone")], [*live(10), ClipEnded("over")]))
    assert [frame.seq for frame in frames] == list(range(20))
    assert [event.state for event in events] == [CameraState.FINE, CameraState.LOST, CameraState.FINE,
                                                 CameraState.LOST]
    assert [event.detail for event in events] == ["scripted", "gone", "scripted", "over"]
    assert keeper.has_ended
    assert keeper.reopened == 1


@pytest.mark.parametrize(("fault", "state"), [
    (BLACK, CameraState.DARK), (COVERED, CameraState.COVERED), (LIVE[:1], CameraState.FROZEN)])
def test_a_hundred_faults_are_told_and_taken_back(fault: list[Pixels], state: CameraState) -> None:
    script: list[Pixels | CameraLost] = []
    for _ in range(100):
        script += [*live(8), *(fault[n % len(fault)] for n in range(14))]
    keeper, events, _ = kept(scripted([*script, *live(8), ClipEnded("over")]))
    assert [event.state for event in events] == [CameraState.FINE, state] * 100 + [CameraState.FINE, CameraState.LOST]
    assert keeper.reopened == 0


def test_a_driver_that_breaks_down_is_a_lost_camera_that_is_opened_again(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Iterator[Pixels | CameraLost]:
        yield from live(10)
        raise RuntimeError("libcamera says no")

    scripts = iter([broken(), iter([*live(10), ClipEnded("over")])])
    keeper, events, frames = kept(lambda clock: Scripted(clock, next(scripts)))
    assert [event.state for event in events] == [CameraState.FINE, CameraState.LOST, CameraState.FINE,
                                                 CameraState.LOST]
    assert events[1].detail == "scripted: its driver broke down; the log says why"
    assert "libcamera says no" in caplog.text
    assert len(frames) == 20
    assert keeper.reopened == 1


def test_silence_is_told_within_three_seconds_and_the_camera_is_opened_again() -> None:
    silent: list[Pixels | CameraLost] = [CameraSilent("nothing")] * 100
    keeper, events, _ = kept(scripted([*live(10), *silent], [*live(10), ClipEnded("over")]))
    assert [event.state for event in events][:3] == [CameraState.FINE, CameraState.LOST, CameraState.FINE]
    last_frame = 1000.0 + 10 * 0.2
    assert events[1].mono - last_frame <= 3.0
    assert keeper.reopened == 1


def test_a_slow_start_is_waited_for() -> None:
    slow: list[Pixels | CameraLost] = [CameraSilent("nothing")] * 40
    keeper, events, _ = kept(scripted([*slow, *live(10), ClipEnded("over")]))
    assert [event.state for event in events] == [CameraState.FINE, CameraState.LOST]
    assert keeper.reopened == 0


def test_a_camera_that_never_yields_a_picture_is_lost_when_patience_ends() -> None:
    silent: list[Pixels | CameraLost] = [CameraSilent("no frame within 0.2 s")] * 100
    keeper, events, _ = kept(scripted([*silent], [*live(3), ClipEnded("over")]))
    assert events[0].state is CameraState.LOST
    assert events[0].mono - 1000.0 == pytest.approx(12.0, abs=0.3)
    assert events[0].detail == "scripted: no picture within 12 s"
    assert keeper.reopened == 1


def test_a_camera_that_falls_silent_is_told_with_the_time_of_its_silence() -> None:
    silent: list[Pixels | CameraLost] = [CameraSilent("no frame within 0.2 s")] * 30
    _, events, _ = kept(scripted([*live(10), *silent], [ClipEnded("over")]))
    assert [event.detail for event in events][:2] == ["scripted", "scripted: no picture for 2.5 s"]


def test_a_camera_that_cannot_be_opened_has_its_configured_name() -> None:
    def opener() -> Camera:
        raise CameraLost("usb:0: /dev/video0 is not there")

    clock = HandClock()
    keeper = CameraKeeper(opener, Latest(), lambda event: worker.stopping.set(), clock, name="usb:0")
    worker = Worker("test", lambda worker: None, clock)
    keeper(worker)
    assert (keeper.description, keeper.state, keeper.detail) == (
        "usb:0", CameraState.LOST, "usb:0: /dev/video0 is not there")


def test_the_camera_is_told_to_rest_and_to_wake() -> None:
    told: list[bool] = []
    keepers: list[CameraKeeper] = []

    class Sleeper(Scripted):
        def rest(self, is_resting: bool) -> None:
            told.append(is_resting)

        def read(self, timeout_s: float) -> Frame:
            frame = super().read(timeout_s)
            keepers[0].rest(5 <= frame.seq < 10)
            return frame

    clock = HandClock()
    keepers.append(CameraKeeper(lambda: Sleeper(clock, iter([*live(20), ClipEnded("over")])), Latest(),
                                lambda event: None, clock))
    keepers[0](Worker("test", lambda worker: None, clock))
    assert told == [True, False]


def test_a_change_of_size_gives_frames_of_the_first_size(caplog: pytest.LogCaptureFixture) -> None:
    small = [cv2.resize(picture, (80, 60)) for picture in LIVE]
    with caplog.at_level(logging.WARNING):
        _, _, frames = kept(scripted([*live(5), *small, CameraLost("gone")], [*small, ClipEnded("over")]))
    assert len(frames) == 27
    assert {frame.pixels.shape for frame in frames} == {(90, 160, 3)}
    assert not any(frame.pixels.flags.writeable for frame in frames)


def test_after_bad_credentials_the_keeper_waits_long(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(CameraKeeper, "_wait", lambda self, worker, seconds: waits.append(seconds))
    kept(scripted([CameraRefused("no")], [CameraLost("gone")], [*live(3), ClipEnded("over")]))
    assert waits == [300.0, 0.0]


def test_the_pauses_grow_and_a_steady_camera_ends_them(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(CameraKeeper, "_wait", lambda self, worker, seconds: waits.append(seconds))
    flaky: list[list[Pixels | CameraLost]] = [[*live(2), CameraLost("gone")] for _ in range(6)]
    opener = scripted(*flaky, [*live(40), CameraLost("gone")], [ClipEnded("over")])
    clock = HandClock()
    keeper = CameraKeeper(lambda: opener(clock), Latest(), lambda event: None, clock)
    keeper(Worker("test", lambda worker: None, clock))
    assert waits == [1.0, 2.0, 4.0, 5.0, 5.0, 5.0, 1.0]


@pytest.mark.parametrize("gaps", [
    [0.2] * 50, [0.01, 0.39] * 25, [0.15, 0.25, 0.2] * 17, [0.0, 0.4] * 25])
def test_the_rate_is_frames_by_time_however_they_are_spread(gaps: list[float]) -> None:
    rate, mono = Rate(), 0.0
    for seq, gap in enumerate(gaps):
        mono += gap
        rate.add(seq, mono)
    assert rate.per_second == pytest.approx(5.0, rel=0.15)


def test_frames_that_a_resting_camera_left_out_count() -> None:
    rate = Rate()
    for number in range(20):
        rate.add(number * 6, number * 0.2)
    assert rate.per_second == pytest.approx(30.0)


def test_the_rate_follows_a_change_within_its_window_and_starts_anew_with_another_camera() -> None:
    rate = Rate()
    for number in range(300):
        rate.add(number, number / 30)
    for number in range(300, 320):
        rate.add(number, 10.0 + (number - 300) / 5)
    assert rate.per_second == pytest.approx(5.0, rel=0.05)
    rate.add(0, 20.0)
    assert rate.per_second == 0.0


def test_the_rate_that_is_seen_is_told_and_none_while_the_camera_is_lost() -> None:
    seen: list[float] = []
    script = iter([*live(50), CameraLost("gone")])

    def opener(clock: HandClock) -> Camera:
        seen.append(keepers[0].fps)
        return Scripted(clock, script) if len(seen) == 1 else Scripted(clock, iter([ClipEnded("over")]))

    clock = HandClock()
    rates: list[float] = []
    keepers = [CameraKeeper(lambda: opener(clock), Latest(), lambda event: rates.append(keepers[0].fps), clock,
                            back_off_s=(0.0,))]
    keepers[0](Worker("test", lambda worker: None, clock))
    assert seen == [0.0, 0.0]
    assert keepers[0].fps == 0.0
    assert len(keepers[0].rate._seen) == 0


@pytest.mark.parametrize(("asked", "lines"), [
    (30.0, ["scripted: gives 5.0 frames/s instead of the 30 of camera.fps"]), (5.0, []), (0.0, [])])
def test_a_camera_that_gives_fewer_frames_than_it_was_asked_for_is_told_of_once(
        asked: float, lines: list[str], caplog: pytest.LogCaptureFixture) -> None:
    clock, script = HandClock(), iter([*live(200), ClipEnded("over")])
    keeper = CameraKeeper(lambda: Scripted(clock, script), Latest(), lambda event: None, clock, asked_fps=asked)
    keeper(Worker("test", lambda worker: None, clock))
    assert [record.getMessage() for record in caplog.records if "frames/s" in record.getMessage()] == lines


def test_a_worker_that_is_stopped_ends_the_keeper_and_closes_the_camera() -> None:
    clock = SystemClock()
    closed, seen = threading.Event(), threading.Event()

    class Endless(Scripted):
        def close(self) -> None:
            closed.set()

    hand = HandClock()
    keeper = CameraKeeper(lambda: Endless(hand, live(10**9)), Latest(), lambda event: seen.set(), clock)
    worker = Worker("camera", keeper, clock)
    worker.start()
    assert seen.wait(10)
    worker.stop()
    assert closed.is_set()
    assert worker.error is None


def test_a_network_camera_that_breaks_off_is_opened_again() -> None:
    states: list[CameraState] = []
    recovered = threading.Event()

    def tell(event: CameraEvent) -> None:
        states.append(event.state)
        if states.count(CameraState.FINE) == 2:
            recovered.set()

    clock = SystemClock()
    with RtspServer(Manners(cut_after=60)) as server:
        keeper = CameraKeeper(lambda: open_camera(CameraConfig(source=server.url()), clock), Latest(), tell, clock,
                              back_off_s=(0.0,))
        worker = Worker("camera", keeper, clock)
        worker.start()
        assert recovered.wait(60)
        worker.stop()
    assert states[:3] == [CameraState.FINE, CameraState.LOST, CameraState.FINE]


def test_a_hundred_openings_leave_no_file_and_no_thread_open(tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (160, 90))
    for picture in LIVE:
        writer.write(picture)
    writer.release()
    opened = 0

    def opener(clock: HandClock) -> Camera:
        nonlocal opened
        opened += 1
        camera = open_camera(CameraConfig(source=str(tmp_path / "clip.avi")), clock, paced=False)
        return camera if opened > 100 else Interrupted(camera)

    kept(opener)
    opened = 0
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    keeper, _, frames = kept(opener)
    assert keeper.reopened == 100
    assert len(frames) == 100 * 3 + len(LIVE)
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before


class Interrupted:
    """A camera that is lost after three frames."""

    def __init__(self, camera: Camera) -> None:
        self.description = camera.description
        self.has_noise = False
        self._camera = camera
        self._left = 3

    def read(self, timeout_s: float) -> Frame:
        if self._left == 0:
            raise CameraLost("pulled out")
        self._left -= 1
        return self._camera.read(timeout_s)

    def close(self) -> None:
        self._camera.close()
