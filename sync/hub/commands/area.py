"""`fleethub area`: who is in which area."""

from __future__ import annotations

import argparse
from itertools import groupby
from typing import Any

from device.commands.console import say, say_json
from sync.hub.commands.opened import add_json, the_hub


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("area", help="who is in which area, as the doors have seen",
                                 epilog="example: fleethub area --site hq hall")
    parser.add_argument("area", metavar="AREA", nargs="?", help="this one alone")
    parser.add_argument("--site", metavar="SITE")
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 whoever is there."""
    with the_hub(arguments) as hub:
        found = hub.positions.present(arguments.site, arguments.area)
        labels = hub.people.labels([one.person_id for one in found])
    if arguments.json:
        say_json([{"site_id": one.site_id, "area_id": one.area_id, "person_id": one.person_id,
                   "label": labels.get(one.person_id, ""), "at": one.at.isoformat(),
                   "terminal_id": one.terminal_id} for one in found])
        return 0
    for (site_id, area_id), group in groupby(found, key=lambda one: (one.site_id, one.area_id)):
        present = list(group)
        say(f"{site_id} {area_id}: {len(present)}")
        for one in present:
            say(f"  {labels.get(one.person_id, one.person_id)}  since {one.at:%Y-%m-%d %H:%M}Z  by {one.terminal_id}")
    if not found:
        say("nobody is in an area, as far as doors have seen")
    return 0
