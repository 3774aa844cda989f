"""What the terminal says of presentations, pictures and clips: called by `evaluate.pad`.

A clip is one presentation, and is watched as the door watches its camera: found, followed, gated, and judged by the
panel at the wanted level. What is presented is the largest face of each frame; its track may end and begin anew. The
presentation was accepted where the door would have opened for any of its tracks, and convicted where any was called
an attack: both may be true of one clip, which then counts against the terminal whatever was presented.

Nobody in a recording answers a challenge. So where the plane test abstains the passive verdict stands alone; at the
door the visitor would be asked to turn and then given a challenge. A still gives the passive verdict and that of the
grid judge from the start.
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
from device.face.liveness import Liveness
from device.face.lookout import Lookout
from device.face.models import Models
from device.face.pad.challenge import Challenge
from device.face.pad.context import context_judges
from device.face.pad.fusion import LivenessPanel
from device.face.pad.grid import LIMIT, search
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
    """What the terminal makes of one presentation; neither accepted nor convicted where it does not answer.

    is_accepted   whether the door would have opened for it at some moment
    is_convicted  whether it was called an attack at some moment
    score         of the passive networks, of a clip the median over its frames, and 0 where another judge has
                  convicted; None where there is none
    is_passive    whether the passive verdict stands alone
    reason        why it is an attack, or why there is no answer
    """

    is_accepted: bool
    is_convicted: bool
    score: float | None
    is_passive: bool
    reason: str = ""

    @property
    def is_answered(self) -> bool:
        return self.is_accepted or self.is_convicted


@dataclass(slots=True)
class _Watched:
    """What is known of one track while it was the largest face; `verdicts` of the panel, apart from waiting."""

    frames: int = 0
    judgements: tuple[Judgement, ...] = ()
    scores: list[float] = field(default_factory=list)
    is_accepted: bool = False
    is_convicted: bool = False

    def add(self, live: Liveness, score: float | None) -> None:
        self.frames += 1
        self.scores += [] if score is None else [score]
        self.is_accepted = self.is_accepted or live.outcome is None
        if not self.is_convicted:
            self.judgements = live.judgements
        self.is_convicted = self.is_convicted or live.outcome is Outcome.ATTACK

    @property
    def is_moving(self) -> bool:
        """Whether the plane test has said anything."""
        return any(one.judge == PLANE and one.score is not None for one in self.judgements)


class _Watch:
    """One clip, frame by frame."""

    def __init__(self, models: Models, networks: PassiveNetworks, demand: Demand) -> None:
        self.tracks: dict[int, _Watched] = {}
        self._lookout, self._inspector, self._demand = Lookout(models), Inspector(DOOR), demand
        self._passive = PassiveJudge(networks)
        # The panel gives a challenge where it cannot tell; a recording does not answer it.
        self._panel = LivenessPanel([self._passive, *context_judges()], PlaneTest(), Challenge(lambda _: 0))

    def see(self, frame: Frame) -> None:
        tracks = self._lookout.see(frame)
        largest = max(tracks, key=lambda track: track.face.box.area, default=None)
        for track in tracks:
            quality = self._inspector.inspect(frame.pixels, track.face)
            if quality.is_usable:
                live = self._panel.judge(frame, track.face, quality, self._demand)
                if track is largest:
                    watched = self.tracks.setdefault(track.track_id, _Watched())
                    watched.add(live, self._passive.score_of(track.track_id))

    def answer(self, threshold: float) -> Answer:
        """The terminal's answer to what was presented."""
        tracks = list(self.tracks.values())
        if not tracks:
            return Answer(False, False, None, True, "no_usable_face")
        longest = max(tracks, key=lambda track: track.frames)
        scores = [score for track in tracks for score in track.scores]
        score = sorted(scores)[len(scores) // 2] if scores else None
        if any(track.is_accepted or track.is_convicted for track in tracks):
            return _answered(tracks, score, threshold)
        if score is None:
            last = {one.judge: one.reason for one in longest.judgements}
            return Answer(False, False, None, True, last.get(PASSIVE, "no_usable_face"))
        return Answer(score >= threshold, score < threshold, score, True)


def _answered(tracks: Sequence[_Watched], score: float | None, threshold: float) -> Answer:
    """What the panel said of the tracks, some of which it has decided."""
    is_accepted, convicted = any(track.is_accepted for track in tracks), [one for one in tracks if one.is_convicted]
    blamed = {f"{one.judge}: {one.reason}" for track in convicted for one in track.judgements
              if one.reason and one.score is not None and one.score < 0.5}
    if convicted and not is_accepted and score is not None and score >= threshold:
        score = 0.0
    return Answer(is_accepted, bool(convicted), score, not any(track.is_moving for track in tracks),
                  ", ".join(sorted(blamed)))


class Watcher:
    """Looks at presentations with one set of networks; used on one thread."""

    def __init__(self, card: Card, level: Level) -> None:
        self._models = Models.load(card)
        self._networks = PassiveNetworks(card)
        self._examiner = Examiner(self._models, DOOR, mirror=False)
        self._demand = Demand(Level.LOW if level is Level.LOW else Level.NORMAL)

    def answer(self, path: Path, is_still: bool) -> Answer:
        """PictureRefused or CameraLost where nothing can be read."""
        return self._of_still(path) if is_still else self._of_clip(path)

    def _of_still(self, path: Path) -> Answer:
        pixels = read_photo(path)
        finding = choose(self._examiner.survey(pixels), pixels.shape[1], pixels.shape[0])
        if finding is None:
            return Answer(False, False, None, True, "no_face")
        said = self._networks.look(pixels, finding.face)
        if search(pixels, finding.face.box) >= LIMIT:
            return Answer(False, True, 0.0, False, "grid: grid")
        if said.score is None:
            return Answer(False, False, None, True, said.reason)
        is_live = said.score >= self._networks.threshold
        return Answer(is_live, not is_live, said.score, True, said.reason)

    def _of_clip(self, path: Path) -> Answer:
        camera = open_file(path, _CLIP, SystemClock(), paced=False)
        watch = _Watch(self._models, self._networks, self._demand)
        try:
            while True:
                watch.see(camera.read(_READ_S))
        except ClipEnded:
            return watch.answer(self._networks.threshold)
        finally:
            camera.close()


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
