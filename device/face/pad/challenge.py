"""The active challenge: the visitor is asked for actions at random, in a random order, after random pauses.

Called by `face.pad.fusion` and `doorctl liveness`. A recording cannot know what will be asked; a print cannot move
its lids or lips; and turns of the head count only where the rigid-plane test has seen a head turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from device.face.pad.action import FACE_ACTIONS, POSE_ACTIONS, PROMPTS, Action
from device.face.pad.gesture import Gesture, Observer, Progress, Signs
from device.face.pad.judge import Memories, View, abstain
from device.sighting import Judgement

T = TypeVar("T")
Chance = Callable[[int], int]
"""A number from 0 to below its argument, at random (`secrets.randbelow`)."""

NAME = "challenge"
LEAST_PAUSE_S, MOST_PAUSE_S = 0.35, 0.9
"""A quiet face is waited for between two actions, for a time that nobody can know: what was begun before does not
count."""

CENTRED_DEG = 13.0
LEVEL_DEG = 6.0
SWAY_DEG = 4.0
SWAY_SHARE = 0.06
REST_S = 5.0
"""After a failed challenge: keeps a guesser to a few tries a minute."""

WHOLE_S = 20.0
"""A challenge of two actions takes three to six seconds; who needs longer than that is asked anew."""


@dataclass(slots=True, eq=False)
class Asked:
    """A challenge that is going on, or how it ended.

    actions     what is asked, in order
    begun_mono  of the first frame
    """

    actions: tuple[Action, ...]
    pauses: tuple[float, ...]
    begun_mono: float
    place: int = 0
    gesture: Gesture | None = None
    asked_mono: float = 0.0
    quiet: list[Signs] = field(default_factory=list)
    level: float | None = None
    has_failed: bool = False
    ended_mono: float = 0.0

    @property
    def is_done(self) -> bool:
        return self.place == len(self.actions)

    @property
    def prompt(self) -> Action | None:
        """What the visitor is asked to do now; None where to look straight ahead."""
        return self.gesture.action if self.gesture is not None else None

    def take(self, signs: Signs, may_turn: bool) -> None:
        """One more frame. may_turn  whether the rigid-plane test has seen a head, or may yet."""
        if self.is_done or self.has_failed:
            return
        if signs.mono - self.begun_mono > WHOLE_S:
            self._fail(signs.mono)
        elif self.gesture is None:
            self._rest(signs)
        else:
            self._watch(self.gesture, signs, may_turn)

    def _rest(self, signs: Signs) -> None:
        """Wait for a quiet, centred face, then ask."""
        is_ahead = abs(signs.yaw) <= CENTRED_DEG and abs(signs.pitch - self._level(signs)) <= LEVEL_DEG
        is_quiet = is_ahead and not _has_moved(self.quiet, signs)
        self.quiet = [*self.quiet, signs] if is_quiet else []
        if self.quiet and signs.mono - self.quiet[0].mono >= self.pauses[self.place] and len(self.quiet) >= 3:
            self.gesture, self.asked_mono = Gesture(self.actions[self.place], tuple(self.quiet)), signs.mono
            self.level = self._level(self.quiet[-1])

    def _level(self, signs: Signs) -> float:
        """The pitch at which this visitor looks straight ahead: as before the first action."""
        return signs.pitch if self.level is None else self.level

    def _watch(self, gesture: Gesture, signs: Signs, may_turn: bool) -> None:
        progress = gesture.feed(signs)
        is_late = signs.mono - self.asked_mono > PROMPTS[gesture.action].limit_s
        if progress is Progress.DONE and (may_turn or gesture.action in FACE_ACTIONS):
            self.place, self.gesture, self.quiet = self.place + 1, None, []
            self.ended_mono = signs.mono
        elif progress is Progress.WRONG or is_late:
            self._fail(signs.mono)

    def _fail(self, mono: float) -> None:
        self.has_failed, self.gesture, self.ended_mono = True, None, mono


@dataclass(slots=True, eq=False)
class _Track:
    observer: Observer = field(default_factory=Observer)
    asked: Asked | None = None
    rounds: int = 0


class Challenge:
    """The judge. It abstains until it is told to `ask`, and until what was asked has been done.

    chance  where the order and the pauses come from
    length  actions of one challenge
    """

    name = NAME
    threshold = 0.5

    def __init__(self, chance: Chance, length: int = 2) -> None:
        self._chance, self._length = chance, length
        self._tracks = Memories(_Track)

    def ask(self, track_id: int, mono: float, wanted: Action | None = None) -> None:
        """Begin a challenge for that track, unless one is going on, has been met, or failed just now.

        wanted  an action that must be among those asked
        """
        track = self._tracks.of(track_id)
        old = track.asked
        if old is not None and (not old.has_failed or mono - old.ended_mono < REST_S):
            return
        actions = self.choose(wanted)
        track.asked = Asked(actions, tuple(self._pause() for _ in actions), mono)
        track.rounds += 1

    def choose(self, wanted: Action | None = None) -> tuple[Action, ...]:
        """Actions at random, without one twice: at least one of the face and, of two and more, one of the head."""
        chosen = [wanted] if wanted is not None else []
        if not any(action in FACE_ACTIONS for action in chosen):
            chosen.append(self._pick(FACE_ACTIONS))
        if len(chosen) < self._length and not any(action in POSE_ACTIONS for action in chosen):
            chosen.append(self._pick(POSE_ACTIONS))
        while len(chosen) < self._length:
            chosen.append(self._pick([action for action in Action if action not in chosen]))
        return tuple(chosen.pop(self._chance(len(chosen))) for _ in range(len(chosen)))

    def failures(self, track_id: int) -> int:
        """How often that visitor has not done what was asked."""
        track = self._tracks.known(track_id)
        if track is None or track.asked is None:
            return 0
        return track.rounds - (not track.asked.has_failed)

    def is_resting(self, track_id: int) -> bool:
        """Whether that visitor has failed just now, and is not asked anew yet."""
        track = self._tracks.known(track_id)
        return track is not None and track.asked is not None and track.asked.has_failed

    def is_asked(self, track_id: int) -> bool:
        track = self._tracks.known(track_id)
        return track is not None and track.asked is not None

    def prompt(self, track_id: int) -> Action | None:
        """What that visitor is asked to do now."""
        track = self._tracks.known(track_id)
        return track.asked.prompt if track is not None and track.asked is not None else None

    def judge(self, view: View, may_turn: bool = True) -> Judgement:
        """may_turn  whether turns of the head may count (see `Asked.take`)."""
        track = self._tracks.of(view.track_id)
        if track.asked is None:
            return abstain(NAME, "not_asked")
        if not track.asked.is_done:
            track.asked.take(track.observer.read(view), may_turn)
        if track.asked.is_done:
            return Judgement(NAME, 1.0, "done")
        if track.asked.has_failed:
            return abstain(NAME, "failed")
        prompt = track.asked.prompt
        return abstain(NAME, prompt.value if prompt is not None else "look_ahead")

    def forget(self, track_id: int) -> None:
        self._tracks.forget(track_id)

    def _pick(self, among: Sequence[T]) -> T:
        return among[self._chance(len(among))]

    def _pause(self) -> float:
        return LEAST_PAUSE_S + (MOST_PAUSE_S - LEAST_PAUSE_S) * self._chance(1000) / 1000


def _has_moved(quiet: Sequence[Signs], signs: Signs) -> bool:
    """Whether the head has turned or come nearer since the quiet began: by more than it sways."""
    if not quiet:
        return False
    first = quiet[0]
    turned = max(abs(signs.yaw - first.yaw), abs(signs.pitch - first.pitch))
    return turned > SWAY_DEG or abs(signs.size / max(first.size, 1.0) - 1.0) > SWAY_SHARE
