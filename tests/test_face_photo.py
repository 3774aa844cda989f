"""Pictures from outside: every kind that people have, and every way in which they can be bad."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from face_scenes import Pixels
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from device.errors import PictureRefused
from device.face.photo import LONGEST_SIDE, MOST_BYTES, decode_photo, read_photo

RED_LEFT = np.zeros((40, 60, 3), np.uint8)
RED_LEFT[:, :30] = (255, 0, 0)
RED_LEFT[:20, 30:] = (0, 0, 255)
"""RGB: left half red, upper right quarter blue, the rest black; no two orientations of it are alike."""


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def close(one: Pixels, other: Pixels) -> bool:
    return one.shape == other.shape and float(np.abs(one.astype(int) - other.astype(int)).mean()) < 4


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_the_four_formats_are_read(kind: str) -> None:
    pixels = decode_photo(saved(Image.fromarray(RED_LEFT), kind, quality=95), "a")
    assert pixels.dtype == np.uint8
    assert close(pixels, RED_LEFT[:, :, ::-1])
    assert not pixels.flags.writeable
    assert pixels.flags.c_contiguous


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PPM", "PDF"])
def test_other_formats_are_refused(kind: str) -> None:
    with pytest.raises(PictureRefused, match="a: not a JPEG, PNG, WebP or BMP"):
        decode_photo(saved(Image.fromarray(RED_LEFT), kind), "a")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(orientation: int) -> None:
    # How a camera stores the upright picture under each orientation (Exif 2.32, tag 0x0112).
    stored = {1: lambda p: p, 2: lambda p: p[:, ::-1], 3: lambda p: p[::-1, ::-1], 4: lambda p: p[::-1],
              5: lambda p: p.transpose(1, 0, 2), 6: lambda p: np.rot90(p, 1), 7: lambda p: np.rot90(p, 2).transpose(
                  1, 0, 2), 8: lambda p: np.rot90(p, -1)}[orientation](RED_LEFT)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(np.ascontiguousarray(stored)), "JPEG", quality=95, subsampling=0, exif=exif)
    assert close(decode_photo(data, "a"), RED_LEFT[:, :, ::-1])


def test_grey_pictures_have_three_equal_channels() -> None:
    pixels = decode_photo(saved(Image.fromarray(RED_LEFT[:, :, 0]), "PNG"), "a")
    assert np.array_equal(pixels[:, :, 0], RED_LEFT[:, :, 0])
    assert np.array_equal(pixels[:, :, 0], pixels[:, :, 2])


def test_one_bit_and_palette_pictures_are_read() -> None:
    image = Image.fromarray(RED_LEFT)
    assert close(decode_photo(saved(image.convert("P"), "PNG"), "a"), RED_LEFT[:, :, ::-1])
    two_tone = decode_photo(saved(image.convert("L").point(lambda value: value * 9).convert("1"), "PNG"), "a")
    assert set(np.unique(two_tone)) == {0, 255}


def test_sixteen_bit_grey_keeps_its_upper_bits() -> None:
    deep = (np.arange(256, dtype=np.uint16) * 257).repeat(4).reshape(256, 4)
    pixels = decode_photo(saved(Image.fromarray(deep), "PNG"), "a")
    assert np.abs(pixels[:, 0, 0].astype(int) - np.arange(256)).max() <= 1


def test_cmyk_is_read_as_it_looks() -> None:
    pixels = decode_photo(saved(Image.fromarray(RED_LEFT).convert("CMYK"), "JPEG", quality=95), "a")
    assert close(pixels[5:35, 5:25], np.broadcast_to(np.array([0, 0, 255], np.uint8), (30, 20, 3)))


def test_what_is_transparent_becomes_white() -> None:
    alpha = np.dstack([RED_LEFT, np.full((40, 60), 0, np.uint8)])
    alpha[:, :30, 3] = 255
    pixels = decode_photo(saved(Image.fromarray(alpha), "PNG"), "a")
    assert pixels[10, 10].tolist() == [0, 0, 255]
    assert pixels[10, 50].tolist() == [255, 255, 255]
    assert decode_photo(saved(Image.fromarray(alpha).convert("LA"), "PNG"), "a")[10, 50].tolist() == [255] * 3


def test_of_an_animation_the_first_picture_is_taken() -> None:
    frames = [Image.fromarray(RED_LEFT), Image.new("RGB", (60, 40), (0, 255, 0))]
    for kind in ("WEBP", "PNG"):
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
        assert close(decode_photo(data, "a"), RED_LEFT[:, :, ::-1])


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_large_pictures_are_shrunk(kind: str) -> None:
    large = Image.fromarray(RED_LEFT).resize((4800, 3200), Image.Resampling.NEAREST)
    pixels = decode_photo(saved(large, kind), "a")
    assert pixels.shape == (1280, LONGEST_SIDE, 3)
    assert pixels[640, 100, 2] > 250
    deep = Image.fromarray(np.full((100, 2400), 65535, np.uint16))
    assert decode_photo(saved(deep, "PNG"), "a").shape == (80, LONGEST_SIDE, 3)


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(PictureRefused, match="^a: empty file$"):
        decode_photo(b"", "a")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_cut_off_pictures_are_refused(kind: str, portrait: Pixels) -> None:
    data = saved(Image.fromarray(portrait), kind)
    for share in (0.02, 0.3, 0.9):
        with pytest.raises(PictureRefused, match="^a: (damaged or cut off|not a JPEG)"):
            decode_photo(data[:int(len(data) * share)], "a")


def test_a_decompression_bomb_is_refused_by_its_header() -> None:
    def bomb(width: int, height: int) -> bytes:
        def chunk(kind: bytes, body: bytes) -> bytes:
            return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000)))
                + chunk(b"IEND", b""))

    for size in ((60_000, 60_000), (12_001, 1), (10_000, 9_000), (2**31 - 1, 2**31 - 1)):
        with pytest.raises(PictureRefused, match="pixels"):
            decode_photo(bomb(*size), "a")


def test_a_sound_picture_with_far_too_long_a_text_is_not_called_damaged() -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("comment", "x" * 80_000_000, zip=True)
    data = saved(Image.fromarray(RED_LEFT), "PNG", pnginfo=notes)
    assert len(data) < 1_000_000
    with pytest.raises(PictureRefused, match="^a: too much text beside the picture; save it without metadata$"):
        decode_photo(data, "a")


def test_more_bytes_than_allowed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PictureRefused, match="larger than 20 MB"):
        decode_photo(bytes(MOST_BYTES + 1), "a")
    large = tmp_path / "large.jpg"
    with large.open("wb") as file:
        file.truncate(3 * MOST_BYTES)
    with pytest.raises(PictureRefused, match=r"^large\.jpg: larger than 20 MB"):
        read_photo(large)


def test_a_file_is_read_and_named_in_refusals(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(saved(Image.fromarray(RED_LEFT), "PNG"))
    assert close(read_photo(path), RED_LEFT[:, :, ::-1])
    path.write_bytes(b"no picture at all")
    with pytest.raises(PictureRefused, match=r"^x\.png: not a JPEG, PNG, WebP or BMP picture$"):
        read_photo(path)
    for missing in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(PictureRefused, match="no such picture"):
            read_photo(missing)


SAMPLES = [saved(Image.fromarray(RED_LEFT), kind) for kind in ("PNG", "JPEG", "WEBP", "BMP")]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SAMPLES), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1,
                                          max_size=8), st.integers(0, 10_000))
def test_damaged_bytes_give_a_picture_or_one_line(data: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    damaged = bytearray(data)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    del damaged[max(cut, 1):]
    try:
        pixels = decode_photo(bytes(damaged), "a")
    except PictureRefused as error:
        assert "\n" not in str(error)
        assert str(error).startswith("a: ")
    else:
        assert pixels.ndim == 3
        assert max(pixels.shape) <= LONGEST_SIDE
