"""Frames to measure speed with: the rehearsal's scenes, rendered beforehand, and networks that note their runs.

A frame is kept as the JPEG that a USB camera would send, so that a camera's thread has a camera's work, or as
pixels. Called by the benchmarks.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from device.face.align import Aligner
from device.face.card import Card
from device.face.detect import Finder
from device.face.extract import Extractor
from device.face.landmarks import Landmarks
from device.face.models import Models
from device.face.pad.challenge import Challenge
from device.face.pad.context import context_judges
from device.face.pad.fusion import LivenessPanel
from device.face.pad.judge import Judge
from device.face.pad.passive import PassiveJudge, PassiveNetworks, Sense
from device.face.pad.plane import PlaneTest
from device.face.portrait import Examiner
from device.face.quality import ENROLMENT
from device.face.runtime import Network
from device.face.types import Floats
from device.frame import Frame, Pixels
from device.packs.archives import portrait
from device.rehearsal.people import People, people_of
from device.rehearsal.scenes import Scene
from device.rehearsal.stage import Stage, enrolment_photo

ROLES = ("detector_short", "detector_full", "mesh", "recogniser", "pad_v2", "pad_v1se")
FPS = 30.0
SIZE = (1280, 720)


class Noted(Network):
    """A network that notes each of its runs in `runs`, so that they can be repeated without what is around them."""

    runs: list[tuple[Noted, Floats]] | None = None

    def run(self, values: Floats) -> list[Floats]:
        if self.runs is not None:
            self.runs.append((self, values.copy()))
        return super().run(values)

    def bare(self, values: Floats) -> None:
        """The run alone."""
        super().run(values)


@dataclass(slots=True)
class NotedModels:
    """The stages of a pack whose networks, by role, all note their runs in one list."""

    models: Models
    networks: dict[str, Noted]

    def panel(self) -> LivenessPanel:
        """A panel of liveness as the terminal has it."""
        judges: list[Judge] = [*context_judges()]
        if self.models.card.passive is not None:
            passive = PassiveNetworks(self.models.card)
            passive.senses = (Sense(self.networks["pad_v2"], passive.senses[0].scale),
                              Sense(self.networks["pad_v1se"], passive.senses[1].scale))
            judges.append(PassiveJudge(passive))
        return LivenessPanel(judges, PlaneTest(), Challenge(lambda choices: 0))

    def note(self) -> list[tuple[Noted, Floats]]:
        """A fresh list, into which all runs go from now on."""
        runs: list[tuple[Noted, Floats]] = []
        for network in self.networks.values():
            network.runs = runs
        return runs

    def stop(self) -> None:
        for network in self.networks.values():
            network.runs = None


def noted_models(card: Card) -> NotedModels:
    """The pack's networks as `Models.load` loads them, noting their runs."""
    roles = [role for role in ROLES if card.passive is not None or not role.startswith("pad_")]
    networks = {role: Noted(card.path(role)) for role in roles}
    models = Models(card, Finder(networks["detector_short"], networks["detector_full"]), Landmarks(networks["mesh"]),
                    Aligner(card.recogniser), Extractor(networks["recogniser"], card.recogniser))
    return NotedModels(models, networks)


def rehearsal_people(models: Models) -> People:
    """The people of the rehearsal."""
    return people_of(portrait(), models.finder, models.landmarks)


def sitter_vector(people: People, models: Models) -> Floats:
    """The probe of the sitter's enrolment photo."""
    return Examiner(models, ENROLMENT).one(enrolment_photo(people), "the rehearsal's enrolment photo").vector


def rendered(people: People, scene: Scene, begin_s: float, frames: int) -> list[Pixels]:
    """So many frames of a scene at 1280×720, 30 a second, from `begin_s` on; each H×W×3 BGR, read-only."""
    stage = Stage(people, SIZE)
    return [stage.render(scene.at(begin_s + number / FPS), number) for number in range(frames)]


def as_jpeg(pictures: list[Pixels]) -> list[Pixels]:
    """The same as JPEG bytes of quality 90, as a USB camera sends them."""
    return [np.frombuffer(cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, 90))[1].tobytes(), np.uint8)
            for picture in pictures]


def frame_of(jpeg: Pixels, seq: int, mono: float) -> Frame:
    """The decoded frame."""
    pixels = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
    assert pixels is not None, "a JPEG made here decodes"  # noqa: S101
    return Frame(seq, mono, np.asarray(pixels, np.uint8))
