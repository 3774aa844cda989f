"""Video files (GIFs among them) and folders of stills as cameras."""

from __future__ import annotations

import logging
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from device.camera.camera import REST_EVERY_S, Camera, CameraSilent, ClipBroken, ClipEnded
from device.camera.capture import open_capture
from device.camera.coded_size import Size, coded_size
from device.camera.fit import LEAST_SIDE, MOST_PIXELS, Fit, check_size
from device.clock import Clock
from device.config import CameraConfig
from device.errors import CameraLost
from device.frame import Frame

log = logging.getLogger(__name__)

STILL_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
_FPS = (0.5, 120.0)  # a file that claims a rate outside of this is not believed
_LONGEST_GAP_S = 2.0  # nor is a longer wait between two of its pictures
_LATEST_S = 0.5  # a reader who is later than this is not hurried to catch up
_MOST_BYTES = 64 << 20  # of one still
_HEAD_BYTES = 4096  # of a coded picture, in which its size stands

Picture = tuple[npt.NDArray[Any], float, int]
"""Pixels, second of the clip, and place in it; places of pictures that were left out are passed over."""


@dataclass(slots=True)
class Rest:
    """Whether pictures may be left out; set by the reader, read by who makes them."""

    is_resting: bool = False
    shown_s: float = float("-inf")

    def leaves_out(self, position: float) -> bool:
        """Whether the picture at that second of the clip need not be made."""
        if self.is_resting and position - self.shown_s < REST_EVERY_S:
            return True
        self.shown_s = position
        return False


def open_file(path: Path, config: CameraConfig, clock: Clock, paced: bool = True) -> Camera:
    """The clip or the folder at `path`; CameraLost where nothing in it can be read.

    paced  pictures come at the clip's own times (stills: config.fps); else at once, their `mono` counted from
           the opening by the clip's times
    """
    rest = Rest()
    pictures = _stills(path, config.fps, rest) if path.is_dir() else _clip(path, config.fps, rest)
    return Playback(path.name, pictures, Fit(path.name, config.rotate), clock, paced, rest)


class Playback:
    """The Camera that shows pictures with times. It ends with ClipEnded, and says so again when asked again."""

    has_noise = False

    def __init__(self, description: str, pictures: Iterator[Picture], fit: Fit, clock: Clock, paced: bool,
                 rest: Rest | None = None) -> None:
        self.description = description
        self._rest = rest or Rest()
        self._pictures = pictures
        self._fit = fit
        self._clock = clock
        self._paced = paced
        self._closed = threading.Event()
        self._shown = 0
        self._end: CameraLost | None = None
        self._next: Picture | None = self._take()
        self._start = clock.mono()

    def read(self, timeout_s: float) -> Frame:
        if self._next is None:
            raise self._end or ClipEnded(f"{self.description}: ended")
        picture, position, seq = self._next
        mono = self._due(position, timeout_s) if self._paced else self._start + position
        frame = Frame(seq, mono, self._fit(picture))
        self._shown += 1
        self._next = self._take()
        return frame

    def rest(self, is_resting: bool) -> None:
        self._rest.is_resting = is_resting

    def close(self) -> None:
        self._closed.set()
        self._next, self._end = None, self._end or ClipEnded(f"{self.description}: closed")
        if hasattr(self._pictures, "close"):
            self._pictures.close()

    def _take(self) -> Picture | None:
        try:
            return next(self._pictures)
        except StopIteration:
            self._end = ClipEnded(f"{self.description}: ended after {self._shown} frames")
            return None
        except CameraLost as error:
            self._end = error
            if not isinstance(error, ClipEnded) and self._shown == 0:
                raise
            return None

    def _due(self, position: float, timeout_s: float) -> float:
        """Wait until the picture's time and return it; a reader who comes late shifts what follows."""
        wait = self._start + position - self._clock.mono()
        if wait > timeout_s:
            self._closed.wait(timeout_s)
            raise CameraSilent(f"{self.description}: the next picture comes later than {timeout_s:.1f} s")
        if wait > 0:
            self._closed.wait(wait)
        elif wait < -_LATEST_S:
            self._start -= wait
        return self._clock.mono()


def _clip(path: Path, fps: float, rest: Rest) -> Iterator[Picture]:
    import cv2

    _check_clip(path)
    capture, coded = open_capture(str(path), "CAP_FFMPEG"), _Coded(path)
    try:
        if not capture.isOpened():
            raise CameraLost(f"{path.name}: not a video that can be read (damaged, or of an unknown kind)")
        check_size(path.name, capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        stated = capture.get(cv2.CAP_PROP_FPS)
        pace = _Pace(1 / stated, 0.0) if _FPS[0] <= stated <= _FPS[1] else _Pace(1 / fps, 1 / _FPS[1])
        if pace.least_gap:
            log.warning("%s: states %g frames/s, which is not believed; shown at camera.fps, %g", path.name, stated,
                        fps)
        promised = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        count, position = 0, -pace.gap
        while capture.grab():
            position = _following(position, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, pace)
            size, place = coded.next(), count
            count += 1
            if rest.leaves_out(position):
                continue
            is_read, picture = capture.retrieve()
            if is_read and picture is not None:
                yield (picture if size is None else cv2.resize(picture, size)), position, place
    finally:
        capture.release()
        coded.release()
    raise _ending(path.name, count, promised)


@dataclass(frozen=True, slots=True)
class _Pace:
    """gap = seconds between two pictures where the clip's times say nothing, as those do that lie no more than
    least_gap apart."""

    gap: float
    least_gap: float


def _following(position: float, said: float, pace: _Pace) -> float:
    """The second of the next picture: what the clip says, as far as that can be believed, else one gap later."""
    if not position + pace.least_gap < said < position + _LONGEST_GAP_S:
        return position + pace.gap
    return max(said, position + 1 / _FPS[1])


class _Coded:
    """The clip once more, not decoded: what size its pictures were coded in.

    FFmpeg has the first size for all of them. It gives pictures in the order in which they are shown and here they
    come in that in which they are coded, but a new size begins with a picture at which both orders agree.
    """

    def __init__(self, path: Path) -> None:
        import cv2

        self._capture = open_capture(str(path), "CAP_FFMPEG", (cv2.CAP_PROP_FORMAT, -1))
        self._codec = int(self._capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode("latin-1")
        self._first: Size | None = None
        self._size: Size | None = None

    def next(self) -> Size | None:
        """The next picture's size where it is not the first one's."""
        is_read, data = self._capture.read()
        if is_read and data is not None:
            self._size = coded_size(self._codec, data.reshape(-1)[:_HEAD_BYTES].tobytes()) or self._size
            self._first = self._first or self._size
        return None if self._size == self._first or not _is_fit(self._size) else self._size

    def release(self) -> None:
        self._capture.release()


def _is_fit(size: Size | None) -> bool:
    return size is not None and min(size) >= LEAST_SIDE and size[0] * size[1] <= MOST_PIXELS


def _ending(name: str, count: int, promised: float) -> CameraLost:
    if count == 0:
        return CameraLost(f"{name}: holds no picture that can be read")
    if count < 0.95 * promised < 1e7:
        return ClipBroken(f"{name}: breaks off after {count} of {promised:.0f} frames")
    return ClipEnded(f"{name}: ended after {count} frames")


def _check_clip(path: Path) -> None:
    if not path.is_file():
        raise CameraLost(f"{path.name}: {'not an ordinary file' if path.exists() else 'no such file'}")
    try:
        with path.open("rb") as file:
            head = file.read(10)
    except OSError as error:
        raise CameraLost(f"{path.name}: cannot be read: {error.strerror}") from None
    if not head:
        raise CameraLost(f"{path.name}: the file is empty")
    if head.startswith(b"GIF8") and len(head) == 10:
        # FFmpeg decodes a GIF's first picture on opening, before its size can be asked.
        check_size(path.name, int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little"))


def _stills(folder: Path, fps: float, rest: Rest) -> Iterator[Picture]:
    shown = left_out = 0
    for path in sorted(entry for entry in folder.iterdir() if entry.suffix.lower() in STILL_SUFFIXES):
        if rest.leaves_out(shown / fps):
            shown += 1
            continue
        try:
            picture = _still(path)
        except CameraLost as error:
            log.warning("left out: %s", error)
            left_out += 1
            continue
        yield picture, shown / fps, shown
        shown += 1
    if shown == 0:
        raise CameraLost(f"{folder.name}: the folder holds no picture that can be read")
    raise ClipEnded(f"{folder.name}: all {shown} pictures shown" + (f", {left_out} left out" if left_out else ""))


def _still(path: Path) -> npt.NDArray[Any]:
    import cv2
    from PIL import Image

    damaged = (OSError, ValueError, SyntaxError, EOFError, struct.error, cv2.error,
               Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise CameraLost(f"{path.name}: a file of more than {_MOST_BYTES >> 20} MB is not read")
        data = path.read_bytes()
        with Image.open(path) as header:
            check_size(path.name, *header.size)
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except CameraLost:
        raise
    except damaged:
        raise CameraLost(f"{path.name}: not a picture that can be read") from None
    if picture is None:
        raise CameraLost(f"{path.name}: not a picture that can be read")
    decoded: npt.NDArray[Any] = picture
    return decoded
