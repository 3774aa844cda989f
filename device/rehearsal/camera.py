"""The camera of the rehearsal: frames of a scene, at the pace of a real camera or as fast as they can be made.

It keeps the `Camera` protocol of `device.camera`, so that the terminal cannot tell.
"""

from __future__ import annotations

import threading
from math import floor

from device.clock import Clock
from device.errors import CameraLost
from device.frame import Frame
from device.rehearsal.scenes import Scene
from device.rehearsal.stage import Stage


class RehearsalCamera:
    """Shows one scene after another; one thread reads, any thread may call `show` and `close`.

    paced  a frame comes when its time has come, and a reader who is late misses frames, as with a real camera;
           else every frame comes at once, its `mono` counted on from the opening by 1 / fps
    """

    has_noise = True

    def __init__(self, stage: Stage, scene: Scene, fps: float, clock: Clock, paced: bool = True) -> None:
        self._stage = stage
        self._fps = fps
        self._clock = clock
        self._paced = paced
        self._closed = threading.Event()
        self._number = 0
        self._seq = 0
        stage.prepare(scene.at(0.0))
        self._opened = clock.mono()
        # One tuple, replaced as a whole: the reader never sees a scene with another scene's start.
        self._playing = (scene, 0.0)

    @property
    def description(self) -> str:
        return f"rehearsal: {self._playing[0].name}"

    def show(self, scene: Scene) -> None:
        """From the next frame on show this scene, from its beginning."""
        self._playing = (scene, self._number / self._fps)

    def read(self, timeout_s: float) -> Frame:
        """The next frame; CameraLost where none can come within `timeout_s`, or after `close`."""
        self._skip_missed()
        if self._closed.is_set():
            raise CameraLost("the rehearsal's camera is closed")
        at = self._number / self._fps
        scene, began = self._playing
        if self._paced and self._opened + at - self._clock.mono() > timeout_s:
            raise CameraLost(f"the rehearsal's next frame comes later than {timeout_s:.2f} s")
        pixels = self._stage.render(scene.at(max(at - began, 0.0)), self._number)
        mono = self._opened + at
        if self._paced and self._closed.wait(max(mono - self._clock.mono(), 0.0)):
            raise CameraLost("the rehearsal's camera is closed")
        frame = Frame(self._seq, mono, pixels)
        self._seq += 1
        self._number += 1
        return frame

    def close(self) -> None:
        """No more frames; a second call does nothing."""
        self._closed.set()

    def _skip_missed(self) -> None:
        if self._paced:
            due = floor((self._clock.mono() - self._opened) * self._fps)
            self._number = max(self._number, due)
