"""`fleethub terminal`, `command` and `mode`: the doors of the fleet, and what they are to do."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from device.clock import SystemClock
from device.commands.console import say, say_json
from device.errors import UsageError
from sync.hub.commands.opened import add_json, moment, read_file, span, the_hub
from sync.hub.configuration import LONGEST
from sync.hub.errors import FieldRefused, InTheWay, NotThere
from sync.hub.hub import Hub
from sync.hub.orders import MODES, VERBS, Command

if TYPE_CHECKING:
    from sync.hub.claims import Claims, Contact

WAIT_S = 15.0


SHOWN = "the code that the terminal's own page shows, as its QR code reads; else a new one is made here"


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("terminal", help="add, list, move and remove terminals",
                                 epilog="example: fleethub terminal add door-1 --group staff")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    add = verbs.add_parser("add", help="a new terminal, and its one-time claim code",
                           epilog="example: fleethub terminal add door-1 --group staff --group lab")
    add.add_argument("terminal", metavar="TERMINAL")
    add.add_argument("--group", action="append", default=[], metavar="GROUP", help="may be given several times")
    add.add_argument("--site", help="needed where there is more than one")
    add.add_argument("--title", default="")
    add.add_argument("--shown", metavar="CODE", help=SHOWN)
    add_json(add)
    add.set_defaults(run=run_add)
    code = verbs.add_parser("code", help="a new claim code; older ones are void",
                            epilog="example: fleethub terminal code door-1 --life 2h")
    code.add_argument("terminal", metavar="TERMINAL")
    code.add_argument("--life", default="3d", metavar="SPAN", help="how long it is good (default 3d)")
    code.add_argument("--shown", metavar="CODE", help=SHOWN)
    code.set_defaults(run=run_code)
    groups = verbs.add_parser("groups", help="set the groups that a terminal serves",
                              epilog="example: fleethub terminal groups door-1 staff lab")
    groups.add_argument("terminal", metavar="TERMINAL")
    groups.add_argument("groups", metavar="GROUP", nargs="*")
    groups.set_defaults(run=run_groups)
    config = verbs.add_parser("config", help="the configuration that a terminal is to apply: show it, or set it",
                              epilog="example: fleethub terminal config door-1 door-1.toml")
    config.add_argument("terminal", metavar="TERMINAL")
    config.add_argument("file", type=Path, nargs="?", metavar="FILE", help="a terminal.toml, or parts of one")
    config.set_defaults(run=run_config)
    revoke = verbs.add_parser("revoke", help="shut a terminal out: it was lost or stolen",
                              epilog="example: fleethub terminal revoke door-1")
    revoke.add_argument("terminal", metavar="TERMINAL")
    revoke.set_defaults(run=run_revoke)
    removal = verbs.add_parser("remove", help="a terminal that is no more; reset it first",
                               epilog="example: fleethub terminal remove door-1")
    removal.add_argument("terminal", metavar="TERMINAL")
    removal.set_defaults(run=run_remove)

    order = commands.add_parser("command", help="have a terminal do something once, now or never",
                                epilog="example: fleethub command door-1 release --seconds 5")
    order.add_argument("terminal", metavar="TERMINAL")
    order.add_argument("verb", choices=VERBS)
    order.add_argument("--seconds", type=float, help="of a release")
    order.add_argument("--argument", default="")
    order.add_argument("--no-wait", action="store_true", help="do not wait for the answer")
    add_json(order)
    order.set_defaults(run=run_command)

    mode = commands.add_parser("mode", help="lockdown, free or normal, until told otherwise",
                               epilog="example: fleethub mode door-1 lockdown --for 2h")
    mode.add_argument("terminal", metavar="TERMINAL")
    mode.add_argument("mode", choices=MODES)
    end = mode.add_mutually_exclusive_group()
    end.add_argument("--until", metavar="TIME")
    end.add_argument("--for", dest="span", metavar="SPAN", help="e.g. 30m, 2h, 1d")
    mode.set_defaults(run=run_mode)


def run_add(arguments: argparse.Namespace) -> int:
    with the_hub(arguments) as hub:
        known = [site_id for site_id, _ in hub.groups.sites()]
        if arguments.site is None and len(known) != 1:
            raise FieldRefused("--site", f"name one of {', '.join(known)}")
        if arguments.shown is not None:
            _claims(hub).checked(arguments.shown)
        hub.fleet.add(arguments.terminal, arguments.site or known[0], arguments.group, arguments.title)
        code = claim_code(hub, arguments.terminal, shown=arguments.shown)
    if arguments.json:
        say_json({"terminal_id": arguments.terminal, "code": code})
    else:
        say(f"terminal {arguments.terminal} added; on the terminal: {_next(code)}")
    return 0


def run_code(arguments: argparse.Namespace) -> int:
    with the_hub(arguments) as hub:
        code = claim_code(hub, arguments.terminal, arguments.life, arguments.shown)
    say(code or f"{arguments.terminal} may claim with the code that it shows: {_next(code)}")
    return 0


def claim_code(hub: Hub, terminal_id: str, life: str = "3d", shown: str | None = None) -> str:
    """A new one-time code; "" where the terminal shows one itself."""
    if shown is None:
        return _claims(hub).issue(terminal_id, span(life))
    _claims(hub).expect(terminal_id, shown, span(life))
    return ""


def _next(code: str) -> str:
    return f"door-syncd claim --code {code}" if code else "firmware_scripts/provision --shown"


def run_groups(arguments: argparse.Namespace) -> int:
    with the_hub(arguments) as hub:
        hub.fleet.set_groups(arguments.terminal, arguments.groups)
    say(f"{arguments.terminal} serves {', '.join(sorted(set(arguments.groups))) or 'no group'}")
    return 0


def run_config(arguments: argparse.Namespace) -> int:
    """0 shown or set; 1 where there is none to show, 2 where the file is no configuration."""
    if arguments.file is None:
        with the_hub(arguments) as hub:
            found = hub.configurations.get(arguments.terminal)
        if found is None:
            raise NotThere(f"terminal {arguments.terminal} was given no configuration")
        say(f"# version {found.version}\n{found.text.rstrip()}")
        return 0
    try:
        text = read_file(arguments.file, LONGEST).decode()
    except UnicodeDecodeError:
        raise UsageError(f"{arguments.file}: no text in UTF-8") from None
    with the_hub(arguments) as hub:
        version = hub.configurations.put(arguments.terminal, text)
    say(f"{arguments.terminal} is to apply configuration {version} (fleethub status says when it has)")
    return 0


def run_revoke(arguments: argparse.Namespace) -> int:
    with the_hub(arguments) as hub:
        _claims(hub).revoke(arguments.terminal)
    say(f"{arguments.terminal} is shut out, and the keys of its groups were replaced")
    return 0


def run_remove(arguments: argparse.Namespace) -> int:
    with the_hub(arguments) as hub:
        hub.fleet.remove(arguments.terminal)
    say(f"{arguments.terminal} removed; the keys of its groups were replaced")
    return 0


def run_command(arguments: argparse.Namespace) -> int:
    """0 done, or sent off with --no-wait; 1 refused, failed, or no answer before it expired."""
    with the_hub(arguments) as hub:
        command_id = hub.orders.command(arguments.terminal, arguments.verb, arguments.seconds, arguments.argument,
                                        "cli")
        done = hub.orders.get(command_id) if arguments.no_wait else _answer(hub, command_id)
    if arguments.json:
        say_json({"command_id": command_id, "outcome": done.outcome, "reason": done.reason})
    elif done.outcome is None:
        said = "not sent: is `fleethub run` running?" if done.sent is None else "sent, no answer yet"
        say(f"command {command_id}: {'given' if arguments.no_wait else said}")
    else:
        say(f"command {command_id}: {done.outcome} {done.reason}".rstrip())
    return 0 if arguments.no_wait or done.outcome == "done" else 1


def run_mode(arguments: argparse.Namespace) -> int:
    until = moment(arguments.until) if arguments.until else None
    if arguments.span:
        until = SystemClock().now() + span(arguments.span)
    with the_hub(arguments) as hub:
        wanted = hub.orders.want(arguments.terminal, arguments.mode, until)
    end = f" until {wanted.until:%Y-%m-%d %H:%M}Z" if wanted.until else ""
    say(f"{arguments.terminal} is to hold {wanted.mode}{end} (version {wanted.version})")
    return 0


def _answer(hub: Hub, command_id: str) -> Command:
    """The command once it is answered or has expired, or after 15 s."""
    give_up = time.monotonic() + WAIT_S
    while True:
        now = hub.orders.get(command_id)
        if now.outcome is not None or time.monotonic() > give_up or hub.clock.now() > now.expires:
            return now
        time.sleep(0.1)


def _claims(hub: Hub) -> Claims:
    from sync.hub.broker_files import authority_of
    from sync.hub.claims import Claims

    return Claims(hub.storage, authority_of(hub.keys, hub.clock), _refuse_contact, hub.clock)


def _refuse_contact() -> Contact:
    raise InTheWay("a code is claimed at a running hub: fleethub run")
