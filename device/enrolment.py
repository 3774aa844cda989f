"""Enrolment on a stand-alone terminal: photos in, a person with templates in gallery.db, or a refusal that says why.

Used by `doorctl enrol` and by the rehearsal. The terminal itself enrols only where no hub does.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from device.clock import Clock
from device.errors import EnrolmentRefused
from device.face.gallery import Gallery
from device.face.match import compare, search
from device.face.portrait import Examiner
from device.face.template import quantise
from device.face.threshold import Threshold
from device.face.types import Probe
from device.frame import Pixels
from device.store.cache_writer import CacheWriter
from device.store.records import AccessRule, Consent, Person, Template

LONGEST_LABEL = 100
MOST_PHOTOS = 20


@dataclass(frozen=True, slots=True)
class Photo:
    """A decoded picture and the name under which a refusal speaks of it."""

    name: str
    pixels: Pixels


@dataclass(frozen=True, slots=True)
class Enrolled:
    """Who was enrolled, and the quality (0..1) of each photo."""

    person_id: str
    template_ids: tuple[str, ...]
    qualities: tuple[float, ...]


def check_label(label: str) -> str:
    """The name as it will be shown; EnrolmentRefused where it cannot be one."""
    shown = " ".join(label.split())
    if not shown or not shown.isprintable():
        raise EnrolmentRefused("the name must hold printable characters")
    if len(shown) > LONGEST_LABEL:
        raise EnrolmentRefused(f"the name has {len(shown)} characters; at most {LONGEST_LABEL} are kept")
    return shown


@dataclass(frozen=True, slots=True, eq=False)
class _Shot:
    """One accepted photo."""

    name: str
    probe: Probe


def enrol(label: str, photos: Sequence[Photo], consent: Consent, examiner: Examiner, gallery: Gallery,
          threshold: Threshold, writer: CacheWriter, clock: Clock,
          each: Callable[[], None] | None = None) -> Enrolled:
    """Enrol one person from one or more photos; all of it is stored, or nothing.

    gallery, threshold  as the door itself would use them: a face that the door would take for somebody is enrolled
                        already. EnrolmentRefused names the photo and the reason.
    each                called once per photo that was examined, to show progress: each takes some tenths of a second
    """
    shown = check_label(label)
    if not 1 <= len(photos) <= MOST_PHOTOS:
        raise EnrolmentRefused(f"{len(photos)} photos; give 1 to {MOST_PHOTOS}")
    shots = []
    for photo in photos:
        shots.append(_Shot(photo.name, examiner.one(photo.pixels, photo.name)))
        if each:
            each()
    _refuse_known(shots, gallery, threshold, writer)
    _refuse_mixture(shots, threshold)
    person = Person(person_id=secrets.token_hex(16), label=shown, consent=consent)
    templates = [template_of(shot.probe, person.person_id, clock) for shot in shots]
    with writer.together():
        if not writer.records("rule", AccessRule):
            writer.put_rule(AccessRule("everyone", "everyone"))
        writer.put_person(person)
        for template in templates:
            writer.put_template(template)
    return Enrolled(person.person_id, tuple(template.template_id for template in templates),
                    tuple(template.quality for template in templates))


def template_of(probe: Probe, person_id: str, clock: Clock) -> Template:
    """The probe as it is stored: a new id, its vector rounded to int8 with one scale."""
    vector, scale = quantise(probe.vector)
    return Template(secrets.token_hex(16), person_id, probe.model_id, vector, scale, probe.quality.value, clock.now())


def _refuse_known(shots: Sequence[_Shot], gallery: Gallery, threshold: Threshold, writer: CacheWriter) -> None:
    for shot in shots:
        for candidate in search(gallery, shot.probe.vector, 1, threshold.score):
            known = writer.person(candidate.person_id)
            holder = known.label if known else candidate.person_id
            raise EnrolmentRefused(f"{shot.name}: this face is enrolled already, as {holder} "
                                   f"({candidate.person_id}); remove that person first, or leave it")


def _refuse_mixture(shots: Sequence[_Shot], threshold: Threshold) -> None:
    for shot in shots[1:]:
        if compare(shots[0].probe.vector, shot.probe.vector) < threshold.score:
            raise EnrolmentRefused(f"{shot.name} does not seem to show the same person as {shots[0].name}")
