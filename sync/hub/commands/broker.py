"""`fleethub broker-config`: what a site's own Mosquitto or EMQX needs to serve this fleet."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from device.commands.console import say
from sync.hub.commands.opened import the_hub
from sync.hub.errors import InTheWay

if TYPE_CHECKING:
    from sync.hub.claims import Contact


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "broker-config", help="write configuration, access list and certificates for a site's broker",
        description="Write them again, and have the broker read them, whenever terminals, groups or sites change. "
                    "Written by root, they become the broker's account's. After a terminal was revoked restart the "
                    "broker, so that its connection ends as well; EMQX reads no list of revoked certificates, so put "
                    "the terminal on its list of banned user names besides.",
        epilog="example: fleethub broker-config mosquitto /etc/mosquitto/door --name broker.example.org")
    parser.add_argument("kind", choices=("mosquitto", "emqx"))
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--name", action="append", required=True, metavar="NAME",
                        help="a name or address under which terminals reach it; may be given several times")
    parser.add_argument("--port", type=int, default=8883)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from sync.hub.broker_config import Files
    from sync.hub.broker_files import BrokerFiles, authority_of
    from sync.hub.claims import Claims
    from sync.hub.roster import Roster

    with the_hub(arguments) as hub:
        authority = authority_of(hub.keys, hub.clock)
        claims = Claims(hub.storage, authority, _refuse_contact, hub.clock)
        files = BrokerFiles(Files(arguments.folder.absolute()), arguments.name, authority, claims,
                            Roster(hub.storage), hub.clock)
        written = files.write_for_site(arguments.kind, arguments.port)
    for path in written:
        say(str(path))
    return 0


def _refuse_contact() -> Contact:
    raise InTheWay("a code is claimed at a running hub: fleethub run")
