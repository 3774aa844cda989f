"""Video liveness: whether a recorded clip shows one live person who does what a random code asks, in its order.

Called by `doorctl liveness` and by the hub, for enrolment and remote checks. The clip has no prompts to wait for, so
the rule is stricter than at the door: the actions must come one after another from a quiet face, and nothing else
that could have been asked may come between them. A clip that goes through every action there is passes for no code.
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
from device.face.pad.challenge import CENTRED_DEG, SWAY_DEG
from device.face.pad.gesture import Gesture, Observer, Progress, Signs
from device.face.pad.judge import Judge, View
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
QUIET_S = 0.25
MOST_ACTIONS = 5

_SIDEWAYS = frozenset({Action.TURN_LEFT, Action.TURN_RIGHT, Action.SHAKE})
_UPRIGHT = frozenset({Action.LOOK_UP, Action.LOOK_DOWN, Action.NOD})
_RELATED = {action: group for group in (_SIDEWAYS, _UPRIGHT) for action in group}


@dataclass(frozen=True, slots=True)
class ClipVerdict:
    """What a clip shows.

    reason  "live", or why not: too_long, no_face, another_face, not_done (`done` says how far it came), wrong_action,
            attack (a judge's score is below its threshold), no_proof (a judge that was needed abstained)
    """

    is_live: bool
    reason: str
    done: tuple[Action, ...]
    judgements: tuple[Judgement, ...]
    frames: int


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


@dataclass(slots=True, eq=False)
class _Order:
    """How far the actions of a code have come."""

    code: tuple[Action, ...]
    done: list[Action] = field(default_factory=list)
    quiet: list[Signs] = field(default_factory=list)
    level: float | None = None
    gestures: list[Gesture] = field(default_factory=list)
    is_wrong: bool = False

    def take(self, signs: Signs) -> None:
        if self.is_wrong or self.is_done:
            return
        if not self.gestures:
            self._rest(signs)
            return
        for gesture in self.gestures:
            progress = gesture.feed(signs)
            is_wanted = gesture is self.gestures[0]
            if is_wanted and progress is Progress.DONE:
                self.done.append(gesture.action)
                self.gestures, self.quiet = [], []
                return
            self.is_wrong = self.is_wrong or progress is (Progress.WRONG if is_wanted else Progress.DONE)

    @property
    def is_done(self) -> bool:
        return len(self.done) == len(self.code)

    def _rest(self, signs: Signs) -> None:
        level = signs.pitch if self.level is None else self.level
        is_ahead = abs(signs.yaw) <= CENTRED_DEG and abs(signs.pitch - level) <= 2 * SWAY_DEG
        first = self.quiet[0] if self.quiet else signs
        is_still = max(abs(signs.yaw - first.yaw), abs(signs.pitch - first.pitch)) <= SWAY_DEG
        self.quiet = [*self.quiet, signs] if is_ahead and is_still else []
        if len(self.quiet) >= 3 and signs.mono - self.quiet[0].mono >= QUIET_S:
            self.level = level
            self.gestures = [Gesture(action, tuple(self.quiet)) for action in self._watched()]

    def _watched(self) -> list[Action]:
        """What is asked, and what must not come instead; nobody can help blinking, and a shake begins as a turn."""
        wanted = self.code[len(self.done)]
        allowed = {wanted, Action.BLINK, *_RELATED.get(wanted, ())}
        return [wanted, *(action for action in Action if action not in allowed)]


class ClipJudge:
    """Judges clips with one set of networks; used on one thread."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._networks = PassiveNetworks(models.card) if models.card.passive is not None else None

    def judge(self, frames: Iterable[Frame], code: Sequence[Action]) -> ClipVerdict:
        """The verdict on a clip, read to its end, or to where it fails.

        Without the passive networks the code must ask for the face and for the head, or there is no proof.
        """
        watch = _Watch(self._judges(), _Order(tuple(code)), _Identity(self._models))
        lookout, inspector, begun = Lookout(self._models, Cadence()), Inspector(DOOR), None
        for frame in frames:
            begun = frame.mono if begun is None else begun
            if frame.mono - begun > LONGEST_S:
                return watch.verdict("too_long")
            for track in lookout.see(frame):
                view = View(frame, track.face, inspector.inspect(frame.pixels, track.face))
                if view.quality.is_usable and not watch.take(view):
                    return watch.verdict("another_face")
        return watch.verdict(watch.reason())

    def _judges(self) -> list[Judge]:
        return [PlaneTest(), *([PassiveJudge(self._networks)] if self._networks is not None else [])]


class _Identity:
    """Whether the clip shows one person throughout, by the recogniser."""

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
        self._sum = vector if self._sum is None else self._sum + vector
        self._newest = vector
        return is_same


@dataclass(slots=True, eq=False)
class _Watch:
    """One clip being judged."""

    judges: list[Judge]
    order: _Order
    identity: _Identity
    observer: Observer = field(default_factory=Observer)
    said: dict[str, Judgement] = field(default_factory=dict)
    track_id: int | None = None
    frames: int = 0

    def take(self, view: View) -> bool:
        """One more view; False where it is of another face than those before."""
        if self.track_id not in (None, view.track_id) or not self.identity.goes_on(view):
            return False
        self.track_id, self.frames = view.track_id, self.frames + 1
        self.order.take(self.observer.read(view))
        for judge in self.judges:
            self.said[judge.name] = judge.judge(view)
        return True

    def verdict(self, reason: str) -> ClipVerdict:
        return ClipVerdict(reason == "live", reason, tuple(self.order.done), tuple(self.said.values()), self.frames)

    def reason(self) -> str:
        if not self.said:
            return "no_face"
        if any(self._is_bad(judge) for judge in self.judges):
            return "attack"
        if self.order.is_wrong:
            return "wrong_action"
        if not self.order.is_done:
            return "not_done"
        return "live" if self._is_proved() else "no_proof"

    def _is_bad(self, judge: Judge) -> bool:
        score = self.said[judge.name].score
        return score is not None and score < judge.threshold

    def _is_proved(self) -> bool:
        """Whether the judges whose silence would be acceptance have spoken."""
        is_pose = any(action not in FACE_ACTIONS for action in self.order.code)
        is_face = any(action in FACE_ACTIONS for action in self.order.code)
        if is_pose and self.said[PLANE].score is None:
            return False
        return self.said[PASSIVE].score is not None if PASSIVE in self.said else is_pose and is_face
