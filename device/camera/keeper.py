"""CameraKeeper: the body of the camera thread. Reads, tells how the camera fares, and opens it again when it is lost.

Made by the app, run by a `threads.Worker`; vision takes the frames from `frames`, the door hears of changes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from device.camera.camera import Camera, CameraRefused, CameraSilent, ClipEnded
from device.camera.fit import Fit
from device.camera.watch import SILENCE_S, CameraState, CameraWatch
from device.clock import Clock
from device.errors import CameraLost, TerminalError
from device.frame import Frame
from device.threads import Latest, Worker

log = logging.getLogger(__name__)

READ_S = 0.25
PATIENCE_S = 12.0
"""For the first frame: opening an RTSP stream takes up to 6 s, explaining a failure up to 4 s more."""
BACK_OFF_S = (1.0, 2.0, 4.0, 5.0)
"""Waits between attempts; the last one repeats, so that a camera that is back is seen again within 10 s."""
REFUSED_S = 300.0
"""After bad credentials: network cameras lock an account after 5 to 7 wrong tries; one attempt of ours makes two."""
_STEADY_FRAMES = 30  # a camera that dies sooner is not asked again at once


@dataclass(frozen=True, slots=True)
class CameraEvent:
    """One change of the camera's state; `detail` is one line for the journal, without a password."""

    mono: float
    state: CameraState
    detail: str = ""


class CameraKeeper:
    """Callable as a Worker's body. `tell` is called in the camera thread and must only enqueue.

    opener  makes the camera, afresh each time (another port, another address after the restart of a switch)
    frames  gets each frame; `seq` goes on over reconnections, and all frames have the size of the first
    """

    def __init__(self, opener: Callable[[], Camera], frames: Latest[Frame], tell: Callable[[CameraEvent], None],
                 clock: Clock, back_off_s: tuple[float, ...] = BACK_OFF_S) -> None:
        self.description = "camera"
        self.state = CameraState.OPENING
        self.has_ended = False
        self.reopened = 0
        self.fps = 0.0
        self._opener = opener
        self._frames = frames
        self._tell = tell
        self._clock = clock
        self._back_off_s = back_off_s
        self._watch = CameraWatch(clock.mono())
        self._fit = Fit("camera")
        self._seq = 0
        self._last_mono: float | None = None

    def __call__(self, worker: Worker) -> None:
        tries = 0
        while not worker.stopping.is_set():
            before = self._seq
            try:
                self._serve(worker)
            except TerminalError as error:
                tries = 0 if self._seq - before >= _STEADY_FRAMES else tries
                self._lose(error)
                if isinstance(error, ClipEnded):
                    self.has_ended = True
                    return
                self._wait(worker, REFUSED_S if isinstance(error, CameraRefused) else self._pause(tries))
                tries += 1
                self.reopened += 1

    def _serve(self, worker: Worker) -> None:
        """Open the camera and pass on its frames until it is lost or the worker shall stop."""
        worker.beat()
        camera = self._opener()
        self.description = camera.description
        self._watch.has_noise = bool(getattr(camera, "has_noise", True))
        try:
            until = self._clock.mono() + PATIENCE_S
            while not worker.stopping.is_set():
                worker.beat()
                if self._pass_on(camera, until):
                    until = self._clock.mono() + SILENCE_S
        finally:
            camera.close()

    def _pass_on(self, camera: Camera, until: float) -> bool:
        """One read; true when a frame came. CameraLost when none came until `until`."""
        try:
            frame = camera.read(READ_S)
        except CameraSilent as error:
            now = self._clock.mono()
            self._note(self._watch.silence(now), str(error))
            if now >= until:
                raise CameraLost(f"{camera.description}: sends no pictures") from error
            return False
        now = self._clock.mono()
        self._frames.put(replace(frame, seq=self._seq, pixels=self._fit(frame.pixels)))
        self._seq += 1
        self._count(now)
        self._note(self._watch.see(frame, now), self.description)
        return True

    def _lose(self, error: TerminalError) -> None:
        self._last_mono = None
        self._note(self._watch.lost(self._clock.mono()), str(error))

    def _note(self, state: CameraState, detail: str) -> None:
        if state is self.state:
            return
        self.state = state
        log.log(logging.INFO if state is CameraState.FINE else logging.WARNING, "%s: %s", state.value, detail)
        self._tell(CameraEvent(self._clock.mono(), state, detail))

    def _count(self, mono: float) -> None:
        if self._last_mono is not None and mono > self._last_mono:
            rate = 1 / (mono - self._last_mono)
            self.fps += (rate - self.fps) * (0.05 if self.fps else 1.0)
        self._last_mono = mono

    def _pause(self, tries: int) -> float:
        return self._back_off_s[min(tries, len(self._back_off_s) - 1)]

    def _wait(self, worker: Worker, seconds: float) -> None:
        left = seconds
        while left > 0 and not worker.stopping.wait(min(left, 1.0)):
            worker.beat()
            left -= 1.0


