"""`doorctl policy`: the access rules of a stand-alone terminal as one file; what another one would have done."""

from __future__ import annotations

import argparse
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from device.clock import SystemClock
from device.commands.console import say, say_json, with_progress
from device.commands.journal import all_entries
from device.commands.opened import add_config_option, configuration, gallery_reader, gallery_writer
from device.door.hindsight import Change, Hindsight
from device.errors import TerminalError, UsageError
from device.policy_file import Review, read_policy_file, review
from device.policy_text import policy_toml
from device.roster import rules_of
from device.store.cache import CacheReader
from device.store.journal import JournalReader
from device.store.places import places
from device.store.policy_records import PolicyRecords, put_policy, read_policy

_SHOWN = 200


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("policy", help="access rules, schedules, holidays, modes and areas",
                                 epilog="example: doorctl policy show > policy.toml")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    show = verbs.add_parser("show", help="the policy in force, as a file",
                            epilog="example: doorctl policy show > policy.toml")
    show.set_defaults(run=run_show)
    check = verbs.add_parser("check", help="check a policy file", epilog="example: doorctl policy check policy.toml")
    check.add_argument("file", type=Path, metavar="FILE")
    check.add_argument("--json", action="store_true", help="one JSON document")
    check.set_defaults(run=run_check)
    put = verbs.add_parser("set", help="put a policy file into force", description="Replace the whole policy of a "
                           "stand-alone terminal; the door follows at once.",
                           epilog="example: doorctl policy set policy.toml")
    put.add_argument("file", type=Path, metavar="FILE")
    put.add_argument("--json", action="store_true", help="one JSON document")
    put.set_defaults(run=run_set)
    replay = verbs.add_parser(
        "replay", help="who would have been let in or refused differently",
        description="Judge what happened at this door by another policy, and tell what would have been different.",
        epilog="example: doorctl policy replay --days 30 new.toml")
    replay.add_argument("file", type=Path, metavar="FILE")
    replay.add_argument("--days", type=float, default=30.0, metavar="N", help="how far back to look (default 30)")
    replay.add_argument("--json", action="store_true", help="one JSON document")
    add_config_option(replay)
    replay.set_defaults(run=run_replay)


def run_show(arguments: argparse.Namespace) -> int:
    with gallery_reader() as reader:
        records = PolicyRecords() if reader is None else read_policy(reader)
    say(f"# policy {records.version}")
    say(policy_toml(records).rstrip())
    return 0


def run_check(arguments: argparse.Namespace) -> int:
    """0 usable; ConfigError names every fault."""
    records = read_policy_file(arguments.file)
    with gallery_reader() as reader:
        found = review(records, _groups(reader) if reader is not None else None)
    if arguments.json:
        say_json(_summary(records, found))
        return 0
    _warn(found)
    say(f"{arguments.file}: good, policy {records.version}: {len(records.rules)} rules, "
        f"{len(records.schedules)} schedules")
    return 0


def run_set(arguments: argparse.Namespace) -> int:
    """0 in force; refused where a hub sets the policy."""
    records = read_policy_file(arguments.file)
    with gallery_writer() as writer:
        before = read_policy(writer).version
        found = review(records, _groups(writer))
        with writer.together():
            put_policy(writer, records)
    if arguments.json:
        say_json({**_summary(records, found), "before": before})
        return 0
    _warn(found)
    say(f"policy {records.version} is in force; before it was {before}")
    return 0


def run_replay(arguments: argparse.Namespace) -> int:
    """0 whatever was found."""
    if not 0 < arguments.days <= 3660:
        raise UsageError(f"--days must be more than 0 and at most 3660, not {arguments.days:g}")
    records, config = read_policy_file(arguments.file), configuration(arguments)
    since = SystemClock().now() - timedelta(days=arguments.days)
    with gallery_reader() as reader:
        if reader is None:
            raise TerminalError("nobody is enrolled, so nothing can be judged again")
        hindsight = Hindsight(rules_of(records, config), reader.person)
        journal = JournalReader.open(places().journal_db)
        try:
            _judge(journal, hindsight, since)
        finally:
            journal.close()
        names = {change.person_id: _name(reader, change.person_id) for change in hindsight.changes}
    _tell(hindsight, names, arguments)
    return 0


def _judge(journal: JournalReader, hindsight: Hindsight, since: datetime) -> None:
    for entry in with_progress("entries judged", all_entries(journal), journal.head - journal.anchor):
        if entry.at >= since:
            hindsight.judge(entry)


def _tell(hindsight: Hindsight, names: dict[str, str], arguments: argparse.Namespace) -> None:
    changes = hindsight.changes
    if arguments.json:
        say_json({"judged": hindsight.judged, "unknown_people": hindsight.unknown,
                  "let_in": sum(change.is_let_in for change in changes),
                  "refused": sum(not change.is_let_in for change in changes),
                  "changes": [_document(change) for change in changes]})
        return
    say(f"{hindsight.judged} decisions of the last {arguments.days:g} days judged again"
        + (f"; {hindsight.unknown} left out, whose people are no longer enrolled" if hindsight.unknown else ""))
    for change in changes[:_SHOWN]:
        word = "would be let in" if change.is_let_in else "would be refused"
        say(f"  {change.at:%Y-%m-%d %H:%M}Z  {names[change.person_id]}  {word} ({change.reason}; it was "
            f"{change.was})")
    if len(changes) > _SHOWN:
        say(f"  ... and {len(changes) - _SHOWN} more; --json has all")
    counts = Counter((change.person_id, change.is_let_in) for change in changes)
    for (person_id, is_let_in), count in counts.most_common():
        say(f"{names[person_id]}: {count} times {'let in' if is_let_in else 'refused'}")
    if not changes:
        say("nothing would have been different")


def _document(change: Change) -> dict[str, Any]:
    return {"seq": change.seq, "at": change.at.isoformat(), "person_id": change.person_id,
            "let_in": change.is_let_in, "reason": change.reason, "was": change.was}


def _groups(reader: CacheReader) -> frozenset[str]:
    return frozenset(group for person in reader.people() for group in person.groups)


def _name(reader: CacheReader, person_id: str) -> str:
    person = reader.person(person_id)
    return person.label if person is not None else person_id


def _summary(records: PolicyRecords, found: Review) -> dict[str, Any]:
    return {"policy": records.version, "rules": len(records.rules), "schedules": len(records.schedules),
            "warnings": list(found.warnings)}


def _warn(found: Review) -> None:
    for warning in found.warnings:
        say(f"warning: {warning}")
