"""A scripted day at a door: what happens when, read from a TOML file. `player` plays it, `doorctl scenario` runs it.

    about = "..."                    one line: what this shows
    start = 2026-03-02T07:59:00+08:00
    [terminal.door] ...              as in terminal.toml
    [[policy.rule]] ...              as in a policy file
    [[person]]                       id, groups, class, valid_from, valid_until, card, pin, duress_pin
    [[pass]]                         id, door, group, from_, until, once, person: a QR pass that the hub signed
    [[step]]                         after = seconds since the step before, and one thing that happens (`Deed`)
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from device.config import Config, parse_config
from device.errors import ConfigError
from device.policy_file import parse_policy
from device.store.policy_records import PolicyRecords

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEEDS = ("face", "stranger", "attack", "unproved", "card", "typed", "qr", "contact", "rex", "tamper", "fire",
         "other_door", "bell", "release", "reset", "mode", "fault", "well", "clock", "step_wall", "policy", "remove",
         "restart", "wait", "bounce", "revoke")
"""What may happen. face, remove: a person's id; stranger, unproved, bell, restart: true; attack: the species;
card: a number, with `reader` and `direction`; typed: number*pin; qr: a pass's id or any text; contact, other_door:
open or closed; rex: pressed or let_go; tamper, fire: on or off; release: seconds; reset: local or hub; mode: a mode,
with `until` seconds; fault, well: a code; clock: a quality; step_wall: seconds; policy: tables that replace the
policy; wait: true; revoke: a pass's id; bounce: a pin's name, with `times` and `every` seconds."""


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that happens, `at` seconds after the start; detail holds the keys beside it."""

    at: float
    what: str
    value: Any
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody who is enrolled when the day begins."""

    id: str
    groups: tuple[str, ...] = ("everyone",)
    person_class: str = "regular"
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    card: str | None = None
    pin: str | None = None
    duress_pin: str | None = None


@dataclass(frozen=True, slots=True)
class HandedPass:
    """A QR pass that somebody holds."""

    id: str
    door: str
    group: str
    valid_from: datetime
    valid_until: datetime
    is_once: bool = True
    person: str | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scripted day."""

    about: str
    start: datetime
    config: Config
    policy: PolicyRecords
    people: tuple[Actor, ...]
    passes: tuple[HandedPass, ...]
    deeds: tuple[Deed, ...]


def read_scenario(path: Path) -> Scenario:
    """ConfigError with one line where the file is no scenario."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {str(error).splitlines()[0]}") from None
    try:
        return scenario_of(table, str(path))
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: not a scenario: {type(error).__name__} {str(error)[:100]}") from None


def scenario_of(table: dict[str, Any], where: str) -> Scenario:
    """A scenario from a parsed TOML table; KeyError, TypeError, ValueError or ConfigError where it is none."""
    start = table["start"]
    if not isinstance(start, datetime) or start.tzinfo is None:
        raise ConfigError(f"{where}: start must be a moment with its offset, like 2026-03-02T07:59:00+08:00")
    terminal = {"pins": {}} | table.get("terminal", {})
    terminal["door"] = {"lock": "strike"} | terminal.get("door", {})
    return Scenario(
        str(table["about"]), start, parse_config(terminal, where), parse_policy(table.get("policy", {}), where),
        tuple(_actor(row) for row in table.get("person", [])), tuple(_pass(row) for row in table.get("pass", [])),
        _deeds(table["step"], where))


def _actor(row: dict[str, Any]) -> Actor:
    known = {"class": "person_class"}
    values = {known.get(name, name): value for name, value in row.items()}
    if "groups" in values:
        values["groups"] = tuple(values["groups"])
    return Actor(**values)


def _pass(row: dict[str, Any]) -> HandedPass:
    known = {"from": "valid_from", "until": "valid_until", "once": "is_once"}
    return HandedPass(**{known.get(name, name): value for name, value in row.items()})


def _deeds(rows: list[dict[str, Any]], where: str) -> tuple[Deed, ...]:
    deeds, at = [], 0.0
    for number, row in enumerate(rows, 1):
        at += float(row.get("after", 0.0))
        named = [name for name in row if name in DEEDS]
        if len(named) != 1:
            raise ConfigError(f"{where}: step {number} must name one of {', '.join(DEEDS)}")
        what = named[0]
        detail = {name: value for name, value in row.items() if name not in ("after", what)}
        deeds.append(Deed(round(at, 3), what, row[what], detail))
    return tuple(deeds)
