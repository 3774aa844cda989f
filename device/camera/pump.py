"""Pump: a camera whose native calls may hang, read by a thread that nobody has to wait for.

OpenCV's open and read can block for longer than the door may (a driver, a name server); so they run in a thread
of their own, which also keeps the driver's queue empty: what is read is always the newest picture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy.typing as npt

from device.camera.camera import REST_EVERY_S, CameraSilent
from device.camera.fit import Fit
from device.clock import Clock
from device.errors import CameraLost
from device.frame import Frame
from device.threads import Latest, Worker

# Threads that a driver still holds, by camera. Only opening and closing touch it, and both are the keeper's. It
# bounds the harm of a driver that hangs for ever: one thread per camera instead of one per attempt.
_held: dict[str, Worker] = {}


class Capture(Protocol):
    """A native source; used by one thread."""

    def grab(self) -> float:
        """Go on to the next picture and give the monotonic second at which it was taken; blocks; CameraLost when
        there will be none."""
        ...

    def retrieve(self) -> npt.NDArray[Any] | None:
        """That picture, decoded; None where it is torn, CameraLost where too many are."""
        ...

    def release(self) -> None: ...


class Pump:
    """The Camera around a Capture. Opening goes on in the background: the first `read` may take longer."""

    def __init__(self, description: str, opener: Callable[[], Capture], fit: Fit, clock: Clock) -> None:
        held = _held.get(description)
        if held is not None and held.is_alive():
            raise CameraLost(f"{description}: its driver does not return from an earlier call; if this lasts, "
                             "unplug the camera")
        _held.pop(description, None)
        self.description = description
        self._opener = opener
        self._fit = fit
        self._newest: Latest[Frame | CameraLost] = Latest()
        self._failure: CameraLost | None = None
        self._is_resting = False
        self._worker = Worker("camera-pump", self._run, clock)
        self._worker.start()

    def read(self, timeout_s: float) -> Frame:
        if self._failure is None:
            found = self._newest.take(timeout_s)
            if isinstance(found, Frame):
                return found
            self._failure = found
        if self._failure is not None:
            raise self._failure
        if not self._worker.is_alive():
            raise CameraLost(f"{self.description}: reading it has failed; the log says why")
        raise CameraSilent(f"{self.description}: no frame within {timeout_s:.1f} s")

    def rest(self, is_resting: bool) -> None:
        """While it rests most pictures are taken from the driver and not decoded, which is most of the work."""
        self._is_resting = is_resting

    def close(self) -> None:
        self._worker.stop(1.0)
        if self._worker.is_alive():
            _held[self.description] = self._worker

    def _run(self, worker: Worker) -> None:
        try:
            capture = self._opener()
        except CameraLost as error:
            self._newest.put(error)
            return
        try:
            self._turn(capture, worker)
        except CameraLost as error:
            self._newest.put(error)
        finally:
            capture.release()

    def _turn(self, capture: Capture, worker: Worker) -> None:
        seq, shown_mono = -1, float("-inf")
        while not worker.stopping.is_set():
            mono = capture.grab()
            seq += 1
            if self._is_resting and mono - shown_mono < REST_EVERY_S:
                continue
            picture = capture.retrieve()
            if picture is not None:
                shown_mono = mono
                self._newest.put(Frame(seq, mono, self._fit(picture)))
