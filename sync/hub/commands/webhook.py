"""`fleethub webhook`: whom events are sent to over HTTPS."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from device.commands.console import say, say_json
from device.errors import UsageError
from sync.hub.commands.opened import add_json, read_file, the_hub
from sync.hub.tidings import KINDS
from sync.hub.webhooks import LONGEST_CA, Webhook


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "webhook", help="send events to other programs over HTTPS",
        epilog="example: fleethub webhook add https://example.org/doors --events release,alarm")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    add = verbs.add_parser("add", help="a new receiver, and the secret by which it knows the hub, shown once",
                           epilog="example: fleethub webhook add https://example.org/doors --events release,alarm")
    add.add_argument("url", metavar="URL")
    add.add_argument("--events", default="", metavar="KINDS",
                     help=f"kinds, separated by commas (default all): {', '.join(KINDS)}")
    add.add_argument("--ca", type=Path, metavar="FILE", help="certificates of the receiver's own authority, PEM")
    add.add_argument("--loopback", action="store_true",
                     help="it may be a service of this very machine, also over http://")
    add_json(add)
    add.set_defaults(run=run_add)
    listing = verbs.add_parser("list", help="every webhook, and how it stands",
                               epilog="example: fleethub webhook list")
    add_json(listing)
    listing.set_defaults(run=run_list)
    for verb, about, run in (("remove", "send it nothing more", run_remove),
                             ("test", "send it a message of the type test, now", run_test),
                             ("resume", "try one that was given up again", run_resume)):
        one = verbs.add_parser(verb, help=about, epilog=f"example: fleethub webhook {verb} 3f2a9c1b")
        one.add_argument("webhook", metavar="WEBHOOK", help="its id, from the list")
        one.set_defaults(run=run)


def run_add(arguments: argparse.Namespace) -> int:
    kinds = [kind.strip() for kind in arguments.events.split(",") if kind.strip()]
    with the_hub(arguments) as hub:
        secret, kept = hub.webhooks.add(arguments.url, kinds, _certificates(arguments.ca), arguments.loopback)
    if arguments.json:
        say_json({"webhook_id": kept.webhook_id, "secret": secret})
    else:
        say(f"{secret}\nshown this once; the webhook's id is {kept.webhook_id} "
            f"(try it: fleethub webhook test {kept.webhook_id})")
    return 0


def run_list(arguments: argparse.Namespace) -> int:
    """0 where all are well, else 1."""
    with the_hub(arguments) as hub:
        found = hub.webhooks.all()
    if arguments.json:
        say_json([_document(one) for one in found])
    else:
        for one in found:
            say(_line(one))
    return 0 if all(one.state == "well" for one in found) else 1


def run_remove(arguments: argparse.Namespace) -> int:
    with the_hub(arguments) as hub:
        hub.webhooks.remove(arguments.webhook)
    say(f"webhook {arguments.webhook} removed")
    return 0


def run_test(arguments: argparse.Namespace) -> int:
    """0 where the receiver took it."""
    from sync.hub.messenger import try_out

    with the_hub(arguments) as hub:
        answer = try_out(hub, arguments.webhook)
    say(f"webhook {arguments.webhook}: {'taken' if answer.is_taken else answer.problem}")
    return 0 if answer.is_taken else 1


def run_resume(arguments: argparse.Namespace) -> int:
    with the_hub(arguments) as hub:
        hub.webhooks.resume(arguments.webhook)
    say(f"webhook {arguments.webhook} is tried again")
    return 0


def _certificates(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return read_file(path, LONGEST_CA).decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path}: no certificates in PEM") from None


def _line(one: Webhook) -> str:
    words = [one.webhook_id, one.url, ",".join(one.kinds) or "all", one.state,
             f"delivered {one.delivered}", f"waiting {one.waiting}"]
    if one.passed_over:
        words.append(f"passed over {one.passed_over}")
    if one.problem:
        words.append(one.problem)
    if one.again:
        words.append(f"again at {one.again:%Y-%m-%d %H:%M:%S}Z")
    return "  ".join(words)


def _document(one: Webhook) -> dict[str, Any]:
    return {"webhook_id": one.webhook_id, "url": one.url, "events": list(one.kinds), "state": one.state,
            "problem": one.problem, "waiting": one.waiting, "delivered": one.delivered,
            "passed_over": one.passed_over, "tries": one.tries, "created": one.created.isoformat(),
            "failing_since": one.failing_since.isoformat() if one.failing_since else None,
            "again": one.again.isoformat() if one.again else None}
