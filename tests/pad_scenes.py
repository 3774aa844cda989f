"""What a judge of liveness sees: the rehearsal's scenes as the views of one track, or before a whole door."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from face_scenes import gallery_of, threshold_of
from rehearsal_samples import Floats, models, people, stage

from device.clock import HandClock
from device.config import FaceConfig
from device.face.card import Card
from device.face.liveness import Panel
from device.face.lookout import Lookout
from device.face.pad.fusion import open_panel
from device.face.pad.judge import Judge
from device.face.pad.judge import View as FaceView
from device.face.pipeline import Pipeline
from device.face.portrait import Examiner
from device.face.quality import DOOR, ENROLMENT, Inspector
from device.frame import Frame
from device.rehearsal.light import Light
from device.rehearsal.people import SITTER
from device.rehearsal.scenes import Scene
from device.rehearsal.stage import View as Shown
from device.rehearsal.stage import enrolment_photo
from device.sighting import Demand, Judgement, Sighting

Chance = Callable[[int], int]
VGA = (640, 480)


def always(number: int) -> Chance:
    """Chance that always falls alike."""
    return lambda below: min(number, below - 1)


def seeded(seed: int) -> Chance:
    dice = np.random.default_rng(seed)
    return lambda below: int(dice.integers(below))


def views(scene: Scene, seconds: float, start: float = 0.0, fps: float = 30.0,
          size: tuple[int, int] = VGA) -> Iterator[FaceView]:
    """Every face that is seen in the scene, frame after frame."""
    lookout, inspector, lens = Lookout(models()), Inspector(DOOR), stage(*size)
    for number in range(int(start * fps), int((start + seconds) * fps)):
        pixels = lens.render(scene.at(number / fps), number)
        for track in lookout.see(Frame(number, 100.0 + number / fps, pixels)):
            yield FaceView(Frame(number, 100.0 + number / fps, pixels), track.face,
                           inspector.inspect(pixels, track.face))


def judged(judge: Judge, shown: Iterator[FaceView]) -> list[Judgement]:
    return [judge.judge(view) for view in shown]


@cache
def vector_of_person(who: str) -> Floats:
    return Examiner(models(), ENROLMENT).one(enrolment_photo(people(), who), who).vector


class LiveDoor:
    """A pipeline with a panel, before which scenes play; `who` is enrolled as person 1."""

    def __init__(self, card: Card, who: str = SITTER, chance: Chance | None = None, demand: Demand | None = None,
                 size: tuple[int, int] = VGA, panel: Panel | None = None) -> None:
        self.panel = panel or open_panel(card, chance or seeded(1))
        self._pipeline = Pipeline(models(), FaceConfig(), HandClock(), self.panel)
        self._gallery = gallery_of(models(), [vector_of_person(who)])
        self._threshold = threshold_of(models(), 1)
        self._demand, self._stage = demand or Demand(), stage(*size)
        self.number = 0
        self.fps = 30.0

    def play(self, scene: Scene, seconds: float, start: float = 0.0) -> Iterator[Sighting]:
        """The sightings while the scene plays; it goes on where the last one ended, without a gap in time."""
        for step in range(int(seconds * self.fps)):
            yield from self.look(scene, start + step / self.fps)

    def look(self, scene: Scene, t: float) -> list[Sighting]:
        self.number += 1
        pixels = self._stage.render(scene.at(t), self.number)
        frame = Frame(self.number, 100.0 + self.number / self.fps, pixels)
        return self._pipeline.look(frame, self._gallery, self._threshold, self._demand)


@dataclass(frozen=True, slots=True)
class Lit(Light):
    """Light to which a screen adds some of its own."""

    screen: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def tint(self) -> tuple[float, float, float]:
        blue, green, red = self.screen
        return 1.0 + blue, 1.0 + green, 1.0 + red


def lit(scene: Scene, shown: Callable[[float], tuple[float, float, float]], strength: float = 0.06) -> Scene:
    """The scene before a screen that shows those colours."""
    def at(t: float) -> Shown:
        view = scene.at(t)
        given = {name: getattr(view.light, name) for name in Light.__dataclass_fields__}
        blue, green, red = shown(t)
        return replace(view, light=Lit(**given, screen=(blue * strength, green * strength, red * strength)))

    return Scene("lit", scene.seconds, at)
