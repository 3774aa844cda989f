"""Fit: any picture that a driver hands out -> the one shape that a Frame holds."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import numpy.typing as npt

from device.errors import CameraLost
from device.frame import Pixels

log = logging.getLogger(__name__)

MOST_PIXELS = 4096 * 4096
LEAST_SIDE = 32


class Fit:
    """Converts to BGR, turns, checks the size, and holds all pictures to the size of the first.

    A picture of another size is scaled with its proportions kept, black beside it; that is logged once.
    """

    def __init__(self, name: str, rotate: int = 0) -> None:
        self._name = name
        self._turns = rotate // 90
        self._size: tuple[int, int] | None = None
        self._last: tuple[int, int] | None = None

    def __call__(self, picture: npt.NDArray[Any]) -> Pixels:
        """H×W×3 uint8 BGR, contiguous, read-only; CameraLost where the picture is of no known format."""
        check_size(self._name, *picture.shape[1::-1])
        pixels = np.rot90(_bgr(self._name, picture), -self._turns) if self._turns else _bgr(self._name, picture)
        size = (pixels.shape[1], pixels.shape[0])
        if self._size is None:
            self._size = self._last = size
        if size != self._last:
            log.warning("%s: the picture's size changed to %d×%d", self._name, *size)
            self._last = size
        fitted = np.ascontiguousarray(pixels if size == self._size else _letterbox(pixels, *self._size))
        fitted.setflags(write=False)
        return fitted


def check_size(name: str, width: float, height: float) -> None:
    """CameraLost where a picture is too small to see with or so large that it must be an attack or a fault."""
    if min(width, height) < LEAST_SIDE or width * height > MOST_PIXELS:
        raise CameraLost(f"{name}: a picture of {width:.0f}×{height:.0f} pixels cannot be used "
                         f"(at least {LEAST_SIDE} a side, at most {MOST_PIXELS} in all)")


def _bgr(name: str, picture: npt.NDArray[Any]) -> Pixels:
    import cv2

    if picture.dtype == np.uint16:
        picture = (picture >> 8).astype(np.uint8)
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3):
        raise CameraLost(f"{name}: pictures of type {picture.dtype} cannot be used; set the camera to MJPEG or YUYV")
    channels = 1 if picture.ndim == 2 else picture.shape[2]
    if channels == 3:
        return picture
    ways = {1: cv2.COLOR_GRAY2BGR, 2: cv2.COLOR_YUV2BGR_YUYV, 4: cv2.COLOR_BGRA2BGR}
    if channels not in ways:
        raise CameraLost(f"{name}: pictures of {channels} channels cannot be used; set the camera to MJPEG or YUYV")
    if channels == 2:
        # Two pixels of YUYV share their colour: the last of an odd number has none of its own.
        picture = np.ascontiguousarray(picture[:, : picture.shape[1] & ~1])
    converted: Pixels = cv2.cvtColor(picture, ways[channels])
    return converted


def _letterbox(pixels: Pixels, width: int, height: int) -> Pixels:
    import cv2

    scale = min(width / pixels.shape[1], height / pixels.shape[0])
    inner = (max(round(pixels.shape[1] * scale), 1), max(round(pixels.shape[0] * scale), 1))
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas = np.zeros((height, width, 3), np.uint8)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(pixels, inner, interpolation=way)
    return canvas
