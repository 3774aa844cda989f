"""CameraKeeper: the body of the camera thread. Reads, tells how the camera fares, and opens it again when it is lost.

Made by the app, run by a `threads.Worker`; vision takes the frames from `frames`, the door hears of changes.
"""

from __future__ import annotations

import logging
from collections import deque
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
RATE_S = 2.0
SLOW_S, SLOW_SHARE = 10.0, 0.6
"""A live camera that gives less than that share of the frames asked for, after so long, is told of once: it lies
about its rate, or lengthens its exposure in the dark."""
_STEADY_FRAMES = 30  # a camera that dies sooner is not asked again at once


@dataclass(frozen=True, slots=True)
class CameraEvent:
    """One change of the camera's state; `detail` is one line for the journal, without a password."""

    mono: float
    state: CameraState
    detail: str = ""


class Rate:
    """Frames per second over the last RATE_S: frames divided by the time they took, so that jitter and frames that
    come in pairs do not count for more. Written by one thread, read by any."""

    def __init__(self) -> None:
        self.per_second = 0.0
        self._seen: deque[tuple[int, float]] = deque()

    def add(self, seq: int, mono: float) -> None:
        """Frame `seq` of the camera came at that second; the numbers between were taken and left out."""
        if self._seen and seq <= self._seen[-1][0]:
            self.clear()
        self._seen.append((seq, mono))
        while len(self._seen) > 2 and self._seen[1][1] <= mono - RATE_S:
            self._seen.popleft()
        (first, since), (last, until) = self._seen[0], self._seen[-1]
        self.per_second = (last - first) / (until - since) if until > since else 0.0

    def clear(self) -> None:
        self._seen.clear()
        self.per_second = 0.0


class CameraKeeper:
    """Callable as a Worker's body. `tell` is called in the camera thread and must only enqueue.

    opener  makes the camera, afresh each time (another port, another address after the restart of a switch)
    frames  gets each frame; `seq` goes on over reconnections, and all frames have the size of the first
    name    what to call a camera that has not been opened yet
    asked_fps  frames per second that a live camera should give; 0 = whatever it likes
    """

    def __init__(self, opener: Callable[[], Camera], frames: Latest[Frame], tell: Callable[[CameraEvent], None],
                 clock: Clock, back_off_s: tuple[float, ...] = BACK_OFF_S, name: str = "camera",
                 asked_fps: float = 0.0) -> None:
        self.description = name
        self.state = CameraState.OPENING
        self.detail = ""
        self.has_ended = False
        self.reopened = 0
        self.rate = Rate()
        self._opener = opener
        self._frames = frames
        self._tell = tell
        self._clock = clock
        self._back_off_s = back_off_s
        self._watch = CameraWatch(clock.mono())
        self._fit = Fit("camera")
        self._seq = 0
        self._is_resting = False
        self._asked_fps = asked_fps

    def __call__(self, worker: Worker) -> None:
        tries = 0
        while not worker.stopping.is_set():
            before = self._seq
            lost = self._served(worker)
            if lost is None:
                return
            tries = 0 if self._seq - before >= _STEADY_FRAMES else tries
            self._lose(lost)
            if isinstance(lost, ClipEnded):
                self.has_ended = True
                return
            self._wait(worker, REFUSED_S if isinstance(lost, CameraRefused) else self._pause(tries))
            tries += 1
            self.reopened += 1

    @property
    def fps(self) -> float:
        """Frames per second that the camera took in the last two seconds, looked at or not; 0 while it is lost."""
        return self.rate.per_second

    def rest(self, is_resting: bool) -> None:
        """Whether nobody is there and nothing moves; any thread may say so, the camera follows at its next frame."""
        self._is_resting = is_resting

    def _served(self, worker: Worker) -> TerminalError | None:
        """Serve until the camera is lost, and why it was; None where the worker shall stop."""
        try:
            self._serve(worker)
        except TerminalError as error:
            return error
        except Exception:  # a driver's own, of whatever kind: the camera is tried again, the door goes on
            log.exception("%s broke down", self.description)
            return CameraLost(f"{self.description}: its driver broke down; the log says why")
        return None

    def _serve(self, worker: Worker) -> None:
        """Open the camera and pass on its frames until it is lost or the worker shall stop."""
        worker.beat()
        camera = self._opener()
        self.description = camera.description
        self._watch.has_noise = bool(getattr(camera, "has_noise", True))
        let_rest: Callable[[bool], None] = getattr(camera, "rest", lambda is_resting: None)
        is_resting = False
        try:
            begin = self._clock.mono()
            until, has_begun = begin + PATIENCE_S, False
            while not worker.stopping.is_set():
                worker.beat()
                if is_resting is not self._is_resting:
                    is_resting = self._is_resting
                    let_rest(is_resting)
                if self._pass_on(camera, until, has_begun):
                    until, has_begun = self._clock.mono() + SILENCE_S, True
                    if until - SILENCE_S - begin >= SLOW_S:
                        self._tell_slow()
        finally:
            camera.close()

    def _pass_on(self, camera: Camera, until: float, has_begun: bool) -> bool:
        """One read; true when a frame came. CameraLost when none came until `until`."""
        try:
            frame = camera.read(READ_S)
        except CameraSilent as error:
            now = self._clock.mono()
            if has_begun:  # an RTSP stream may take seconds to open: until then it is opening, not lost
                self._note(self._watch.silence(now), f"{camera.description}: no picture for {SILENCE_S:.1f} s")
            if now >= until:
                what = "sends no pictures any more" if has_begun else f"no picture within {PATIENCE_S:.0f} s"
                raise CameraLost(f"{camera.description}: {what}") from error
            return False
        now = self._clock.mono()
        self._frames.put(replace(frame, seq=self._seq, pixels=self._fit(frame.pixels)))
        self._seq += 1
        self.rate.add(frame.seq, now)
        self._note(self._watch.see(frame, now), self.description)
        return True

    def _tell_slow(self) -> None:
        """One line, once, where a live camera gives far fewer frames than it was asked for."""
        if self._watch.has_noise and 0.0 < self.fps < SLOW_SHARE * self._asked_fps:
            log.warning("%s: gives %.1f frames/s instead of the %g of camera.fps", self.description, self.fps,
                        self._asked_fps)
            self._asked_fps = 0.0

    def _lose(self, error: TerminalError) -> None:
        self.rate.clear()
        self._note(self._watch.lost(self._clock.mono()), str(error))

    def _note(self, state: CameraState, detail: str) -> None:
        if state is self.state:
            return
        self.state, self.detail = state, detail
        log.log(logging.INFO if state is CameraState.FINE else logging.WARNING, "%s: %s", state.value, detail)
        self._tell(CameraEvent(self._clock.mono(), state, detail))

    def _pause(self, tries: int) -> float:
        return self._back_off_s[min(tries, len(self._back_off_s) - 1)]

    def _wait(self, worker: Worker, seconds: float) -> None:
        left = seconds
        while left > 0 and not worker.stopping.wait(min(left, 1.0)):
            worker.beat()
            left -= 1.0


