"""Vision beside its own networks, the age of a frame at the decision, and what an empty scene costs.

Frames are the rehearsal's, rendered before the clock starts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import numpy as np

from device.camera.camera import Camera
from device.camera.keeper import CameraKeeper
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
    noted_models,
    rehearsal_people,
    rendered,
    sitter_vector,
)
from device.evaluate.reel import Reel, open_reel
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
from device.vision import Vision, calm

GALLERY = 1000
FPIR = 1e-3
ARRIVED_S = 2.6  # when the visitor of `walks_up` stands before the door
SITTER_ID = f"{1:032x}"
LATE_S = 0.1
WARM_UP = 20  # frames
SETTLED_S = 5.0  # after the last motion the lookout still looks for a face for two seconds

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
        liveness as the terminal has it by default, and once without. `pipeline_*` is of frames on which every stage
        was due, `settled_*` of those on which the recogniser looked while the judges of liveness rested.
        """
        pictures = rendered(self._people, walks_up(STRANGERS[0]), ARRIVED_S - 0.5, frames)
        figures = self._beside(pictures, self._pipeline)
        without = self._beside(pictures, lambda: self._pipeline(has_liveness=False), has_liveness=False)
        names = ("ms", "networks_ms", "ratio")
        return figures | {f"pipeline_no_liveness_{name}": without[f"pipeline_{name}"] for name in names}

    def _beside(self, pictures: list[Pixels], make: Callable[[], Pipeline], has_liveness: bool = True) -> Figures:
        runs = self._noted_runs(make(), pictures)
        pipeline = make()
        times = pipeline.measure()
        whole, bare, judged = list[float](), list[float](), list[bool]()
        for seq, pixels in enumerate(pictures):
            looks = times.runs.get("liveness", 0)
            begin = self._clock.mono()
            pipeline.look(Frame(seq, seq / FPS, pixels), self._gallery, self._threshold, Demand())
            middle = self._clock.mono()
            judged.append(times.runs.get("liveness", 0) > looks)
            for network, values in runs[seq]:
                network.bare(values)
            whole.append(middle - begin)
            bare.append(self._clock.mono() - middle)
        recogniser = self._noted.networks["recogniser"]
        read = [seq for seq, run in enumerate(runs) if any(network is recogniser for network, _ in run)]
        full = [seq for seq in read if judged[seq] == has_liveness]
        if not full:
            raise TerminalError("the rehearsal's visitor was not seen; check the pack with `doorctl models verify`")
        settled = [seq for seq in read if judged[seq] != has_liveness]
        return {
            **_ratio("pipeline", whole, bare, full),
            **(_ratio("settled", whole, bare, settled) if settled else {}),
            "visit_ms_per_frame": _ms(sum(whole) / len(pictures)),
            "visit_ratio": round(sum(whole) / sum(bare), 3),
            "liveness_ms_per_frame": _ms(times.seconds.get("liveness", 0.0) / len(pictures)),
            **{f"stage_{name}_ms": _ms(seconds / times.runs[name]) for name, seconds in times.seconds.items()},
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
        return {f"network_{name}_ms": _ms(value) for name, value in in_turns(tasks, rounds, self._clock).items()}

    def decision(self, seconds: float) -> Figures:
        """Camera, keeper, vision and door on their threads at 30 frames/s: how old a frame is when it is decided on.

        Without passive networks everybody would be asked for a challenge and nobody recognised: then it is measured
        without liveness, and `decision_liveness` says so.
        """
        frames = max(round(min(seconds, 4.0) * FPS), 1)
        pictures = rendered(self._people, walks_up(), ARRIVED_S - 1.0, frames)
        jpegs, has_liveness = as_jpeg(pictures), self._card.passive is not None
        self._warm_up(pictures[:WARM_UP])
        door = Threads(self._pipeline(has_liveness), jpegs, self._roster(), self._clock)
        ages, known = door.decide(seconds)
        if not ages:
            raise TerminalError("the rehearsal's visitor was not seen; check the pack with `doorctl models verify`")
        return {
            "decision_age_max_ms": _ms(max(ages)),
            "decision_age_p99_ms": _ms(float(np.percentile(ages, 99))),
            "decision_age_p95_ms": _ms(float(np.percentile(ages, 95))),
            "decision_age_median_ms": _ms(median(ages)),
            "decision_late": sum(age > LATE_S for age in ages),
            "decision_frames": door.vision.frames,
            "decision_frames_dropped": door.dropped,
            "decision_known": known,
            "decision_liveness": has_liveness,
        }

    def idle(self, seconds: float) -> Figures:
        """Processor time of all threads before an empty scene at 30 frames/s, as a share of one core.

        Once with a camera that sends JPEGs, from the moment at which it may rest, once while it is kept awake, and
        once with frames that come as pixels, as from a Pi's camera, through vision alone.
        """
        pictures = rendered(self._people, empty(), 0.0, 12)
        jpegs = as_jpeg(pictures)
        figures: Figures = {}
        for name, may_rest in (("", True), ("_awake", False)):
            door = Threads(self._pipeline(), jpegs, self._roster(), self._clock, may_rest)
            share, decoded = door.idle(seconds)
            figures |= {f"idle_core_share{name}": share, f"idle_decoded_per_s{name}": decoded}
        figures["idle_core_share_vision"] = self._idle_vision(pictures, seconds)
        return figures

    def _idle_vision(self, pictures: list[Pixels], seconds: float) -> float:
        pipeline = self._pipeline()
        pause = Worker("pause", lambda worker: None, self._clock).stopping
        for seq in range(round(SETTLED_S * FPS)):
            pipeline.look(Frame(seq, seq / FPS, pictures[seq % len(pictures)]), self._gallery, self._threshold,
                          Demand())
        first = round(SETTLED_S * FPS)
        begin_cpu, begin = time.process_time(), self._clock.mono()
        for seq in range(round(seconds * FPS)):
            pause.wait(max(begin + seq / FPS - self._clock.mono(), 0.0))
            pipeline.look(Frame(first + seq, (first + seq) / FPS, pictures[seq % len(pictures)]), self._gallery,
                          self._threshold, Demand())
        return round((time.process_time() - begin_cpu) / (self._clock.mono() - begin), 4)

    def _warm_up(self, pictures: list[Pixels]) -> None:
        """A network's first run takes some 30 ms more; a terminal's was at its start."""
        pipeline = self._pipeline()
        for seq, pixels in enumerate(pictures):
            pipeline.look(Frame(seq, seq / FPS, pixels), self._gallery, self._threshold, Demand())

    def _roster(self) -> Roster:
        rules = Rules((AccessRule("everyone", "everyone"),), (), Site())
        return Roster(1, self._gallery, self._threshold, rules, len(self._gallery))

    def _pipeline(self, has_liveness: bool = True) -> Pipeline:
        return Pipeline(self._noted.models, FaceConfig(), self._clock, self._noted.panel() if has_liveness else None)


class Threads:
    """Camera, keeper and vision on their threads, as the terminal runs them, before a reel of JPEGs."""

    def __init__(self, pipeline: Pipeline, jpegs: list[Pixels], roster: Roster, clock: Clock,
                 may_rest: bool = True) -> None:
        self._jpegs, self._roster, self._clock = jpegs, roster, clock
        self._frames, self._inbox = Latest[Frame](), Inbox()
        self._keeper = CameraKeeper(self._open, self._frames, lambda event: None, clock)
        self.vision = Vision(pipeline, self._frames, lambda: roster, Demand, self._inbox,
                             rest=self._keeper.rest if may_rest else None)
        self._workers = [Worker("vision", self.vision.body, clock), Worker("camera", self._keeper, clock)]
        self._reels: list[Reel] = []

    @property
    def dropped(self) -> int:
        """Frames that fell due and were not looked at."""
        return max(round(self._shown_s * FPS) - self.vision.frames, 0)

    def decide(self, seconds: float) -> tuple[list[float], int]:
        """The door's part: the age of the newest frame behind each decision, and how many knew the sitter."""
        ages, known, memory = list[float](), 0, Memory()
        with self._running():
            until = self._clock.mono() + seconds
            while self._clock.mono() < until:
                sighting = self._inbox.take(0.05)
                if not isinstance(sighting, Sighting):
                    continue
                claim = claim_from(sighting)
                if claim is not None:
                    person = Person(SITTER_ID, "") if claim.person_id == SITTER_ID else None
                    now = Now(self._clock.now(), self._clock.mono(), ClockQuality.SYNCED)
                    _, memory = decide(claim, person, self._roster.rules, memory, now)
                    known += sighting.outcome is Outcome.KNOWN and claim.person_id == SITTER_ID
                ages.append(self._clock.mono() - sighting.mono)
        return ages, known

    def idle(self, seconds: float) -> tuple[float, float]:
        """(share of a core, pictures decoded a second), after the first seconds, in which motion is still looked
        for."""
        pause = Worker("pause", lambda worker: None, self._clock).stopping
        with self._running():
            pause.wait(SETTLED_S)
            begin_cpu, begin, decoded = time.process_time(), self._clock.mono(), self._reels[-1].decoded
            pause.wait(seconds)
            passed = self._clock.mono() - begin
            share = (time.process_time() - begin_cpu) / passed
            return round(share, 4), round((self._reels[-1].decoded - decoded) / passed, 2)

    @contextmanager
    def _running(self) -> Iterator[None]:
        calm()
        begin = self._clock.mono()
        for worker in self._workers:
            worker.start()
        try:
            yield
        finally:
            self._shown_s = self._clock.mono() - begin
            for worker in reversed(self._workers):
                worker.stop()
        for worker in self._workers:
            if worker.error is not None:
                raise worker.error

    def _open(self) -> Camera:
        self._reels.append(Reel(self._jpegs, FPS, self._clock))
        return open_reel(self._reels[-1], self._clock)


def with_sitter(card: Card, vector: Floats) -> Gallery:
    """A gallery of random directions of this pack's size, and the sitter."""
    dimensions = card.recogniser.dimensions
    strangers, _ = random_gallery(GALLERY - 1, dimensions)
    row, _ = quantise(vector)
    rows = np.vstack([strangers.rows, np.frombuffer(row, np.int8)[None]])
    scales = 1.0 / np.linalg.norm(rows.astype(np.float64), axis=1)
    ids = [f"{number + 2:032x}" for number in range(GALLERY - 1)] + [SITTER_ID]
    return Gallery.build(card.model_id, dimensions, ids, ids, rows, scales)


def _ratio(name: str, whole: list[float], bare: list[float], frames: list[int]) -> Figures:
    """Medians over those frames: the pipeline, its networks alone, and the one divided by the other."""
    return {f"{name}_ms": _ms(median(whole[seq] for seq in frames)),
            f"{name}_networks_ms": _ms(median(bare[seq] for seq in frames)),
            f"{name}_ratio": round(median(whole[seq] / bare[seq] for seq in frames), 3),
            f"{name}_frames": len(frames)}


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
