"""`doorctl replay`: that whatever is wrong with a clip is told, on a line of its own, and the rest is shown."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.cli import main


@pytest.fixture
def door(pack, portrait, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to put clips in, and a terminal at which somebody is enrolled."""
    monkeypatch.setenv("DOOR_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("DOOR_LINK", str(tmp_path / "none.toml"))
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), portrait)
    assert main(["enrol", "Anna", str(photo), "--consent", "paper"]) == 0
    (tmp_path / "config.toml").write_text('[door]\nlock = "strike"\n[face]\nliveness = "none"\n')
    return tmp_path


def replayed(door: Path, clip: Path, capsys: pytest.CaptureFixture[str]) -> tuple[list[dict[str, object]], list[str]]:
    capsys.readouterr()
    assert main(["replay", str(clip), "--config", str(door / "config.toml"), "--json"]) == 0
    told = capsys.readouterr()
    return json.loads(told.out), told.err.splitlines()


def filmed(path: Path, picture: np.ndarray, frames: int = 20) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, picture.shape[1::-1])
    for _ in range(frames):
        writer.write(picture)
    writer.release()
    return path


def test_a_whole_clip_is_shown_without_a_remark(door, portrait, capsys):
    rows, remarks = replayed(door, filmed(door / "clip.avi", portrait), capsys)
    assert [row["granted"] for row in rows] == [True]
    assert remarks == []


def test_a_clip_that_breaks_off_is_told_with_what_was_decided_before(door, portrait, capsys):
    whole = filmed(door / "clip.avi", portrait).read_bytes()
    (door / "half.avi").write_bytes(whole[: len(whole) // 2])
    rows, remarks = replayed(door, door / "half.avi", capsys)
    assert [row["granted"] for row in rows] == [True]
    assert len(remarks) == 1
    assert remarks[0].startswith("doorctl: half.avi: breaks off after ")


def test_stills_that_cannot_be_read_are_named(door, portrait, capsys):
    (door / "stills").mkdir()
    for number in range(8):
        cv2.imwrite(str(door / "stills" / f"{number}.png"), portrait)
    (door / "stills" / "3.png").write_bytes(b"nothing")
    level = logging.getLogger("device.camera").level
    rows, remarks = replayed(door, door / "stills", capsys)
    assert [row["granted"] for row in rows] == [True]
    assert remarks == ["doorctl: left out: 3.png: not a picture that can be read"]
    assert logging.getLogger("device.camera").level == level


def test_a_size_that_changes_is_told_once(door, portrait, capsys):
    with (door / "clip.mjpeg").open("wb") as file:
        for number in range(12):
            picture = portrait if number < 6 else portrait[:256]
            file.write(cv2.imencode(".jpg", picture)[1].tobytes())
    _, remarks = replayed(door, door / "clip.mjpeg", capsys)
    assert remarks == ["doorctl: clip.mjpeg: the picture's size changed to 512×256"]
