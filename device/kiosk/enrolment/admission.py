"""Taking somebody in at the terminal: the duplicate check, the record with its consent, perhaps a PIN and a card.

All of it is `device.enrolment`'s and the store's; here is only what a page may be told of a refusal: whose face,
number or card it is already is said to the installer and to nobody else.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from device.consent import record_consent
from device.credentials.card import Card as AccessCard
from device.credentials.pin import pin_secret
from device.enrolment import Enrolled, Photo, enrol
from device.errors import EnrolmentRefused
from device.face.match import search
from device.face.portrait import Examiner
from device.kiosk.behind import Behind
from device.kiosk.enrolment.registrar import Registrar
from device.kiosk.form import PageRefused
from device.store.cache_writer import CacheWriter
from device.store.records import Credential, Method, sought


@dataclass(frozen=True, slots=True)
class Wish:
    """What the page asks for besides the face; number and PIN, or the card, may be left out."""

    label: str
    number: str = ""
    digits: str = field(default="", repr=False)
    card: str = field(default="", repr=False)

    def secrets(self) -> list[tuple[Method, bytes]]:
        """The secrets of the credentials; PageRefused where a number, PIN or card is none."""
        found = []
        try:
            if self.number or self.digits:
                found.append((Method.PIN, pin_secret(self.number, self.digits)))
            if self.card:
                found.append((Method.CARD, AccessCard.parse(self.card).secret()))
        except ValueError as error:
            raise PageRefused(str(error), "enrol.bad_pin" if not found and self.number + self.digits else
                              "enrol.bad_card", 422) from None
        return found


def admit(behind: Behind, wish: Wish, photos: Sequence[Photo], examiner: Examiner, is_supervised: bool) -> Enrolled:
    """Store the person, all or nothing; PageRefused says why not.

    is_supervised  the installer stands by, who may be told whose face it is already
    """
    wanted = wish.secrets()
    roster = behind.roster()
    if behind.registrar is not None:
        return _refer(behind.registrar, wish, photos, wanted, is_supervised)
    writer = CacheWriter.open(behind.where.gallery_db, behind.key, behind.clock)
    try:
        _refuse_known(behind, photos, examiner, writer, is_supervised)
        _refuse_taken(writer, wanted, is_supervised)
        with writer.together():
            done = enrol(wish.label, photos, record_consent(behind.clock, "screen"), examiner, roster.gallery,
                         roster.threshold, writer, behind.clock)
            for method, secret in wanted:
                writer.put_credential(Credential(secrets.token_hex(16), done.person_id, method, secret))
        return done
    except EnrolmentRefused as error:
        raise _unfit(error, is_supervised) from None
    finally:
        writer.close()


def _refer(registrar: Registrar, wish: Wish, photos: Sequence[Photo], wanted: Sequence[tuple[Method, bytes]],
           is_supervised: bool) -> Enrolled:
    """The registrar makes the same checks, against everybody whom it knows."""
    try:
        return registrar.admit(wish.label, photos, wanted)
    except EnrolmentRefused as error:
        raise _unfit(error, is_supervised) from None


def _unfit(error: EnrolmentRefused, is_supervised: bool) -> PageRefused:
    said = str(error) if is_supervised else "the pictures are not fit, or the face is known; take them anew"
    return PageRefused(said, "enrol.not_fit", 422)


def _refuse_known(behind: Behind, photos: Sequence[Photo], examiner: Examiner, writer: CacheWriter,
                  is_supervised: bool) -> None:
    roster = behind.roster()
    for photo in photos:
        probe = examiner.one(photo.pixels, photo.name)
        for candidate in search(roster.gallery, probe.vector, 1, roster.threshold.score):
            raise _theirs("this face is enrolled already", "enrol.known", candidate.person_id, writer, is_supervised)


def _refuse_taken(writer: CacheWriter, wanted: Sequence[tuple[Method, bytes]], is_supervised: bool) -> None:
    for method, secret in wanted:
        for held in writer.find_credentials(method, sought(method, secret)):
            raise _theirs(f"this {method.value} is given out already", f"enrol.{method.value}_taken", held.person_id,
                          writer, is_supervised)


def _theirs(said: str, word: str, person_id: str, writer: CacheWriter, is_supervised: bool) -> PageRefused:
    holder = writer.person(person_id) if is_supervised else None
    return PageRefused(f"{said}, as {holder.label}" if holder is not None else said, word, 409)
