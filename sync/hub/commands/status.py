"""`fleethub status` and `events`: how the fleet is, and what happened at its doors."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from device.commands.console import say, say_json
from device.spreadsheet import MOST_ROWS
from sync.hub.commands.opened import add_json, moment, person_id_of, the_hub
from sync.hub.events import Event, Query
from sync.hub.exporting import Manner, export
from sync.hub.groups import zone_named
from sync.hub.hub import Hub
from sync.hub.overview import Terminal

MOST_LISTED = 100_000


def add_parser(commands: Any) -> None:
    status = commands.add_parser("status", help="the fleet: who is up to date, who is behind, and why",
                                 epilog="example: fleethub status --json")
    status.add_argument("--terminal", metavar="TERMINAL", help="this one alone, stream by stream")
    add_json(status)
    status.set_defaults(run=run_status)
    events = commands.add_parser("events", help="what happened at the doors, newest first",
                                 epilog="example: fleethub events --terminal door-1 --kind refusal --limit 20")
    events.add_argument("--terminal", metavar="TERMINAL")
    events.add_argument("--person", metavar="PERSON")
    events.add_argument("--kind", metavar="KIND", help="release, refusal, alarm, ...")
    events.add_argument("--since", metavar="TIME")
    events.add_argument("--until", metavar="TIME")
    events.add_argument("--limit", type=int, metavar="N", help="at most so many (default 50; all in an export)")
    events.add_argument("--export", type=Path, metavar="FILE", help="write them to this .csv or .xlsx")
    events.add_argument("--names", action="store_true", help="of an export: with the names of those still known")
    events.add_argument("--language", choices=("en", "zh"), default="en", help="of an export's texts")
    events.add_argument("--time-zone", metavar="ZONE", help="of an export's times (default: each site's own)")
    add_json(events)
    events.set_defaults(run=run_events)


def run_status(arguments: argparse.Namespace) -> int:
    """0 where every claimed terminal is up to date and owes no receipt, else 1."""
    with the_hub(arguments) as hub:
        found = [hub.fleet.get(arguments.terminal)] if arguments.terminal else hub.fleet.all()
        doubt = hub.clock_check.doubt()
        summary = {"persons": hub.people.count(), "events": hub.events.count(), "epoch": hub.ledger.epoch,
                   "streams": hub.ledger.streams(), "clock": doubt}
        rollouts = hub.rollouts.all(is_active=True)
    is_well = not doubt and all(
        one.state in ("equal", "unclaimed", "revoked") and not one.open_deletions for one in found)
    if arguments.json:
        say_json({**summary, "is_well": is_well, "rollouts": [one.line() for one in rollouts],
                  "terminals": [_document(one) for one in found]})
        return 0 if is_well else 1
    say(f"{summary['persons']} persons, {len(found)} terminals, {summary['events']} events")
    if doubt:
        say(f"nothing is deleted by time: {doubt}")
    for rollout in rollouts:
        say(rollout.line())
    for one in found:
        say(f"{one.terminal_id}  {one.state}  groups {','.join(one.groups) or '-'}  "
            f"events {one.acked or 0}/{one.journal_seq or 0}" + (f"  {one.why}" if one.why else "")
            + (f"  owes receipts for {one.open_deletions} deletions" if one.open_deletions else ""))
        if arguments.terminal:
            for standing in one.standings:
                say(f"  {standing.stream}  {standing.state}  {standing.seq or 0}/{standing.head_seq}  {standing.why}")
    return 0 if is_well else 1


def run_events(arguments: argparse.Namespace) -> int:
    """0 shown, or written to a file."""
    since = moment(arguments.since) if arguments.since else None
    until = moment(arguments.until) if arguments.until else None
    most, usual = (MOST_ROWS, MOST_ROWS) if arguments.export else (MOST_LISTED, 50)
    limit = usual if arguments.limit is None else max(1, min(arguments.limit, most))
    with the_hub(arguments) as hub:
        person = person_id_of(hub, arguments.person) if arguments.person else None
        query = Query(limit, arguments.terminal, person, arguments.kind, since, until)
        if arguments.export:
            zone = zone_named(arguments.time_zone) if arguments.time_zone else None
            count = export(hub, arguments.export, query, Manner(arguments.language, arguments.names, zone))
            say(f"{arguments.export}: {count} events")
            return 0
        found = hub.events.find(query)
        names = {} if arguments.json else _names(hub, found)
    if arguments.json:
        say_json([{"terminal_id": one.terminal_id, "journal_id": one.journal_id, "seq": one.seq,
                   "at": one.at.isoformat(), "received": one.received.isoformat(), "kind": one.kind,
                   "reason": one.reason, "person_id": one.person_id, "detail": one.detail} for one in found])
        return 0
    for one in found:
        who = f"  {names.get(one.person_id, one.person_id)}" if one.person_id else ""
        say(f"{one.at:%Y-%m-%d %H:%M:%S}Z  {one.terminal_id}  {one.kind}  {one.reason}{who}".rstrip())
    return 0


def _names(hub: Hub, found: list[Event]) -> dict[str, str]:
    """Labels of those who are still known."""
    return hub.people.labels(sorted({one.person_id for one in found if one.person_id}))


def _document(one: Terminal) -> dict[str, Any]:
    return {
        "terminal_id": one.terminal_id, "site_id": one.site_id, "groups": list(one.groups), "state": one.state,
        "why": one.why, "is_online": one.is_online,
        "reported": one.reported.isoformat() if one.reported else None, "boot_id": one.boot_id,
        "journal_seq": one.journal_seq, "acked": one.acked, "open_deletions": one.open_deletions,
        "desired_version": one.desired_version, "config_wanted": one.config.wanted,
        "config_applied": one.config.reported, "model_ids": list(one.model_ids), "health": dict(one.health),
        "streams": [{"stream": standing.stream, "state": standing.state, "seq": standing.seq,
                     "head_seq": standing.head_seq, "why": standing.why} for standing in one.standings],
    }
