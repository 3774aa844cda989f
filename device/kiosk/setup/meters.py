"""Is the lens in focus, is there light enough? Two meters on the newest picture, for whoever turns the lens.

Focus is the variance of the Laplacian over the part of the picture in which faces count (J. L. Pech-Pacheco et al.,
"Diatom autofocusing in brightfield microscopy", 2000): it has no scale of its own, so its peak is held, and the lens
is right where the needle is back at the peak.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import cv2

from device.frame import Pixels

KEPT = 120
"""Readings of the curve: half a minute at four a second."""

DARK, BRIGHT = 16, 239
"""Grey levels at which a picture holds nothing any more: the ends of studio range."""

CLIPPED = 0.05
"""A share of the zone so dark or bright that it is worth a word."""

_DIM, _GLARING = 0.25, 0.75
_NEAR_PEAK = 0.9

Zone = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Light:
    """mean 0..1; dark and bright are shares of the zone that hold nothing; word is a key of the catalogue."""

    mean: float
    dark: float
    bright: float
    word: str


@dataclass(frozen=True, slots=True)
class Focus:
    """value and peak as variances of grey levels; curve as shares of the peak, the newest last."""

    value: float
    peak: float
    curve: tuple[float, ...]
    is_sharp: bool


class FocusMeter:
    """Holds the peak since the last reset."""

    def __init__(self) -> None:
        self._values: deque[float] = deque(maxlen=KEPT)
        self._peak = 0.0

    def read(self, pixels: Pixels, zone: Zone) -> Focus:
        """One reading of an H×W×3 BGR picture; zone is left, top, right, bottom as shares of it."""
        value = focus(pixels, zone)
        self._values.append(value)
        self._peak = max(self._peak, value)
        scale = self._peak or 1.0
        return Focus(value, self._peak, tuple(round(one / scale, 3) for one in self._values),
                     value >= _NEAR_PEAK * self._peak)

    def reset(self) -> None:
        """Forget the peak: the camera looks at something else now."""
        self._values.clear()
        self._peak = 0.0


def focus(pixels: Pixels, zone: Zone) -> float:
    return float(cv2.Laplacian(_grey(pixels, zone), cv2.CV_64F).var())


def light(pixels: Pixels, zone: Zone) -> Light:
    grey = _grey(pixels, zone)
    mean = float(grey.mean()) / 255.0
    dark, bright = float((grey <= DARK).mean()), float((grey >= BRIGHT).mean())
    word = "setup.light_good"
    if mean < _DIM or dark > 0.5:
        word = "setup.light_dim"
    elif mean > _GLARING or bright > CLIPPED:
        word = "setup.light_glaring"
    return Light(round(mean, 3), round(dark, 3), round(bright, 3), word)


def _grey(pixels: Pixels, zone: Zone) -> Pixels:
    height, width = pixels.shape[:2]
    left, top, right, bottom = zone
    cut = pixels[int(top * height):max(int(bottom * height), int(top * height) + 1),
                 int(left * width):max(int(right * width), int(left * width) + 1)]
    return cv2.cvtColor(cut, cv2.COLOR_BGR2GRAY)  # type: ignore[no-any-return]
