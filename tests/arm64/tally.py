"""What the runs of pytest came to, from their JUnit files, and how far two machines' vectors lie apart."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

GREATEST = 1e-5
"""Of a value's difference, as a share of the vector's greatest: float32 sums in another order; measured 1e-6."""


@dataclass(frozen=True, slots=True)
class Tally:
    passed: int = 0
    failed: tuple[str, ...] = ()
    skipped: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        return f"{self.passed} passed, {len(self.failed)} failed, {self.skipped.total()} skipped"


def read(file: Path, code: int) -> Tally:
    """A file that is missing or holds no test is a failure: pytest ended, with this code, before it was written."""
    try:
        cases = list(ElementTree.parse(file).iter("testcase"))  # noqa: S314 - our own pytest wrote it
    except (OSError, ElementTree.ParseError):
        cases = []
    if not cases:
        return Tally(failed=(f"{file.stem}: pytest ended with {code} and no word of its tests; see its log",))
    failed, skipped = [], Counter[str]()
    for case in cases:
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(f"{case.get('classname')}::{case.get('name')}")
        elif (skip := case.find("skipped")) is not None:
            skipped[re.sub(r"\s+", " ", skip.get("message") or "")[:100]] += 1
    return Tally(len(cases) - len(failed) - skipped.total(), tuple(failed), skipped)


@dataclass(frozen=True, slots=True)
class Distance:
    """difference  the greatest of any value, as a share of the vector's greatest; cosine  of the two vectors"""

    name: str
    difference: float
    cosine: float

    @property
    def is_near(self) -> bool:
        return self.difference <= GREATEST


def distances(here: Mapping[str, Sequence[float]], there: Mapping[str, Sequence[float]]) -> list[Distance]:
    """Of the vectors that both have; one of another length, or with NaN, is infinitely far."""
    return [_distance(name, here[name], there[name]) for name in here if name in there]


def _distance(name: str, one: Sequence[float], other: Sequence[float]) -> Distance:
    if len(one) != len(other) or not all(map(math.isfinite, (*one, *other))):
        return Distance(name, math.inf, -1.0)
    greatest = max(*map(abs, one), 1e-30)
    lengths = math.hypot(*one) * math.hypot(*other)
    return Distance(name, max(abs(a - b) for a, b in zip(one, other, strict=True)) / greatest,
                    sum(a * b for a, b in zip(one, other, strict=True)) / max(lengths, 1e-30))
