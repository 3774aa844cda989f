"""What `camera.source` may say, and finding a camera that is plugged in."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from device.camera import attached
from device.camera.attached import find_attached
from device.camera.camera import open_camera
from device.camera.source import Kind, Source, parse_source
from device.clock import SystemClock
from device.config import CameraConfig
from device.errors import CameraLost, ConfigError


def listed(root: Path, name: str, *, text: str, index: int = 0, bus: str = "usb1/1-1") -> None:
    """List a video device as the kernel does."""
    device = root / "sys/devices" / bus / name
    device.mkdir(parents=True)
    entry = root / "sys/class/video4linux" / name
    entry.mkdir(parents=True)
    (entry / "device").symlink_to(device)
    (entry / "name").write_text(text + "\n")
    (entry / "index").write_text(f"{index}\n")
    (root / "dev").mkdir(exist_ok=True)
    (root / "dev" / name).touch()


@pytest.mark.parametrize(("text", "source"), [
    ("rehearsal", Source(Kind.REHEARSAL)),
    ("picamera", Source(Kind.PICAMERA)),
    ("picamera:1", Source(Kind.PICAMERA, number=1)),
    ("usb:2", Source(Kind.USB, number=2)),
    ("/dev/video10", Source(Kind.USB, number=10)),
    ("jetson:0", Source(Kind.JETSON)),
])
def test_each_kind_of_source_is_understood(text: str, source: Source) -> None:
    assert parse_source(text) == source


def test_a_network_camera_is_understood() -> None:
    source = parse_source("RTSP://cam.example/live")
    assert (source.kind, source.address.shown) == (Kind.RTSP, "rtsp://cam.example/live")


def test_a_file_or_folder_is_understood(tmp_path: Path) -> None:
    (tmp_path / "a:b.avi").touch()
    assert parse_source(str(tmp_path)) == Source(Kind.FILE, path=tmp_path)
    assert parse_source(str(tmp_path / "a:b.avi")).kind is Kind.FILE


@pytest.mark.parametrize("text", [
    "", "usb", "usb:", "usb:-1", "usb:0 ! fakesink", "usb:100000", "jetson:0,width=1", "jetson:x", "picamera:1 2",
    "http://door:secret@cam/", "rtsps://door:secret@cam/", "file\0name", "nothing/here.avi", "usb:١",
    " rtsp://door:secret@cam/", "//door:secret@cam/live", "door@cam:secret",
    "~nobodyofthatname/x", "a" * 5000, "two\nlines",
])
def test_any_other_source_is_refused_in_one_line_without_a_password(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_source(text)
    assert "camera.source" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_configuration_shows_no_source_since_it_may_hold_a_password() -> None:
    assert "secret" not in repr(CameraConfig(source="rtsp://door:secret@cam/"))


def test_the_first_usb_camera_is_found_and_not_its_metadata_node(tmp_path: Path) -> None:
    listed(tmp_path, "video10", text="bcm2835-codec-decode", bus="platform/soc")
    listed(tmp_path, "video3", text="HD Webcam", index=1)
    listed(tmp_path, "video2", text="HD Webcam")
    listed(tmp_path, "video4", text="Second Webcam", bus="usb2/2-1")
    assert find_attached(tmp_path) == "usb:2"


def test_no_camera_is_found_where_there_are_only_codecs_or_nothing(tmp_path: Path) -> None:
    assert find_attached(tmp_path) is None
    listed(tmp_path, "video10", text="bcm2835-codec-decode", bus="platform/soc")
    assert find_attached(tmp_path) is None


def test_a_camera_module_is_found_where_picamera2_is_installed(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    listed(tmp_path, "v4l-subdev0", text="imx708_wide 10-001a", bus="platform/soc")
    listed(tmp_path, "video0", text="HD Webcam")
    monkeypatch.setattr(attached.importlib.util, "find_spec", lambda name: None)
    with caplog.at_level(logging.WARNING):
        assert find_attached(tmp_path) == "usb:0"
    assert "sudo apt install python3-picamera2" in caplog.text
    monkeypatch.setattr(attached.importlib.util, "find_spec", lambda name: object())
    assert find_attached(tmp_path) == "picamera"


def test_auto_without_a_camera_says_so(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(attached, "find_attached", lambda: None)
    with pytest.raises(CameraLost, match="no camera is attached"):
        open_camera(CameraConfig(source="auto"), SystemClock())
    assert capfd.readouterr().err == ""


def test_the_rehearsal_is_not_opened_as_a_camera() -> None:
    with pytest.raises(ConfigError, match="rendering"):
        open_camera(CameraConfig(source="rehearsal"), SystemClock())
