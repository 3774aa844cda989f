"""How long a visitor waits for proof of life: from the first usable frame to the verdict at level normal.

Rendered visitors, at the pace of a camera with 30 frames a second and without the recogniser; so the figures are of
the judges' need for frames and motion, and do not depend on the machine. Whoever is asked to turn does so after a
moment. Called by `doorctl bench --only liveness`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import pi, sin
from typing import Any

import numpy as np

from device.config import FaceConfig
from device.evaluate.clips import FPS, rehearsal_people
from device.face.card import Card
from device.face.liveness import Liveness
from device.face.lookout import Lookout
from device.face.models import Models
from device.face.pad.fusion import LivenessPanel, open_panel
from device.face.quality import DOOR, Inspector
from device.frame import Frame
from device.rehearsal.light import LIGHTS
from device.rehearsal.people import SITTER, STRANGERS
from device.rehearsal.pose import Pose
from device.rehearsal.scenes import Scene, stands, turns, walks_up
from device.rehearsal.stage import Stage, View
from device.sighting import Demand, Hint

Figures = dict[str, Any]

SIZES = ((640, 480), (1280, 720))
PEOPLE = (SITTER, *STRANGERS[:3])
KINDS = ("walks_up", "walks_up_dark", "turns_head", "stands_still")
OBEYS_S, TURN_S, TURN_DEG = 0.7, 1.2, 20.0
"""From the prompt to the beginning of the turn, to the side and back, and how far, of somebody who attends."""

PATIENCE_S = 8.0
WANTED_S = 1.0


@dataclass(frozen=True, slots=True)
class Visit:
    """One visitor, as long as nothing is asked."""

    kind: str
    scene: Scene


class Wait:
    """One visit before a fresh panel."""

    def __init__(self, models: Models, panel: LivenessPanel, stage: Stage) -> None:
        self._lookout, self._panel, self._stage = Lookout(models), panel, stage
        self._inspector = Inspector(replace(DOOR, min_interocular_px=FaceConfig().min_interocular_px))

    def seconds(self, scene: Scene) -> float | None:
        """From the first usable frame to the verdict; None where there is none within PATIENCE_S."""
        begun, turns_from = float("inf"), float("inf")
        for number in range(round(PATIENCE_S * FPS)):
            mono = number / FPS
            view = _turning(scene.at(mono), mono - turns_from)
            for live in self._looks(Frame(number, mono, self._stage.render(view, number))):
                begun = min(begun, mono)
                if live.outcome is None:
                    return mono - begun
                if live.hint is Hint.TURN_A_LITTLE:
                    turns_from = min(turns_from, mono + OBEYS_S)
        return None

    def _looks(self, frame: Frame) -> Iterator[Liveness]:
        for track in self._lookout.see(frame):
            quality = self._inspector.inspect(frame.pixels, track.face)
            if quality.is_usable:
                yield self._panel.judge(frame, track.face, quality, Demand())


def bench_liveness(card: Card, is_quick: bool = False) -> Figures:
    """For each kind of visit at each picture size: how many visits, how many were accepted, and of those the median,
    the 95th percentile and the longest wait in seconds, and how many waited for no longer than WANTED_S."""
    models = Models.load(card)
    people = rehearsal_people(models)
    figures: Figures = {}
    for size in SIZES[:1] if is_quick else SIZES:
        stage = Stage(people, size)
        for kind in KINDS:
            waited = [Wait(models, open_panel(card, lambda below: 0), stage).seconds(visit.scene)
                      for visit in visits(is_quick) if visit.kind == kind]
            figures |= _figures(f"liveness_{size[1]}_{kind}", waited)
    return figures


def visits(is_quick: bool = False) -> list[Visit]:
    """Who comes: walkers in every light and in the dark, heads that turn a little, and people who stand still."""
    people = PEOPLE[:1] if is_quick else PEOPLE
    lights = [light for name, light in LIGHTS.items() if name != "dark"][:1 if is_quick else None]
    dark = LIGHTS["dark"]
    return [
        *(Visit("walks_up", walks_up(who, light=light, seed=seed)) for seed, light in enumerate(lights, 1)
          for who in people),
        *(Visit("walks_up_dark", walks_up(who, light=dark, seed=seed)) for seed in (1, 2) for who in people),
        *(Visit("turns_head", turns(who, degrees, light=light)) for degrees in (5.0, 10.0)
          for light in (LIGHTS["day"], dark) for who in people),
        *(Visit("stands_still", stands(who, Pose(z=0.85), seed=seed)) for seed in (1, 2) for who in people),
    ]


def _turning(view: View, seconds: float) -> View:
    """The view so many seconds after its people have begun to turn the head to the side and back."""
    if not 0.0 < seconds < TURN_S:
        return view
    yaw = TURN_DEG * sin(pi * seconds / TURN_S) ** 2
    return replace(view, people=tuple(replace(person, pose=replace(person.pose, yaw=person.pose.yaw + yaw))
                                      for person in view.people))


def _figures(name: str, waited: Sequence[float | None]) -> Figures:
    accepted = [each for each in waited if each is not None]
    spans = np.quantile(accepted, (0.5, 0.95, 1.0), method="higher").round(2).tolist() if accepted else [None] * 3
    return {f"{name}_visits": len(waited), f"{name}_accepted": len(accepted), f"{name}_median_s": spans[0],
            f"{name}_p95_s": spans[1], f"{name}_longest_s": spans[2],
            f"{name}_within_wanted": sum(each <= WANTED_S for each in accepted)}
