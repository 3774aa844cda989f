"""Raw pictures from a process: whole, in pieces, late, none, and the process's last words."""

from __future__ import annotations

import os
import shutil
from contextlib import closing

import pytest

from device.camera import jetson
from device.camera.camera import CameraSilent, open_camera
from device.camera.jetson import RawPipe, pipeline
from device.clock import SystemClock
from device.config import CameraConfig
from device.errors import CameraLost

CONFIG = CameraConfig(width=160, height=120, fps=30.0)


def piped(script: str) -> RawPipe:
    """A camera over a shell script that writes BGRx pictures into descriptor {fd}."""
    return RawPipe("jetson:0", lambda fd: ["bash", "-c", script.replace("{fd}", str(fd))], CONFIG, SystemClock())


def test_the_pipeline_holds_checked_numbers_only() -> None:
    command = pipeline(["nvarguscamerasrc", "sensor-id=1"], CONFIG, 7)
    assert command[:2] == ["gst-launch-1.0", "-q"]
    assert "video/x-raw,format=BGRx,width=160,height=120" in command
    assert command[-2:] == ["fd=7", "sync=false"]


def test_pictures_are_cut_from_the_stream_and_lose_their_fourth_channel() -> None:
    pixel = r"\\x01\\x02\\x03\\xff"
    script = f"picture=$(printf '{pixel}%.0s' $(seq 19200)); printf \"$picture$picture\" >&{{fd}}; sleep 30 >&{{fd}}"
    with closing(piped(script)) as camera:
        frames = [camera.read(20.0) for _ in range(2)]
        assert [frame.seq for frame in frames] == [0, 1]
        assert frames[0].pixels.shape == (120, 160, 3)
        assert frames[1].pixels[119, 159].tolist() == [1, 2, 3]
        with pytest.raises(CameraSilent):
            camera.read(0.05)


def test_a_resting_camera_drains_its_pipe() -> None:
    script = "for n in 1 2 3 4 5 6 7 8; do head -c 76800 /dev/zero >&{fd}; sleep 0.06; done; sleep 30 >&{fd}"
    with closing(piped(script)) as camera:
        first = camera.read(20.0)
        camera.rest(True)
        second = camera.read(20.0)
        assert second.mono - first.mono >= 0.19
        assert second.seq - first.seq >= 2
        camera.rest(False)
        assert camera.read(20.0).seq == second.seq + 1


def test_a_picture_in_pieces_is_put_together_over_several_reads() -> None:
    script = "head -c 50000 /dev/zero >&{fd}; sleep 0.3; head -c 26800 /dev/zero >&{fd}; sleep 30 >&{fd}"
    with closing(piped(script)) as camera:
        for _ in range(400):
            try:
                assert camera.read(0.05).pixels.shape == (120, 160, 3)
                return
            except CameraSilent:
                continue
    raise AssertionError("no frame")


def test_a_pipeline_that_ends_is_a_lost_camera_with_its_last_words() -> None:
    camera = piped("echo first >&2; echo 'no cameras available' >&2; exit 1")
    with closing(camera), pytest.raises(CameraLost, match="pipeline ended: no cameras available"):
        camera.read(20.0)


def test_chatter_neither_blocks_the_pipeline_nor_is_kept() -> None:
    script = "head -c 3000000 /dev/zero | tr '\\0' 'x' >&2; head -c 76800 /dev/zero >&{fd}; sleep 30 >&{fd}"
    with closing(piped(script)) as camera:
        assert camera.read(30.0).pixels.shape == (120, 160, 3)


def test_openings_leave_no_file_and_no_process_behind() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        camera = piped("exec sleep 30 >&{fd}")
        camera.close()
        camera.close()
        with pytest.raises(ProcessLookupError):
            os.kill(camera._process.pid, 0)
    with pytest.raises(CameraLost, match="cannot be started"):
        RawPipe("jetson:0", lambda fd: ["/nowhere/gst"], CONFIG, SystemClock())
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_missing_gstreamer_is_said_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jetson.shutil, "which", lambda name: None)
    with pytest.raises(CameraLost, match="sudo apt install gstreamer1.0-tools"):
        open_camera(CameraConfig(source="jetson:0"), SystemClock())


def test_a_real_gstreamer_pipeline_yields_frames() -> None:
    if shutil.which("gst-launch-1.0") is None:
        pytest.skip("gst-launch-1.0 is not installed")
    source = ["videotestsrc", "is-live=true", "!", "video/x-raw,format=BGRx,width=160,height=120", "!", "identity"]
    with closing(RawPipe("test", lambda fd: pipeline(source, CONFIG, fd), CONFIG, SystemClock())) as camera:
        try:
            frames = [camera.read(20.0) for _ in range(3)]
        except CameraLost as error:
            pytest.skip(f"GStreamer's base plugins are not installed: {error}")
    assert frames[2].pixels.std() > 20
