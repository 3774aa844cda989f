"""doorctl: everything that a person does to a terminal from its command line.

Each subcommand lives in `device/commands`; here are only the list of them and the one place that turns a
diagnosis into one line and an exit code.
"""

from __future__ import annotations

import argparse
import importlib
import io
import logging
import os
import sys
from collections.abc import Sequence

from device.errors import TerminalError

# In the order of the help text.
NOUNS = ("run", "config", "status", "doctor", "reset", "clock", "pair", "selftest", "kiosk_pin", "person",
         "credential", "compare", "policy", "explain", "journal", "evidence", "replay", "scenario", "liveness",
         "commission", "models", "evaluate", "bench")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line of doorctl."""
    parser = argparse.ArgumentParser(
        prog="doorctl", description="Run, set up and examine a face access terminal.",
        epilog="example: doorctl enrol \"Li Wei\" li-wei.jpg --consent paper")
    parser.add_argument("--verbose", action="store_true", help="log what happens inside to stderr")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for noun in NOUNS:
        importlib.import_module(f"device.commands.{noun}").add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0 done, 1 refused or failed, 2 wrong usage or configuration."""
    _take_every_letter()
    try:
        return _run(arguments)
    except TerminalError as error:
        return _told(str(error), error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return 130
    except EOFError:
        sys.stderr.write("\n")  # the answer would have ended the question's line
        return _told("the input ended before everything was answered; nothing was changed", 1)
    except BrokenPipeError:
        return 1
    except OSError as error:
        return _told(f"{error.filename or 'the output'} cannot be read or written: {error.strerror or error}", 1)
    finally:
        _let_go_of_output()


def _run(arguments: Sequence[str] | None) -> int:
    try:
        options = build_parser().parse_args(arguments)
    finally:
        sys.stdout.flush()  # argparse leaves its help in the buffer
    logging.basicConfig(level=logging.INFO if options.verbose else logging.ERROR,
                        format="%(levelname)s %(name)s: %(message)s")
    return int(options.run(options))


def _told(line: str, code: int) -> int:
    sys.stderr.write(f"doorctl: {line}\n")
    return code


def _take_every_letter() -> None:
    """A name that the terminal window has no letters for is written in escapes."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _let_go_of_output() -> None:
    """What stdout did not take is dropped, or the interpreter would fail at it once more at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
