"""The live picture on the kiosk: the newest frame as a mirror, each face framed, as a stream of JPEGs.

The vision thread hands over a reference and goes on; scaling and coding happen on the viewer's thread, at most at
`PREVIEW_FPS` and only while somebody looks.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from device.frame import Frame, Pixels

PREVIEW_FPS = 20.0
WIDTH = 640
QUALITY = 70
"""Of the JPEG: scaling and coding take two milliseconds on the machine of the README's figures."""

SILENT_S = 3.0
"""A camera that yields nothing for so long has stopped."""

_COLOUR = (255, 255, 255)
_SHADOW = (40, 40, 40)


@dataclass(frozen=True, slots=True)
class Framed:
    """Where a face is, as shares of the picture (0..1): left, top, width, height."""

    left: float
    top: float
    width: float
    height: float


class Preview:
    """One slot between vision and those who look. `show` is vision's; `next` belongs to any thread."""

    def __init__(self) -> None:
        self._fresh = threading.Condition()
        self._frame: Frame | None = None
        self._faces: Sequence[Framed] = ()
        self._count = 0
        self.viewers = 0
        self.is_over = False

    def show(self, frame: Frame, faces: Sequence[Framed]) -> None:
        """The newest frame and the faces in it."""
        with self._fresh:
            self._frame, self._faces = frame, faces
            self._count += 1
            self._fresh.notify_all()

    def end(self) -> None:
        """No more pictures to anybody."""
        self.is_over = True
        with self._fresh:
            self._fresh.notify_all()

    def next(self, after: int, timeout_s: float, is_mirrored: bool = True) -> tuple[int, bytes] | None:
        """The newest picture as JPEG and its number; None where none newer than `after` came in time."""
        found = self._newer(after, timeout_s)
        return None if found is None else (found[0], jpeg(found[1].pixels, found[2], is_mirrored))

    def newest(self, after: int, timeout_s: float) -> tuple[int, Frame] | None:
        """The newest frame itself and its number; None as for `next`."""
        found = self._newer(after, timeout_s)
        return None if found is None else found[:2]

    def frames(self, seconds: float) -> Iterator[Frame]:
        """Frames as they come, for so long by their own times; ends too where none comes for SILENT_S."""
        count, begun = self._count, None
        while (found := self.newest(count, SILENT_S)) is not None:
            count, frame = found
            begun = frame.mono if begun is None else begun
            if frame.mono - begun > seconds:
                return
            yield frame

    def _newer(self, after: int, timeout_s: float) -> tuple[int, Frame, Sequence[Framed]] | None:
        with self._fresh:
            is_there = self._fresh.wait_for(lambda: self._count > after or self.is_over, timeout_s)
            if not is_there or self.is_over or self._frame is None:
                return None
            return self._count, self._frame, self._faces


def jpeg(pixels: Pixels, faces: Sequence[Framed], is_mirrored: bool = True) -> bytes:
    """The scaled picture (H×W×3 BGR in) with a frame around each face; mirrored for whoever looks at themselves."""
    height, width = pixels.shape[:2]
    scale = min(1.0, WIDTH / width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    shown = cv2.flip(small, 1) if is_mirrored else np.ascontiguousarray(small)
    for face in faces:
        _frame(shown, replace(face, left=1 - face.left - face.width) if is_mirrored else face)
    is_done, data = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return data.tobytes() if is_done else b""


def _frame(picture: Pixels, face: Framed) -> None:
    """Four corners around the face, light on dark, so that they stand out from any background."""
    height, width = picture.shape[:2]
    left, top = round(face.left * width), round(face.top * height)
    right, bottom = left + round(face.width * width), top + round(face.height * height)
    arm = max((right - left) // 5, 4)
    for colour, thickness in ((_SHADOW, 5), (_COLOUR, 2)):
        for x, y, dx, dy in ((left, top, arm, arm), (right, top, -arm, arm),
                             (left, bottom, arm, -arm), (right, bottom, -arm, -arm)):
            cv2.line(picture, (x, y), (x + dx, y), colour, thickness, cv2.LINE_AA)
            cv2.line(picture, (x, y), (x, y + dy), colour, thickness, cv2.LINE_AA)
