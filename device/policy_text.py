"""The policy that is in force, as the file that people write (`policy_file` reads it)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from device.store.policy_records import KINDS, PolicyRecords
from device.store.records import WEEKDAYS, AccessRule, Passback, Period, Schedule


def policy_toml(records: PolicyRecords) -> str:
    """The file that reads as these records."""
    lines: list[str] = []
    for kind, entry in zip(KINDS, fields(records), strict=True):
        for record in getattr(records, entry.name):
            lines += [f"[[{kind}]]", *(f"{name} = {_toml(value)}" for name, value in _WRITERS[kind](record).items()
                                       if value is not None), ""]
    return "\n".join(lines)


def _rule_row(one: AccessRule) -> dict[str, Any]:
    return {"id": one.rule_id, "group": one.group, "doors": list(one.doors) or None, "schedule": one.schedule_id,
            "methods": ["+".join(method.value for method in combination) for combination in one.methods],
            "passback": None if one.passback is Passback.OFF else one.passback.value, "release_s": one.release_s,
            "persons": one.persons if one.persons > 1 else None, "escort": one.escort}


def _schedule_row(one: Schedule) -> dict[str, Any]:
    row: dict[str, Any] = {"id": one.schedule_id}
    row |= {name: _spans(periods) for name, periods in zip(WEEKDAYS, one.week, strict=False) if periods}
    row["holidays"] = None if one.on_holiday is None else _spans(one.on_holiday)
    row["days"] = {day: _spans(periods) for day, periods in one.special_days} or None
    return row


def _spans(periods: tuple[Period, ...]) -> list[str]:
    return [f"{one.start_minute // 60:02}:{one.start_minute % 60:02}-{one.end_minute // 60:02}:"
            f"{one.end_minute % 60:02}" for one in periods]


_WRITERS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "rule": _rule_row, "schedule": _schedule_row,
    "holiday": lambda one: {"id": one.holiday_id, "first": one.first, "last": one.last},
    "mode": lambda one: {"id": one.plan_id, "mode": one.mode, "schedule": one.schedule_id,
                         "doors": list(one.doors) or None, "first_group": one.first_group},
    "area": lambda one: {"id": one.area_id, "limit": one.limit, "timed_s": one.timed_s, "forget_h": one.forget_h},
    "door": lambda one: {"id": one.door_id, "outside": one.outside or None, "inside": one.inside or None},
}


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f'"{key}" = {_toml(item)}' for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return f'"{value}"' if isinstance(value, str) else f"{value}"
