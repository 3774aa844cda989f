"""The vision thread: the newest frame through the pipeline, its sightings to the door."""

from __future__ import annotations

from collections.abc import Callable

from device.face.pipeline import Pipeline
from device.frame import Frame
from device.inbox import Inbox
from device.roster import Roster
from device.sighting import Demand
from device.threads import Latest, Worker

WAIT_S = 0.5


class Vision:
    """Body of the vision thread. `frames` counts what was looked at."""

    def __init__(self, pipeline: Pipeline, camera: Latest[Frame], roster: Callable[[], Roster],
                 demand: Callable[[], Demand], inbox: Inbox) -> None:
        self._pipeline, self._camera, self._inbox = pipeline, camera, inbox
        self._roster, self._demand = roster, demand
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
        self.frames += 1
        self.last_mono = frame.mono
