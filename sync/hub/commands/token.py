"""`fleethub token`: who may use the HTTP API."""

from __future__ import annotations

import argparse
from typing import Any

from device.commands.console import say, say_json
from sync.hub.commands.opened import add_json, moment, the_hub
from sync.hub.tokens import SCOPES


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("token", help="make, list and revoke tokens of the HTTP API",
                                 epilog="example: fleethub token add read --title dashboard")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    add = verbs.add_parser("add", help="a new token, shown once",
                           epilog="example: fleethub token add write --title reception --until 2027-01-01")
    add.add_argument("scope", choices=SCOPES)
    add.add_argument("--title", default="", help="what it is for")
    add.add_argument("--until", metavar="TIME")
    add_json(add)
    add.set_defaults(run=run_add)
    listing = verbs.add_parser("list", help="every token, without its secret", epilog="example: fleethub token list")
    add_json(listing)
    listing.set_defaults(run=run_list)
    revoke = verbs.add_parser("revoke", help="end a token", epilog="example: fleethub token revoke 3f2a9c1b")
    revoke.add_argument("token", metavar="TOKEN", help="its id, from the list")
    revoke.set_defaults(run=run_revoke)


def run_add(arguments: argparse.Namespace) -> int:
    until = moment(arguments.until) if arguments.until else None
    with the_hub(arguments) as hub:
        secret, kept = hub.tokens.make(arguments.scope, arguments.title, until)
    if arguments.json:
        say_json({"token_id": kept.token_id, "token": secret})
    else:
        say(f"{secret}\nshown this once; its id is {kept.token_id}")
    return 0


def run_list(arguments: argparse.Namespace) -> int:
    with the_hub(arguments) as hub:
        found = hub.tokens.all()
    if arguments.json:
        say_json([{"token_id": one.token_id, "scope": one.scope, "title": one.title,
                   "expires": one.expires.isoformat() if one.expires else None, "is_revoked": one.is_revoked}
                  for one in found])
        return 0
    for one in found:
        end = "revoked" if one.is_revoked else f"until {one.expires:%Y-%m-%d}" if one.expires else ""
        say(f"{one.token_id}  {one.scope}  {one.title}  {end}".rstrip())
    return 0


def run_revoke(arguments: argparse.Namespace) -> int:
    with the_hub(arguments) as hub:
        hub.tokens.revoke(arguments.token)
    say(f"token {arguments.token} revoked")
    return 0
