"""Finds QR codes in the camera's pictures, a few times a second; the same camera that sees faces.

Fed with vision's newest frame; decodes on a thread of its own with OpenCV's decoder: the one that finds a code as
ArUco markers are found, which read 198 of 200 rendered passes where the older one read 140, in half the time. What it
reads is text from whoever holds something to the camera: it is handed on unread, cut off where it is too long.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import cv2

from device.clock import Clock
from device.credentials.qr_pass import MOST_TEXT
from device.face.motion import Motion
from device.frame import Frame, Pixels
from device.threads import Latest, Worker

log = logging.getLogger(__name__)

EVERY_S = 0.25
MOVED_S = 3.0  # after the last movement before the camera; an empty hall is not searched
AGAIN_S = 5.0  # a code that stays in view counts as shown once
SIDE = 960  # pictures are shrunk to this, which leaves a pass readable over a fifth of the width


class QrReader:
    """taken  called on this reader's thread with each code's text, once while it stays in view"""

    def __init__(self, taken: Callable[[str], None], clock: Clock) -> None:
        self._taken, self._clock = taken, clock
        self._frames: Latest[Frame] = Latest()
        self._due = float("-inf")
        self._seen: dict[str, float] = {}
        self._motion = Motion()
        self._moved_mono = float("-inf")

    def look(self, frame: Frame) -> None:
        """Vision's newest frame; called on the vision thread, which it must not hold up."""
        if frame.mono >= self._due:
            self._due = frame.mono + EVERY_S
            self._frames.put(frame)

    def run(self, worker: Worker) -> None:
        """Body of the thread."""
        detector = cv2.QRCodeDetectorAruco()
        while not worker.stopping.is_set():
            worker.beat()
            frame = self._frames.take(0.5)
            if frame is None:
                continue
            text = decode(detector, frame.pixels) if self._has_moved(frame) else ""
            if text:
                self._show(text)

    def _has_moved(self, frame: Frame) -> bool:
        """Whether something moved before the camera a moment ago."""
        if self._motion.seen(frame.pixels):
            self._moved_mono = frame.mono
        return frame.mono - self._moved_mono < MOVED_S

    def _show(self, text: str) -> None:
        mono = self._clock.mono()
        self._seen = {one: at for one, at in self._seen.items() if mono - at < AGAIN_S}
        is_new = text not in self._seen
        self._seen[text] = mono
        if is_new:
            self._taken(text)


def decode(detector: cv2.QRCodeDetectorAruco, pixels: Pixels) -> str:
    """The text of a code in the picture, "" where there is none."""
    height, width = pixels.shape[:2]
    shrink = SIDE / max(height, width)
    if shrink < 1:
        pixels = cv2.resize(pixels, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    try:
        text, _, _ = detector.detectAndDecode(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY))
    except (cv2.error, UnicodeDecodeError):  # the decoder stumbles over some patterns that are no code
        return ""
    return str(text)[:MOST_TEXT + 1]
