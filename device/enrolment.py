"""Enrolment on a stand-alone terminal: photos in, a person with templates in gallery.db, or a refusal that says why.

Used by `doorctl enrol` and by the rehearsal. The terminal itself enrols only where no hub does.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from device.clock import Clock
from device.errors import EnrolmentRefused
from device.face.gallery import Gallery
from device.face.match import compare, search
from device.face.portrait import Examiner, Finding
from device.face.template import quantise
from device.face.threshold import Threshold
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


def enrol(label: str, photos: Sequence[Photo], consent: Consent, examiner: Examiner, gallery: Gallery,
          threshold: Threshold, writer: CacheWriter, clock: Clock) -> Enrolled:
    """Enrol one person from one or more photos; all of it is stored, or nothing.

    gallery, threshold  as the door itself would use them: a face that the door would take for somebody is enrolled
                        already. EnrolmentRefused names the photo and the reason.
    """
    shown = check_label(label)
    if not 1 <= len(photos) <= MOST_PHOTOS:
        raise EnrolmentRefused(f"{len(photos)} photos; give 1 to {MOST_PHOTOS}")
    findings = [examiner.one(photo.pixels, photo.name) for photo in photos]
    _refuse_known(findings, photos, gallery, threshold, writer)
    _refuse_strangers(findings, photos, threshold)
    person = Person(person_id=secrets.token_hex(16), label=shown, consent=consent)
    templates = [_template(person.person_id, finding, clock) for finding in findings]
    with writer.together():
        if not writer.rules():
            writer.put_rule(AccessRule("everyone", "everyone"))
        writer.put_person(person)
        for template in templates:
            writer.put_template(template)
    return Enrolled(person.person_id, tuple(template.template_id for template in templates),
                    tuple(template.quality for template in templates))


def _refuse_known(findings: Sequence[Finding], photos: Sequence[Photo], gallery: Gallery, threshold: Threshold,
                  writer: CacheWriter) -> None:
    for finding, photo in zip(findings, photos, strict=True):
        for candidate in search(gallery, _vector(finding), 1, threshold.score):
            known = writer.person(candidate.person_id)
            holder = known.label if known else candidate.person_id
            raise EnrolmentRefused(f"{photo.name}: this face is enrolled already, as {holder} "
                                   f"({candidate.person_id}); remove that person first, or leave it")


def _refuse_strangers(findings: Sequence[Finding], photos: Sequence[Photo], threshold: Threshold) -> None:
    """Several photos must show one person."""
    for finding, photo in zip(findings[1:], photos[1:], strict=True):
        if compare(_vector(findings[0]), _vector(finding)) < threshold.score:
            raise EnrolmentRefused(f"{photo.name} does not seem to show the same person as {photos[0].name}")


def _template(person_id: str, finding: Finding, clock: Clock) -> Template:
    vector, scale = quantise(_vector(finding))
    return Template(secrets.token_hex(16), person_id, finding.probe.model_id if finding.probe else "", vector, scale,
                    finding.quality.value, clock.now())


def _vector(finding: Finding) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    if finding.probe is None:
        raise EnrolmentRefused("the recogniser gives no vector for this face; use another picture")
    return finding.probe.vector
