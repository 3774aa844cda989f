"""`doorctl evidence`: the pictures of attacks that the site has chosen to keep."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from device.commands.console import say, say_json
from device.commands.opened import add_config_option, configuration
from device.errors import UsageError
from device.store.evidence import Evidence
from device.store.places import places
from device.store.seal import load_key


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "evidence", help="list, show or remove pictures of attacks",
        description="Pictures of attacks are kept only where evidence.days is set, and go after those days. With no "
                    "action they are listed.",
        epilog="example: doorctl evidence show 20260105T080000000000Z.sealed --to attack.jpg")
    parser.add_argument("action", nargs="?", choices=("list", "show", "remove"), default="list")
    parser.add_argument("name", nargs="?", default="", metavar="NAME", help="of a picture, as listed")
    parser.add_argument("--to", type=Path, metavar="FILE", help="where `show` writes the JPEG")
    parser.add_argument("--json", action="store_true", help="the list as one JSON document")
    add_config_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 done; 2 where there is no such picture."""
    where = places()
    evidence = Evidence(where.evidence, load_key(where), configuration(arguments).evidence.days)
    if arguments.action == "list":
        _list(evidence, arguments.json)
    elif arguments.action == "remove":
        evidence.remove(arguments.name)
    else:
        _show(evidence.picture(arguments.name), arguments.to)
    return 0


def _list(evidence: Evidence, as_json: bool) -> None:
    kept = evidence.kept()
    if as_json:
        say_json([{"name": one.name, "at": one.at.isoformat(), "bytes": one.size} for one in kept])
        return
    for one in kept:
        say(f"{one.name}  {one.size // 1024} kB")
    if not kept:
        sys.stderr.write("no picture is kept\n")


def _show(jpeg: bytes, to: Path | None) -> None:
    if to is None:
        raise UsageError("name a file to write the picture into: --to attack.jpg")
    try:
        to.write_bytes(jpeg)
    except OSError as error:
        raise UsageError(f"{to}: cannot be written ({error.strerror})") from None
