"""Enrolment at the hub: pictures in, templates in the ledger, or a refusal that says why. All of it or nothing.

Looks at pictures with the terminal's own code, gates and model pack, so that a template made here and one made at a
door are interchangeable. No way in leads around the consent. Called by the API, the CLI and the import.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from device.clock import Clock
from device.enrolment import MOST_PHOTOS, template_of
from device.errors import EnrolmentRefused
from device.face.card import Card
from device.face.match import compare
from device.face.photo import decode_photo
from device.face.portrait import Examiner
from device.face.types import Probe
from device.store.records import Consent
from sync.hub import consent as consents_of
from sync.hub.consent import Agreement, Consents
from sync.hub.faces import Faces
from sync.hub.people import Newcomer, People
from sync.hub.storage import Storage, Tx


@dataclass(frozen=True, slots=True)
class Photo:
    """A picture as it came, and the name by which a refusal speaks of it."""

    name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Enrolled:
    """Who was enrolled, and the quality (0..1) of each picture."""

    person_id: str
    template_ids: tuple[str, ...]
    qualities: tuple[float, ...]
    consent_id: str


@dataclass(frozen=True, slots=True)
class Eye:
    """What looks at pictures: loaded when first needed, since a hub that enrols nobody needs no networks."""

    card: Card
    examiner: Examiner


@dataclass(frozen=True, slots=True, eq=False)
class _Shot:
    """A picture that passed the gates."""

    photo: Photo
    probe: Probe


class Enroller:
    """Enrols, one piece of work at a time."""

    def __init__(self, storage: Storage, people: People, consents: Consents, clock: Clock, eye: Callable[[], Eye],
                 faces: Callable[[Card], Faces], keep_photos: bool = False) -> None:
        """keep_photos  whether pictures are kept, each sealed under its template's key; not by default"""
        self._storage, self._people, self._consents, self._clock = storage, people, consents, clock
        self._make_eye, self._make_faces, self._keep_photos = eye, faces, keep_photos
        self._eye: Eye | None = None
        self._faces: Faces | None = None
        # Not a queue: the caller waits for the answer anyway, and the networks bear one caller at a time.
        self._looking = threading.Lock()

    @property
    def agreement(self) -> Agreement:
        """What this hub has people agree to."""
        return consents_of.WITH_PICTURES if self._keep_photos else consents_of.PLAIN

    def enrol(self, newcomer: Newcomer, photos: Sequence[Photo], consent: Consent | None,
              also: Callable[[Tx, Enrolled], None] | None = None) -> Enrolled:
        """A new person with templates from one or more pictures.

        also  what is to be written in the same transaction
        EnrolmentRefused, PictureRefused, FieldRefused or InTheWay say what is wrong; nothing is stored then.
        """
        agreed = consents_of.check(consent, self._clock.now())
        shots = self._look(photos)
        with self._storage.write() as tx:
            self._refuse_known(tx, shots, None)
            done = self._store(tx, self._people.add(newcomer, tx), shots, agreed)
            if also is not None:
                also(tx, done)
            return done

    def add_faces(self, person_id: str, photos: Sequence[Photo], consent: Consent | None = None) -> Enrolled:
        """More templates for a person, under a new consent or the one they have given."""
        with self._storage.read() as tx:
            self._people.get(person_id)
            agreed = consents_of.check(consent or self._consents.current(person_id, tx), self._clock.now())
        shots = self._look(photos)
        with self._storage.write() as tx:
            self._refuse_known(tx, shots, person_id)
            return self._store(tx, person_id, shots, agreed)

    def _look(self, photos: Sequence[Photo]) -> list[_Shot]:
        if not 1 <= len(photos) <= MOST_PHOTOS:
            raise EnrolmentRefused(f"{len(photos)} pictures; give 1 to {MOST_PHOTOS}")
        with self._looking:
            if self._eye is None:
                self._eye = self._make_eye()
            examiner = self._eye.examiner
            return [_Shot(photo, examiner.one(decode_photo(photo.data, photo.name), photo.name)) for photo in photos]

    def _refuse_known(self, tx: Tx, shots: Sequence[_Shot], person_id: str | None) -> None:
        faces = self._current_faces(tx)
        for shot in shots:
            found = faces.holder(shot.probe.vector, person_id)
            if found is not None:
                label = self._people.get(found.person_id).person.label
                raise EnrolmentRefused(f"{shot.photo.name}: this face is enrolled already, as {label} "
                                       f"({found.person_id}); remove that person first, or leave it")
            likeness = faces.likeness(shot.probe.vector, person_id) if person_id else None
            if likeness is not None and likeness < faces.threshold.score:
                raise EnrolmentRefused(f"{shot.photo.name} does not seem to show person {person_id}")
        for shot in shots[1:]:
            if compare(shots[0].probe.vector, shot.probe.vector) < faces.threshold.score:
                raise EnrolmentRefused(f"{shot.photo.name} does not seem to show the same person as "
                                       f"{shots[0].photo.name}")

    def _store(self, tx: Tx, person_id: str, shots: Sequence[_Shot], consent: Consent) -> Enrolled:
        made = [template_of(shot.probe, person_id, self._clock) for shot in shots]
        # Who was told that the picture is not kept has it not kept, whatever the hub does since.
        is_kept = self._keep_photos and consents_of.NOT_KEPT not in consent.kinds
        pictures = [shot.photo.data for shot in shots] if is_kept else None
        self._people.add_faces(person_id, made, consent, pictures, tx)
        return Enrolled(person_id, tuple(one.template_id for one in made), tuple(one.quality for one in made),
                        consent.consent_id)

    def _current_faces(self, tx: Tx) -> Faces:
        """Up to date within the transaction; nothing that this transaction adds is taken in, as it may be undone."""
        if self._faces is None:
            if self._eye is None:
                raise EnrolmentRefused("no picture has been looked at")
            self._faces = self._make_faces(self._eye.card)
        self._faces.refresh(tx)
        return self._faces
