"""What the terminal says of presentations, pictures and clips: called by `evaluate.pad`.

A clip is watched as the door watches its camera: found, followed, gated, and judged by the panel at the wanted level.
Nobody in a recording answers a challenge. So where the plane test abstains the passive verdict stands alone; at the
door the visitor would be asked to turn and then given a challenge. A still gives the passive verdict from the start.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from device.camera.camera import ClipEnded
from device.camera.files import open_file
from device.clock import SystemClock
from device.commands.console import with_progress
from device.config import CameraConfig
from device.errors import CameraLost, PictureRefused
from device.evaluate.faces import WORKERS, choose
from device.evaluate.inputs import Presentation, Remarks
from device.face.card import Card
from device.face.lookout import Lookout
from device.face.models import Models
from device.face.pad.challenge import Challenge
from device.face.pad.context import context_judges
from device.face.pad.fusion import LivenessPanel
from device.face.pad.passive import NAME as PASSIVE
from device.face.pad.passive import PassiveJudge, PassiveNetworks
from device.face.pad.plane import NAME as PLANE
from device.face.pad.plane import PlaneTest
from device.face.photo import read_photo
from device.face.portrait import Examiner
from device.face.quality import DOOR, Inspector
from device.frame import Frame
from device.sighting import Demand, Judgement, Level, Outcome

_READ_S = 10.0
_CLIP = CameraConfig(source="file", fps=30.0)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the terminal makes of one presentation.

    is_bona_fide  None where it does not answer: no usable face, or too little of one
    score         of the passive networks, of a clip the median over its frames; None where there is none
    is_passive    whether the passive verdict stands alone
    reason        why it is an attack, or why there is no answer
    """

    is_bona_fide: bool | None
    score: float | None
    is_passive: bool
    reason: str = ""


@dataclass(slots=True)
class _Watched:
    """What is known of one track of a clip."""

    frames: int = 0
    decided: bool | None = None
    judgements: tuple[Judgement, ...] = ()
    scores: list[float] = field(default_factory=list)

    def add(self, outcome: Outcome | None, judgements: tuple[Judgement, ...], score: float | None) -> None:
        self.frames += 1
        self.judgements = judgements
        self.scores += [] if score is None else [score]
        if self.decided is None and outcome not in (Outcome.PENDING, Outcome.UNPROVED):
            self.decided = outcome is None


class _Watch:
    """One clip, frame by frame."""

    def __init__(self, models: Models, networks: PassiveNetworks, demand: Demand) -> None:
        self.tracks: dict[int, _Watched] = {}
        self._lookout, self._inspector, self._demand = Lookout(models), Inspector(DOOR), demand
        self._passive = PassiveJudge(networks)
        # The panel gives a challenge where it cannot tell; a recording does not answer it.
        self._panel = LivenessPanel([self._passive, *context_judges()], PlaneTest(), Challenge(lambda _: 0))

    def see(self, frame: Frame) -> None:
        for track in self._lookout.see(frame):
            quality = self._inspector.inspect(frame.pixels, track.face)
            if quality.is_usable:
                live = self._panel.judge(frame, track.face, quality, self._demand)
                watched = self.tracks.setdefault(track.track_id, _Watched())
                watched.add(live.outcome, live.judgements, self._passive.score_of(track.track_id))


class Watcher:
    """Looks at presentations with one set of networks; used on one thread."""

    def __init__(self, card: Card, level: Level) -> None:
        self._models = Models.load(card)
        self._networks = PassiveNetworks(card)
        self._examiner = Examiner(self._models, DOOR, mirror=False)
        self._demand = Demand(level)

    def answer(self, path: Path, is_still: bool) -> Answer:
        """PictureRefused or CameraLost where nothing can be read."""
        return self._of_still(path) if is_still else self._of_clip(path)

    def _of_still(self, path: Path) -> Answer:
        pixels = read_photo(path)
        finding = choose(self._examiner.survey(pixels), pixels.shape[1], pixels.shape[0])
        if finding is None:
            return Answer(None, None, True, "no_face")
        said = self._networks.look(pixels, finding.face)
        is_live = None if said.score is None else said.score >= self._networks.threshold
        return Answer(is_live, said.score, True, said.reason)

    def _of_clip(self, path: Path) -> Answer:
        camera = open_file(path, _CLIP, SystemClock(), paced=False)
        watch = _Watch(self._models, self._networks, self._demand)
        try:
            while True:
                watch.see(camera.read(_READ_S))
        except ClipEnded:
            return self._weigh(max(watch.tracks.values(), key=lambda track: track.frames, default=_Watched()))
        finally:
            camera.close()

    def _weigh(self, track: _Watched) -> Answer:
        last = {one.judge: one for one in track.judgements}
        score = sorted(track.scores)[len(track.scores) // 2] if track.scores else None
        plane = last.get(PLANE)
        is_passive = self._demand.level is Level.LOW or plane is None or plane.score is None
        if track.decided is not None:
            blamed = [one.reason for one in track.judgements if one.reason and one.score is not None]
            return Answer(track.decided, score, is_passive, "" if track.decided else ", ".join(blamed))
        if score is None:
            why = last[PASSIVE].reason if PASSIVE in last else "no_usable_face"
            return Answer(None, None, is_passive, why)
        return Answer(score >= self._networks.threshold, score, is_passive)


def answers(rows: Sequence[Presentation], root: Path, card: Card, level: Level,
            remarks: Remarks) -> list[tuple[Presentation, Answer]]:
    """What the terminal says of each, on two threads; what cannot be read is left out with a remark."""
    mine = threading.local()

    def look(row: Presentation) -> Answer | str:
        if not hasattr(mine, "watcher"):
            mine.watcher = Watcher(card, level)
        try:
            answer: Answer = mine.watcher.answer(root / row.name, row.is_still)
        except (PictureRefused, CameraLost) as error:
            return str(error).removeprefix(f"{Path(row.name).name}: ")
        return answer

    found = []
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="look") as pool:
        for row, said in zip(rows, with_progress("presentations", pool.map(look, rows), len(rows)), strict=True):
            if isinstance(said, str):
                remarks.miss(row.name, said)
            else:
                found.append((row, said))
    return found
