"""What a policy would have done with decisions that were taken: entries of the journal in, differences out. Pure.

Judged is what rules decide: who, when, how. An entry that was refused for something else (an attack, a lockdown, a
full area, anti-passback, company) is left as it was, since what led to it is not in the entry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from device.clock import ClockQuality
from device.door.decision import Now
from device.door.entitlement import RANK, entitlement, validity
from device.door.rules import Rules
from device.store.records import Direction, Entry, Method, Person, PersonClass

_BY_RULES = frozenset({*RANK, "not_yet_valid", "expired", "blocked"})


@dataclass(frozen=True, slots=True)
class Change:
    """One decision that would have been another. reason: the new one's code; was: the old one's."""

    seq: int
    at: datetime
    person_id: str
    is_let_in: bool
    reason: str
    was: str


class Hindsight:
    """person  the record of a person now; None where they are no longer enrolled"""

    def __init__(self, rules: Rules, person: Callable[[str], Person | None]) -> None:
        self._rules, self._person = rules, person
        self.judged = self.unknown = 0
        self.changes: list[Change] = []

    def judge(self, entry: Entry) -> None:
        """Take one entry into account; those that are no decision about a person are passed over."""
        methods = _methods(entry)
        was_granted = entry.kind == "release"
        if entry.person_id is None or not methods or (not was_granted and entry.reason not in _BY_RULES):
            return
        person = self._person(entry.person_id)
        if person is None:
            self.unknown += 1
            return
        self.judged += 1
        direction = Direction.EXIT if entry.reason == "exit_granted" else Direction.ENTRY
        now = Now(entry.at, entry.mono, _quality(entry))
        reason = self._refusal(person, methods, direction, now)
        if was_granted is bool(reason):
            self.changes.append(Change(entry.seq, entry.at, entry.person_id, not was_granted, reason or "granted",
                                       entry.reason))

    def _refusal(self, person: Person, methods: frozenset[Method], direction: Direction, now: Now) -> str:
        if person.person_class is PersonClass.BLOCKED:
            return "blocked"
        reason = validity(person, now) if direction is Direction.ENTRY else ""
        return reason or entitlement(person, methods, direction, self._rules, now).reason


def _methods(entry: Entry) -> frozenset[Method]:
    if entry.kind not in ("release", "refusal"):
        return frozenset()
    try:
        return frozenset(Method(part) for part in str(dict(entry.detail).get("methods") or "").split("+") if part)
    except ValueError:
        return frozenset()


def _quality(entry: Entry) -> ClockQuality:
    try:
        return ClockQuality(entry.clock_quality)
    except ValueError:
        return ClockQuality.UNTRUSTED
