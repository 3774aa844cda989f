"""`fleethub pass`: QR passes for visitors and people, issued, listed and revoked."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from device.clock import SystemClock
from device.commands.console import say, say_json
from device.errors import UsageError
from sync.hub.commands.opened import add_json, moment, person_id_of, span, the_hub
from sync.hub.errors import NotThere
from sync.hub.hub import Hub
from sync.hub.passes import Asked, Pass
from sync.hub.qr_code import qr_png


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("pass", help="QR passes, shown to a door's camera",
                                 epilog='example: fleethub pass issue --door main --group visitors --label "Mr Xu"')
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    issue = verbs.add_parser(
        "issue", help="a pass for each door", description="Issue passes for a visitor or a person. What they open is "
        "what each door's policy grants the group by the method qr.",
        epilog='example: fleethub pass issue --door main --group visitors --label "Mr Xu" --for 8h --png passes')
    issue.add_argument("--door", action="append", required=True, metavar="DOOR",
                       help="its door.id; may be given several times")
    issue.add_argument("--group", required=True, metavar="GROUP")
    whose = issue.add_mutually_exclusive_group(required=True)
    whose.add_argument("--label", metavar="NAME", help="a visitor's name")
    whose.add_argument("--person", metavar="PERSON")
    issue.add_argument("--from", dest="begin", metavar="TIME", help="from when it is good (default: now)")
    end = issue.add_mutually_exclusive_group(required=True)
    end.add_argument("--until", metavar="TIME")
    end.add_argument("--for", dest="span", metavar="SPAN", help="e.g. 30m, 8h, 1d")
    issue.add_argument("--many", action="store_true", help="admits as often as it is shown, not once")
    issue.add_argument("--png", type=Path, metavar="FOLDER", help="write the codes here, as PASS.png")
    add_json(issue)
    issue.set_defaults(run=run_issue)
    listing = verbs.add_parser("list", help="every pass that is not long over",
                               epilog="example: fleethub pass list --json")
    listing.add_argument("--person", metavar="PERSON")
    add_json(listing)
    listing.set_defaults(run=run_list)
    code = verbs.add_parser("code", help="write a pass's QR code, signed by the hub's present key",
                            epilog="example: fleethub pass code 3f2a9c xu.png")
    code.add_argument("pass_id", metavar="PASS", help="its id, or a beginning of it that is unique")
    code.add_argument("file", type=Path, metavar="FILE")
    code.set_defaults(run=run_code)
    end_of = verbs.add_parser("revoke", help="passes that are to count no longer",
                              epilog="example: fleethub pass revoke 3f2a9c")
    end_of.add_argument("passes", metavar="PASS", nargs="+", help="their ids, or beginnings of them that are unique")
    end_of.set_defaults(run=run_revoke)


def run_issue(arguments: argparse.Namespace) -> int:
    """0 issued, for every door."""
    begin = moment(arguments.begin) if arguments.begin else None
    until = moment(arguments.until) if arguments.until else (begin or SystemClock().now()) + span(arguments.span)
    with the_hub(arguments) as hub:
        person_id = person_id_of(hub, arguments.person) if arguments.person else None
        made = hub.passes.issue(Asked(tuple(arguments.door), arguments.group, until, begin, not arguments.many,
                                      person_id, arguments.label or ""), "cli")
        for one in made if arguments.png else ():
            _write(arguments.png / f"{one.pass_id}.png", hub.passes.text(one.pass_id))
    if arguments.json:
        say_json([_document(one) for one in made])
        return 0
    for one in made:
        say(f"pass {one.pass_id} for {one.door_id}, until {one.valid_until:%Y-%m-%d %H:%M}Z")
    return 0


def run_list(arguments: argparse.Namespace) -> int:
    with the_hub(arguments) as hub:
        found = list(_all(hub, person_id_of(hub, arguments.person) if arguments.person else None))
        now = hub.clock.now()
    if arguments.json:
        say_json([_document(one) for one in found])
        return 0
    for one in found:
        state = "revoked" if one.revoked else "over" if one.valid_until <= now else "good"
        say(f"{one.pass_id}  {one.door_id}  {one.group}  {state}  until {one.valid_until:%Y-%m-%d %H:%M}Z  "
            f"{'once' if one.is_once else 'often'}  {one.label or one.person_id or ''}".rstrip())
    return 0


def run_code(arguments: argparse.Namespace) -> int:
    """0 written; 2 where the pass is revoked or over, or the file cannot be written."""
    with the_hub(arguments) as hub:
        _write(arguments.file, hub.passes.text(_meant(hub, arguments.pass_id)))
    return 0


def run_revoke(arguments: argparse.Namespace) -> int:
    """0 revoked; 1 where one of them is not to be found: then none is."""
    with the_hub(arguments) as hub:
        gone = sorted({_meant(hub, given) for given in arguments.passes})
        with hub.storage.write():
            for pass_id in gone:
                hub.passes.revoke(pass_id)
    for pass_id in gone:
        say(f"pass {pass_id} counts no longer at any door that has heard of it (fleethub status)")
    return 0


def _all(hub: Hub, person_id: str | None = None) -> Iterator[Pass]:
    after = ""
    while found := hub.passes.all(1000, after, person_id):
        yield from found
        after = found[-1].pass_id


def _meant(hub: Hub, given: str) -> str:
    found = [one.pass_id for one in _all(hub) if one.pass_id.startswith(given)]
    if len(found) != 1 or len(given) < 4:
        raise NotThere(f"{len(found)} passes are meant by {given[:40]!r}; give at least 4 digits of an id, as "
                       "`fleethub pass list` shows it")
    return found[0]


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(qr_png(text))
    except OSError as error:
        raise UsageError(f"{path}: {(error.strerror or 'cannot be written').lower()}") from None


def _document(one: Pass) -> dict[str, Any]:
    return {"pass_id": one.pass_id, "door_id": one.door_id, "group": one.group, "person_id": one.person_id,
            "label": one.label, "is_once": one.is_once, "valid_from": one.valid_from.isoformat(),
            "valid_until": one.valid_until.isoformat(), "issued_by": one.issued_by,
            "revoked": one.revoked.isoformat() if one.revoked else None}
