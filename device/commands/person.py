"""`doorctl enrol` and `doorctl person`: who may enter a stand-alone terminal's door."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import Any

from device.clock import SystemClock
from device.commands.console import Progress, ask, say, say_json, with_progress
from device.commands.opened import (
    add_config_option,
    configuration,
    gallery_reader,
    gallery_writer,
    load_enrolled,
    pack,
    refuse_linked,
)
from device.commands.who import person_meant
from device.consent import TEXT, record_consent
from device.enrolment import MOST_PHOTOS, Photo, check_label, enrol
from device.errors import EnrolmentRefused, UsageError
from device.face.models import Models
from device.face.photo import read_photo
from device.face.portrait import Examiner
from device.face.quality import ENROLMENT
from device.store.records import Consent, Person


def add_parser(commands: Any) -> None:
    one = commands.add_parser(
        "enrol", help="enrol a person from photos",
        description="Enrol one person from one or more photos that show this person alone.",
        epilog='example: doorctl enrol "Li Wei" li-wei.jpg --consent paper')
    one.add_argument("name", metavar="NAME", help="the name to show")
    one.add_argument("photos", metavar="PHOTO", nargs="+", type=Path, help="JPEG, PNG, WebP or BMP")
    one.add_argument("--consent", metavar="HOW", choices=("paper", "screen", "verbal"),
                     help="confirm that the person has consented, and how; asked for where left out")
    one.add_argument("--language", choices=("en", "zh"), default="en", help="of the consent text")
    one.add_argument("--json", action="store_true", help="one JSON document")
    add_config_option(one)
    one.set_defaults(run=run_enrol)

    parser = commands.add_parser("person", help="list or remove enrolled people",
                                 epilog="example: doorctl person list")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    listing = verbs.add_parser("list", help="everyone who is enrolled", epilog="example: doorctl person list --json")
    listing.add_argument("--json", action="store_true", help="one JSON document")
    listing.set_defaults(run=run_list)
    removal = verbs.add_parser("remove", help="remove a person, the templates and credentials for good",
                               epilog="example: doorctl person remove 3f2a9c")
    removal.add_argument("person", metavar="PERSON", help="name, or the beginning of an id")
    removal.add_argument("--json", action="store_true", help="one JSON document")
    removal.set_defaults(run=run_remove)


def run_enrol(arguments: argparse.Namespace) -> int:
    """0 enrolled; EnrolmentRefused and PictureRefused say why not."""
    if len(arguments.photos) > MOST_PHOTOS:
        raise UsageError(f"{len(arguments.photos)} photos; give 1 to {MOST_PHOTOS}")
    refuse_linked()
    check_label(arguments.name)
    consent = _consent(arguments)
    photos = [Photo(path.name, read_photo(path)) for path in with_progress("reading photo", arguments.photos)]
    config = configuration(arguments)
    card = pack(config)
    examiner = Examiner(Models.load(card), ENROLMENT)
    with gallery_writer() as writer, contextlib.closing(Progress("photos examined", len(photos))) as progress:
        known = load_enrolled(writer, card, config)
        result = enrol(arguments.name, photos, consent, examiner, known.gallery, known.threshold, writer,
                       SystemClock(), progress.step)
    if arguments.json:
        say_json({"person_id": result.person_id, "templates": len(result.template_ids),
                  "qualities": [round(quality, 3) for quality in result.qualities], "consent_id": consent.consent_id})
        return 0
    say(f"enrolled {arguments.name} as {result.person_id}, {len(result.template_ids)} templates, "
        f"quality {', '.join(f'{quality:.2f}' for quality in result.qualities)}; consent {consent.consent_id}")
    return 0


def run_list(arguments: argparse.Namespace) -> int:
    """Everyone, by name."""
    with gallery_reader() as reader:
        people = sorted(reader.people(), key=lambda person: person.label.casefold()) if reader else []
    if arguments.json:
        say_json([_document(person) for person in people])
        return 0
    for person in people:
        until = f"  until {person.valid_until:%Y-%m-%d %H:%M}Z" if person.valid_until else ""
        say(f"{person.person_id}  {person.label}  {person.person_class.value}{until}")
    if not people:
        say("nobody is enrolled: doorctl enrol NAME PHOTO")
    return 0


def run_remove(arguments: argparse.Namespace) -> int:
    """0 removed; 1 where nobody, or more than one person, has such an id."""
    with gallery_writer() as writer:
        person_id = person_meant(writer.people(), arguments.person).person_id
        writer.drop_person(person_id)
    if arguments.json:
        say_json({"person_id": person_id, "is_removed": True})
    else:
        say(f"removed {person_id}: the record, the templates and the credentials are gone from this terminal")
    return 0


def _consent(arguments: argparse.Namespace) -> Consent:
    """The record of consent; asked for on a terminal, refused where nobody can be asked."""
    means = arguments.consent
    if means is None:
        if not sys.stdin.isatty():
            raise EnrolmentRefused("no face is enrolled without consent: add --consent paper, screen or verbal once "
                                   "the person has agreed")
        say(TEXT[arguments.language])
        if ask("Has this person agreed to this text? Type yes: ") not in ("yes", "是"):
            raise EnrolmentRefused("no consent, nothing enrolled")
        means = "screen"
    return record_consent(SystemClock(), means)


def _document(person: Person) -> dict[str, Any]:
    return {
        "person_id": person.person_id,
        "label": person.label,
        "class": person.person_class.value,
        "groups": list(person.groups),
        "valid_from": person.valid_from.isoformat() if person.valid_from else None,
        "valid_until": person.valid_until.isoformat() if person.valid_until else None,
        "consent_id": person.consent.consent_id if person.consent else None,
    }
