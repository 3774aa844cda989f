"""What the judges of presentation attack detection tell the pipeline of one track; implemented in `face.pad`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from device.face.types import Face, Quality
from device.frame import Frame
from device.sighting import Demand, Hint, Judgement, Outcome


@dataclass(frozen=True, slots=True)
class Liveness:
    """How a track stands with the level that the door demands.

    outcome     None where it passes, ATTACK, or PENDING while the judges want to see more (with `hint`)
    action      what the visitor is to do where the hint is DO_CHALLENGE, in the words of `face.pad.action`
    """

    outcome: Outcome | None = None
    judgements: tuple[Judgement, ...] = ()
    hint: Hint = Hint.NONE
    action: str = ""


class Panel(Protocol):
    """The judges of one pipeline, fused. Whatever it keeps, it keeps by `face.track_id`."""

    def judge(self, frame: Frame, face: Face, quality: Quality, demand: Demand) -> Liveness:
        """Take one more usable frame of that track; never called for a frame that failed a gate."""
        ...

    def forget(self, track_id: int) -> None:
        """The track has ended."""
        ...
