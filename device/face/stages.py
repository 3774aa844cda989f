"""How long the stages of the pipeline take; filled only where somebody asked for it (`Pipeline.measure`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from device.clock import Clock


@dataclass(slots=True)
class StageTimes:
    """Seconds and runs per stage, in the order in which the stages first ran."""

    clock: Clock
    seconds: dict[str, float] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    _since: float = 0.0

    def start(self) -> None:
        """A frame begins."""
        self._since = self.clock.mono()

    def mark(self, stage: str) -> None:
        """A stage has ended: what passed since the last mark is its."""
        now = self.clock.mono()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._since
        self.runs[stage] = self.runs.get(stage, 0) + 1
        self._since = now
