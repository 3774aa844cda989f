"""Gestures: whether a face does what was asked, seen in its landmarks and, for lids and lips, in the pixels too.

Called by `face.pad.challenge`. Measured on the rehearsal's heads at 640×480, eyes 42 px apart: a blink takes the
eyes' aspect to .73 of its value and changes the pixels of both eyes by .65 to .9 of the face's contrast, while the
rest changes by .05 to .12; a waved print stays above .9, its eyes change by up to .5 and the rest by .3.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from statistics import median

import cv2
import numpy as np

from device.face.pad.action import Action
from device.face.pad.judge import View
from device.face.pad.parallax import Patch
from device.face.types import Floats
from device.frame import Pixels

TURN_DEG = 14.0
LOOK_DEG = 7.0
NOD_DEG = 10.0
SHAKE_DEG = 9.0
CLOSED_SHARE, OPEN_SHARE = 0.82, 0.9
LONGEST_BLINK_S = 0.8
MOUTH_RISE = 0.14
CHANGED, CHANGED_OVER_REST = 0.4, 3.5
STEADY_DEG = 8.0
_BEFORE_S = 0.5
_HOLD_FRAMES = 2

_EYES = ((33, 133, (160, 159, 158), (144, 145, 153)), (263, 362, (387, 386, 385), (373, 374, 380)))


class Progress(Enum):
    """What has come of an action so far."""

    WAITING = "waiting"
    DONE = "done"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Signs:
    """What one frame shows.

    yaw pitch  degrees as of `Quality`; size  distance of the eyes in pixels
    eyes       aspect (height over width) of the wider open eye
    mouth      opening over width
    eye_change, mouth_change, rest_change   difference of the pixels from half a second ago, as a share of the
               face's contrast: of the eye that changed less, of the mouth, and the median over the face
    """

    mono: float
    yaw: float
    pitch: float
    size: float
    eyes: float
    mouth: float
    eye_change: float
    mouth_change: float
    rest_change: float

    def is_changed(self, change: float) -> bool:
        """Whether that part of the face changed, and not the whole picture."""
        return change >= CHANGED and change >= CHANGED_OVER_REST * self.rest_change


@dataclass(slots=True, eq=False)
class Observer:
    """Reads the signs of one face, frame after frame."""

    _before: deque[tuple[float, Patch]] = field(default_factory=lambda: deque(maxlen=20))

    def read(self, view: View) -> Signs:
        patch = Patch.of(view.frame.pixels, view.mesh)
        while len(self._before) > 1 and view.mono - self._before[0][0] > _BEFORE_S:
            self._before.popleft()
        eye, mouth, rest = _changes(self._before[0][1], patch) if self._before else (0.0, 0.0, 0.0)
        self._before.append((view.mono, patch))
        return Signs(view.mono, view.quality.yaw, view.quality.pitch, view.quality.interocular_px,
                     eye_aspect(view.mesh), mouth_aspect(view.mesh), eye, mouth, rest)


@dataclass(slots=True, eq=False)
class Gesture:
    """One action, from the moment at which it is asked. `rest` are the signs of the quiet face before it."""

    action: Action
    rest: tuple[Signs, ...]
    _held: int = 0
    _wrong: int = 0
    _closed_mono: float | None = None
    _low: float = 0.0
    _high: float = 0.0

    def feed(self, signs: Signs) -> Progress:
        """One more frame."""
        yaw = signs.yaw - median(sign.yaw for sign in self.rest)
        pitch = signs.pitch - median(sign.pitch for sign in self.rest)
        if self.action is Action.BLINK:
            return self._blink(signs, max(abs(yaw), abs(pitch)))
        if self.action is Action.OPEN_MOUTH:
            is_open = signs.mouth - median(sign.mouth for sign in self.rest) >= MOUTH_RISE
            return self._hold(is_open and signs.is_changed(signs.mouth_change), False)
        if self.action in (Action.TURN_LEFT, Action.TURN_RIGHT):
            turn = yaw if self.action is Action.TURN_LEFT else -yaw
            return self._hold(turn >= TURN_DEG, turn <= -TURN_DEG)
        if self.action in (Action.LOOK_UP, Action.LOOK_DOWN):
            look = pitch if self.action is Action.LOOK_UP else -pitch
            return self._hold(look >= LOOK_DEG, look <= -LOOK_DEG)
        if self.action is Action.NOD:
            return self._swing(pitch, yaw, NOD_DEG / 2)
        return self._swing(yaw, pitch, SHAKE_DEG)

    def _blink(self, signs: Signs, turned: float) -> Progress:
        """Both lids come down and go up again, before a head that keeps still."""
        share = signs.eyes / max(median(sign.eyes for sign in self.rest), 1e-6)
        if turned > STEADY_DEG:
            self._closed_mono = None
        elif share <= CLOSED_SHARE and signs.is_changed(signs.eye_change):
            self._closed_mono = signs.mono if self._closed_mono is None else self._closed_mono
        elif share >= OPEN_SHARE and self._closed_mono is not None:
            took, self._closed_mono = signs.mono - self._closed_mono, None
            return Progress.DONE if took <= LONGEST_BLINK_S else Progress.WAITING
        return Progress.WAITING

    def _hold(self, is_right: bool, is_wrong: bool) -> Progress:
        self._held = self._held + 1 if is_right else 0
        self._wrong = self._wrong + 1 if is_wrong else 0
        if self._held >= _HOLD_FRAMES:
            return Progress.DONE
        return Progress.WRONG if self._wrong >= _HOLD_FRAMES else Progress.WAITING

    def _swing(self, along: float, across: float, reach: float) -> Progress:
        """To one side and to the other, `reach` each, without as much movement across."""
        if abs(across) > max(TURN_DEG, reach):
            self._low = self._high = 0.0
        self._low, self._high = min(self._low, along), max(self._high, along)
        is_done = self._high - self._low >= 2 * reach and min(self._high, -self._low) >= 0.3 * reach
        return self._hold(is_done, False)


def eye_aspect(mesh: Floats) -> float:
    """Height over width of the wider open eye (Soukupova and Cech 2016, with three pairs of the mesh)."""
    return max(_eye(mesh, *eye) for eye in _EYES)


def mouth_aspect(mesh: Floats) -> float:
    """Gap between the lips over the mouth's width."""
    return float(np.linalg.norm(mesh[13] - mesh[14]) / max(float(np.linalg.norm(mesh[78] - mesh[308])), 1e-6))


def _eye(mesh: Floats, outer: int, inner: int, upper: tuple[int, ...], lower: tuple[int, ...]) -> float:
    gaps = np.linalg.norm(mesh[list(upper)] - mesh[list(lower)], axis=1)
    return float(gaps.mean() / max(float(np.linalg.norm(mesh[outer] - mesh[inner])), 1e-6))


def _changes(before: Patch, after: Patch) -> tuple[float, float, float]:
    """Change of the eye that changed less, of the mouth, and the median over the face."""
    old, new = _smooth(before.grey), _smooth(after.grey)
    low, high = np.quantile(old[40:130, 40:120], (0.1, 0.9)).tolist()
    contrast = max((high - low) / 2.56, 4.0)  # of a normal distribution: deciles lie 2.56 deviations apart
    difference = np.abs(old - new) / contrast
    eyes = min(_mean_at(difference, after.flat[[outer, inner]].mean(axis=0), 10, 7) for outer, inner, *_ in _EYES)
    mouth = _mean_at(difference, after.flat[[13, 14, 78, 308]].mean(axis=0), 13, 9)
    return eyes, mouth, float(np.median(difference[40:130, 45:115]))


def _smooth(grey: Pixels) -> Floats:
    smooth: Floats = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 1.5)
    return smooth


def _mean_at(difference: Floats, place: Floats, half_width: int, half_height: int) -> float:
    height, width = difference.shape
    x = min(max(round(float(place[0])), half_width), width - half_width)
    y = min(max(round(float(place[1])), half_height), height - half_height)
    return float(difference[y - half_height:y + half_height, x - half_width:x + half_width].mean())
