"""One still under motion: the whole picture moves as one, and the face with it.

Used by `face.pad.context`. A camera at a door stands still, and so does the room behind a visitor. A print or screen
that fills the view moves as a whole in the hand that holds it, and so does a photo that is panned and zoomed in place
of a camera. A terminal that itself sways for longer than a moment looks the same: it must be mounted firmly.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import cv2
import numpy as np

from device.face.pad.judge import Memories, View, abstain
from device.face.types import Floats
from device.frame import Pixels
from device.sighting import Judgement

NAME = "still"
WIDTH = 240
"""Pixels of the small picture in which the surroundings are followed."""

EVERY = 5
KEPT = 6
LEAST_FINDS = 3
"""Frames between two looks, and how many of the newest comparisons must have found one motion: half a second of it; a
slammed door shakes the terminal for less."""

LEAST_MOTION, MOST_ERROR = 0.04, 0.25
"""In widths of the face, how far it must have moved; and by which share of that it may lie elsewhere than the
surroundings say. On the rehearsal the face of a picture that fills the view and is waved lies at .05 to .27 of it,
that of a visitor at about 1, in the dark once at .47."""

LEAST_POINTS, LEAST_SHARE = 12, 0.6
"""Points of the surroundings that must be found again, and the share of them that must agree on one motion."""

_POINTS, _QUALITY, _GAP, _AGREE_PX = 60, 0.02, 6, 1.5
_WINDOW, _LEVELS = (13, 13), 2
_ANCHORS = (10, 152, 234, 454, 168, 6, 4, 33, 133, 362, 263)  # outline, nose, corners of the eyes


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """The small picture of one frame, where the face's anchors were in it, and what may be followed beside the face.

    size  of the face in pixels of the small picture
    """

    grey: Pixels
    anchors: Floats
    size: float
    points: Floats

    @classmethod
    def of(cls, view: View) -> Look:
        height, width = view.frame.pixels.shape[:2]
        scale = WIDTH / width
        step = max(width // (2 * WIDTH), 1)
        grey = cv2.resize(view.frame.pixels[::step, ::step, 1], (WIDTH, max(round(height * scale), 1)),
                          interpolation=cv2.INTER_AREA)
        anchors = (view.mesh[list(_ANCHORS), :2] * scale).astype(np.float32)
        size = max(view.face.box.width * scale, 1.0)
        return cls(grey, anchors, size, _beside(grey, anchors, size))

    def moved_from(self, earlier: Look) -> float:
        """How far the face is from where it was, in its own widths."""
        return float(np.hypot(*(self.anchors - earlier.anchors).T).mean()) / self.size

    def error_from(self, earlier: Look) -> float | None:
        """How far the face is from where the surroundings' motion would have taken it, in its own widths; None where
        the surroundings do not tell."""
        if len(earlier.points) < LEAST_POINTS:
            return None
        ends, found, _ = cv2.calcOpticalFlowPyrLK(earlier.grey, self.grey, earlier.points, None, winSize=_WINDOW,
                                                  maxLevel=_LEVELS)
        is_found = found[:, 0] > 0
        if int(is_found.sum()) < LEAST_POINTS:
            return None
        motion, agreeing = cv2.findHomography(earlier.points[is_found], ends[is_found], cv2.RANSAC, _AGREE_PX)
        if motion is None or float(agreeing.mean()) < LEAST_SHARE:
            return None
        expected = cv2.perspectiveTransform(earlier.anchors[:, None], motion)[:, 0]
        return float(np.hypot(*(self.anchors - expected).T).mean()) / self.size


def _beside(grey: Pixels, anchors: Floats, size: float) -> Floats:
    """N×2 corners of the picture to the sides of the face and above it, where no shoulders are."""
    mask = np.full(grey.shape, 255, np.uint8)
    x, y = anchors.mean(axis=0)
    left, right = int(max(x - size, 0.0)), int(max(x + size, 0.0))
    mask[int(max(y - 1.2 * size, 0.0)):, left:right] = 0
    mask[int(max(y + 0.6 * size, 0.0)):] = 0
    found = cv2.goodFeaturesToTrack(grey, _POINTS, _QUALITY, _GAP, mask=mask)
    return np.zeros((0, 2), np.float32) if found is None else found.reshape(-1, 2).astype(np.float32)


@dataclass(slots=True, eq=False)
class _Track:
    """The newest looks of one track, and which of its newest comparisons found one motion."""

    looks: deque[Look] = field(default_factory=lambda: deque(maxlen=KEPT))
    finds: deque[bool] = field(default_factory=lambda: deque(maxlen=KEPT))
    frames: int = 0


class StillJudge:
    """Convicts where face and surroundings move as one picture, time and again."""

    name = NAME
    threshold = 0.5

    def __init__(self) -> None:
        self._tracks = Memories(_Track)

    def judge(self, view: View) -> Judgement:
        track = self._tracks.of(view.track_id)
        if track.frames % EVERY == EVERY - 1:
            self._look(track, Look.of(view))
        track.frames += 1
        if sum(track.finds) >= LEAST_FINDS:
            return Judgement(NAME, 0.0, "still")
        return abstain(NAME, "no_one_motion")

    def forget(self, track_id: int) -> None:
        self._tracks.forget(track_id)

    @staticmethod
    def _look(track: _Track, now: Look) -> None:
        earlier = next((look for look in reversed(track.looks) if now.moved_from(look) >= LEAST_MOTION), None)
        if earlier is not None:
            error = now.error_from(earlier)
            if error is not None:
                track.finds.append(error <= MOST_ERROR * now.moved_from(earlier))
        track.looks.append(now)
