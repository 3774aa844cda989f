"""Modes by the calendar: which one the plans ask for now. Pure; called by the door thread once a second.

A plan with a `first_group` begins only once somebody of that group was admitted within its period, and waits for
another one in the next. By a clock that cannot be trusted no plan frees or locks a door, but one that always holds.
"""

from __future__ import annotations

from dataclasses import dataclass

from device.door.decision import Now
from device.door.entitlement import moment_at, schedule_verdict
from device.door.rules import Rules
from device.door.types import Mode

_MODES = {"free": Mode.FREE, "lockdown": Mode.LOCKDOWN}


@dataclass(frozen=True, slots=True)
class Planned:
    """What the calendar asks for, and by which plan; opened holds the plans whose first person has come."""

    mode: Mode = Mode.NORMAL
    plan_id: str = ""
    opened: frozenset[str] = frozenset()


def planned(rules: Rules, opened: frozenset[str], now: Now) -> Planned:
    """The mode of the moment; lockdown outranks free."""
    moment = moment_at(rules, now)
    active = [one for one in rules.own_plans if not schedule_verdict(one.schedule_id, rules, moment)]
    still = opened & {one.plan_id for one in active}
    holding = [one for one in active
               if one.mode in _MODES and (one.first_group is None or one.plan_id in still)]
    if not holding:
        return Planned(opened=still)
    chosen = max(holding, key=lambda one: one.mode == "lockdown")
    return Planned(_MODES[chosen.mode], chosen.plan_id, still)
