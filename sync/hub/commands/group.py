"""`fleethub site` and `fleethub group`: which there are."""

from __future__ import annotations

import argparse
from typing import Any

from device.commands.console import say, say_json
from sync.hub.commands.opened import add_json, the_hub
from sync.hub.errors import FieldRefused


def add_parser(commands: Any) -> None:
    site = commands.add_parser("site", help="add and list sites", epilog="example: fleethub site add plant-2")
    verbs = site.add_subparsers(title="verbs", metavar="VERB", required=True)
    add = verbs.add_parser("add", help="a new site", epilog="example: fleethub site add plant-2")
    add.add_argument("site", metavar="SITE")
    add.add_argument("--title", default="")
    add.add_argument("--time-zone", default="UTC", metavar="ZONE", help="e.g. Asia/Shanghai (default UTC)")
    add.set_defaults(run=run_add_site)
    zone = verbs.add_parser("time-zone", help="set the time zone that a site's events are exported in",
                            epilog="example: fleethub site time-zone hq Asia/Shanghai")
    zone.add_argument("site", metavar="SITE")
    zone.add_argument("zone", metavar="ZONE")
    zone.set_defaults(run=run_time_zone)
    listing = verbs.add_parser("list", help="every site", epilog="example: fleethub site list --json")
    add_json(listing)
    listing.set_defaults(run=run_list_sites)

    group = commands.add_parser("group", help="add, list and remove groups (face libraries)",
                                epilog="example: fleethub group add staff")
    verbs = group.add_subparsers(title="verbs", metavar="VERB", required=True)
    add = verbs.add_parser("add", help="a new group", epilog="example: fleethub group add staff --site hq")
    add.add_argument("group", metavar="GROUP")
    add.add_argument("--site", help="needed where there is more than one")
    add.add_argument("--title", default="")
    add.set_defaults(run=run_add)
    listing = verbs.add_parser("list", help="every group", epilog="example: fleethub group list --json")
    add_json(listing)
    listing.set_defaults(run=run_list)
    removal = verbs.add_parser("remove", help="remove an empty group", epilog="example: fleethub group remove staff")
    removal.add_argument("group", metavar="GROUP")
    removal.set_defaults(run=run_remove)


def run_add_site(arguments: argparse.Namespace) -> int:
    with the_hub(arguments) as hub:
        hub.groups.add_site(arguments.site, arguments.title, arguments.time_zone)
    say(f"site {arguments.site} added")
    return 0


def run_time_zone(arguments: argparse.Namespace) -> int:
    with the_hub(arguments) as hub:
        hub.groups.set_time_zone(arguments.site, arguments.zone)
    say(f"events of site {arguments.site} are exported in the time of {arguments.zone}")
    return 0


def run_list_sites(arguments: argparse.Namespace) -> int:
    with the_hub(arguments) as hub:
        found = hub.groups.sites()
    if arguments.json:
        say_json([{"site_id": site_id, "title": title} for site_id, title in found])
        return 0
    for site_id, title in found:
        say(f"{site_id}  {title}".rstrip())
    return 0


def run_add(arguments: argparse.Namespace) -> int:
    with the_hub(arguments) as hub:
        known = [site_id for site_id, _ in hub.groups.sites()]
        if arguments.site is None and len(known) != 1:
            raise FieldRefused("--site", f"name one of {', '.join(known)}")
        hub.groups.add(arguments.group, arguments.site or known[0], arguments.title)
    say(f"group {arguments.group} added")
    return 0


def run_list(arguments: argparse.Namespace) -> int:
    with the_hub(arguments) as hub:
        found = hub.groups.all()
    if arguments.json:
        say_json([{"group_id": one.group_id, "site_id": one.site_id, "title": one.title, "persons": one.persons,
                   "terminals": one.terminals} for one in found])
        return 0
    for one in found:
        say(f"{one.group_id}  site {one.site_id}  {one.persons} persons  {one.terminals} terminals  "
            f"{one.title}".rstrip())
    return 0


def run_remove(arguments: argparse.Namespace) -> int:
    with the_hub(arguments) as hub:
        hub.groups.remove(arguments.group)
    say(f"group {arguments.group} removed")
    return 0
