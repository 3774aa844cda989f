"""Judges that look beside the face: a border that moves along with it, and frames without a camera's noise.

Both can only convict, as those of `face.pad.still` and `face.pad.grid` can. That nothing was found says nothing for a
live face, so until then they abstain.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from device.face.pad.border import Surroundings
from device.face.pad.grid import GridJudge
from device.face.pad.judge import Judge, Memories, View, abstain
from device.face.pad.still import StillJudge
from device.sighting import Judgement

EVERY = 5
"""Frames between two looks for borders: the search takes as long as a network, and a hand is slower than that."""

LEAST_SIDES = 2
LEAST_FINDS = 3
"""How many of the newest twelve comparisons must find borders, on how many sides of the face, to convict.

On NUAA's sequences (frames half a second apart) 0 of 249 comparisons of live faces found two sides, 22 of 367 of
prints held and moved by hand. On the rehearsal 1 of 181 of heads, and 32 of 156 of instruments waved with their
border in view; a sheet that fills the picture shows none.
"""

_KEPT = 12

FROZEN_FRAMES = 15
FROZEN_S = 1.0
FROZEN_SHARE = 0.995
"""From so many frames and seconds in a row, each with this share of pixels equal to the last one's, it is no camera:
a sensor's noise alone changes most of them. A camera that repeats frames in poor light repeats one or two."""

_SAMPLES = 48
_LEAST_SAMPLES = 400
_BLACK, _WHITE = 8, 247  # beyond which a pixel may stay equal for want of room to change

Samples = npt.NDArray[np.uint8]


@dataclass(slots=True)
class _Bordered:
    """The newest looks of one track, and which of its newest comparisons found borders."""

    looks: deque[Surroundings] = field(default_factory=lambda: deque(maxlen=_KEPT))
    finds: deque[bool] = field(default_factory=lambda: deque(maxlen=_KEPT))
    frames: int = 0


class BorderJudge:
    """Convicts where straight lines on two sides stay with the face and leave what is behind it."""

    name = "border"
    threshold = 0.5

    def __init__(self) -> None:
        self._tracks = Memories(_Bordered)

    def judge(self, view: View) -> Judgement:
        track = self._tracks.of(view.track_id)
        if track.frames % EVERY == 0 and track.frames:  # the first frames are the passive networks'
            self._look(view, track)
        track.frames += 1
        if sum(track.finds) >= LEAST_FINDS:
            return Judgement(self.name, 0.0, "border")
        return abstain(self.name, "no_border")

    def forget(self, track_id: int) -> None:
        self._tracks.forget(track_id)

    @staticmethod
    def _look(view: View, track: _Bordered) -> None:
        now = Surroundings.of(view)
        earlier = next((look for look in reversed(track.looks) if now.has_moved_from(look)), None)
        if earlier is not None:
            track.finds.append(now.sides_moved_along(earlier) >= LEAST_SIDES)
        track.looks.append(now)


@dataclass(slots=True, eq=False)
class _Noise:
    """The last frame's samples of one track, where they were taken, and since when they have not changed."""

    samples: Samples | None = None
    region: tuple[slice, slice] = (slice(0), slice(0))
    equal: int = 0
    since_mono: float = 0.0


class FrozenJudge:
    """Convicts where the face is the same in every pixel, frame after frame: a still fed in place of a camera."""

    name = "frozen"
    threshold = 0.5

    def __init__(self) -> None:
        self._tracks = Memories(_Noise)

    def judge(self, view: View) -> Judgement:
        track, pixels = self._tracks.of(view.track_id), view.frame.pixels
        if track.samples is not None and _is_same(track.samples, pixels[track.region][..., 1]):
            track.equal += 1
        else:
            track.equal, track.since_mono = 0, view.mono
        track.region = _region(view)
        track.samples = pixels[track.region][..., 1].copy()
        if track.equal >= FROZEN_FRAMES and view.mono - track.since_mono >= FROZEN_S:
            return Judgement(self.name, 0.0, "frozen")
        return abstain(self.name, "moving")

    def forget(self, track_id: int) -> None:
        self._tracks.forget(track_id)


def context_judges() -> tuple[Judge, ...]:
    """Fresh ones of all that can only convict, for one panel."""
    return BorderJudge(), FrozenJudge(), StillJudge(), GridJudge()


def _region(view: View) -> tuple[slice, slice]:
    """The face's box as rows and columns, so thinned out that few pixels are read."""
    box, (height, width) = view.face.box, view.frame.pixels.shape[:2]
    top, left = min(max(int(box.top), 0), height - 1), min(max(int(box.left), 0), width - 1)
    bottom, right = min(int(box.top + box.height), height), min(int(box.left + box.width), width)
    step = max(int(min(box.width, box.height)) // _SAMPLES, 1)
    return slice(top, bottom, step), slice(left, right, step)


def _is_same(before: Samples, now: Samples) -> bool:
    """Whether nearly all samples are equal; those too dark or too bright to show noise do not count."""
    telling = (before > _BLACK) & (before < _WHITE)
    count = int(np.count_nonzero(telling))
    return count >= _LEAST_SAMPLES and int(np.count_nonzero((before == now) & telling)) >= FROZEN_SHARE * count
