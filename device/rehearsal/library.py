"""Where the show enrols people and removes them while the door runs: the terminal's own gallery, or a hub."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol

from device.clock import Clock
from device.commands.opened import load_enrolled
from device.config import Config
from device.consent import record_consent
from device.enrolment import Photo, enrol
from device.face.card import Card
from device.face.models import Models
from device.face.portrait import Examiner
from device.face.quality import ENROLMENT
from device.frame import Pixels
from device.store.cache_writer import CacheWriter
from device.store.places import Places
from device.store.seal import load_key


class Library(Protocol):
    """Called by the show's director; what it does is committed when it returns, or a moment before."""

    def enrol(self, label: str, photo: Pixels) -> str:
        """Enrol with consent; the person's id, once it is committed."""
        ...

    def remove(self, person_id: str) -> None:
        """Remove for good; committed when it returns."""
        ...


class OwnLibrary:
    """The terminal's own gallery, written as `doorctl` writes it."""

    def __init__(self, config: Config, where: Places, card: Card, clock: Clock) -> None:
        self._config, self._where, self._card, self._clock = config, where, card, clock

    def enrol(self, label: str, photo: Pixels) -> str:
        with self._writer() as writer:
            known = load_enrolled(writer, self._card, self._config)
            examiner = Examiner(Models.load(self._card), ENROLMENT)
            return enrol(label, [Photo("enrolment photo", photo)], record_consent(self._clock, "rehearsal"), examiner,
                         known.gallery, known.threshold, writer, self._clock).person_id

    def remove(self, person_id: str) -> None:
        with self._writer() as writer:
            writer.drop_person(person_id)

    @contextlib.contextmanager
    def _writer(self) -> Iterator[CacheWriter]:
        writer = CacheWriter.open(self._where.gallery_db, load_key(self._where), self._clock)
        try:
            yield writer
        finally:
            writer.close()
