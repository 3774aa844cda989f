"""`fleethub credential`: cards and PINs of persons."""

from __future__ import annotations

import argparse
from typing import Any

from device.commands.console import ask_secret, say, say_json
from sync.hub.commands.opened import add_json, moment, person_id_of, the_hub
from sync.hub.errors import NotThere


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("credential", help="cards and PINs of people",
                                 epilog="example: fleethub credential card 0017 124,64377")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    card = verbs.add_parser("card", help="give a person a card", description="Give a person the card with this "
                            "number, written as decimal, facility,number, 0x hexadecimal or bits:value.",
                            epilog="example: fleethub credential card 0017 124,64377")
    _add_person(card)
    card.add_argument("number", metavar="NUMBER")
    _add_terms(card)
    card.set_defaults(run=run_card)
    pin = verbs.add_parser("pin", help="give a person a number and a PIN", description="Give a person a number and a "
                           "PIN, typed as number * PIN #. The PIN is asked for, or read from standard input.",
                           epilog="example: fleethub credential pin 0017 1001")
    _add_person(pin)
    pin.add_argument("number", metavar="NUMBER", help="1 to 10 digits, nobody else's")
    _add_terms(pin)
    pin.set_defaults(run=run_pin)
    listing = verbs.add_parser("list", help="what a person holds",
                               epilog="example: fleethub credential list 0017 --json")
    _add_person(listing)
    add_json(listing)
    listing.set_defaults(run=run_list)
    removal = verbs.add_parser("remove", help="take a card or PIN away",
                               epilog="example: fleethub credential remove 0017 9c1e")
    _add_person(removal)
    removal.add_argument("credential", metavar="CREDENTIAL", help="its id, or a beginning of it that is unique")
    removal.set_defaults(run=run_remove)


def _add_person(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("person", metavar="PERSON",
                        help="a beginning of the id that is unique, or the customer's own id")


def _add_terms(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--duress", action="store_true", help="opens, and alarms silently")
    parser.add_argument("--until", metavar="TIME", help="until when it is good")


def run_card(arguments: argparse.Namespace) -> int:
    """0 given; 1 where the card is somebody's already."""
    until = moment(arguments.until) if arguments.until else None
    with the_hub(arguments) as hub:
        person_id = person_id_of(hub, arguments.person)
        done = hub.credentials.add_card(person_id, arguments.number, arguments.duress, until)
    say(f"{person_id} has card {done}{' for duress' if arguments.duress else ''}")
    return 0


def run_pin(arguments: argparse.Namespace) -> int:
    """0 given; 1 where the number is somebody else's."""
    until = moment(arguments.until) if arguments.until else None
    with the_hub(arguments) as hub:
        person_id = person_id_of(hub, arguments.person)
        done = hub.credentials.add_pin(person_id, arguments.number, ask_secret("PIN"), arguments.duress, until)
    say(f"{person_id} has pin {done}{' for duress' if arguments.duress else ''}")
    return 0


def run_list(arguments: argparse.Namespace) -> int:
    with the_hub(arguments) as hub:
        found = hub.credentials.of(person_id_of(hub, arguments.person))
    if arguments.json:
        say_json([{"credential_id": one.credential_id, "method": one.method.value, "is_duress": one.is_duress,
                   "valid_until": one.valid_until.isoformat() if one.valid_until else None, "number": one.number}
                  for one in found])
        return 0
    for one in found:
        until = f"until {one.valid_until:%Y-%m-%d %H:%M}Z" if one.valid_until else ""
        say("  ".join(part for part in (one.credential_id, one.method.value,
                                        f"number {one.number}" if one.number else "",
                                        "duress" if one.is_duress else "", until) if part))
    if not found:
        say("no card and no PIN")
    return 0


def run_remove(arguments: argparse.Namespace) -> int:
    """0 removed; 1 where none, or more than one, has such an id."""
    with the_hub(arguments) as hub:
        person_id = person_id_of(hub, arguments.person)
        found = [one for one in hub.people.get(person_id).credential_ids if one.startswith(arguments.credential)]
        if len(found) != 1:
            raise NotThere(f"{len(found)} credentials of {person_id} begin with {arguments.credential[:40]!r}; see "
                           "`fleethub credential list`")
        hub.people.remove_credential(person_id, found[0])
    say(f"removed {found[0]}")
    return 0
