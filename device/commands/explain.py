"""`doorctl explain`: which rule would let somebody through a door at a moment, or why none does."""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from device.clock import ClockQuality, SystemClock
from device.commands.console import say, say_json
from device.commands.opened import add_config_option, configuration, gallery_reader
from device.commands.who import person_meant
from device.config import Config
from device.door.decision import Now, Scene
from device.door.explain import Explanation, explain
from device.door.reasons import reason
from device.door.rules import Rules
from device.errors import TerminalError, UsageError
from device.roster import rules_of
from device.store.policy_records import read_policy
from device.store.records import Direction, Method

# The first and the last day of the calendar have no moment in other time zones.
_FIRST_YEAR, _LAST_YEAR = 2000, 2199


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "explain", help="why somebody would pass a door, or not",
        description="Say which rule would let a person through a door at a moment, or why none does.",
        epilog='example: doorctl explain "Li Wei" front-door 2026-12-31T18:30')
    parser.add_argument("person", metavar="PERSON", help="name, or the beginning of an id")
    parser.add_argument("door", metavar="DOOR", help="the door's id, as in door.id")
    parser.add_argument("time", metavar="TIME", help="now, or a moment; without an offset in the site's local time")
    parser.add_argument("--methods", default="face", metavar="METHODS", help="what is shown, e.g. card+pin (face)")
    parser.add_argument("--exit", action="store_true", help="at the reader for those who leave")
    parser.add_argument("--language", choices=("en", "zh"), default="en", help="of the reasons' texts")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    add_config_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 the person would pass, 1 they would not."""
    config = configuration(arguments)
    methods = _methods(arguments.methods)
    at = _moment(arguments.time, config)
    direction = Direction.EXIT if arguments.exit else Direction.ENTRY
    with gallery_reader() as reader:
        if reader is None:
            raise TerminalError("nobody is enrolled: doorctl enrol NAME PHOTO")
        person = person_meant(reader.people(), arguments.person)
        here = replace(config, door=replace(config.door, id=arguments.door))
        rules = rules_of(read_policy(reader), here)
    found = explain(person, methods, direction, rules, Now(at, 0.0, ClockQuality.SYNCED), Scene())
    if arguments.json:
        say_json(_document(found, at))
    else:
        _tell(found, at, rules, arguments.language)
    return 0 if found.decision.granted else 1


def _methods(text: str) -> frozenset[Method]:
    try:
        return frozenset(Method(part.strip()) for part in text.split("+"))
    except ValueError:
        raise UsageError(f"--methods {text[:40]!r}: write some of "
                         f"{', '.join(one.value for one in Method)}, joined by +") from None


def _moment(text: str, config: Config) -> datetime:
    if text == "now":
        return SystemClock().now()
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text[:40]!r} is no moment: write now, or e.g. 2026-12-31T18:30") from None
    if not _FIRST_YEAR <= at.year <= _LAST_YEAR:
        raise UsageError(f"{text[:40]!r}: the year must lie between {_FIRST_YEAR} and {_LAST_YEAR}")
    return at if at.tzinfo is not None else at.replace(tzinfo=ZoneInfo(config.door.time_zone))


def _tell(found: Explanation, at: datetime, rules: Rules, language: str) -> None:
    decision = found.decision
    word = "would pass" if decision.granted else "would be refused"
    local = at.astimezone(ZoneInfo(rules.site.time_zone))
    say(f"{local:%A %Y-%m-%d %H:%M} at {rules.site.door_id}: {word}: {reason(decision.reason).text(language)} "
        f"({decision.reason}{f', rule {decision.rule_id}' if decision.rule_id else ''})")
    for one in found.words:
        verdict = "admits" if not one.reason else reason(one.reason).text(language)
        needs = f"; also needs {', '.join(sorted(method.value for method in one.needs))}" if one.needs else ""
        say(f"  rule {one.rule.rule_id} for {one.rule.group}, schedule {one.rule.schedule_id}: {verdict}{needs}")
    if not found.words:
        say("  no rule of this door names a group of this person")


def _document(found: Explanation, at: datetime) -> dict[str, Any]:
    decision = found.decision
    return {"at": at.isoformat(), "granted": decision.granted, "reason": decision.reason, "rule": decision.rule_id,
            "release_s": decision.release_s if decision.granted else None,
            "needs": sorted(method.value for method in decision.needs),
            "rules": [{"rule": one.rule.rule_id, "group": one.rule.group, "schedule": one.rule.schedule_id,
                       "admits": not one.reason, "reason": one.reason or None,
                       "needs": sorted(method.value for method in one.needs)} for one in found.words]}
