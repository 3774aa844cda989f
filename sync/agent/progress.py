"""The agent's side of the intake: what came for it, what it asks for, and when the hub is to hear how far it is.

For the agent's thread; everything here is done last, when nothing else has come.
"""

from __future__ import annotations

from device.clock import Clock
from sync.agent.intake import Intake
from sync.wire.releases import Chunk, ChunkRequest, Offer, Update

PROGRESS_S = 5.0  # between two reports of how far a bundle has come


class Progress:
    """Of a terminal without an intake nothing is ever due."""

    def __init__(self, intake: Intake | None, clock: Clock) -> None:
        self._intake, self._clock = intake, clock
        self._told: Update | None = None
        self._told_mono = float("-inf")

    def take(self, message: Offer | Chunk) -> bool:
        """Whether there is an intake to hand it to."""
        if self._intake is not None:
            self._intake.take(message)
        return self._intake is not None

    def hurry(self) -> None:
        """The link is new."""
        if self._intake is not None:
            self._intake.hurry()

    def is_news(self) -> bool:
        """Whether the hub is to hear how far it is; once for every step, and now and then in between."""
        now = self._intake.update if self._intake is not None else None
        is_due = _step(now) != _step(self._told) or self._clock.mono() >= self._told_mono + PROGRESS_S
        if now == self._told or not is_due:
            return False
        self._told, self._told_mono = now, self._clock.mono()
        return True

    def request(self) -> ChunkRequest | None:
        """What is to be asked for now."""
        return self._intake.requests.take(0.0) if self._intake is not None else None


def _step(update: Update | None) -> tuple[str, str]:
    return ("", "") if update is None else (update.rollout_id, update.state)
