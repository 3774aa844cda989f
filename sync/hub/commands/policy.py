"""`fleethub policy`: who may enter where and when, as the file that `doorctl policy` takes."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from device.commands.console import say, say_json
from device.errors import UsageError
from device.policy_file import review
from sync.hub.commands.opened import add_json, read_file, the_hub
from sync.hub.hub import Hub
from sync.hub.policies import LONGEST, Policy, Shared, read


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("policy", help="access rules, schedules, holidays, modes and areas of the terminals",
                                 epilog="example: fleethub policy set office.toml --terminal door-1")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    check = verbs.add_parser("check", help="check a policy file", epilog="example: fleethub policy check office.toml")
    check.add_argument("file", type=Path, metavar="FILE")
    check.set_defaults(run=run_check)
    put = verbs.add_parser(
        "set", help="have terminals go by a policy file", description="Replace the whole policy of terminals: one of "
        "their own, or with --name one that they share and that later files of that name replace everywhere.",
        epilog="example: fleethub policy set office.toml --name office --terminal door-1 --terminal door-2")
    put.add_argument("file", type=Path, metavar="FILE")
    put.add_argument("--terminal", action="append", default=[], metavar="TERMINAL", help="may be given several times")
    put.add_argument("--name", metavar="NAME", help="of the shared policy")
    put.set_defaults(run=run_set)
    show = verbs.add_parser("show", help="the policy of a terminal, or a shared one, as a file",
                            epilog="example: fleethub policy show --terminal door-1 > door-1.toml")
    _add_which(show)
    show.set_defaults(run=run_show)
    listing = verbs.add_parser("list", help="the shared policies, and who follows them",
                               epilog="example: fleethub policy list --json")
    add_json(listing)
    listing.set_defaults(run=run_list)
    removal = verbs.add_parser("remove", help="take a terminal's policy away, or a shared one that nobody follows",
                               epilog="example: fleethub policy remove --terminal door-1")
    _add_which(removal)
    removal.set_defaults(run=run_remove)


def _add_which(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--terminal", metavar="TERMINAL")
    which.add_argument("--name", metavar="NAME", help="of a shared policy")


def run_check(arguments: argparse.Namespace) -> int:
    """0 usable; PolicyRefused names every fault. Needs no hub."""
    records = read(_text(arguments.file))
    _warn(review(records).warnings)
    say(f"{arguments.file}: good, policy {records.version}: {len(records.rules)} rules, "
        f"{len(records.schedules)} schedules")
    return 0


def run_set(arguments: argparse.Namespace) -> int:
    """0 set, for all of the terminals; else for none of them."""
    if not arguments.terminal and arguments.name is None:
        raise UsageError("say whose policy it is: --terminal TERMINAL, or --name NAME for one to be shared")
    text = _text(arguments.file)
    with the_hub(arguments) as hub, hub.storage.write():
        done = _set(hub, text, arguments.name, arguments.terminal)
    _warn(done.warnings)
    whose = ", ".join(arguments.terminal) or f"whoever follows {arguments.name}"
    say(f"policy {done.version} is what {whose} goes by (fleethub status says when it is there)")
    return 0


def _set(hub: Hub, text: str, name: str | None, terminal_ids: Iterable[str]) -> Policy | Shared:
    if name is not None:
        hub.policies.put_shared(name, text)
        for terminal_id in terminal_ids:
            hub.policies.follow(terminal_id, name)
        return hub.policies.get_shared(name)
    return [hub.policies.put(terminal_id, text) for terminal_id in terminal_ids][-1]


def run_show(arguments: argparse.Namespace) -> int:
    """0 shown; 1 where there is none."""
    with the_hub(arguments) as hub:
        policies = hub.policies
        found = policies.get(arguments.terminal) if arguments.terminal else policies.get_shared(arguments.name)
    say(f"# policy {found.version}" + (f", shared as {found.policy_id}" if found.policy_id else ""))
    say(found.text.rstrip())
    return 0


def run_list(arguments: argparse.Namespace) -> int:
    with the_hub(arguments) as hub:
        found = hub.policies.shared()
    if arguments.json:
        say_json([{"policy_id": one.policy_id, "version": one.version, "terminals": list(one.terminals),
                   "changed": one.changed.isoformat()} for one in found])
        return 0
    for one in found:
        say(f"{one.policy_id}  {one.version}  {', '.join(one.terminals) or 'followed by nobody'}")
    return 0


def run_remove(arguments: argparse.Namespace) -> int:
    with the_hub(arguments) as hub:
        if arguments.terminal:
            hub.policies.remove(arguments.terminal)
        else:
            hub.policies.remove_shared(arguments.name)
    say(f"{arguments.terminal} lets in whoever belongs to a group that it serves, by face, at any time"
        if arguments.terminal else f"policy {arguments.name} removed")
    return 0


def _text(path: Path) -> str:
    try:
        return read_file(path, 4 * LONGEST).decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path}: no text in UTF-8") from None


def _warn(warnings: Iterable[str]) -> None:
    for line in warnings:
        say(f"warning: {line}")
