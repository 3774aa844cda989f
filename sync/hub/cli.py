"""fleethub: everything that an administrator does to a hub from its command line.

Each subcommand lives in `sync/hub/commands`; here are only the list of them and the one place that turns a diagnosis
into one line and an exit code. A command opens the database itself; a hub that runs notices what it changed.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from device.errors import TerminalError

# In the order of the help text.
NOUNS = ("setup", "run", "group", "person", "imports", "credential", "passes", "terminal", "rollout", "policy",
         "area", "status", "token", "webhook", "home_assistant", "broker", "tryout")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line of fleethub."""
    parser = argparse.ArgumentParser(
        prog="fleethub", description="Keep the people and the doors of a fleet of face access terminals.",
        epilog="example: fleethub init && fleethub run --with-broker")
    parser.add_argument("--verbose", action="store_true", help="log what happens inside to stderr")
    parser.add_argument("--state", type=Path, metavar="FOLDER", help="the hub's state (default FLEETHUB_STATE, else "
                                                                      "/var/lib/fleethub)")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for noun in NOUNS:
        importlib.import_module(f"sync.hub.commands.{noun}").add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0 done, 1 refused or failed, 2 wrong usage or configuration."""
    options = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO if options.verbose else logging.ERROR,
                        format="%(levelname)s %(name)s: %(message)s")
    try:
        return int(options.run(options))
    except TerminalError as error:
        sys.stderr.write(f"fleethub: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return 130
    except BrokenPipeError:
        return 1


if __name__ == "__main__":
    sys.exit(main())
