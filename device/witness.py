"""Keeps a picture of an attack where the site wants one: the very frame that was judged, as long as it is at hand.

An observer of the door; the frames come from vision by reference. Coding and writing happen in a thread of its own.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Sequence
from datetime import datetime

import cv2

from device.clock import Clock
from device.door.claim import FaceClaim
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
MOST_FRAMES = 8
"""Newest frames that are held, a quarter of a second: the door answers sooner than that."""

AWAIT_S = 0.2
"""The door may answer a moment before vision hands over the frame that it answers to."""

SWEEP_S = 600.0
QUALITY = 85


class Witness:
    """note  writes into the journal; called in the witness's thread, so it must only enqueue"""

    def __init__(self, evidence: Evidence, note: Callable[[NewEntry], None], clock: Clock) -> None:
        self._evidence, self._note, self._clock = evidence, note, clock
        self._frames: tuple[Frame, ...] = ()  # replaced as a whole: the witness's thread reads it
        self._waiting: queue.Queue[tuple[datetime, int, Frame | None]] = queue.Queue(MOST_WAITING)
        self._worker = Worker("witness", self._run, clock)

    def start(self) -> None:
        self._worker.start()

    def close(self) -> None:
        self._worker.stop()

    def look(self, frame: Frame, faces: Sequence[Box]) -> None:
        """Vision's newest frame; called on the vision thread."""
        self._frames = (*self._frames[1 - MOST_FRAMES:], frame)

    def decided(self, decision: Decision, at: Now) -> None:
        """Keep the picture of an attack, also where the face is locked out; none where too many wait."""
        claim = decision.claim
        if isinstance(claim, FaceClaim) and claim.person_id is None and claim.reason_if_none in ATTACKS and (
                not self._waiting.full()):
            frame = next((one for one in self._frames if one.seq == claim.frame_seq), None)
            self._waiting.put_nowait((at.at, claim.frame_seq, frame))

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
                at, seq, frame = self._waiting.get(timeout=0.5)
            except queue.Empty:
                continue
            frame = frame or self._awaited(worker, seq)
            if frame is not None:
                self._keep(at, frame)

    def _awaited(self, worker: Worker, seq: int) -> Frame | None:
        """The frame of that number once it comes, else the one nearest to it; None where there is none at all."""
        until = self._clock.mono() + AWAIT_S
        while not any(frame.seq >= seq for frame in self._frames) and self._clock.mono() < until:
            worker.stopping.wait(0.01)
        return min(self._frames, key=lambda frame: abs(frame.seq - seq), default=None)

    def _keep(self, at: datetime, frame: Frame) -> None:
        is_coded, jpeg = cv2.imencode(".jpg", frame.pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        try:
            if is_coded:
                self._note(entry("evidence_kept", file=self._evidence.keep(at, jpeg.tobytes())))
        except StoreError as error:
            log.error("%s", error)
