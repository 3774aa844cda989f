"""Gate: whether a release on trial has shown that it works; pure, told of moments and faults.

The figures are those of a common fleet manager: 150 s to start, 60 s to stay well.
"""

from __future__ import annotations

from collections.abc import Set
from enum import Enum

from device.update.trial import STAY_S


class Verdict(Enum):
    """WAIT: look again; GOOD: it stays; BAD: go back."""

    WAIT = "wait"
    GOOD = "good"
    BAD = "bad"


class Gate:
    """deadline_mono  until when the release must be well; from then on it may not be unwell for a moment."""

    def __init__(self, deadline_mono: float) -> None:
        self._deadline = deadline_mono
        self._well_since: float | None = None
        self._pid = 0
        self.why = ""

    def see(self, mono: float, pid: int, faults: Set[str]) -> Verdict:
        """The verdict at `mono`; pid is doord's, of which another one is another start. `why` says what is wrong."""
        if faults:
            self._well_since = None
        elif self._well_since is None or pid != self._pid:
            self._well_since = mono
        self._pid = pid
        self.why = ", ".join(sorted(faults))
        if self._well_since is None:
            return Verdict.BAD if mono >= self._deadline else Verdict.WAIT
        if self._well_since > self._deadline:
            self.why = "doord has started again"
            return Verdict.BAD
        return Verdict.GOOD if mono - self._well_since >= STAY_S else Verdict.WAIT
