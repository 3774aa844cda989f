"""The vision thread: the newest frame through the pipeline, its sightings to the door."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence

import cv2

from device.face.pipeline import Pipeline
from device.face.types import Box
from device.frame import Frame
from device.inbox import Inbox
from device.roster import Roster
from device.sighting import Demand
from device.threads import Latest, Worker

WAIT_S = 0.5
Onlooker = Callable[[Frame, Sequence[Box]], None]


def calm() -> None:
    """Before the threads begin: what would make a frame wait for something else than its own networks.

    OpenCV does a picture on one thread: cut in two, the half on a core that is taken keeps the other waiting. And all
    that was loaded stays, so the collector need not walk through it (24 ms) in the middle of a frame.
    """
    cv2.setNumThreads(1)
    gc.collect()
    gc.freeze()


class Vision:
    """Body of the vision thread. `frames` counts what was looked at.

    onlooker  gets each frame with the faces found in it, for the screen; it must not wait
    rest      told after each frame whether nobody is there and nothing moves, so that the camera may rest
    """

    def __init__(self, pipeline: Pipeline, camera: Latest[Frame], roster: Callable[[], Roster],
                 demand: Callable[[], Demand], inbox: Inbox, onlooker: Onlooker | None = None,
                 rest: Callable[[bool], None] | None = None) -> None:
        self._pipeline, self._camera, self._inbox = pipeline, camera, inbox
        self._roster, self._demand, self._onlooker = roster, demand, onlooker
        self._rest = rest
        self.frames = 0
        self.last_mono = 0.0

    def body(self, worker: Worker) -> None:
        while not worker.stopping.is_set():
            worker.beat()
            frame = self._camera.take(WAIT_S)
            if frame is not None:
                self._look(frame)

    def _look(self, frame: Frame) -> None:
        roster = self._roster()
        for sighting in self._pipeline.look(frame, roster.gallery, roster.threshold, self._demand()):
            self._inbox.see(sighting)
        if self._onlooker is not None:
            self._onlooker(frame, self._pipeline.faces)
        if self._rest is not None:
            self._rest(self._pipeline.is_idle)
        self.frames += 1
        self.last_mono = frame.mono
