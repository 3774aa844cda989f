"""Clips and folders of stills as cameras: whole, broken off, damaged, empty, lying."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from device.camera.camera import CameraSilent, ClipBroken, ClipEnded, open_camera
from device.camera.files import Playback, open_file
from device.camera.fit import Fit
from device.clock import HandClock, SystemClock
from device.config import CameraConfig
from device.errors import CameraLost
from device.frame import Frame

RNG = np.random.default_rng(5)


def written(path: Path, frames: int = 30, fps: float = 10.0, speckled: bool = False) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (320, 240))
    for number in range(frames):
        plain = np.full((240, 320, 3), number * 8, np.uint8)
        writer.write(RNG.integers(0, 255, plain.shape, np.uint8) if speckled else plain)
    writer.release()
    return path


def shown(path: Path, rotate: int = 0) -> tuple[list[Frame], CameraLost]:
    """All frames of a clip, and how it ended."""
    camera = open_camera(CameraConfig(source=str(path), fps=10.0, rotate=rotate), HandClock(), paced=False)
    frames = []
    try:
        while len(frames) < 1000:
            frames.append(camera.read(1.0))
    except CameraLost as error:
        camera.close()
        return frames, error
    raise AssertionError("the clip does not end")


def test_a_clip_is_shown_whole_with_its_own_times(tmp_path: Path) -> None:
    frames, end = shown(written(tmp_path / "clip.avi"))
    assert [frame.seq for frame in frames] == list(range(30))
    assert [round(frame.mono - 1000.0, 3) for frame in frames] == [round(n / 10, 3) for n in range(30)]
    assert [round(float(frame.pixels.mean()) / 8) for frame in frames] == list(range(30))
    assert isinstance(end, ClipEnded) and not isinstance(end, ClipBroken)
    assert str(end) == "clip.avi: ended after 30 frames"


def test_a_clip_is_turned_as_configured(tmp_path: Path) -> None:
    frames, _ = shown(written(tmp_path / "clip.avi", 2), rotate=90)
    assert frames[0].pixels.shape == (320, 240, 3)


def test_a_clip_that_breaks_off_shows_what_it_has_and_says_so(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.avi").read_bytes()
    (tmp_path / "half.avi").write_bytes(whole[: len(whole) // 2])
    frames, end = shown(tmp_path / "half.avi")
    assert 10 <= len(frames) < 20
    assert isinstance(end, ClipBroken)
    assert str(end) == f"half.avi: breaks off after {len(frames)} of 30 frames"


def test_a_damaged_stretch_costs_frames_not_the_clip(tmp_path: Path) -> None:
    whole = bytearray(written(tmp_path / "clip.avi", speckled=True).read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 60_000] = RNG.integers(0, 255, 60_000, np.uint8).tobytes()
    (tmp_path / "hurt.avi").write_bytes(whole)
    frames, end = shown(tmp_path / "hurt.avi")
    assert 25 <= len(frames) < 30
    assert isinstance(end, ClipEnded)


@pytest.mark.parametrize(("name", "content", "said"), [
    ("empty.avi", b"", "the file is empty"),
    ("text.avi", b"not a video " * 50, "not a video that can be read"),
    ("bomb.gif", b"GIF89a" + b"\xff\xff\xff\xff" + b"\0" * 50, "65535×65535"),
])
def test_what_is_no_video_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CameraLost) as caught:
        shown(tmp_path / name)
    assert str(caught.value).startswith(f"{name}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_clip_that_is_not_there_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(CameraLost, match="nothing.avi: no such file"):
        open_file(tmp_path / "nothing.avi", CameraConfig(), HandClock())


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "clip.avi")
    with pytest.raises(CameraLost, match="not an ordinary file"):
        shown(tmp_path / "clip.avi")


def test_the_decoder_makes_no_noise_of_its_own(tmp_path: Path) -> None:
    # In a process of its own: FFmpeg takes its log level from the first that uses it, here perhaps another test.
    (tmp_path / "text.avi").write_text("not a video " * 50)
    jpeg = cv2.imencode(".jpg", RNG.integers(0, 255, (240, 320, 3), np.uint8))[1].tobytes()
    (tmp_path / "hurt.mjpeg").write_bytes(jpeg + jpeg[:9000] + b"\0" * 9000 + jpeg)
    program = """
import sys
from device.camera.camera import open_camera
from device.clock import SystemClock
from device.config import CameraConfig
from device.errors import CameraLost
for path in sys.argv[1:]:
    try:
        camera = open_camera(CameraConfig(source=path), SystemClock(), paced=False)
        while True:
            camera.read(1.0)
    except CameraLost as error:
        print(error)
"""
    command = [sys.executable, "-c", program, str(tmp_path / "text.avi"), str(tmp_path / "hurt.mjpeg")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["text.avi", "hurt.mjpeg"]


def with_a_change(path: Path) -> Path:
    """Ten pictures of 320×240 and ten of 120×200, each with a white square."""
    with path.open("wb") as file:
        for number in range(20):
            picture = np.full((240, 320, 3) if number < 10 else (200, 120, 3), 50, np.uint8)
            picture[60:100, 40:80] = 250
            file.write(cv2.imencode(".jpg", picture)[1].tobytes())
    return path


def test_a_clip_that_changes_size_goes_on_at_its_first_size_with_its_proportions_and_says_so_once(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        frames, end = shown(with_a_change(tmp_path / "clip.mjpeg"))
    assert len(frames) == 20
    assert {frame.pixels.shape for frame in frames} == {(240, 320, 3)}
    assert isinstance(end, ClipEnded)
    for frame in (frames[5], frames[15]):
        rows, columns = np.nonzero(frame.pixels[:, :, 0] > 150)
        assert abs(np.ptp(rows) - np.ptp(columns)) <= 2
    assert [record.getMessage() for record in caplog.records] == [
        "clip.mjpeg: the picture's size changed to 120×200"]


def test_two_films_in_one_file_are_told_apart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = b""
    for number, size in enumerate(((320, 240), (160, 240))):
        part = tmp_path / f"{number}.ts"
        writer = cv2.VideoWriter(str(part), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MPG2"), 25.0, size)
        for level in range(20):
            writer.write(np.full((size[1], size[0], 3), 100 + level, np.uint8))
        writer.release()
        whole += part.read_bytes()
    (tmp_path / "both.ts").write_bytes(whole)
    with caplog.at_level(logging.WARNING):
        frames, _ = shown(tmp_path / "both.ts")
    assert len(frames) >= 38
    assert int(frames[-1].pixels[120, 10, 0]) == 0 < int(frames[-1].pixels[120, 160, 0])
    assert "size changed to 160×240" in caplog.text


@pytest.mark.parametrize("rate", [0.01, 0.2, 1000.0])
def test_a_lying_frame_rate_is_told_and_the_configured_one_taken(tmp_path: Path, rate: float,
                                                                 caplog: pytest.LogCaptureFixture) -> None:
    frames, _ = shown(written(tmp_path / "clip.avi", 30, fps=rate))
    assert [two.mono - one.mono for one, two in pairwise(frames)] == pytest.approx([0.1] * 29)
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"clip.avi: states {rate:g} frames/s, which is not believed; shown at camera.fps, 10"]


def test_an_honest_frame_rate_is_taken_without_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames, _ = shown(written(tmp_path / "clip.avi", 30, fps=25.0))
    assert [two.mono - one.mono for one, two in pairwise(frames)] == pytest.approx([0.04] * 29)
    assert not caplog.records


def test_a_resting_clip_leaves_pictures_out_and_counts_them(tmp_path: Path) -> None:
    camera = open_camera(CameraConfig(source=str(written(tmp_path / "clip.avi", 30, fps=30.0))), HandClock(),
                         paced=False)
    camera.rest(True)  # type: ignore[attr-defined]
    seen = [camera.read(1.0).seq for _ in range(4)]
    camera.rest(False)  # type: ignore[attr-defined]
    seen += [camera.read(1.0).seq for _ in range(3)]
    camera.close()
    assert seen[:4] == [0, 6, 12, 18]
    assert seen[4] - seen[3] == 6  # it was made ready before
    assert seen[5:] == [seen[4] + 1, seen[4] + 2]


def test_a_resting_folder_reads_fewer_stills(tmp_path: Path) -> None:
    for number in range(12):
        Image.new("RGB", (64, 48), (number * 20,) * 3).save(tmp_path / f"{number:02}.png")
    camera = open_camera(CameraConfig(source=str(tmp_path), fps=10.0), HandClock(), paced=False)
    camera.rest(True)  # type: ignore[attr-defined]
    assert [camera.read(1.0).seq for _ in range(4)] == [0, 2, 4, 6]
    camera.close()


@pytest.mark.data
def test_gifs_are_clips(data_dir: Path) -> None:
    frames, end = shown(data_dir / "video" / "intel_classroom.gif")
    assert len(frames) == 45
    assert frames[0].pixels.shape == (270, 480, 3)
    assert 2.5 < frames[-1].mono - frames[0].mono < 3.5
    assert isinstance(end, ClipEnded)


def test_a_paced_clip_keeps_its_times_and_is_silent_before() -> None:
    black = np.zeros((48, 64, 3), np.uint8)
    pictures = iter([(black, 0.0, 0), (black, 0.3, 1)])
    camera = Playback("clip", pictures, Fit("clip"), SystemClock(), paced=True)
    first = camera.read(1.0)
    with pytest.raises(CameraSilent):
        camera.read(0.01)
    second = camera.read(5.0)
    assert second.mono - first.mono >= 0.25
    assert second.seq == 1


def test_a_closed_clip_yields_nothing_more(tmp_path: Path) -> None:
    camera = open_camera(CameraConfig(source=str(written(tmp_path / "clip.avi", 5))), HandClock(), paced=False)
    camera.read(1.0)
    camera.close()
    camera.close()
    with pytest.raises(ClipEnded):
        camera.read(1.0)


def test_stills_are_shown_in_the_order_of_their_names(tmp_path: Path) -> None:
    for number in (2, 0, 1):
        Image.new("RGB", (64, 48), (number * 50,) * 3).save(tmp_path / f"{number}.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    frames, end = shown(tmp_path)
    assert [int(frame.pixels[0, 0, 0]) for frame in frames] == [0, 50, 100]
    assert [round(frame.mono - 1000, 3) for frame in frames] == [0.0, 0.1, 0.2]
    assert str(end).endswith("all 3 pictures shown")


def test_odd_stills_are_converted_turned_or_left_out_with_a_word(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Image.new("RGB", (64, 48), (10, 20, 30)).save(tmp_path / "0_plain.png")
    Image.new("L", (64, 48), 77).save(tmp_path / "1_grey.png")
    Image.new("CMYK", (64, 48), (0, 0, 0, 128)).save(tmp_path / "2_cmyk.jpg")
    Image.fromarray(np.full((48, 64), 0x4D4D, np.uint16)).save(tmp_path / "3_deep.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (48, 64), (10, 20, 30)).save(tmp_path / "4_turned.jpg", exif=exif)
    (tmp_path / "5_empty.png").touch()
    (tmp_path / "6_torn.png").write_bytes((tmp_path / "0_plain.png").read_bytes()[:40])
    (tmp_path / "7_noise.jpg").write_bytes(b"\xff\xd8\xff" + os.urandom(200))
    bomb = bytearray((tmp_path / "0_plain.png").read_bytes())
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    (tmp_path / "8_bomb.png").write_bytes(bomb)
    with caplog.at_level(logging.WARNING):
        frames, end = shown(tmp_path)
    assert len(frames) == 5
    assert {frame.pixels.shape for frame in frames} == {(48, 64, 3)}
    assert int(frames[1].pixels[0, 0, 2]) == int(frames[3].pixels[0, 0, 0]) == 77
    assert str(end) == f"{tmp_path.name}: all 5 pictures shown, 4 left out"
    left_out = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[1].strip() for line in left_out] == ["5_empty.png", "6_torn.png", "7_noise.jpg",
                                                                 "8_bomb.png"]


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(CameraLost, match="holds no picture that can be read"):
        shown(tmp_path)
