"""Reel: JPEGs that come as from a USB camera, so that the benchmarks go the whole way of a frame.

It stands where OpenCV's VideoCapture would: behind `camera.v4l2`, the pump, the keeper and its watch. Pictures fall
due at the camera's rate whether anybody fetches them or not; the driver keeps two, as the terminal asks it to, and
what does not fit is gone.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import cv2

from device.camera.camera import Camera
from device.camera.fit import Fit
from device.camera.pump import Pump
from device.camera.v4l2 import UsbCapture
from device.clock import Clock
from device.frame import Pixels

HELD = 2
NAME = "reel"


class Reel:
    """Shows `jpegs` over and over, `fps` a second, the first one now.

    missed   pictures that fell due and that nobody fetched in time
    decoded  pictures that were decoded
    """

    def __init__(self, jpegs: Sequence[Pixels], fps: float, clock: Clock) -> None:
        self.missed = self.decoded = 0
        self._jpegs, self._fps, self._clock = jpegs, fps, clock
        self._begin = clock.mono()
        self._next = 0
        self._closed = threading.Event()

    def grab(self) -> bool:
        """The next picture is at hand; waits until it is due. False once it has been released."""
        oldest = int((self._clock.mono() - self._begin) * self._fps) - HELD + 1
        self.missed += max(oldest - self._next, 0)
        self._next = max(self._next, oldest) + 1
        return not self._closed.wait(max(self._due_mono - self._clock.mono(), 0.0))

    def retrieve(self) -> tuple[bool, Any]:
        self.decoded += 1
        return True, cv2.imdecode(self._jpegs[(self._next - 1) % len(self._jpegs)], cv2.IMREAD_COLOR)

    def get(self, key: int) -> float:
        """The moment at which the picture's exposure ended, as the kernel stamps it."""
        return self._due_mono * 1000 if key == cv2.CAP_PROP_POS_MSEC else 0.0

    def release(self) -> None:
        self._closed.set()

    @property
    def _due_mono(self) -> float:
        return self._begin + (self._next - 1) / self._fps


def open_reel(reel: Reel, clock: Clock) -> Camera:
    """The camera over it, as `camera.v4l2.open_usb` makes one."""
    return Pump(NAME, lambda: UsbCapture(NAME, reel, clock), Fit(NAME), clock)
