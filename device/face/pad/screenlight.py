"""The screen-light challenge: the terminal's screen flashes random colours, and the face must reflect them in time.

Called by `face.pad.light_challenge`, where there is a screen that faces the visitor: it shows what
`Flashes.colour_at` says. A recording made before cannot know the order of the colours; a screen that shines by
itself reflects little. Paper reflects as skin does, so this judge speaks against replays and not against prints. In
daylight, where the screen's light is lost, it abstains.

What is followed is the balance of the colours, not the brightness: a head that moves changes that far more than a
screen does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np

from device.face.pad.judge import Memories, View, abstain
from device.face.types import Floats
from device.sighting import Judgement

NAME = "screen_light"
COLOURS = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1))
"""Blue, green, red and their pairs as factors of B, G, R; all differ from one another in two channels or more, or in
the sum of light."""

LEAST_FLASHES = 8
"""Of 1770 pairs of random sequences none matched by the threshold or more at any lag; by .7, five did
(`test_pad_light.py`)."""

FLASH_S = 0.35
LONGEST_LAG_S = 0.25
"""Screen, camera and exposure together; USB cameras show up to six frames late."""

LEAST_REFLECTION = 0.008
"""Deviation of the face's colour balance (logarithms) over the flashes below which there is nothing to judge. Without
any flashes it reaches .004 in real clips of people who walk or turn before a webcam (`test_pad_light.py`): beside so
much of it .008 in all is a reflection that still correlates by .87."""

_CHEEKS = ((50, 101, 118, 205), (280, 330, 347, 425))
_FOREHEAD = (67, 297, 109, 338, 151)

Chance = Callable[[int], int]


@dataclass(frozen=True, slots=True)
class Flashes:
    """Colours shown one after another, each for FLASH_S, from `begun_mono` on."""

    colours: tuple[tuple[int, int, int], ...]
    begun_mono: float

    @classmethod
    def at_random(cls, chance: Chance, mono: float, count: int = LEAST_FLASHES) -> Flashes:
        """`count` colours, no two in a row alike."""
        colours: list[tuple[int, int, int]] = []
        while len(colours) < max(count, LEAST_FLASHES):
            others = [colour for colour in COLOURS if not colours or colour != colours[-1]]
            colours.append(others[chance(len(others))])
        return cls(tuple(colours), mono)

    @property
    def ends_mono(self) -> float:
        return self.begun_mono + FLASH_S * len(self.colours)

    def colour_at(self, mono: float) -> tuple[int, int, int] | None:
        """B, G, R factors of the screen at that moment; None before and after."""
        place = int((mono - self.begun_mono) // FLASH_S)
        return self.colours[place] if 0 <= place < len(self.colours) else None


@dataclass(slots=True, eq=False)
class _Track:
    flashes: Flashes | None = None
    times: list[float] = field(default_factory=list)
    colours: list[Floats] = field(default_factory=list)


class ScreenLight:
    """The judge. Its score is the correlation of the face's colour balance with the screen's, over time and channels,
    at the lag that suits best."""

    name = NAME
    threshold = 0.85

    def __init__(self) -> None:
        self._tracks = Memories(_Track)

    def shine(self, track_id: int, flashes: Flashes) -> None:
        """From now on the screen shows these to that visitor."""
        track = self._tracks.of(track_id)
        track.flashes, track.times, track.colours = flashes, [], []

    def judge(self, view: View) -> Judgement:
        track = self._tracks.of(view.track_id)
        if track.flashes is None:
            return abstain(NAME, "no_flashes")
        if view.mono <= track.flashes.ends_mono + LONGEST_LAG_S:
            track.times.append(view.mono)
            track.colours.append(skin_colour(view))
        if view.mono < track.flashes.ends_mono:
            return abstain(NAME, "flashing")
        return self._judgement(track, track.flashes)

    def forget(self, track_id: int) -> None:
        self._tracks.forget(track_id)

    def _judgement(self, track: _Track, flashes: Flashes) -> Judgement:
        if len(track.times) < 3 * len(flashes.colours):
            return abstain(NAME, "too_few_frames")
        seen = _balance(np.log(np.maximum(np.array(track.colours), 1.0)))
        if float(seen.std()) < LEAST_REFLECTION:
            return abstain(NAME, "too_bright_here")
        lags = np.arange(0.0, LONGEST_LAG_S, 0.02)
        score = max(_likeness(seen, track.times, flashes, float(lag)) for lag in lags)
        return Judgement(NAME, min(max(score, 0.0), 1.0), "follows" if score >= self.threshold else "screen")


def skin_colour(view: View) -> Floats:
    """Mean B, G, R of both cheeks and the forehead."""
    height, width = view.frame.pixels.shape[:2]
    mesh = view.mesh[:, :2]
    means = []
    for place in (*_CHEEKS, _FOREHEAD):
        corners = mesh[list(place)]
        left, top = np.clip(np.floor(corners.min(axis=0)), 0, (width - 2, height - 2)).astype(int)
        right, bottom = np.clip(np.ceil(corners.max(axis=0)), (left + 1, top + 1), (width, height)).astype(int)
        means.append(cv2.mean(view.frame.pixels[top:bottom, left:right])[:3])
    colour: Floats = np.mean(means, axis=0).astype(np.float32)
    return colour


def _likeness(seen: Floats, times: list[float], flashes: Flashes, lag: float) -> float:
    """Correlation of what was seen with what the screen showed `lag` seconds before."""
    shown = np.array([flashes.colour_at(mono - lag) or (0, 0, 0) for mono in times], np.float32)
    wanted = _balance(shown)
    both = float(np.linalg.norm(wanted) * np.linalg.norm(seen))
    return float((wanted * seen).sum()) / both if both > 0.0 else 0.0


def _balance(values: Floats) -> Floats:
    """T×3 channels without what all three share, and each without its mean and trend: the visitor moves, the camera's
    exposure and white balance follow."""
    values = values - values.mean(axis=1, keepdims=True)
    time = np.linspace(-1.0, 1.0, len(values))
    basis, _ = np.linalg.qr(np.stack([np.ones_like(time), time], axis=1))
    left: Floats = (values - basis @ (basis.T @ values)).astype(np.float32)
    return left
