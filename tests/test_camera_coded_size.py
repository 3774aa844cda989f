"""What coded pictures say of their size, and that torn ones say nothing."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.camera.coded_size import coded_size

CODECS = ("MJPG", "mpg1", "mpg2", "h264", "VP80", "FMP4", "????")


class Bits:
    """Writes what H.264's parameters are made of."""

    def __init__(self) -> None:
        self.text = ""

    def put(self, *bits: int) -> Bits:
        self.text += "".join(str(bit) for bit in bits)
        return self

    def number(self, *values: int) -> Bits:
        for value in values:
            binary = bin(value + 1)[2:]
            self.text += "0" * (len(binary) - 1) + binary
        return self

    def data(self) -> bytes:
        padded = self.text + "1" + "0" * (-(len(self.text) + 1) % 8)
        return bytes(int(padded[n : n + 8], 2) for n in range(0, len(padded), 8))


def parameters(profile: int, columns: int, rows: int, crop: tuple[int, ...] = (), is_frame: int = 1) -> bytes:
    """A sequence parameter set between a delimiter and a slice, as in a stream."""
    bits = Bits().number(0)
    if profile == 100:
        bits.number(1, 0, 0).put(0, 1).put(1)
        bits.number(*[0] * 16).put(*[0] * 7)  # one scaling list, the others left out
    bits.number(0, 2, 4).put(0).number(columns - 1, rows - 1).put(is_frame)
    if not is_frame:
        bits.put(0)
    bits.put(1, 1 if crop else 0)
    if crop:
        bits.number(*crop)
    bits.put(0)
    body = bytes([profile, 0, 30]) + bits.data()
    for least in range(4):
        body = body.replace(bytes([0, 0, least]), bytes([0, 0, 3, least]))
    return b"\0\0\0\x01\x09\xf0\0\0\0\x01\x67" + body + b"\0\0\x01\x68\xce\0\0\x01\x65\x88"


@pytest.mark.parametrize(("data", "size"), [
    (parameters(66, 20, 15), (320, 240)),
    (parameters(77, 80, 45), (1280, 720)),
    (parameters(100, 120, 68, (0, 0, 0, 4)), (1920, 1080)),
    (parameters(77, 120, 34, (0, 0, 0, 2), is_frame=0), (1920, 1080)),
])
def test_h264_parameters_are_read(data: bytes, size: tuple[int, int]) -> None:
    assert coded_size("h264", data) == size


def test_jpegs_of_every_kind_say_their_size() -> None:
    picture = np.random.default_rng(1).integers(0, 255, (120, 200, 3), np.uint8)
    for options in ((), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 4)):
        assert coded_size("MJPG", cv2.imencode(".jpg", picture, options)[1].tobytes()) == (200, 120)


@pytest.mark.parametrize(("codec", "name"), [("VP80", "a.webm"), ("MPG1", "a.mpg"), ("MPG2", "a.ts"),
                                             ("MJPG", "a.avi")])
def test_films_as_ffmpeg_writes_them_say_their_size(tmp_path: Path, codec: str, name: str,
                                                   capfd: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / name)
    writer = cv2.VideoWriter(path, cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 25.0, (336, 240))
    for level in range(5):
        writer.write(np.full((240, 336, 3), level * 40, np.uint8))
    writer.release()
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    told = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode()
    sizes = [coded_size(told, capture.read()[1].reshape(-1).tobytes()) for _ in range(4)]
    capture.release()
    assert sizes[0] == (336, 240)
    assert set(sizes) <= {(336, 240), None}


@given(st.sampled_from(CODECS), st.binary(max_size=200) | st.binary(max_size=100).map(
    lambda data: b"\0\0\x01\x67\x64\0\x1e" + data) | st.binary(max_size=50).map(lambda data: b"\xff\xd8\xff" + data))
def test_whatever_the_bytes_are_a_size_is_a_size_or_none(codec: str, data: bytes) -> None:
    size = coded_size(codec, data)
    assert size is None or min(size) > 0
