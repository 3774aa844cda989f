"""`fleethub rollout`: bring a release to terminals, stage by stage."""

from __future__ import annotations

import argparse
from datetime import timedelta
from pathlib import Path
from typing import Any

from device.commands.console import say, say_json
from sync.hub import stages
from sync.hub.bundles import Kept
from sync.hub.commands.opened import add_json, the_hub
from sync.hub.errors import FieldRefused, InTheWay, NotThere
from sync.hub.hub import Hub
from sync.hub.members import Member
from sync.hub.rollout import Asked, Phase, Rollout, Step

CLI = "cli"


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("rollout", help="bring a release to terminals, stage by stage",
                                 epilog="example: fleethub rollout start dist/open-door-1.2.0-aarch64-py3.11.bundle "
                                        "--group staff")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    trust = verbs.add_parser("trust", help="the root of trust that bundles are verified by",
                             epilog="example: fleethub rollout trust keys/1.root.json")
    trust.add_argument("file", type=Path, metavar="FILE", help="the root that terminals were installed with")
    trust.set_defaults(run=run_trust)
    add = verbs.add_parser("add", help="verify a bundle and keep it, for a roll-out later",
                           epilog="example: fleethub rollout add dist/open-door-1.2.0-aarch64-py3.11.bundle")
    add.add_argument("file", type=Path, metavar="FILE")
    add.set_defaults(run=run_add)
    discard = verbs.add_parser("discard", help="remove a bundle's file, or list the bundles there are",
                               epilog="example: fleethub rollout discard open-door-1.1.0-aarch64-py3.11.bundle")
    discard.add_argument("bundle", nargs="?", metavar="BUNDLE", help="a name, or the first digits of its SHA-256")
    discard.set_defaults(run=run_discard)
    _add_start(verbs)
    status = verbs.add_parser("status", help="how roll-outs go; of one, terminal by terminal",
                              epilog="example: fleethub rollout status 3f2a91c04b17")
    status.add_argument("rollout", nargs="?", metavar="ID")
    add_json(status)
    status.set_defaults(run=run_status)
    for name, words in (("pause", "offer and send nothing until it is resumed"), ("resume", "go on"),
                        ("stop", "end it for good; what is installed stays")):
        turn = verbs.add_parser(name, help=words, epilog=f"example: fleethub rollout {name} 3f2a91c04b17")
        turn.add_argument("rollout", metavar="ID")
        if name != "resume":
            turn.add_argument("--why", default="", help="noted with it")
        turn.set_defaults(run=run_turn, turn=name)


def _add_start(verbs: Any) -> None:
    start = verbs.add_parser("start", help="bring a bundle to terminals",
                             epilog="example: fleethub rollout start dist/open-door-1.2.0-aarch64-py3.11.bundle "
                                    "--group staff --stages 1,10%%,100%% --soak 60 --max-failures 1")
    start.add_argument("bundle", metavar="BUNDLE", help="a file, or the name of one that was added")
    who = start.add_mutually_exclusive_group(required=True)
    who.add_argument("--group", action="append", default=[], metavar="GROUP", help="may be given several times")
    who.add_argument("--terminals", default="", metavar="IDS", help="in this order, separated by commas")
    start.add_argument("--stages", default=stages.USUAL, metavar="STAGES",
                       help="terminals or shares of them, rising (default 1,10%%,100%%)")
    start.add_argument("--soak", type=float, default=60.0, metavar="MINUTES",
                       help="how long everyone of a stage must be well before the next (default 60)")
    start.add_argument("--max-failures", type=int, default=0, metavar="N",
                       help="more failures than this stop it (default 0)")
    add_json(start)
    start.set_defaults(run=run_start)


def run_trust(arguments: argparse.Namespace) -> int:
    with the_hub(arguments) as hub:
        digest = hub.bundles.trust(arguments.file)
    say(f"bundles are verified by this root from now on; its SHA-256, to be compared: {digest}")
    return 0


def run_add(arguments: argparse.Namespace) -> int:
    with the_hub(arguments) as hub:
        say(_bundle_line(hub.bundles.add(arguments.file)))
    return 0


def run_discard(arguments: argparse.Namespace) -> int:
    """0 removed or listed; 1 where a roll-out needs it, or there is none such."""
    with the_hub(arguments) as hub:
        if arguments.bundle is None:
            for one in hub.bundles.all():
                say(_bundle_line(one))
            return 0
        kept = hub.bundles.named(arguments.bundle)
        if any(one.sha256 == kept.sha256 for one in hub.rollouts.all(is_active=True)):
            raise InTheWay(f"{kept.name} is being rolled out; stop that first")
        hub.bundles.discard(kept.sha256)
    say(f"{kept.name} removed")
    return 0


def run_start(arguments: argparse.Namespace) -> int:
    """0 started; 1 where the bundle is refused, or is nothing for these terminals."""
    if not 0 <= arguments.soak <= 129_600:
        raise FieldRefused("--soak", "0 to 129600 minutes")
    terminals = tuple(name.strip() for name in arguments.terminals.split(",") if name.strip())
    asked = Asked(tuple(arguments.group), terminals, arguments.stages, timedelta(minutes=arguments.soak),
                  arguments.max_failures)
    asked.check()
    with the_hub(arguments) as hub:
        rollout_id = hub.rollouts.start(_bundle(hub, arguments.bundle), asked, CLI)
        found = hub.rollouts.get(rollout_id)
    if arguments.json:
        say_json(_document(found, []))
    else:
        say(f"{found.line()}\nstages of {', '.join(map(str, found.sizes))} terminals; "
            f"`fleethub rollout status {rollout_id}` says how it goes")
    return 0


def run_status(arguments: argparse.Namespace) -> int:
    """0 where nothing was stopped, or paused by the hub itself; else 1."""
    with the_hub(arguments) as hub:
        found = [hub.rollouts.get(arguments.rollout)] if arguments.rollout else hub.rollouts.all()
        steps = {one.rollout_id: hub.rollouts.steps(one.rollout_id) for one in found}
    if arguments.json:
        say_json([_document(one, steps[one.rollout_id]) for one in found])
    else:
        for one in found:
            say(one.line())
            if arguments.rollout:
                _say_whole(one, steps[one.rollout_id])
    return 1 if any(one.phase is not Phase.DONE and one.why for one in found) else 0


def run_turn(arguments: argparse.Namespace) -> int:
    with the_hub(arguments) as hub:
        if arguments.turn == "resume":
            hub.rollouts.resume(arguments.rollout, CLI)
        else:
            act = hub.rollouts.pause if arguments.turn == "pause" else hub.rollouts.stop
            act(arguments.rollout, CLI, arguments.why)
        say(hub.rollouts.get(arguments.rollout).line())
    return 0


def _bundle(hub: Hub, given: str) -> Kept:
    """A file is added first; anything else names one that was."""
    if Path(given).is_file():
        return hub.bundles.add(Path(given))
    try:
        return hub.bundles.named(given)
    except NotThere:
        raise NotThere(f"{given[:200]}: no such file, and no bundle of that name was added") from None


def _bundle_line(one: Kept) -> str:
    gone = "" if one.is_there else "  its file is gone"
    return (f"{one.name}  over {one.min_release} or newer  {one.size >> 20} MiB in {one.chunk_count} chunks  "
            f"{one.sha256[:16]}{gone}")


def _say_whole(one: Rollout, steps: list[Step]) -> None:
    for member in one.members:
        stage = next(number for number, size in enumerate(one.sizes, 1) if member.place < size)
        say(f"  {member.terminal_id}  stage {stage}  {member.state.value}  {_words(member)}".rstrip())
    for step in steps:
        say(f"  {step.at:%Y-%m-%d %H:%M:%S}Z  {step.what} by {step.by}  {step.why}".rstrip())


def _words(member: Member) -> str:
    return f"well since {member.well_since:%Y-%m-%d %H:%M}Z" if member.well_since else member.why


def _document(one: Rollout, steps: list[Step]) -> dict[str, Any]:
    return {
        "rollout_id": one.rollout_id, "sha256": one.sha256, "release": one.wanted.release,
        "machine": one.wanted.machine, "phase": one.phase.value, "stage": one.stage + 1, "sizes": list(one.sizes),
        "soak_minutes": one.soak / timedelta(minutes=1), "max_failures": one.max_failures,
        "created": one.created.isoformat(), "why": one.why,
        "members": [{"terminal_id": member.terminal_id, "state": member.state.value,
                     "since": member.since.isoformat(), "why": member.why,
                     "well_since": member.well_since.isoformat() if member.well_since else None}
                    for member in one.members],
        "steps": [{"at": step.at.isoformat(), "by": step.by, "what": step.what, "why": step.why} for step in steps]}
