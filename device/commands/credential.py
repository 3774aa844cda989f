"""`doorctl credential`: cards and PINs of the people of a stand-alone terminal."""

from __future__ import annotations

import argparse
import secrets
from typing import Any

from device.commands.console import ask_secret, say, say_json
from device.commands.opened import gallery_reader, gallery_writer
from device.commands.who import person_meant
from device.credentials.card import Card
from device.credentials.pin import pin_secret
from device.errors import EnrolmentRefused
from device.store.cache_writer import CacheWriter
from device.store.records import Credential, Method, sought


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("credential", help="cards and PINs of enrolled people",
                                 epilog='example: doorctl credential card "Li Wei" 124,64377')
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    card = verbs.add_parser("card", help="give a person a card", description="Give a person the card with this "
                            "number, written as decimal, facility,number, 0x hexadecimal or bits:value.",
                            epilog='example: doorctl credential card "Li Wei" 124,64377')
    card.add_argument("person", metavar="PERSON", help="name, or the beginning of an id")
    card.add_argument("number", metavar="NUMBER")
    card.add_argument("--json", action="store_true", help="one JSON document")
    card.set_defaults(run=run_card)
    pin = verbs.add_parser("pin", help="give a person a number and a PIN", description="Give a person a number and a "
                           "PIN, typed as number * PIN #. The PIN is asked for, or read from standard input.",
                           epilog='example: doorctl credential pin "Li Wei" 1001')
    pin.add_argument("person", metavar="PERSON", help="name, or the beginning of an id")
    pin.add_argument("number", metavar="NUMBER", help="1 to 10 digits, nobody else's")
    pin.add_argument("--duress", action="store_true", help="a second PIN that opens and alarms silently")
    pin.add_argument("--json", action="store_true", help="one JSON document")
    pin.set_defaults(run=run_pin)
    listing = verbs.add_parser("list", help="the credentials of a person",
                               epilog="example: doorctl credential list 3f2a")
    listing.add_argument("person", metavar="PERSON", help="name, or the beginning of an id")
    listing.add_argument("--json", action="store_true", help="one JSON document")
    listing.set_defaults(run=run_list)
    removal = verbs.add_parser("remove", help="take a card or PIN away",
                               epilog="example: doorctl credential remove 9c1e")
    removal.add_argument("credential", metavar="CREDENTIAL", help="its id, or a beginning of it that is unique")
    removal.add_argument("--json", action="store_true", help="one JSON document")
    removal.set_defaults(run=run_remove)


def run_card(arguments: argparse.Namespace) -> int:
    """0 given; refused where the card is somebody's already."""
    try:
        secret = Card.parse(arguments.number).secret()
    except ValueError as error:
        raise EnrolmentRefused(str(error)) from None
    _give(arguments, Method.CARD, secret)
    return 0


def run_pin(arguments: argparse.Namespace) -> int:
    """0 given; refused where the number is somebody else's."""
    try:
        secret = pin_secret(arguments.number, ask_secret("PIN"))
    except ValueError as error:
        raise EnrolmentRefused(str(error)) from None
    _give(arguments, Method.PIN, secret, arguments.duress)
    return 0


def run_list(arguments: argparse.Namespace) -> int:
    with gallery_reader() as reader:
        if reader is None:
            raise EnrolmentRefused("nobody is enrolled: doorctl enrol NAME PHOTO")
        found = reader.credentials(person_meant(reader.people(), arguments.person).person_id)
    rows = [{"credential_id": one.credential_id, "method": one.method.value, "is_duress": one.is_duress,
             "shown": sought(one.method, one.secret).decode("ascii", "replace") if one.method is Method.PIN else ""}
            for one in found]
    if arguments.json:
        say_json(rows)
        return 0
    for row in rows:
        say("  ".join(str(part) for part in (row["credential_id"], row["method"],
                                             f"number {row['shown']}" if row["shown"] else "",
                                             "duress" if row["is_duress"] else "") if part))
    if not rows:
        say("no card and no PIN")
    return 0


def run_remove(arguments: argparse.Namespace) -> int:
    """0 removed; 1 where none, or more than one, has such an id."""
    with gallery_writer() as writer:
        found = [one.credential_id for person in writer.people() for one in writer.credentials(person.person_id)
                 if one.credential_id.startswith(arguments.credential)]
        if len(found) != 1 or len(arguments.credential) < 4:
            raise EnrolmentRefused(f"{len(found)} credentials are meant by {arguments.credential[:40]!r}; give at "
                                   "least 4 digits of its id, as `doorctl credential list` shows it")
        writer.drop_credential(found[0])
    if arguments.json:
        say_json({"credential_id": found[0], "is_removed": True})
    else:
        say(f"removed {found[0]}")
    return 0


def _give(arguments: argparse.Namespace, method: Method, secret: bytes, is_duress: bool = False) -> None:
    with gallery_writer() as writer:
        person = person_meant(writer.people(), arguments.person)
        _refuse_taken(writer, person.person_id, method, secret, is_duress)
        one = Credential(secrets.token_hex(16), person.person_id, method, secret, is_duress)
        writer.put_credential(one)
    if arguments.json:
        say_json({"credential_id": one.credential_id, "person_id": person.person_id, "method": method.value,
                  "is_duress": is_duress})
    else:
        say(f"{person.label} has {method.value} {one.credential_id}{' for duress' if is_duress else ''}")


def _refuse_taken(writer: CacheWriter, person_id: str, method: Method, secret: bytes, is_duress: bool) -> None:
    held = writer.find_credentials(method, sought(method, secret))
    others = [one for one in held if one.person_id != person_id]
    if others:
        holder = writer.person(others[0].person_id)
        raise EnrolmentRefused(f"it is {holder.label if holder else others[0].person_id}'s already")
    if any(one.is_duress is is_duress for one in held):
        raise EnrolmentRefused("this person has it already: first "
                               f"`doorctl credential remove {held[0].credential_id[:8]}`")
