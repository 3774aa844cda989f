"""Video liveness: whether a recorded clip shows one live person who does what a random code asks, in its order.

Called by `doorctl liveness` and by the hub, for enrolment and remote checks. The judges are the door's, those that
can only convict included; a print that is raised into view convicts the clip, whoever else it shows. The rule of the
actions is `face.pad.order`'s: what is done beyond the code is refused as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from device.errors import UsageError
from device.face.extract import unit
from device.face.lookout import Cadence, Lookout
from device.face.models import Models
from device.face.pad.action import FACE_ACTIONS, Action
from device.face.pad.context import context_judges
from device.face.pad.fusion import Patience
from device.face.pad.gesture import Observer
from device.face.pad.judge import Judge, View
from device.face.pad.order import Order
from device.face.pad.passive import NAME as PASSIVE
from device.face.pad.passive import PassiveJudge, PassiveNetworks
from device.face.pad.plane import NAME as PLANE
from device.face.pad.plane import PlaneTest
from device.face.pipeline import same_face_score
from device.face.quality import DOOR, Inspector
from device.face.types import Floats
from device.frame import Frame
from device.sighting import Judgement

LONGEST_S = 30.0
"""Of a clip; five actions take about twelve seconds."""

RECOGNISED_EVERY = 4
MOST_ACTIONS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """Who the clip must show: vectors of unit length, and the cosine from which one of them is that person's."""

    vectors: tuple[Floats, ...]
    threshold: float


@dataclass(frozen=True, slots=True)
class ClipVerdict:
    """What a clip shows.

    reason    "live", or why not: too_long, no_face, attack (a judge has convicted a face in it), another_face,
              not_the_person, wrong_action, not_done (`done` says how far it came), no_proof (a judge that was needed
              abstained)
    likeness  cosine to whom it must show, -1..1; None where nobody was named
    """

    is_live: bool
    reason: str
    done: tuple[Action, ...]
    judgements: tuple[Judgement, ...]
    frames: int
    likeness: float | None = None


def parse_code(text: str) -> tuple[Action, ...]:
    """The actions of a code such as `blink,turn_left`; UsageError names what is wrong with it."""
    words = [word.strip() for word in text.replace("-", ",").split(",") if word.strip()]
    known = {action.value: action for action in Action}
    unknown = [word for word in words if word not in known]
    if unknown:
        raise UsageError(f"unknown action {unknown[0][:30]!r}; known are {', '.join(known)}")
    if not 1 <= len(words) <= MOST_ACTIONS:
        raise UsageError(f"a code has 1 to {MOST_ACTIONS} actions, for example blink,turn_left")
    return tuple(known[word] for word in words)


class ClipJudge:
    """Judges clips with one set of networks; used on one thread."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._networks = PassiveNetworks(models.card) if models.card.passive is not None else None

    def judge(self, frames: Iterable[Frame], code: Sequence[Action], expected: Expected | None = None) -> ClipVerdict:
        """The verdict on a clip, which is read to its end.

        Without the passive networks the code must ask for the face and for the head, or there is no proof.
        """
        watch = _Watch(self._judges(), Order(tuple(code)), _Identity(self._models), expected)
        lookout, inspector, begun = Lookout(self._models, Cadence()), Inspector(DOOR), None
        for frame in frames:
            begun = frame.mono if begun is None else begun
            if frame.mono - begun > LONGEST_S:
                return watch.verdict("too_long")
            for track in lookout.see(frame):
                view = View(frame, track.face, inspector.inspect(frame.pixels, track.face))
                if view.quality.is_usable:
                    watch.take(view)
        return watch.verdict(watch.reason())

    def _judges(self) -> list[Judge]:
        passive = [PassiveJudge(self._networks)] if self._networks is not None else []
        return [PlaneTest(), *passive, *context_judges()]


class _Identity:
    """Whether the clip shows one person throughout, by the recogniser, and how much that person is like another."""

    def __init__(self, models: Models) -> None:
        self._models, self._least = models, same_face_score(models.card)
        self._sum: Floats | None = None
        self._newest: Floats | None = None
        self._seen = 0

    def goes_on(self, view: View) -> bool:
        """False where this is another person than before; looked at on every RECOGNISED_EVERY-th view."""
        self._seen += 1
        if self._seen % RECOGNISED_EVERY != 1:
            return True
        vector = self._models.extractor.vector(self._models.aligner.chip(view.frame.pixels, view.mesh),
                                                mirror=False)
        if vector is None:
            return True
        known = [unit(other) for other in (self._sum, self._newest) if other is not None]
        scores = [float(np.vdot(other, vector)) for other in known if other is not None]
        is_same = not scores or max(scores) >= self._least
        if is_same:
            self._sum = vector if self._sum is None else self._sum + vector
            self._newest = vector
        return is_same

    def likeness(self, expected: Expected) -> float:
        """The best cosine of the clip's mean face; -1 where there is none."""
        mean = None if self._sum is None else unit(self._sum)
        return max((float(np.vdot(mean, vector)) for vector in expected.vectors if mean is not None), default=-1.0)


@dataclass(slots=True)
class _Track:
    """What the judges last said of one track, and for how many frames in a row one of them was sure of an attack."""

    said: dict[str, Judgement] = field(default_factory=dict)
    sure: int = 0
    is_attack: bool = False


@dataclass(slots=True, eq=False)
class _Watch:
    """One clip being judged. The first track is the person's; any other one is another face, or an attack."""

    judges: list[Judge]
    order: Order
    identity: _Identity
    expected: Expected | None
    observer: Observer = field(default_factory=Observer)
    tracks: dict[int, _Track] = field(default_factory=dict)
    has_another: bool = False
    frames: int = 0
    patience: Patience = field(default_factory=Patience)

    def take(self, view: View) -> None:
        """One more view of any track."""
        track = self.tracks.setdefault(view.track_id, _Track())
        is_first = next(iter(self.tracks)) == view.track_id
        if is_first and self.identity.goes_on(view):
            self.frames += 1
            self.order.take(self.observer.read(view))
        else:
            self.has_another = True
        for judge in self.judges:
            track.said[judge.name] = judge.judge(view)
        track.sure = track.sure + 1 if self._is_bad(track, self.patience.sure_share) else 0
        track.is_attack = track.is_attack or track.sure >= self.patience.attack_frames

    def verdict(self, reason: str) -> ClipVerdict:
        said = tuple(next(iter(self.tracks.values())).said.values()) if self.tracks else ()
        likeness = self.identity.likeness(self.expected) if self.expected is not None else None
        return ClipVerdict(reason == "live", reason, tuple(self.order.done), said, self.frames, likeness)

    def reason(self) -> str:
        """"live", or the first thing that stands against it."""
        if not self.tracks:
            return "no_face"
        against = {
            "attack": any(track.is_attack or self._is_bad(track) for track in self.tracks.values()),
            "another_face": self.has_another,
            "not_the_person": (self.expected is not None
                               and self.identity.likeness(self.expected) < self.expected.threshold),
            "wrong_action": self.order.is_wrong,
            "not_done": not self.order.is_done,
            "no_proof": not self._is_proved(next(iter(self.tracks.values())).said),
        }
        return next((reason for reason, stands in against.items() if stands), "live")

    def _is_bad(self, track: _Track, share: float = 1.0) -> bool:
        """Whether a judge's last word lies below that share of its threshold."""
        scores = [(track.said[judge.name].score, judge.threshold) for judge in self.judges]
        return any(score is not None and score < threshold * share for score, threshold in scores)

    def _is_proved(self, said: dict[str, Judgement]) -> bool:
        """Whether the judges whose silence would be acceptance have spoken."""
        is_pose = any(action not in FACE_ACTIONS for action in self.order.code)
        is_face = any(action in FACE_ACTIONS for action in self.order.code)
        if is_pose and said[PLANE].score is None:
            return False
        return said[PASSIVE].score is not None if PASSIVE in said else is_pose and is_face
