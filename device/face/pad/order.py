"""The order of a code: whether the actions of a recorded clip are those that were asked for, one after another.

Called by `face.pad.clip`. A clip has no prompts to wait for, so the rule is stricter than at the door: each action
begins at a quiet face, and nothing else that could have been asked may be done before, between or after them. Nobody
can help blinking; a shake begins as a turn and a nod as a look; and at the end somebody looks away to stop the
recording.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from device.face.pad.action import Action
from device.face.pad.challenge import CENTRED_DEG, SWAY_DEG
from device.face.pad.gesture import Gesture, Progress, Signs

QUIET_S = 0.25
TAIL_S = 1.5
"""At the end of a clip, in which what is done after the code does not count."""

_SIDEWAYS = frozenset({Action.TURN_LEFT, Action.TURN_RIGHT, Action.SHAKE})
_UPRIGHT = frozenset({Action.LOOK_UP, Action.LOOK_DOWN, Action.NOD})
_RELATED = {action: group for group in (_SIDEWAYS, _UPRIGHT) for action in group}
_OPPOSITE = {Action.TURN_LEFT: Action.TURN_RIGHT, Action.TURN_RIGHT: Action.TURN_LEFT}


@dataclass(slots=True, eq=False)
class Order:
    """How far the actions of a code have come.

    done   those that were seen, in their order
    wanted, others  what is watched for from the last quiet face on: the next action, and those that are not asked
    """

    code: tuple[Action, ...]
    done: list[Action] = field(default_factory=list)
    wanted: Gesture | None = None
    others: list[Gesture] = field(default_factory=list)
    _quiet: list[Signs] = field(default_factory=list)
    _level: float | None = None
    _newest_mono: float = 0.0
    _wrong_mono: float | None = None
    _was_done: bool = False

    @property
    def is_done(self) -> bool:
        return len(self.done) == len(self.code)

    @property
    def is_wrong(self) -> bool:
        """Whether something else was done; after the code's end only if the clip goes on for TAIL_S."""
        if self._wrong_mono is None:
            return False
        return not self._was_done or self._newest_mono - self._wrong_mono > TAIL_S

    def take(self, signs: Signs) -> None:
        """One more frame."""
        self._newest_mono = signs.mono
        if self._wrong_mono is not None:
            return
        progress = self.wanted.feed(signs) if self.wanted is not None else Progress.WAITING
        is_other = any([gesture.feed(signs) is Progress.DONE for gesture in self.others])
        if progress is Progress.WRONG or (is_other and progress is not Progress.DONE):
            self._wrong_mono, self._was_done = signs.mono, self.is_done
        elif progress is Progress.DONE and self.wanted is not None:
            self._close(self.wanted)
        elif self.wanted is None:
            self._rest(signs)

    def _close(self, gesture: Gesture) -> None:
        """The action is done; until the face is quiet again only a turn to the other side counts, where it is not
        what is asked next."""
        self.done.append(gesture.action)
        opposite, asked_next = _OPPOSITE.get(gesture.action), self.code[len(self.done):len(self.done) + 1]
        self.others = [] if opposite is None or opposite in asked_next else [Gesture(opposite, gesture.rest)]
        self.wanted, self._quiet = None, []

    def _rest(self, signs: Signs) -> None:
        """Wait for a quiet face, then watch for the next action, or for any after the last."""
        level = signs.pitch if self._level is None else self._level
        is_ahead = abs(signs.yaw) <= CENTRED_DEG and abs(signs.pitch - level) <= 2 * SWAY_DEG
        first = self._quiet[0] if self._quiet else signs
        is_still = max(abs(signs.yaw - first.yaw), abs(signs.pitch - first.pitch)) <= SWAY_DEG
        self._quiet = [*self._quiet, signs] if is_ahead and is_still else []
        if len(self._quiet) < 3 or signs.mono - self._quiet[0].mono < QUIET_S:
            return
        rest, self._level, self._quiet = tuple(self._quiet), level, []
        if self.is_done:
            self.others = _gestures(Action, rest)
            return
        wanted = self.code[len(self.done)]
        self.wanted = Gesture(wanted, rest)
        allowed = {wanted, *_RELATED.get(wanted, ())}
        self.others = _gestures((action for action in Action if action not in allowed), rest)


def _gestures(actions: Iterable[Action], rest: tuple[Signs, ...]) -> list[Gesture]:
    """A watch for each of them from that quiet face on; blinks are nobody's choice."""
    return [Gesture(action, rest) for action in actions if action is not Action.BLINK]
