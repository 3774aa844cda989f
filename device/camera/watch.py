"""CameraWatch: whether the camera still sees: lost, frozen, black, over-exposed or covered, noticed within 3 s.

Pure: it is told of frames and of the time, and keeps what it needs to compare. The limits were set with 500 photos
and clip frames scaled to 1280×720, once as they are, once dimmed to 12 % with noise, and once smeared beyond
recognition with noise, as tape over the lens does.
"""

from __future__ import annotations

import math
from enum import Enum

import cv2
import numpy as np
import numpy.typing as npt

from device.frame import Frame, Pixels

Thumb = npt.NDArray[np.float32]

NOTICE_S = 2.0
"""A picture must be bad for so long before it is said."""
RECOVER_S = 1.0
"""And good for so long before that is taken back."""
SILENCE_S = 2.5
"""Without a frame for so long the camera is lost; reads of a quarter of a second keep the sum under 3 s."""
LOOK_EVERY_S = 0.18
"""Frames that follow sooner are not looked at; those of a camera with 5 frames/s all are."""

_THUMB = (48, 27)
_STEP = 8  # every eighth pixel of every eighth row is compared with the picture before
_LIVING_SHARE = 0.0005  # of those; the noise of a real sensor changes several per cent even in a still, dark room
_PARTS, _NOISY_SHARE = 4, 0.05  # noise changes that share in each of 4 × 4 parts of the picture; movement in some
_NOISY_LOOKS = 15
"""So many looks in a row (3 s) must show noise in every part before a clip's pictures are taken for a sensor's."""
_BLACK = 8  # mean grey level; photos dimmed to 12 % lie above 9
_BLACK_PEAK = 32  # a lamp in the dark (99th percentile) shows that the lens is open
_WHITE, _WHITE_SHARE = 250, 0.6  # a window behind the visitor blows out less than half of a picture
_DETAIL = 4.0  # grey levels, see _detail: photos ≥ 43, dimmed to 12 % ≥ 4.4, smeared ≤ 3.5, all with noise up to 8
_MOST_NOISE = 0.8  # grey levels in the thumbnail; what differs more is movement
_LAPLACIAN_NOISE = 8.8  # 95th percentile of |Laplacian| of noise of deviation 1: 1.96 √(4² + 4)


class CameraState(Enum):
    """The values of the last five are reasons, as the door shows and journals them."""

    OPENING = "camera_opening"
    FINE = "camera_fine"
    LOST = "camera_lost"
    DARK = "camera_dark"
    BRIGHT = "camera_bright"
    COVERED = "camera_covered"
    FROZEN = "camera_frozen"


class CameraWatch:
    """Follows one camera over its whole life, reconnections included.

    has_noise  False for clips and renderings, of which two pictures may be equal: then nothing counts as frozen
               until its pictures have shown a sensor's noise.
               A network camera that suppresses noise until pictures repeat for 2 s is reported frozen in an empty,
               still scene; it takes that back as soon as somebody moves.
    """

    def __init__(self, mono: float, has_noise: bool = True) -> None:
        self.state = CameraState.OPENING
        self.has_noise = has_noise
        self._frame_mono = mono
        self._look_mono = -1e9
        self._kind = CameraState.OPENING
        self._kind_since = mono
        self._bad_since: float | None = None
        self._noisy_looks = 0
        self._before: Pixels | None = None
        self._thumb_before: Thumb | None = None

    def see(self, frame: Frame, mono: float) -> CameraState:
        """The state after a frame that was received at `mono`."""
        self._frame_mono = mono
        if mono - self._look_mono >= LOOK_EVERY_S:
            self._look_mono = mono
            self._weigh(self._judge(frame.pixels), mono)
        return self.state

    def silence(self, mono: float) -> CameraState:
        """The state at a moment at which no frame has come."""
        if mono - self._frame_mono >= SILENCE_S:
            self.lost(mono)
        return self.state

    def lost(self, mono: float) -> CameraState:
        """The state after the camera said that it is gone."""
        self.state = self._kind = CameraState.LOST
        self._kind_since = mono
        self._bad_since = self._before = self._thumb_before = None
        self._noisy_looks = 0
        return self.state

    def _judge(self, pixels: Pixels) -> CameraState:
        is_alike = self._is_alike(pixels)
        thumb, before = _thumb(pixels), self._thumb_before
        self._thumb_before = thumb
        if thumb.mean() < _BLACK and np.percentile(thumb, 99) < _BLACK_PEAK:
            return CameraState.DARK
        if np.count_nonzero(thumb >= _WHITE) > _WHITE_SHARE * thumb.size:
            return CameraState.BRIGHT
        if _detail(thumb, before) < _DETAIL:
            return CameraState.COVERED
        is_live = self.has_noise or self._noisy_looks >= _NOISY_LOOKS
        return CameraState.FROZEN if is_alike and is_live else CameraState.FINE

    def _is_alike(self, pixels: Pixels) -> bool:
        grid = np.ascontiguousarray(pixels[::_STEP, ::_STEP, 1])
        before, self._before = self._before, grid
        if before is None or before.shape != grid.shape:
            return False
        changed = before != grid
        if self._noisy_looks < _NOISY_LOOKS:
            self._noisy_looks = self._noisy_looks + 1 if _is_everywhere(changed) else 0
        return bool(np.count_nonzero(changed) <= _LIVING_SHARE * grid.size)

    def _weigh(self, kind: CameraState, mono: float) -> None:
        if kind is not self._kind:
            self._kind, self._kind_since = kind, mono
        if kind is CameraState.FINE:
            self._bad_since = None
            if self.state is CameraState.OPENING or mono - self._kind_since >= RECOVER_S:
                self.state = kind
            return
        if self._bad_since is None:
            self._bad_since = mono
        was_fine = self.state in (CameraState.OPENING, CameraState.FINE)
        since = self._bad_since if was_fine else self._kind_since
        if mono - since >= NOTICE_S:
            self.state = kind


def _is_everywhere(changed: npt.NDArray[np.bool_]) -> bool:
    """Whether pixels changed in every part of the picture, as they do under noise."""
    height, width = (side // _PARTS for side in changed.shape)
    if not height or not width:
        return False
    parts = changed[: height * _PARTS, : width * _PARTS].reshape(_PARTS, height, _PARTS, width)
    return bool(parts.mean(axis=(1, 3)).min() >= _NOISY_SHARE)


def _thumb(pixels: Pixels) -> Thumb:
    """48×27 grey. Green alone, of large pictures every second or fourth pixel: averages at least 178 of them, so
    that noise counts little, at a tenth of the cost of the whole picture."""
    step = max(min(pixels.shape[:2]) // 360, 1)
    green = pixels[::step, ::step, 1].astype(np.float32)
    thumb: Thumb = cv2.resize(green, _THUMB, interpolation=cv2.INTER_AREA)
    return thumb


def _detail(thumb: Thumb, before: Thumb | None) -> float:
    """95th percentile of the second derivatives, less what the noise between two thumbnails accounts for.

    A cover near the lens still shows slopes of light, but no edges; at night the camera raises its gain, and noise
    alone would look like detail.
    """
    bends = float(np.percentile(np.abs(cv2.Laplacian(thumb, cv2.CV_32F, ksize=1)[1:-1, 1:-1]), 95))
    noise = 0.0 if before is None else min(float(np.median(np.abs(thumb - before))) / 0.954, _MOST_NOISE)
    return math.sqrt(max(bends**2 - (_LAPLACIAN_NOISE * noise) ** 2, 0.0))
