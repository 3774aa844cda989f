"""Which rule admits a person here and now by the proofs shown, or why none does. Pure; used by policy and explain.

An untrusted clock refuses whatever depends on the time (a person's validity, a schedule other than "always").

Who leaves (an exit reader) needs a rule of this door, whatever its schedule and methods: somebody who was let in is
not kept in because their hours are over.
"""

from __future__ import annotations

from dataclasses import dataclass

from device.clock import ClockQuality
from device.door.decision import Now
from device.door.rules import Rules
from device.door.schedule import LocalMoment, is_active, is_always, local_moment
from device.store.records import AccessRule, Direction, Method, Person

# The reason that says most about what the person could do wins among several rules that all refuse.
RANK = ("no_rule", "schedule_missing", "outside_schedule", "clock_untrusted", "method_not_allowed", "more_needed")


@dataclass(frozen=True, slots=True)
class Entitlement:
    """The rule that admits; else None, the most telling refusal, and what is missing where that would help."""

    rule: AccessRule | None
    reason: str = ""
    needs: frozenset[Method] = frozenset()


def validity(person: Person, now: Now) -> str:
    """Why a person's time of validity refuses; "" where it does not."""
    if person.valid_from is None and person.valid_until is None:
        return ""
    if now.quality is ClockQuality.UNTRUSTED:
        return "clock_untrusted"
    if person.valid_from is not None and now.at < person.valid_from:
        return "not_yet_valid"
    return "expired" if person.valid_until is not None and now.at >= person.valid_until else ""


def entitlement(person: Person, methods: frozenset[Method], direction: Direction, rules: Rules,
                now: Now) -> Entitlement:
    """What the rules of this door say to a person who has shown these methods."""
    if direction is Direction.EXIT:
        levels = (level for group in person.groups for level in rules.by_group.get(group, ()))
        first = next(levels, None)
        return Entitlement(first.rule) if first is not None else Entitlement(None, "no_rule")
    best = Entitlement(None, "no_rule")
    moment = moment_at(rules, now)
    verdicts: dict[str, str] = {}
    for group in person.groups:
        for level in rules.by_group.get(group, ()):
            rule = level.rule
            reason = verdicts.get(rule.schedule_id)
            if reason is None:
                reason = verdicts[rule.schedule_id] = schedule_verdict(rule.schedule_id, rules, moment)
            needs = frozenset[Method]()
            if not reason:
                reason, needs = method_verdict(level.combinations, methods)
            if not reason:
                return Entitlement(rule)
            if RANK.index(reason) > RANK.index(best.reason):
                best = Entitlement(None, reason, needs)
    return best


def moment_at(rules: Rules, now: Now) -> LocalMoment | None:
    """Local time at the door, None where it cannot be trusted or the zone is unknown."""
    if now.quality is ClockQuality.UNTRUSTED:
        return None
    try:
        return local_moment(now.at, rules.site.time_zone, rules.holiday_days)
    except ValueError:
        return None


def schedule_verdict(schedule_id: str, rules: Rules, moment: LocalMoment | None) -> str:
    """Why a schedule refuses at that moment; "" where it is active."""
    schedule = rules.by_schedule.get(schedule_id)
    if schedule is None:
        return "schedule_missing"
    if moment is None:
        return "" if is_always(schedule) else "clock_untrusted"
    return "" if is_active(schedule, moment) else "outside_schedule"


def method_verdict(
    combinations: tuple[frozenset[Method], ...], methods: frozenset[Method]
) -> tuple[str, frozenset[Method]]:
    """Why these methods do not suffice ("" where they do), and what the nearest combination lacks."""
    least: frozenset[Method] | None = None
    for combination in combinations:
        if combination <= methods:
            return "", frozenset()
        missing = combination - methods
        if len(missing) < len(combination) and (least is None or len(missing) < len(least)):
            least = missing
    return ("method_not_allowed", frozenset()) if least is None else ("more_needed", least)
