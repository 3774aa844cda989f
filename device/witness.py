"""Keeps a picture of an attack where the site wants one: the newest frame at the moment of the decision.

An observer of the door; the frame comes from vision by reference. Coding and writing happen in a thread of its own.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Sequence
from datetime import datetime

import cv2

from device.clock import Clock
from device.door.decision import Decision, Now
from device.door.reasons import entry
from device.errors import StoreError
from device.face.types import Box
from device.frame import Frame
from device.sighting import Sighting
from device.store.evidence import Evidence
from device.store.records import NewEntry
from device.threads import Worker

log = logging.getLogger(__name__)

ATTACKS = frozenset({"attack", "not_proved"})
MOST_WAITING = 4
SWEEP_S = 600.0
QUALITY = 85


class Witness:
    """note  writes into the journal; called in the witness's thread, so it must only enqueue"""

    def __init__(self, evidence: Evidence, note: Callable[[NewEntry], None], clock: Clock) -> None:
        self._evidence, self._note, self._clock = evidence, note, clock
        self._newest: Frame | None = None
        self._waiting: queue.Queue[tuple[datetime, Frame]] = queue.Queue(MOST_WAITING)
        self._worker = Worker("witness", self._run, clock)

    def start(self) -> None:
        self._worker.start()

    def close(self) -> None:
        self._worker.stop()

    def look(self, frame: Frame, faces: Sequence[Box]) -> None:
        """Vision's newest frame; called on the vision thread."""
        self._newest = frame

    def decided(self, decision: Decision, at: Now) -> None:
        """Keep the picture of an attack; none where too many wait."""
        frame = self._newest
        if decision.reason in ATTACKS and frame is not None and not self._waiting.full():
            self._waiting.put_nowait((at.at, frame))

    def signalled(self, reason: str) -> None:
        """Of no interest here."""

    def awaited(self, sighting: Sighting) -> None:
        """Of no interest here."""

    def _run(self, worker: Worker) -> None:
        swept_mono = float("-inf")
        while not worker.stopping.is_set():
            worker.beat()
            if self._clock.mono() - swept_mono > SWEEP_S:
                swept_mono = self._clock.mono()
                self._evidence.sweep(self._clock.now())
            try:
                at, frame = self._waiting.get(timeout=0.5)
            except queue.Empty:
                continue
            self._keep(at, frame)

    def _keep(self, at: datetime, frame: Frame) -> None:
        is_coded, jpeg = cv2.imencode(".jpg", frame.pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        try:
            if is_coded:
                self._note(entry("evidence_kept", file=self._evidence.keep(at, jpeg.tobytes())))
        except StoreError as error:
            log.error("%s", error)
