"""What this terminal holds about one person, as plain values for their own page; read anew each time."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from device.door.reasons import REASONS, Severity
from device.errors import StoreError
from device.kiosk.behind import Behind
from device.store.cache import CacheReader
from device.store.journal import JournalReader
from device.store.places import is_linked
from device.store.records import Credential, Entry, Method, Person, sought

LOOK_BACK = 5000
MOST_PASSES = 30
REQUEST = "person_request"
_PASSES = frozenset({Severity.GRANT, Severity.REFUSAL})
_TOLD = frozenset({"entered", "left", "access_not_taken", "attendance"})


@dataclass(frozen=True, slots=True)
class Request:
    """Something that the person has asked of the hub; state: recorded here, sent (the hub has it), or done."""

    kind: str
    at: datetime
    state: str


@dataclass(frozen=True, slots=True)
class Pass:
    """Once at this door; reason is a code of the table."""

    at: datetime
    reason: str
    direction: str = ""


@dataclass(frozen=True, slots=True)
class Holding:
    """templates counts faces; cards and numbers are what the person knows them by."""

    person: Person
    templates: int
    newest_template: datetime | None
    cards: int
    numbers: tuple[str, ...]
    passes: tuple[Pass, ...]
    requests: tuple[Request, ...]


def holding(behind: Behind, person_id: str) -> Holding | None:
    """All of it; None where nothing is held any more. StoreError, SealBroken where it cannot be read."""
    reader = CacheReader.open(behind.where.gallery_db, behind.key)
    try:
        person = reader.person(person_id)
        if person is None:
            return None
        templates, credentials = reader.templates(person_id), reader.credentials(person_id)
        entries, acked = _entries(behind, reader, person_id)
    finally:
        reader.close()
    return Holding(person, len(templates), max((one.created_at for one in templates), default=None),
                   sum(one.method is Method.CARD for one in credentials), _numbers(credentials),
                   tuple(_passes(entries)), tuple(_requests(entries, acked, person, len(templates))))


def told(found: Holding) -> dict[str, Any]:
    """The same as the page gets it."""
    person, consent = found.person, found.person.consent
    return {
        "label": person.label, "groups": list(person.groups), "class": person.person_class.value,
        "valid_from": _at(person.valid_from), "valid_until": _at(person.valid_until),
        "templates": found.templates, "newest_template": _at(found.newest_template), "cards": found.cards,
        "numbers": list(found.numbers), "is_linked": is_linked(),
        "consent": None if consent is None else {
            "id": consent.consent_id, "text": consent.text_version, "kinds": list(consent.kinds),
            "purposes": list(consent.purposes), "given_at": _at(consent.given_at), "means": consent.means,
            "valid_until": _at(consent.valid_until)},
        "passes": [{"at": _at(one.at), "reason": one.reason, "direction": one.direction} for one in found.passes],
        "requests": [{"kind": one.kind, "at": _at(one.at), "state": one.state} for one in found.requests],
    }


def _entries(behind: Behind, reader: CacheReader, person_id: str) -> tuple[list[Entry], int]:
    """The person's entries among the newest, newest first, and how far the hub has them. A journal that cannot be
    read shows no passes, and keeps nobody from the rest."""
    with contextlib.suppress(StoreError):
        journal = JournalReader.open(behind.where.journal_db)
        try:
            own = [one for one in journal.last(LOOK_BACK) if one.person_id == person_id]
            return own[::-1], reader.acked(journal.journal_id)
        finally:
            journal.close()
    return [], 0


def _passes(entries: list[Entry]) -> list[Pass]:
    found = [Pass(one.at, one.reason, str(dict(one.detail).get("direction") or "")) for one in entries
             if one.reason in _TOLD or (one.reason in REASONS and REASONS[one.reason].severity in _PASSES)]
    return found[:MOST_PASSES]


def _requests(entries: list[Entry], acked: int, person: Person, templates: int) -> list[Request]:
    return [Request(kind, one.at, _state(kind, one.seq, acked, person, templates)) for one in entries
            if one.reason == REQUEST and (kind := str(dict(one.detail).get("what") or ""))]


def _state(kind: str, seq: int, acked: int, person: Person, templates: int) -> str:
    """A withdrawal is done when no face is left; a deletion leaves no page on which it could be seen."""
    if kind == "withdraw" and templates == 0 and person.consent is None:
        return "done"
    return "sent" if seq <= acked else "recorded"


def _numbers(credentials: list[Credential]) -> tuple[str, ...]:
    found = (sought(one.method, one.secret).decode("ascii", "replace") for one in credentials
             if one.method is Method.PIN)
    return tuple(dict.fromkeys(found))


def _at(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
