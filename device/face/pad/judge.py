"""What a judge of presentation attack detection is, what it is shown, and what it remembers of each track.

Every judge of this folder follows `Judge`; `face.pad.fusion` shows them the frames and weighs what they say. A judge
that cannot tell says so with a score of None: to abstain is never to accept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from device.face.types import Face, Floats, Quality
from device.frame import Frame
from device.sighting import Judgement

S = TypeVar("S")

MOST_TRACKS = 16
"""Tracks remembered at once; beyond the five that a tracker follows at most lie only ended ones."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One usable frame of one track, as every judge gets it.

    frame    with the infrared picture, where there is a second camera
    face     with its box, its mesh and its track id
    quality  of this frame; it has passed the door's gates
    """

    frame: Frame
    face: Face
    quality: Quality

    @property
    def track_id(self) -> int:
        return self.face.track_id

    @property
    def mono(self) -> float:
        return self.frame.mono

    @property
    def mesh(self) -> Floats:
        """468×3 landmarks in frame pixels."""
        assert self.face.mesh is not None, "the pipeline shows faces with landmarks"  # noqa: S101
        return self.face.mesh


class Judge(Protocol):
    """One independent opinion on a track, over all of its frames that it has been shown.

    name       what its judgements are signed with, a word of the journal
    threshold  scores below it mean an attack; at or above it, bona fide
    """

    @property
    def name(self) -> str: ...

    @property
    def threshold(self) -> float: ...

    def judge(self, view: View) -> Judgement:
        """Take one more frame of that track; the judgement is of the whole track so far.

        A score of None abstains, and `reason` says what for. The reason of an attack is its species where the judge
        can tell ("print", "screen"), else what gave it away ("flat", "border", "still", "grid").
        """
        ...

    def forget(self, track_id: int) -> None:
        """The track has ended: nothing of it may be remembered."""
        ...


class Memories(Generic[S]):
    """What a judge remembers, one state for each track; never more than MOST_TRACKS, the oldest goes first."""

    def __init__(self, make: Callable[[], S]) -> None:
        self._make = make
        self._states: dict[int, S] = {}

    def of(self, track_id: int) -> S:
        """The track's state, a fresh one at its first frame."""
        if track_id not in self._states:
            if len(self._states) >= MOST_TRACKS:
                del self._states[min(self._states)]
            self._states[track_id] = self._make()
        return self._states[track_id]

    def known(self, track_id: int) -> S | None:
        """The track's state if it has one."""
        return self._states.get(track_id)

    def forget(self, track_id: int) -> None:
        self._states.pop(track_id, None)

    def __len__(self) -> int:
        return len(self._states)


def abstain(judge: str, reason: str) -> Judgement:
    """The judgement of a judge that cannot tell."""
    return Judgement(judge, None, reason)
