"""Finding the person whom somebody means: by id, by the beginning of one, or by the whole name."""

from __future__ import annotations

from collections.abc import Iterable

from device.errors import EnrolmentRefused
from device.store.records import Person

LEAST = 4


def person_meant(people: Iterable[Person], said: str) -> Person:
    """EnrolmentRefused where nobody, or more than one person, is meant."""
    everyone = list(people)
    named = [one for one in everyone if one.label.casefold() == said.casefold()]
    found = named or [one for one in everyone if len(said) >= LEAST and one.person_id.startswith(said)]
    if len(found) == 1:
        return found[0]
    reason = f"{len(found)} people are meant by" if found else "nobody is meant by"
    raise EnrolmentRefused(f"{reason} {said[:60]!r}: give the whole name, or at least {LEAST} digits of the id as "
                           "`doorctl person list` shows it")
