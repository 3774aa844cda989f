"""What is known of one track at the door, and how often it is looked at again once that stands.

Called by `face.pipeline`, one Visit for each track. The recogniser and the judges of liveness cost most of a frame;
once both are content they take their turns, and seldom both on one frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from device.face.evidence import Evidence, Verdict
from device.face.liveness import Liveness
from device.face.types import Floats
from device.sighting import Demand, Outcome

RECHECK = {Outcome.KNOWN: 10, Outcome.UNKNOWN: 3}
"""Frames after which the recogniser looks again at a face whose verdict stands; while it is PENDING, on every one.
A third of a second for a known face (a swapped one is noticed sooner, by its looks), a tenth for an unknown one, and
for a known one while the judges of liveness are still looking at it."""

UNPROVED_RECHECK = 3

SETTLED = 15
"""Frames in a row that the judges of liveness must have been content with before they look at every REJUDGE-th only.
A face that suddenly looks otherwise is judged on every frame again."""

REJUDGE = 3


@dataclass(slots=True, eq=False, repr=False)
class Visit:
    """What is known of one track; nothing of it outlives the track.

    generation  of the gallery that the evidence was last gathered from
    live        what the judges of liveness said last, when, and to which question
    proofs      how often in a row they were content
    is_bound    whether one frame has shown both the person's face and a live one
    exposure    of the newest usable frame
    """

    evidence: Evidence
    generation: int
    looks: Floats | None = None
    vectors: Floats | None = None
    newest: Floats | None = None
    verdict: Verdict | None = None
    read_seq: int = 0
    since_seq: int = -1
    since_mono: float = 0.0
    live: Liveness = field(default_factory=Liveness)
    judged_seq: int = 0
    demand: Demand | None = None
    proofs: int = 0
    is_bound: bool = False
    exposure: float | None = None

    def is_read_due(self, seq: int) -> bool:
        """Whether the recogniser must look at that frame: the verdict is open, or has stood for long enough."""
        if self.verdict is None:
            return True
        every = RECHECK.get(self.verdict.outcome, 1)
        return seq - self.read_seq >= (every if self.is_bound else min(every, UNPROVED_RECHECK))

    def is_judging_due(self, seq: int, demand: Demand, is_read: bool) -> bool:
        """Whether the judges of liveness must look at that frame.

        is_read  whether the recogniser has looked at it, so that the judges rather take the next one
        """
        if self.proofs < SETTLED or demand != self.demand or self.verdict is None:
            return True
        if not self.is_bound and self.verdict.outcome is not Outcome.UNKNOWN:
            return True
        return seq - self.judged_seq >= (REJUDGE + 1 if is_read else REJUDGE)

    def note(self, live: Liveness, seq: int, demand: Demand) -> None:
        """What the judges say of that frame."""
        self.proofs = self.proofs + 1 if live.outcome is None and demand == self.demand else 0
        self.live, self.judged_seq, self.demand = live, seq, demand
