"""The records that the two files hold, as plain values; standard library only.

Written by whoever enrols (the hub, or `doorctl` on a stand-alone terminal), read by `store.cache` and from
there by the door's policy and the gallery.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class Method(Enum):
    """One way of showing who one is."""

    FACE = "face"
    CARD = "card"
    PIN = "pin"
    QR = "qr"


class Passback(Enum):
    """Anti-passback mode of a rule."""

    OFF = "off"
    SOFT = "soft"
    HARD = "hard"
    TIMED = "timed"


class Direction(Enum):
    """Which way somebody passes a door."""

    ENTRY = "entry"
    EXIT = "exit"


class PersonClass(Enum):
    """What kind of person this is at this site; rules and release times may differ by it."""

    REGULAR = "regular"
    VISITOR = "visitor"
    BLOCKED = "blocked"
    ACCESSIBLE = "accessible"


@dataclass(frozen=True, slots=True)
class Consent:
    """The record without which no template is made or kept.

    kinds and purposes name the kinds of data and what they are used for; means says how consent was given
    (paper, screen, import); text_version names the text that the person saw.
    """

    consent_id: str
    text_version: str
    kinds: tuple[str, ...]
    purposes: tuple[str, ...]
    given_at: datetime
    means: str
    valid_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """Someone who may be let in.

    person_id  random, 32 hex digits; the customer's own id stays at the hub
    label      the name to show, sealed at rest; never in the journal
    groups     the access groups that rules speak of
    """

    person_id: str
    label: str
    groups: tuple[str, ...] = ("everyone",)
    person_class: PersonClass = PersonClass.REGULAR
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    consent: Consent | None = None

    def __repr__(self) -> str:
        return f"Person({self.person_id})"


@dataclass(frozen=True, slots=True)
class Template:
    """One enrolled face: the unit vector rounded to int8 with one scale.

    template_id  random, 32 hex digits
    model_id     of the pack that made it; templates of different models are never compared
    vector       D bytes, each an int8; element i of the unit vector is about vector[i] * scale
    quality      0..1, the picture it was made from
    """

    template_id: str
    person_id: str
    model_id: str
    vector: bytes
    scale: float
    quality: float
    created_at: datetime

    def __repr__(self) -> str:
        return f"Template({self.template_id}, person {self.person_id}, {self.model_id})"


@dataclass(frozen=True, slots=True)
class Credential:
    """Something other than a face: a PIN's hash, a card's number; the secret part is sealed at rest."""

    credential_id: str
    person_id: str
    method: Method
    secret: bytes
    is_duress: bool = False
    valid_until: datetime | None = None

    def __repr__(self) -> str:
        return f"Credential({self.credential_id}, {self.method.value} of person {self.person_id})"


def sought(method: Method, secret: bytes) -> bytes:
    """The part of a credential's secret by which it is found: all of it, but of a PIN only its number, which stands
    before the hash (`credentials.pin`)."""
    return secret.partition(b"\0")[0] if method is Method.PIN else secret


@dataclass(frozen=True, slots=True)
class Period:
    """A span of one day in local time, minutes after midnight; start < end <= 1440."""

    start_minute: int
    end_minute: int


WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a rule or plan holds: seven days of periods, Monday first, and the days that differ.

    special_days  ISO date -> periods; they outrank holidays and the week
    on_holiday    periods of every day that a Holiday names; None = holidays are days like any other
    """

    schedule_id: str
    week: tuple[tuple[Period, ...], ...]
    special_days: tuple[tuple[str, tuple[Period, ...]], ...] = ()
    on_holiday: tuple[Period, ...] | None = None


@dataclass(frozen=True, slots=True)
class Holiday:
    """Days of the site's calendar, ISO dates, both included."""

    holiday_id: str
    first: str
    last: str


ALWAYS = Schedule("always", ((Period(0, 1440),),) * 7)


@dataclass(frozen=True, slots=True)
class AccessRule:
    """Access level: who (a group), where (doors), when (a schedule), how (sets of methods).

    doors    door ids; empty means every door
    methods  each inner tuple is one combination that suffices, e.g. ((FACE,), (CARD, PIN))
    persons  how many different persons whom this rule admits must show themselves together (two-person rule: 2)
    escort   group of which somebody must show themselves too; None = no escort
    """

    rule_id: str
    group: str
    doors: tuple[str, ...] = ()
    schedule_id: str = "always"
    methods: tuple[tuple[Method, ...], ...] = ((Method.FACE,),)
    passback: Passback = Passback.OFF
    release_s: float | None = None
    persons: int = 1
    escort: str | None = None


@dataclass(frozen=True, slots=True)
class ModePlan:
    """A mode by the calendar: the door is free, or locked down, while a schedule is active.

    doors        door ids; empty means every door
    mode         free or lockdown
    first_group  free begins only once somebody of this group was admitted within the period (first person in)
    """

    plan_id: str
    mode: str
    schedule_id: str
    doors: tuple[str, ...] = ()
    first_group: str | None = None


@dataclass(frozen=True, slots=True)
class Area:
    """A part of the site that doors lead into and out of.

    limit     persons who may be inside; None = any number
    timed_s   for rules with timed anti-passback: seconds after which a person may enter again
    forget_h  hours after which a position counts no longer, whatever was forgotten at the exit; 0 = never
    """

    area_id: str
    limit: int | None = None
    timed_s: float = 300.0
    forget_h: float = 16.0


@dataclass(frozen=True, slots=True)
class DoorSides:
    """Which areas a door joins; "" is the world outside."""

    door_id: str
    outside: str = ""
    inside: str = ""


@dataclass(frozen=True, slots=True)
class Position:
    """In which area a person is since when, as far as doors have seen; "" is none."""

    person_id: str
    area_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class RevokedPass:
    """A QR pass that counts no longer although its signature holds; kept until it would have expired."""

    pass_id: str
    until: datetime


@dataclass(frozen=True, slots=True)
class UsedPass:
    """A QR pass that has admitted somebody; kept until it would have expired."""

    pass_id: str
    until: datetime


@dataclass(frozen=True, slots=True)
class NewEntry:
    """What a caller hands to the journal; the journal adds identity, order and hashes.

    kind       one word: release, refusal, alarm, mode, command, config, start, stop, fault, gallery, ...
    reason     a code of `device.door.reasons`
    person_id  random id, never a name
    detail     plain values only (numbers, short strings); no vector, no picture, no PIN
    """

    kind: str
    reason: str = ""
    person_id: str | None = None
    detail: tuple[tuple[str, str | int | float | bool | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal, as stored.

    journal_id  random at the journal's creation, so that a restored or set-aside journal never collides
    seq         from 1, contiguous
    hash        SHA-256 over prev_hash and every other field in canonical form, hex
    """

    journal_id: str
    seq: int
    at: datetime
    mono: float
    boot_id: str
    clock_quality: str
    kind: str
    reason: str
    person_id: str | None
    detail: tuple[tuple[str, str | int | float | bool | None], ...]
    prev_hash: str
    hash: str
