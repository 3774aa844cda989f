"""Any picture that a driver hands out becomes the shape that a Frame holds."""

from __future__ import annotations

import logging

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from device.camera.fit import Fit
from device.errors import CameraLost

COLOURS = np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8)


def test_a_colour_picture_passes_unchanged_and_read_only() -> None:
    pixels = Fit("x")(COLOURS.copy())
    assert np.array_equal(pixels, COLOURS)
    assert not pixels.flags.writeable
    assert pixels.flags.c_contiguous


def test_grey_sixteen_bit_and_four_channel_pictures_are_converted() -> None:
    grey = COLOURS[:, :, 0]
    for picture in (grey.copy(), grey[:, :, None].copy(), grey.astype(np.uint16) << 8):
        assert np.array_equal(Fit("x")(picture), np.repeat(grey[:, :, None], 3, axis=2))
    assert np.array_equal(Fit("x")(np.dstack([COLOURS, COLOURS[:, :, :1]])), COLOURS)


def test_raw_yuyv_is_converted() -> None:
    raw = np.full((48, 64, 2), 128, np.uint8)
    raw[:, :, 0] = 180
    pixels = Fit("x")(raw)
    assert pixels.shape == (48, 64, 3)
    assert np.ptp(pixels) == 0
    assert np.array_equal(pixels, cv2.cvtColor(raw, cv2.COLOR_YUV2BGR_YUYV))


def test_raw_yuyv_of_an_odd_width_loses_its_last_column() -> None:
    raw = np.random.default_rng(2).integers(0, 255, (48, 65, 2), np.uint8)
    pixels = Fit("x")(raw)
    assert pixels.shape == (48, 64, 3)
    assert np.array_equal(pixels, Fit("y")(np.ascontiguousarray(raw[:, :64])))


@pytest.mark.parametrize("picture", [
    np.zeros((48, 64, 3), np.float32), np.zeros((48, 64, 5), np.uint8), np.zeros((48, 64, 3, 2), np.uint8),
    np.zeros((8, 64, 3), np.uint8), np.broadcast_to(np.uint8(0), (50_000, 50_000, 3)),
])
def test_odd_types_and_sizes_are_refused_in_one_line(picture: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(CameraLost, match="cannot be used"):
        Fit("x")(picture)


@pytest.mark.parametrize(("rotate", "corner"), [(90, (0, -1)), (180, (-1, -1)), (270, (-1, 0))])
def test_pictures_are_turned_clockwise(rotate: int, corner: tuple[int, int]) -> None:
    pixels = Fit("x", rotate)(COLOURS.copy())
    assert pixels.shape == ((48, 64, 3) if rotate == 180 else (64, 48, 3))
    assert np.array_equal(pixels[corner], COLOURS[0, 0])


def test_a_picture_of_another_size_is_scaled_with_its_proportions(caplog: pytest.LogCaptureFixture) -> None:
    fit = Fit("x")
    fit(COLOURS.copy())
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            pixels = fit(np.full((48, 48, 3), 200, np.uint8))
    assert pixels.shape == COLOURS.shape
    assert pixels[:, 8:56].min() == 200
    assert pixels[:, :8].max() == 0
    assert len(caplog.records) == 1
    assert np.array_equal(fit(COLOURS.copy()), COLOURS)
