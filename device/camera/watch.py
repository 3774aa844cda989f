"""CameraWatch: whether the camera still sees: lost, frozen, black, over-exposed or covered, noticed within 3 s.

Pure: it is told of frames and of the time, and keeps what it needs to compare. The limits were set with 500 photos
and clip frames scaled to 1280×720, once as they are, once dimmed to 12 % with noise, and once smeared beyond
recognition with noise, as tape over the lens does.
"""

from __future__ import annotations

from enum import Enum

import cv2
import numpy as np

from device.frame import Frame, Pixels

NOTICE_S = 2.0
"""A picture must be bad for so long before it is said."""
RECOVER_S = 1.0
"""And good for so long before that is taken back."""
SILENCE_S = 2.5
"""Without a frame for so long the camera is lost; reads of a quarter of a second keep the sum under 3 s."""
LOOK_EVERY_S = 0.2
"""Frames that follow each other faster are not looked at."""

_THUMB = (48, 27)
_STEP = 8  # every eighth pixel of every eighth row is compared with the picture before
_LIVING_SHARE = 0.0005  # of those; the noise of a real sensor changes several per cent even in a still, dark room
_BLACK = 8  # mean grey level; photos dimmed to 12 % lie above 9
_BLACK_PEAK = 32  # a lamp in the dark (99th percentile) shows that the lens is open
_WHITE, _WHITE_SHARE = 250, 0.6  # a window behind the visitor blows out less than half of a picture
_DETAIL = 5.0  # grey levels, 95th percentile of |Laplacian|: photos ≥ 43, dimmed ones ≥ 6, smeared ones ≤ 4


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

    has_noise  False for clips and renderings, of which two pictures may be equal: then nothing counts as frozen.
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
        self._before: Pixels | None = None

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
        self._bad_since = self._before = None
        return self.state

    def _judge(self, pixels: Pixels) -> CameraState:
        is_alike = self._is_alike(pixels)
        thumb = _thumb(pixels)
        if thumb.mean() < _BLACK and np.percentile(thumb, 99) < _BLACK_PEAK:
            return CameraState.DARK
        if np.count_nonzero(thumb >= _WHITE) > _WHITE_SHARE * thumb.size:
            return CameraState.BRIGHT
        if _detail(thumb) < _DETAIL:
            return CameraState.COVERED
        return CameraState.FROZEN if is_alike and self.has_noise else CameraState.FINE

    def _is_alike(self, pixels: Pixels) -> bool:
        grid = np.ascontiguousarray(pixels[::_STEP, ::_STEP, 1])
        before, self._before = self._before, grid
        if before is None or before.shape != grid.shape:
            return False
        return bool(np.count_nonzero(before != grid) <= _LIVING_SHARE * grid.size)

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


def _thumb(pixels: Pixels) -> Pixels:
    """48×27 grey. Green alone, every second pixel: averages enough of them to be free of noise, at a tenth of the
    cost of the whole picture."""
    step = 2 if min(pixels.shape[:2]) >= 240 else 1
    green = np.ascontiguousarray(pixels[::step, ::step, 1])
    thumb: Pixels = cv2.resize(green, _THUMB, interpolation=cv2.INTER_AREA)
    return thumb


def _detail(thumb: Pixels) -> float:
    """Second derivatives, since a cover near the lens still shows slopes of light, but no edges."""
    bends = np.abs(cv2.Laplacian(thumb, cv2.CV_16S, ksize=1)[1:-1, 1:-1])
    return float(np.percentile(bends, 95))
