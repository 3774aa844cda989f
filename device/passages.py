"""Where people are, as this door knows: what the hub says of other doors, and who passed here since.

Owned by the door thread, which asks before each decision and tells after each passage. The newer word counts. After
a start what this door saw itself is read back from its journal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from device.door.decision import Scene
from device.door.rules import Rules
from device.store.records import Entry, Position

MOST_OWN = 10_000
LOOK_BACK = 5000  # entries of the journal that tell who passed before this start
PASSED = ("entered", "left")


@dataclass(frozen=True, slots=True)
class Positions:
    """Everybody's position as the hub last said it, and how many are in each area."""

    by_person: Mapping[str, Position] = field(default_factory=lambda: MappingProxyType({}))
    counts: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, told: Iterable[Position]) -> Positions:
        """Of all that is told, area by area; of one person the newest word counts."""
        by_person: dict[str, Position] = {}
        for position in told:
            known = by_person.get(position.person_id)
            if known is None or known.at < position.at:
                by_person[position.person_id] = position
        counts = Counter(position.area_id for position in by_person.values())
        return cls(MappingProxyType(by_person), MappingProxyType(counts))


class Passages:
    """told  what the hub says now; is_silent  whether it has not been heard of for too long"""

    def __init__(self, told: Callable[[], Positions], is_silent: Callable[[], bool]) -> None:
        self._told, self._is_silent = told, is_silent
        self._own: dict[str, Position] = {}
        self._settled: Positions | None = None

    def recall(self, past: Iterable[Entry]) -> None:
        """Take over what the journal says of passages before this start, oldest first."""
        for entry in past:
            if entry.reason in PASSED and entry.person_id is not None:
                self.passed(entry.person_id, str(dict(entry.detail).get("area") or ""), entry.at)

    def passed(self, person_id: str, area_id: str, at: datetime) -> None:
        """Somebody has passed this door."""
        self._own.pop(person_id, None)
        self._own[person_id] = Position(person_id, area_id, at)
        while len(self._own) > MOST_OWN:
            del self._own[next(iter(self._own))]

    def scene(self, person_id: str | None, rules: Rules, is_pass_used: bool = False) -> Scene:
        """What a decision about this person must know."""
        self._settle()
        told = self._told()
        position = self._own.get(person_id or "") or told.by_person.get(person_id or "")
        inside = rules.sides.inside
        is_counted = inside in rules.by_area and rules.by_area[inside].limit is not None
        occupants = self._occupants(inside, told) if is_counted else 0
        return Scene(position, not self._is_silent(), occupants, is_pass_used)

    def _occupants(self, area_id: str, told: Positions) -> int:
        count = told.counts.get(area_id, 0)
        for person_id, own in self._own.items():
            before = told.by_person.get(person_id)
            count += (own.area_id == area_id) - (before is not None and before.area_id == area_id)
        return count

    def _settle(self) -> None:
        """Forget what the hub has heard of meanwhile."""
        told = self._told()
        if told is self._settled:
            return
        self._settled = told
        for person_id, own in list(self._own.items()):
            word = told.by_person.get(person_id)
            if word is not None and word.at >= own.at:
                del self._own[person_id]
