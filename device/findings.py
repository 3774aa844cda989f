"""What came of a check: for an installer before the wires, and for whoever looks after a terminal from afar."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. said: one line, with what to do where something is wrong."""

    name: str
    verdict: Verdict
    said: str

    def line(self) -> str:
        return f"{self.verdict.value:8}{self.name:16}{self.said}"


def worst(findings: list[Finding]) -> int:
    """0 where nothing failed, else 1: what a command ends with."""
    return int(any(one.verdict is Verdict.FAIL for one in findings))
