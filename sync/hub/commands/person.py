"""`fleethub person`: enrol, list, move and remove people."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from device.commands.console import say, say_json
from device.errors import EnrolmentRefused
from device.face.photo import MOST_BYTES
from device.store.records import Consent
from sync.hub import consent as consents_of
from sync.hub.commands.opened import add_json, moment, person_id_of, read_file, the_hub
from sync.hub.directory import Known
from sync.hub.enrol import Photo
from sync.hub.hub import Hub
from sync.hub.people import Newcomer


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("person", help="enrol, list, move and remove people",
                                 epilog='example: fleethub person add "Li Wei" li-wei.jpg --group staff')
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    add = verbs.add_parser("add", help="enrol a person from photos",
                           epilog='example: fleethub person add "Li Wei" li-wei.jpg --group staff --consent paper')
    add.add_argument("name", metavar="NAME", help="the name to show")
    add.add_argument("photos", metavar="PHOTO", nargs="+", type=Path, help="JPEG, PNG, WebP or BMP")
    add.add_argument("--group", action="append", required=True, metavar="GROUP", help="may be given several times")
    add.add_argument("--id", metavar="ID", help="the customer's own id of the person")
    add.add_argument("--until", metavar="TIME", help="until when the person may enter")
    add_consent(add)
    add_json(add)
    add.set_defaults(run=run_add)
    listing = verbs.add_parser("list", help="everyone", epilog="example: fleethub person list --group staff --json")
    listing.add_argument("--group", metavar="GROUP")
    add_json(listing)
    listing.set_defaults(run=run_list)
    removal = verbs.add_parser("remove", help="remove people for good, here and at every terminal",
                               epilog="example: fleethub person remove 3f2a9c")
    removal.add_argument("persons", metavar="PERSON", nargs="+",
                         help="a beginning of the id that is unique, or the customer's own id")
    removal.set_defaults(run=run_remove)
    move = verbs.add_parser("groups", help="set the groups that a person belongs to",
                            epilog="example: fleethub person groups 3f2a9c staff lab")
    move.add_argument("person", metavar="PERSON")
    move.add_argument("groups", metavar="GROUP", nargs="+")
    move.set_defaults(run=run_groups)
    withdrawal = verbs.add_parser("withdraw", help="the person has withdrawn consent: all faces are deleted",
                                  epilog="example: fleethub person withdraw 3f2a9c")
    withdrawal.add_argument("person", metavar="PERSON")
    withdrawal.set_defaults(run=run_withdraw)


def add_consent(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--consent", metavar="HOW", choices=consents_of.MEANS,
                        help="confirm that consent was given, and how: paper, screen, verbal, import")
    parser.add_argument("--consent-given", metavar="TIME", help="when (default: now)")
    parser.add_argument("--consent-until", metavar="TIME", help="until when it holds (default: until withdrawn)")


def run_add(arguments: argparse.Namespace) -> int:
    """0 enrolled; EnrolmentRefused and PictureRefused say why not."""
    photos = [Photo(path.name, read_file(path, MOST_BYTES)) for path in arguments.photos]
    until = moment(arguments.until) if arguments.until else None
    with the_hub(arguments) as hub:
        newcomer = Newcomer(arguments.name, tuple(arguments.group), arguments.id, valid_until=until)
        done = hub.enroller.enrol(newcomer, photos, consent_of(arguments, hub))
    if arguments.json:
        say_json({"person_id": done.person_id, "templates": list(done.template_ids),
                  "qualities": [round(quality, 3) for quality in done.qualities], "consent_id": done.consent_id})
        return 0
    say(f"enrolled {arguments.name} as {done.person_id}, {len(done.template_ids)} templates, quality "
        f"{', '.join(f'{quality:.2f}' for quality in done.qualities)}; consent {done.consent_id}")
    return 0


def consent_of(arguments: argparse.Namespace, hub: Hub) -> Consent:
    """The consent that the options state; asked for on a terminal, refused where nobody can be asked."""
    means = arguments.consent
    if means is None:
        if not sys.stdin.isatty():
            raise EnrolmentRefused("no face is enrolled without consent: add --consent paper, screen or verbal once "
                                   "the person has agreed")
        say("\n\n".join(hub.enroller.agreement.text.values()))
        if input("Has this person agreed to this text? Type yes: ").strip().lower() not in ("yes", "是"):
            raise EnrolmentRefused("no consent, nothing enrolled")
        means = "screen"
    given = moment(arguments.consent_given) if arguments.consent_given else None
    until = moment(arguments.consent_until) if arguments.consent_until else None
    return consents_of.of_text(hub.clock, means, given, until, hub.enroller.agreement)


def run_list(arguments: argparse.Namespace) -> int:
    """Everyone, by name."""
    with the_hub(arguments) as hub:
        if arguments.group:
            hub.groups.get(arguments.group)
        found = sorted(_everyone(hub, arguments.group), key=lambda known: known.person.label.casefold())
    if arguments.json:
        say_json([_document(known) for known in found])
        return 0
    for known in found:
        person = known.person
        until = f"  until {person.valid_until:%Y-%m-%d %H:%M}Z" if person.valid_until else ""
        say(f"{person.person_id}  {person.label}  {known.external_id or '-'}  {','.join(person.groups)}  "
            f"{len(known.template_ids)} templates{until}")
    if not found:
        say('nobody is enrolled: fleethub person add "Li Wei" li-wei.jpg --group everyone')
    return 0


def run_remove(arguments: argparse.Namespace) -> int:
    """0 removed; 1 where one of them is not to be found: then nobody is."""
    with the_hub(arguments) as hub:
        gone = sorted({person_id_of(hub, given) for given in arguments.persons})
        hub.people.remove(gone)
        hub.tidy()
    for person_id in gone:
        say(f"removed {person_id}: record, templates, credentials and key are gone here; terminals confirm with "
            "receipts (fleethub status)")
    return 0


def run_groups(arguments: argparse.Namespace) -> int:
    with the_hub(arguments) as hub:
        person_id = person_id_of(hub, arguments.person)
        hub.people.set_groups(person_id, arguments.groups)
    say(f"{person_id} belongs to {', '.join(sorted(set(arguments.groups)))}")
    return 0


def run_withdraw(arguments: argparse.Namespace) -> int:
    with the_hub(arguments) as hub:
        person_id = person_id_of(hub, arguments.person)
        count = hub.people.withdraw_consent(person_id)
        hub.tidy()
    say(f"{person_id}: consent withdrawn, {count} templates deleted; the record stays until `fleethub person remove`")
    return 0


def _everyone(hub: Hub, group_id: str | None) -> Iterator[Known]:
    after = ""
    while found := hub.people.page(1000, after, group_id):
        yield from found
        after = found[-1].person.person_id


def _document(known: Known) -> dict[str, Any]:
    person = known.person
    return {
        "person_id": person.person_id, "label": person.label, "external_id": known.external_id,
        "groups": list(person.groups), "class": person.person_class.value,
        "valid_from": person.valid_from.isoformat() if person.valid_from else None,
        "valid_until": person.valid_until.isoformat() if person.valid_until else None,
        "consent_id": person.consent.consent_id if person.consent else None,
        "templates": list(known.template_ids), "credentials": list(known.credential_ids),
    }
