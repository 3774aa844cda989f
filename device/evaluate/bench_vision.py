"""Vision beside its own networks, the age of a frame at the decision, and what an empty scene costs.

Frames are the rehearsal's, rendered before the clock starts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from device.clock import Clock, ClockQuality, SystemClock
from device.config import FaceConfig
from device.door.claim import claim_from
from device.door.decision import Memory, Now
from device.door.policy import decide
from device.door.rules import Rules, Site
from device.errors import TerminalError
from device.evaluate.bench_match import random_gallery
from device.evaluate.clips import (
    FPS,
    Noted,
    NotedModels,
    as_jpeg,
    frame_of,
    noted_models,
    rehearsal_people,
    rendered,
    sitter_vector,
)
from device.face.card import Card
from device.face.gallery import Gallery
from device.face.pipeline import Pipeline
from device.face.template import quantise
from device.face.threshold import threshold_for
from device.face.types import Floats
from device.frame import Frame, Pixels
from device.inbox import Inbox
from device.rehearsal.people import STRANGERS, People
from device.rehearsal.scenes import empty, walks_up
from device.roster import Roster
from device.sighting import Demand, Outcome, Sighting
from device.store.records import AccessRule, Person
from device.threads import Latest, Worker
from device.vision import Vision

GALLERY = 1000
FPIR = 1e-3
ARRIVED_S = 2.6  # when the visitor of `walks_up` stands before the door
SITTER_ID = f"{1:032x}"

Figures = dict[str, Any]


class VisionBench:
    """One pack, one gallery with the sitter in it, and the frames."""

    def __init__(self, card: Card, clock: Clock | None = None) -> None:
        self._card, self._clock = card, clock or SystemClock()
        self._noted: NotedModels = noted_models(card)
        self._people: People = rehearsal_people(self._noted.models)
        self._gallery = with_sitter(card, sitter_vector(self._people, self._noted.models))
        self._threshold = threshold_for(card.populations, FPIR, len(self._gallery))

    def pipeline(self, frames: int) -> Figures:
        """Each frame of a stranger who stands before the door, and at once the same network runs alone.

        A stranger, because the recogniser then looks again at every third frame; a known face costs less. Once with
        liveness as the terminal has it by default, and once without.
        """
        pictures = rendered(self._people, walks_up(STRANGERS[0]), ARRIVED_S - 0.5, frames)
        figures = self._beside(pictures, self._pipeline)
        without = self._beside(pictures, lambda: self._pipeline(has_liveness=False))
        names = ("ms", "networks_ms", "ratio")
        return figures | {f"pipeline_no_liveness_{name}": without[f"pipeline_{name}"] for name in names}

    def _beside(self, pictures: list[Pixels], make: Callable[[], Pipeline]) -> Figures:
        runs = self._noted_runs(make(), pictures)
        pipeline = make()
        times = pipeline.measure()
        whole, bare = list[float](), list[float]()
        for seq, pixels in enumerate(pictures):
            begin = self._clock.mono()
            pipeline.look(Frame(seq, seq / FPS, pixels), self._gallery, self._threshold, Demand())
            middle = self._clock.mono()
            for network, values in runs[seq]:
                network.bare(values)
            whole.append(middle - begin)
            bare.append(self._clock.mono() - middle)
        recogniser = self._noted.networks["recogniser"]
        full = [seq for seq, run in enumerate(runs) if any(network is recogniser for network, _ in run)]
        if not full:
            raise TerminalError("the rehearsal's visitor was not seen; check the pack with `doorctl models verify`")
        return {
            "pipeline_ms": _ms(median(whole[seq] for seq in full)),
            "pipeline_networks_ms": _ms(median(bare[seq] for seq in full)),
            "pipeline_ratio": round(median(whole[seq] / bare[seq] for seq in full), 3),
            "pipeline_frames": len(full),
            "visit_ms_per_frame": _ms(sum(whole) / len(pictures)),
            "visit_ratio": round(sum(whole) / sum(bare), 3),
            "stage_ms": {name: _ms(seconds / times.runs[name]) for name, seconds in times.seconds.items()},
        }

    def _noted_runs(self, pipeline: Pipeline, pictures: list[Pixels]) -> list[list[tuple[Noted, Floats]]]:
        """Which networks a pipeline runs for each picture, and on what."""
        noted = []
        for seq, pixels in enumerate(pictures):
            noted.append(self._noted.note())
            pipeline.look(Frame(seq, seq / FPS, pixels), self._gallery, self._threshold, Demand())
        self._noted.stop()
        return noted

    def networks(self, rounds: int) -> Figures:
        """Each network alone."""
        from device.evaluate.timing import in_turns

        chance = np.random.default_rng(3)
        tasks = {}
        for role, network in self._noted.networks.items():
            values = chance.random(network.input_shape, np.float32)
            tasks[role] = lambda n=network, v=values: n.bare(v)
        return {"network_ms": {name: _ms(value) for name, value in in_turns(tasks, rounds, self._clock).items()}}

    def decision(self, seconds: float) -> Figures:
        """Camera, vision and door on their three threads at 30 frames/s: how old a frame is when it is decided on."""
        frames = round(min(seconds, 4.0) * FPS)
        jpegs = as_jpeg(rendered(self._people, walks_up(), ARRIVED_S - 1.0, frames))
        camera, inbox = Latest[Frame](), Inbox()
        rules = Rules((AccessRule("everyone", "everyone"),), (), Site())
        roster = Roster(1, self._gallery, self._threshold, rules, len(self._gallery))
        vision = Vision(self._pipeline(), camera, lambda: roster, Demand, inbox)
        looking = Worker("vision", vision.body, self._clock)
        showing = Worker("camera", lambda worker: self._show(worker, camera, jpegs, seconds), self._clock)
        looking.start()
        showing.start()
        ages, known = self._decide(inbox, rules, showing)
        looking.stop()
        for worker in (showing, looking):
            if worker.error is not None:
                raise worker.error
        return {
            "decision_age_max_ms": _ms(max(ages)),
            "decision_age_p95_ms": _ms(float(np.percentile(ages, 95))),
            "decision_age_median_ms": _ms(median(ages)),
            "decision_frames": vision.frames,
            "decision_frames_dropped": camera.dropped,
            "decision_known": known,
        }

    def idle(self, seconds: float) -> Figures:
        """Processor time of vision on an empty scene at 30 frames/s, as a share of one core.

        Once with frames that come as pixels, as from a Pi's camera, and once with JPEGs to be decoded, as from USB.
        """
        pictures = rendered(self._people, empty(), 0.0, 12)
        jpegs = as_jpeg(pictures)
        plain = self._idle(lambda seq, mono: Frame(seq, mono, pictures[seq % len(pictures)]), seconds)
        decoded = self._idle(lambda seq, mono: frame_of(jpegs[seq % len(jpegs)], seq, mono), seconds)
        return {"idle_core_share": plain, "idle_core_share_with_jpeg": decoded}

    def _idle(self, frame_at: Any, seconds: float) -> float:
        pipeline = self._pipeline()
        pause = Worker("pause", lambda worker: None, self._clock).stopping
        begin_cpu, begin = time.process_time(), self._clock.mono()
        for seq in range(round(seconds * FPS)):
            pause.wait(max(begin + seq / FPS - self._clock.mono(), 0.0))
            pipeline.look(frame_at(seq, self._clock.mono()), self._gallery, self._threshold, Demand())
        return round((time.process_time() - begin_cpu) / (self._clock.mono() - begin), 4)

    def _pipeline(self, has_liveness: bool = True) -> Pipeline:
        return Pipeline(self._noted.models, FaceConfig(), self._clock, self._noted.panel() if has_liveness else None)

    def _show(self, worker: Worker, camera: Latest[Frame], jpegs: list[Pixels], seconds: float) -> None:
        """The camera's thread. A frame's time is when its exposure would have ended: before it is decoded."""
        begin = self._clock.mono()
        for seq in range(round(seconds * FPS)):
            due = begin + seq / FPS
            if worker.stopping.wait(max(due - self._clock.mono(), 0.0)):
                return
            worker.beat()
            camera.put(frame_of(jpegs[seq % len(jpegs)], seq, due))

    def _decide(self, inbox: Inbox, rules: Rules, showing: Worker) -> tuple[list[float], int]:
        """The door's part: the age of the newest frame behind each decision, and how many knew the sitter."""
        ages, known, memory = list[float](), 0, Memory()
        while showing.is_alive():
            sighting = inbox.take(0.05)
            if not isinstance(sighting, Sighting):
                continue
            claim = claim_from(sighting)
            if claim is not None:
                person = Person(SITTER_ID, "") if claim.person_id == SITTER_ID else None
                now = Now(self._clock.now(), self._clock.mono(), ClockQuality.SYNCED)
                _, memory = decide(claim, person, rules, memory, now)
                known += sighting.outcome is Outcome.KNOWN and claim.person_id == SITTER_ID
            ages.append(self._clock.mono() - sighting.mono)
        if not ages:
            raise TerminalError("the rehearsal's visitor was not seen; check the pack with `doorctl models verify`")
        return ages, known


def with_sitter(card: Card, vector: Floats) -> Gallery:
    """A gallery of random directions of this pack's size, and the sitter."""
    dimensions = card.recogniser.dimensions
    strangers, _ = random_gallery(GALLERY - 1, dimensions)
    row, _ = quantise(vector)
    rows = np.vstack([strangers.rows, np.frombuffer(row, np.int8)[None]])
    scales = 1.0 / np.linalg.norm(rows.astype(np.float64), axis=1)
    ids = [f"{number + 2:032x}" for number in range(GALLERY - 1)] + [SITTER_ID]
    return Gallery.build(card.model_id, dimensions, ids, ids, rows, scales)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
