"""The grid judge: a screen's grid of pixels, seen through a camera's, leaves waves that no scene has.

Used by `face.pad.fusion` and `evaluate.presentations`. The waves show as isolated peaks in the spectrum of small
tiles of the picture at the sensor's own resolution, away from the axes and on one side only. Whatever treats rows and
columns alike (JPEG's blocks, enlarging, sharpening, a colour filter's mosaic) leaves its traces on both sides, and
those are taken off. It can only convict: a fine screen, a soft lens or strong compression leave no waves.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from device.face.pad.judge import Memories, View, abstain
from device.face.types import Box
from device.frame import Pixels
from device.sighting import Judgement

NAME = "grid"
SIDE, STEP, GROUP = 64, 32, 4
"""Pixels of a tile, from one to the next, and how many tiles in a row and column are averaged: on a tilted screen the
waves turn with the place, so that a larger group would blur the peak."""

REACH = 3.0
"""Times the box that is searched: the waves show best on bright and even parts, often beside the face."""

MOST_TILES = 26
"""In either direction, 864 px; of a face that is nearer the middle is searched."""

LIMIT = 13.0
"""Deviations of the spectrum's noise; set on live faces alone. Of 1,988 as they were photographed (NUAA 477, LFW
1,499, others 12) the highest had 9.4: a search convicts wrongly in less than .15 % of such pictures (95 %). Of 3,100
copies, enlarged by up to two, shrunk, sharpened and compressed, the highest had 10.4. Of five stills of attacks a
screen that fills the picture has 19.2; at three quarters of its size or as JPEG of quality 80 it is lost too."""

FIRST_FRAME = 5
EVERY_S = 1.5
"""The first search waits until the passive networks have had their first frames; later ones begin so often. Each
takes a row of tiles per frame, a millisecond."""

LEAST_FINDS, NEWEST = 2, 3
"""How many of the newest searches must find waves to convict a track."""

Floats = npt.NDArray[np.float32]

_LOW, _HIGH, _OFF_AXIS = 0.12, 0.48, 3
_LEAST_NOISE = 0.02
_WINDOW = np.outer(np.hanning(SIDE), np.hanning(SIDE)).astype(np.float32)


def _searched() -> npt.NDArray[np.bool_]:
    """33×64: frequencies that are high enough for no scene and low enough for no edge of the spectrum, off the axes.
    Rows go down from 0, columns from -32 to 31."""
    down, across = np.meshgrid(np.arange(SIDE // 2 + 1), np.arange(SIDE) - SIDE // 2, indexing="ij")
    radius = np.hypot(down, across) / SIDE
    return (radius > _LOW) & (radius < _HIGH) & (down > _OFF_AXIS) & (np.abs(across) > _OFF_AXIS)


_SEARCHED = _searched()


class Search:
    """One search about a face, row of tiles by row; `score` is of what has been searched so far."""

    def __init__(self, pixels: Pixels, box: Box) -> None:
        self._grey = _around(pixels, box)
        height, width = self._grey.shape
        self._columns = max((width - SIDE) // STEP + 1, 0)
        self.rows = max((height - SIDE) // STEP + 1, 0) if self._columns >= GROUP else 0
        self._next = 0
        self._newest: deque[Floats] = deque(maxlen=GROUP)
        self.score = 0.0

    @property
    def is_done(self) -> bool:
        return self._next >= self.rows

    def go_on(self, rows: int) -> None:
        """Search so many more rows of tiles."""
        for row in range(self._next, min(self._next + rows, self.rows)):
            self._newest.append(self._spectra(row))
            if len(self._newest) == GROUP and (row + 1) % (GROUP // 2) == 0:
                self._weigh(np.mean(self._newest, axis=0))
        self._next = min(self._next + rows, self.rows)

    def _spectra(self, row: int) -> Floats:
        """columns×33×64: logarithm of the power of each tile of a row."""
        strip = self._grey[row * STEP:row * STEP + SIDE]
        tiles = np.ascontiguousarray(sliding_window_view(strip, SIDE, axis=1)[:, ::STEP].transpose(1, 2, 0))
        tiles -= tiles.mean(axis=(1, 2), keepdims=True)
        tiles *= _WINDOW
        power = _power(np.stack([cv2.dft(tile) for tile in tiles]))  # columns of the picture are a tile's rows
        spectra: Floats = np.fft.fftshift(np.log(power + 1.0), axes=1).transpose(0, 2, 1)
        return spectra

    def _weigh(self, rows: Floats) -> None:
        for left in range(0, self._columns - GROUP + 1, GROUP // 2):
            self.score = max(self.score, peak(rows[left:left + GROUP].mean(axis=0)))


def search(pixels: Pixels, box: Box) -> float:
    """The score of a whole search at once: deviations of noise by which the clearest peak stands out; 0 where the
    picture is too small to search."""
    found = Search(pixels, box)
    found.go_on(found.rows)
    return found.score


def peak(spectrum: Floats) -> float:
    """How far the clearest lonely peak of a 33×64 spectrum stands out, in deviations of its noise."""
    above = cv2.blur(spectrum, (3, 3)) - cv2.blur(cv2.medianBlur(spectrum, 5), (9, 9))
    mirrored = np.roll(above[:, ::-1], 1, axis=1)
    lonely = above - np.maximum(cv2.dilate(mirrored, np.ones((3, 3), np.uint8)), 0.0)
    noise = max(_deviation(above[_SEARCHED]), _deviation((above - mirrored)[_SEARCHED]) / 2**0.5, _LEAST_NOISE)
    return float(lonely[_SEARCHED].max()) / noise


@dataclass(slots=True, eq=False)
class _Track:
    """The search that goes on, when it began, and which of the newest found waves."""

    search: Search | None = None
    begun_mono: float = float("-inf")
    frames: int = 0
    finds: deque[bool] = field(default_factory=lambda: deque(maxlen=NEWEST))


class GridJudge:
    """Convicts where two searches found waves. A coarse halftone makes them too, so it names no species."""

    name = NAME
    threshold = 0.5

    def __init__(self, limit: float = LIMIT) -> None:
        self._limit = limit
        self._tracks = Memories(_Track)

    def judge(self, view: View) -> Judgement:
        track = self._tracks.of(view.track_id)
        if track.search is None and track.frames >= FIRST_FRAME and view.mono - track.begun_mono >= EVERY_S:
            track.search, track.begun_mono = Search(view.frame.pixels, view.face.box), view.mono
        track.frames += 1
        if track.search is not None:
            self._go_on(track, track.search)
        if sum(track.finds) >= LEAST_FINDS:
            return Judgement(NAME, 0.0, "grid")
        return abstain(NAME, "no_grid")

    def forget(self, track_id: int) -> None:
        self._tracks.forget(track_id)

    def _go_on(self, track: _Track, search: Search) -> None:
        search.go_on(1)
        if search.is_done:
            track.finds.append(search.score >= self._limit)
            track.search = None


def _power(packed: Floats) -> Floats:
    """n×64×33 from n×64×64 spectra of real tiles as OpenCV packs them: real and imaginary parts side by side, and in
    the first and the last column, each its own mirror image, one below the other."""
    half = SIDE // 2
    power = np.empty((len(packed), SIDE, half + 1), np.float32)
    power[:, :, 1:half] = packed[:, :, 1:-1:2] ** 2 + packed[:, :, 2:-1:2] ** 2
    for column, place in ((0, 0), (half, -1)):
        power[:, 0, column], power[:, half, column] = packed[:, 0, place] ** 2, packed[:, -1, place] ** 2
        power[:, 1:half, column] = packed[:, 1:-1:2, place] ** 2 + packed[:, 2:-1:2, place] ** 2
        power[:, half + 1:, column] = power[:, half - 1:0:-1, column]
    return power


def _around(pixels: Pixels, box: Box) -> Floats:
    """Grey levels about the face, not resized."""
    height, width = pixels.shape[:2]
    half = min(REACH * max(box.width, box.height) / 2, (SIDE + STEP * (MOST_TILES - 1)) / 2)
    x, y = box.left + box.width / 2, box.top + box.height / 2
    left, right = (int(min(max(edge, 0.0), width)) for edge in (x - half, x + half))
    top, bottom = (int(min(max(edge, 0.0), height)) for edge in (y - half, y + half))
    if right - left < SIDE or bottom - top < SIDE:
        return np.zeros((0, 0), np.float32)
    grey: Floats = cv2.cvtColor(pixels[top:bottom, left:right], cv2.COLOR_BGR2GRAY).astype(np.float32)
    return grey


def _deviation(values: Floats) -> float:
    """Standard deviation by the median, which a few peaks do not move."""
    return 1.4826 * _median(np.abs(values - _median(values)))


def _median(values: Floats) -> float:
    """As NumPy's, at a fifth of its cost for so few values."""
    half = len(values) // 2
    middle = np.partition(values, (half - 1, half))[half - 1:half + 1]
    return float(middle[1] if len(values) % 2 else middle.mean())
