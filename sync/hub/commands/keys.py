"""`fleethub keys`: the hub's own signing and sealing keys, and their replacement."""

from __future__ import annotations

import argparse
from typing import Any

from device.commands.console import say, say_json
from sync.hub.commands.opened import add_json, the_hub
from sync.hub.identity import Standing


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "keys", help="show and replace the hub's own keys",
        description="The keys by which terminals know this hub. New ones are announced under the old; both are valid "
                    "until every terminal has reported the new ones, and then the old are over by themselves.",
        epilog="example: fleethub keys rotate")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    listing = verbs.add_parser("list", help="the valid keys, and who has yet to learn the newest",
                               epilog="example: fleethub keys list --json")
    add_json(listing)
    listing.set_defaults(run=run_list)
    rotate = verbs.add_parser("rotate", help="make new keys and announce them",
                              epilog="example: fleethub keys rotate")
    rotate.set_defaults(run=run_rotate)
    retire = verbs.add_parser(
        "retire", help="end the old keys now",
        description="Ends the keys before the newest. A terminal that has not reported the newest yet follows when "
                    "it comes back; until then it believes the old ones too.",
        epilog="example: fleethub keys retire --force")
    retire.add_argument("--force", action="store_true", help="although some terminals have not reported the new ones")
    retire.set_defaults(run=run_retire)


def run_list(arguments: argparse.Namespace) -> int:
    with the_hub(arguments) as hub:
        found = hub.keys.own.standing()
    if arguments.json:
        say_json({"announcement": found.number, "signing": found.signing, "sealing": found.sealing,
                  "waiting": found.waiting if found.is_under_way else []})
    else:
        _tell(found)
    return 0


def run_rotate(arguments: argparse.Namespace) -> int:
    """0 announced; 1 while an earlier replacement is under way."""
    with the_hub(arguments) as hub:
        found = hub.keys.own.rotate()
    _tell(found)
    say("mirror the keys folder again: only its newest copy brings this hub back after a loss")
    return 0


def run_retire(arguments: argparse.Namespace) -> int:
    """0 over; 1 where there is nothing to retire, or a terminal has yet to report and it is not forced."""
    with the_hub(arguments) as hub:
        _tell(hub.keys.own.retire(arguments.force))
    return 0


def _tell(found: Standing) -> None:
    say(f"signing keys: {', '.join(found.signing)}; sealing key: {found.sealing}")
    if found.is_under_way:
        say(f"{len(found.waiting)} terminals have yet to report the newest: {', '.join(found.waiting)}"
            if found.waiting else
            "every terminal has the newest; the old one is over within a minute of the hub's run")
