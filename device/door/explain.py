"""Why somebody would pass a door at a moment, or not: each rule's word, and the decision. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from device.door.decision import Claim, Decision, Memory, Now, Scene
from device.door.entitlement import method_verdict, moment_at, schedule_verdict
from device.door.policy import decide
from device.door.rules import Rules
from device.store.records import AccessRule, Direction, Method, Person


@dataclass(frozen=True, slots=True)
class RuleWord:
    """What one rule of the door says; reason is "" where it admits, else a code; needs: what would have to be shown
    besides."""

    rule: AccessRule
    reason: str
    needs: frozenset[Method] = frozenset()


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decision, and the words of the rules that concern the person at this door, in the order they are asked."""

    decision: Decision
    words: tuple[RuleWord, ...]


def explain(person: Person, methods: frozenset[Method], direction: Direction, rules: Rules, now: Now,
            scene: Scene) -> Explanation:
    """As if the person stood there alone, having shown these methods and nothing before."""
    claim = Claim(person.person_id, methods, direction=direction)
    decision, _ = decide(claim, person, rules, Memory(), now, scene)
    moment = moment_at(rules, now)
    words = []
    for group in person.groups:
        for level in rules.by_group.get(group, ()):
            reason, needs = schedule_verdict(level.rule.schedule_id, rules, moment), frozenset[Method]()
            if direction is Direction.EXIT:
                reason = ""
            elif not reason:
                reason, needs = method_verdict(level.combinations, methods)
            words.append(RuleWord(level.rule, reason, needs))
    return Explanation(decision, tuple(words))
