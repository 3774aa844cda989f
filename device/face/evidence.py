"""Evidence: what the frames of one track say together, instead of one lucky frame.

Called by the pipeline, which keeps one Evidence per track and forgets it with the track; nothing is shared.
A person is KNOWN when `agree` of the track's newest `of` usable frames name them, each above the threshold and with
`margin` over the best other person, the newest frame among them, and no frame names anybody else.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from device.face.match import Match
from device.face.threshold import Threshold
from device.sighting import Outcome

# On the default pack's LFW pairs 98.5 % of the genuine comparisons score above 0.45, the threshold of FMR 1e-3; a
# door with 10 people or more has one above 0.53 (FMR 1e-4), and this far below it lies less than 1.5 % of them.
CLEARLY_BELOW = 0.15
WITHIN_S = 5.0  # older frames say nothing about who stands there now


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a track's frames say: KNOWN, UNKNOWN or PENDING.

    person_id  only where KNOWN
    score      of the newest frame's best person; margin over the best other person, None without one
    frames     usable frames that the outcome rests on: those that agree where KNOWN, else all that were looked at
    """

    outcome: Outcome
    person_id: str | None = None
    score: float | None = None
    margin: float | None = None
    frames: int = 0
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class _Reading:
    mono: float
    match: Match

    @property
    def score(self) -> float | None:
        return None if self.match.best is None else self.match.best.score

    def names(self, threshold: float, margin: float) -> str | None:
        """Whom this frame names, if anybody."""
        best, lead = self.match.best, self.match.margin
        if best is None or not best.score >= threshold:
            return None
        return best.person_id if lead is None or lead >= margin else None


class Evidence:
    """The newest frames of one track.

    expect_person_id  for 1:1: the only person who may be named; the matches then come from `match.verify`
    """

    def __init__(
        self, agree: int = 3, of: int = 5, margin: float = 0.05, expect_person_id: str | None = None,
        within_s: float = WITHIN_S,
    ) -> None:
        if not 1 <= agree <= of:
            raise ValueError(f"{agree} of {of} frames cannot agree")
        self.expect_person_id = expect_person_id
        self._agree = agree
        self._margin = margin
        self._within_s = within_s
        self._readings: deque[_Reading] = deque(maxlen=of)

    def add(self, match: Match, threshold: Threshold | float, mono: float) -> Verdict:
        """The verdict with one more usable frame, taken at `mono`; all kept frames are judged by this threshold."""
        self._readings.append(_Reading(mono, match))
        while self._readings[0].mono < mono - self._within_s:
            self._readings.popleft()
        level = threshold.score if isinstance(threshold, Threshold) else threshold
        return self._verdict(level)

    def _verdict(self, level: float) -> Verdict:
        newest = self._readings[-1]
        named = [reading.names(level, self._margin) for reading in self._readings]
        person_id = named[-1]
        agreeing = named.count(person_id)
        if person_id is not None and self._is_clear(person_id, named) and agreeing >= self._agree:
            return Verdict(Outcome.KNOWN, person_id, newest.score, newest.match.margin, agreeing, level)
        outcome = Outcome.UNKNOWN if self._is_enough(level) else Outcome.PENDING
        return Verdict(outcome, None, newest.score, newest.match.margin, len(self._readings), level)

    def _is_clear(self, person_id: str, named: list[str | None]) -> bool:
        if self.expect_person_id is not None and person_id != self.expect_person_id:
            return False
        return all(name is None or name == person_id for name in named)

    def _is_enough(self, level: float) -> bool:
        """Whether the frames suffice for saying that it is nobody: all of them, or `agree` that are far off."""
        if len(self._readings) == self._readings.maxlen:
            return True
        is_far = all(reading.score is None or reading.score < level - CLEARLY_BELOW for reading in self._readings)
        return is_far and len(self._readings) >= self._agree
