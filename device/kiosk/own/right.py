"""What somebody may have done with their data: corrected, their consent withdrawn, all of it deleted.

On a terminal that stands alone it is done at once, and a receipt says what. Where a hub owns the gallery the request
goes into the journal, which reaches the hub; its answer comes back with the gallery. A name is never written there:
a correction is asked for, and told to a person at the hub.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from datetime import datetime

from device.door.reasons import entry
from device.enrolment import check_label
from device.errors import EnrolmentRefused
from device.kiosk.behind import Behind
from device.kiosk.form import PageRefused
from device.kiosk.own.holding import REQUEST
from device.store.cache_writer import CacheWriter
from device.store.places import is_linked
from device.store.records import Person

GONE_S = 5.0
"""The matcher follows the file within a twentieth of a second; a receipt does not wait longer than this for it."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was done, or asked for.

    is_done      false for a request to the hub
    is_gone      the matcher no longer knows any face of this person
    is_erased    their bytes are gone from the file
    """

    kind: str
    at: datetime
    person_id: str
    is_done: bool
    templates: int = 0
    credentials: int = 0
    is_gone: bool = False
    is_erased: bool = False


class Rights:
    """Acts on a thread that may wait, one at a time."""

    def __init__(self, behind: Behind) -> None:
        self._behind = behind

    def correct(self, person_id: str, label: str) -> Receipt:
        """Another name; where there is a hub, only that it is wrong."""
        if is_linked():
            return self._ask(person_id, "correct")
        try:
            shown = check_label(label)
        except EnrolmentRefused as error:
            raise PageRefused(str(error), "page.bad_text", 422) from None
        with self._writing(person_id) as (writer, person):
            writer.put_person(replace(person, label=shown))
        return self._did(Receipt("correct", self._behind.clock.now(), person_id, True), "corrected")

    def withdraw(self, person_id: str) -> Receipt:
        """The consent ends, and with it every face; cards and PIN stay, which need none."""
        if is_linked():
            return self._ask(person_id, "withdraw")
        with self._writing(person_id) as (writer, person):
            templates = len(writer.templates(person_id))
            writer.put_person(replace(person, consent=None))
            is_erased = not writer.is_erasure_due
        done = Receipt("withdraw", self._behind.clock.now(), person_id, True, templates,
                       is_gone=self._is_gone(person_id), is_erased=is_erased)
        return self._did(done, "consent_withdrawn")

    def delete(self, person_id: str) -> Receipt:
        """The record, every face, card and PIN."""
        if is_linked():
            return self._ask(person_id, "delete")
        with self._writing(person_id) as (writer, _):
            templates, credentials = len(writer.templates(person_id)), len(writer.credentials(person_id))
            writer.drop_person(person_id)
            is_erased = not writer.is_erasure_due
        done = Receipt("delete", self._behind.clock.now(), person_id, True, templates, credentials,
                       self._is_gone(person_id), is_erased)
        return self._did(done, "removed")

    def _ask(self, person_id: str, kind: str) -> Receipt:
        if not self._behind.put(entry(REQUEST, person_id, what=kind, source="kiosk")):
            raise PageRefused("the request could not be taken; ask again", "page.busy", 503)
        return Receipt(kind, self._behind.clock.now(), person_id, False)

    def _did(self, done: Receipt, reason: str) -> Receipt:
        self._behind.put(entry(reason, done.person_id, source="own page", templates=done.templates,
                               credentials=done.credentials))
        return done

    def _writing(self, person_id: str) -> _Writing:
        return _Writing(self._behind, person_id)

    def _is_gone(self, person_id: str) -> bool:
        behind, pause = self._behind, threading.Event()
        until = behind.clock.mono() + GONE_S
        while behind.roster().gallery.has_person(person_id) and behind.clock.mono() < until:
            pause.wait(0.02)
        return not behind.roster().gallery.has_person(person_id)


class _Writing:
    """The gallery with that person in it, to be written; PageRefused where they are not there any more."""

    def __init__(self, behind: Behind, person_id: str) -> None:
        self._behind, self._person_id = behind, person_id

    def __enter__(self) -> tuple[CacheWriter, Person]:
        behind = self._behind
        self._writer = CacheWriter.open(behind.where.gallery_db, behind.key, behind.clock)
        person = self._writer.person(self._person_id)
        if person is None:
            self._writer.close()
            raise PageRefused("nothing is held about this person any more", "own.nothing", 410)
        return self._writer, person

    def __exit__(self, *error: object) -> None:
        self._writer.close()
