"""doorctl: everything that a person does to a terminal from its command line.

Each subcommand lives in `device/commands`; here are only the list of them and the one place that turns a
diagnosis into one line and an exit code.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence

from device.errors import TerminalError

# In the order of the help text.
NOUNS = ("run", "config", "status", "doctor", "reset", "pair", "selftest", "person", "credential", "compare",
         "policy", "explain", "journal", "evidence", "replay", "scenario", "liveness", "commission", "models",
         "evaluate", "bench")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line of doorctl."""
    parser = argparse.ArgumentParser(
        prog="doorctl", description="Run, set up and examine a face access terminal.",
        epilog="example: doorctl enrol \"Li Wei\" li-wei.jpg --consent")
    parser.add_argument("--verbose", action="store_true", help="log what happens inside to stderr")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for noun in NOUNS:
        importlib.import_module(f"device.commands.{noun}").add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0 done, 1 refused or failed, 2 wrong usage or configuration."""
    options = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO if options.verbose else logging.ERROR,
                        format="%(levelname)s %(name)s: %(message)s")
    try:
        return int(options.run(options))
    except TerminalError as error:
        sys.stderr.write(f"doorctl: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return 130
    except BrokenPipeError:
        return 1


if __name__ == "__main__":
    sys.exit(main())
