"""From a page's body to records as the store takes them, each with its place in the stream's digest.

A record that is not what it says (another id than its key's, a body of another form, a vector that cannot be
compared) is refused alone and counted: the rest of the page goes on, and the stream's digest tells the hub.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec

from device.store import body
from device.store.cache import TEMPLATE_HEAD
from device.store.policy_records import KINDS
from device.store.records import Credential, Position, RevokedPass
from device.store.slots import bucket_of
from device.store.synced import Dropped, Told
from device.store.trust import MessageRefused
from sync.wire.digest import placed
from sync.wire.messages import Change, PageBody, TemplateColumns
from sync.wire.streams import person_of
from sync.wire.templates import rows

# What the body of these kinds must be, and which field is its key; other kinds are kept as they come.
_SHAPES: dict[str, tuple[type[Any], str]] = {
    **KINDS, "credential": (Credential, "credential_id"), "pass": (RevokedPass, "pass_id"),
    "position": (Position, "person_id"),  # its key names the person and the stream
}


class _Consent(msgspec.Struct, frozen=True):
    consent_id: str
    text_version: str
    kinds: list[str]
    purposes: list[str]
    given_at: str
    means: str
    valid_until: str | None = None


class _Person(msgspec.Struct, frozen=True):
    """`records.Person` as its body has it. Read so in 3 µs, by `store.body` in 38: it decides about snapshots."""

    person_id: str
    label: str
    groups: tuple[str, ...] = ("everyone",)
    person_class: Literal["regular", "visitor", "blocked", "accessible"] = "regular"
    valid_from: str | None = None
    valid_until: str | None = None
    consent: _Consent | None = None


_people = msgspec.json.Decoder(_Person)


@dataclass(frozen=True, slots=True)
class Arrived:
    """One page's body, ready for the store; refused counts records that were left out, buckets are a repair's."""

    drops: list[Dropped]
    told: list[Told]
    refused: int = 0
    buckets: tuple[int, ...] = ()


def read_page(page: PageBody) -> Arrived:
    """What the page drops and puts; MessageRefused where columns are malformed."""
    drops = [Dropped(change.kind, change.key, bucket_of(change.kind, change.key), change.seq)
             for change in page.drops]
    told, refused = [], 0
    for change in page.puts:
        try:
            told.append(_told(change))
        except MessageRefused:
            refused += 1
    for columns in page.templates:
        found = read_columns(columns)
        told += found
        refused += columns.count - len(found)
    return Arrived(drops, told, refused, page.buckets)


def read_columns(columns: TemplateColumns) -> list[Told]:
    """Templates that can be compared; MessageRefused where the columns themselves are malformed."""
    # The loop that decides how fast a snapshot is taken in; nothing in it is looked up twice.
    found, model_id, head = [], columns.model_id, TEMPLATE_HEAD.pack
    is_sound = _sound_vectors(columns) if columns.count else []
    for row, is_usable in zip(rows(columns), is_sound, strict=True):
        if is_usable:
            _, template_id, person_id, vector, scale, quality, created_ms, body_of = row
            bucket, leaf = placed("template", template_id, row[0], body_of)
            found.append(Told("template", template_id, bucket, row[0], leaf,
                              head(scale, quality / 255, created_ms / 1000) + vector, person_id, model_id))
    return found


def _told(change: Change) -> Told:
    kind, key = change.kind, change.key
    if change.op != "put" or kind == "template":
        raise MessageRefused(f"{kind} {key}: templates travel in columns, drops among the drops")
    bucket, leaf = placed(kind, key, change.seq, change.body)
    if kind == "person":
        return Told(kind, key, bucket, change.seq, leaf, change.body, is_consented=_is_consented(change))
    told = Told(kind, key, bucket, change.seq, leaf, change.body)
    if kind in _SHAPES:
        record = _record(change)
        if isinstance(record, Credential):
            return told._replace(person_id=record.person_id, method=record.method.value, secret=record.secret)
    return told


def _record(change: Change) -> Any:
    shape, key = _SHAPES[change.kind]
    try:
        record = body.decode(shape, change.body)
    except ValueError as error:
        raise MessageRefused(f"{change.kind} {change.key}: {error}") from None
    if getattr(record, key) != (person_of(change.key) if change.kind == "position" else change.key):
        raise MessageRefused(f"{change.kind} {change.key} holds another id")
    return record


def _is_consented(change: Change) -> bool:
    try:
        person = _people.decode(change.body)
        consent = person.consent
        _check_moment(person.valid_from)
        _check_moment(person.valid_until)
        if consent is not None:
            _check_moment(consent.given_at)
            _check_moment(consent.valid_until)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        raise MessageRefused(f"person {change.key}: not a Person") from None
    if person.person_id != change.key:
        raise MessageRefused(f"person {change.key} holds another id")
    return consent is not None and bool(consent.consent_id) and bool(consent.text_version)


def _check_moment(text: str | None) -> None:
    """ValueError where it is no moment with a time zone."""
    if text is not None and datetime.fromisoformat(text).tzinfo is None:
        raise ValueError


def _sound_vectors(columns: TemplateColumns) -> list[bool]:
    """Which vectors have unit length; rounding to int8 moves it by less than one per cent."""
    if len(columns.vectors) != columns.count * columns.dimensions or len(columns.scales) != 4 * columns.count:
        raise MessageRefused(f"columns of {columns.count} templates: vectors or scales have another length")
    # No numpy: it would cost this process 12 MB. The squares of all elements are two bytes each, looked up at once.
    low, high = columns.vectors.translate(_SQUARES_LOW), columns.vectors.translate(_SQUARES_HIGH)
    width = columns.dimensions
    scales = struct.unpack(f"<{columns.count}f", columns.scales)
    starts = range(0, columns.count * width, width)
    return [0.81 < (sum(low[at:at + width]) + 256 * sum(high[at:at + width])) * scale * scale < 1.21
            for at, scale in zip(starts, scales, strict=True)]


_SQUARES = [(value - 256 * (value > 127)) ** 2 for value in range(256)]
_SQUARES_LOW, _SQUARES_HIGH = bytes(square % 256 for square in _SQUARES), bytes(square // 256 for square in _SQUARES)
