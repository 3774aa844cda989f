"""Paired: a camera beside a second one that sees near infrared; each frame carries the picture taken with it.

The second camera is read by a thread of its own and is never waited for. One that is lost is opened again while the
first goes on: frames then come without infrared, and the judge that needs it abstains.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

import cv2

from device.camera.camera import Camera, CameraSilent
from device.clock import Clock
from device.errors import TerminalError
from device.frame import Frame, Pixels
from device.threads import Worker

KEPT = 4
READ_S = 0.25
SILENT_S = 3.0
AGAIN_S = 5.0


class PairedCamera:
    """The Camera of the first; `is_lost` says how the second fares.

    opener  makes the second camera, afresh each time
    apart_s  two pictures that lie no further apart in time belong together
    tell     called with true and the reason when the second camera is lost, with false when it is back; in its thread
    """

    def __init__(self, first: Camera, opener: Callable[[], Camera], apart_s: float, clock: Clock,
                 tell: Callable[[bool, str], None]) -> None:
        self.description = first.description
        self.has_noise = getattr(first, "has_noise", True)
        self.is_lost = False
        self._first, self._opener, self._apart_s, self._clock, self._tell = first, opener, apart_s, clock, tell
        self._newest: deque[Frame] = deque(maxlen=KEPT)
        self._second: Camera | None = None
        self._is_resting = False
        self._worker = Worker("infrared", self._run, clock)
        self._worker.start()

    def read(self, timeout_s: float) -> Frame:
        frame = self._first.read(timeout_s)
        other = min(tuple(self._newest), key=lambda one: abs(one.mono - frame.mono), default=None)
        if other is None or abs(other.mono - frame.mono) > self._apart_s:
            return frame
        return replace(frame, infrared=_grey(other.pixels))

    def rest(self, is_resting: bool) -> None:
        """Both cameras rest, as far as they can."""
        self._is_resting = is_resting
        for camera in (self._first, self._second):
            _let_rest(camera, is_resting)

    def close(self) -> None:
        self._worker.stop(2.0)
        self._first.close()

    def _run(self, worker: Worker) -> None:
        while not worker.stopping.is_set():
            try:
                self._serve(worker)
            except TerminalError as error:
                self._change(True, str(error))
                worker.stopping.wait(AGAIN_S)

    def _serve(self, worker: Worker) -> None:
        """Open the second camera and keep its pictures until it is lost or the worker shall stop."""
        camera = self._second = self._opener()
        try:
            _let_rest(camera, self._is_resting)
            self._watch(camera, worker)
        finally:
            self._second = None
            camera.close()

    def _watch(self, camera: Camera, worker: Worker) -> None:
        seen_mono = self._clock.mono()
        while not worker.stopping.is_set():
            worker.beat()
            try:
                self._newest.append(camera.read(READ_S))
            except CameraSilent:
                if self._clock.mono() - seen_mono > SILENT_S:
                    self._change(True, f"{camera.description}: no picture for {SILENT_S:.0f} s")
                continue
            seen_mono = self._clock.mono()
            self._change(False, "")

    def _change(self, is_lost: bool, reason: str) -> None:
        if is_lost:
            self._newest.clear()
        if is_lost is not self.is_lost:
            self.is_lost = is_lost
            self._tell(is_lost, reason)


def _let_rest(camera: Camera | None, is_resting: bool) -> None:
    rest = getattr(camera, "rest", None)
    if rest is not None:
        rest(is_resting)


def _grey(pixels: Pixels) -> Pixels:
    grey = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    grey.flags.writeable = False
    return grey
