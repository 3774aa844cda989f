"""The journal's hash chain: how an entry is hashed, and how a run of entries is checked. Pure.

hash = SHA-256 over a canonical JSON list: format, journal_id, seq, at, mono, boot_id, clock_quality, kind, reason,
person_id, detail, prev_hash. ASCII only, no blanks; `at` in UTC with microseconds; a float is written as
["f", C99 hexadecimal form], because decimal renderings of one float differ between languages. The first entry's
prev_hash is SHA-256 of "door journal " and the journal_id.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from device.errors import JournalBroken, StoreError
from device.store.records import Entry, NewEntry

FORMAT = "door-journal-1"
MAX_TEXT = 256
MAX_DETAILS = 64
MAX_WHOLE = 2**53  # whole numbers that every reader of JSON keeps exact


def genesis(journal_id: str) -> str:
    """What the first entry of a journal follows."""
    return hashlib.sha256(f"door journal {journal_id}".encode()).hexdigest()


def entry_hash(entry: Entry) -> str:
    """The hash that this entry must bear."""
    fields = [
        FORMAT, entry.journal_id, entry.seq, write_at(entry.at), _exact(entry.mono), entry.boot_id,
        entry.clock_quality, entry.kind, entry.reason, entry.person_id,
        [[key, _exact(value)] for key, value in entry.detail], entry.prev_hash,
    ]
    text = json.dumps(fields, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def follow(entries: Iterable[Entry], seq: int, prev_hash: str) -> tuple[int, str]:
    """Check entries that must follow (seq, prev_hash); the last one's seq and hash.

    JournalBroken names the first entry that is missing, altered or out of order.
    """
    for entry in entries:
        if entry.seq != seq + 1:
            raise JournalBroken(f"journal entry {seq + 1} is missing (the next one is {entry.seq})")
        if entry.prev_hash != prev_hash:
            raise JournalBroken(f"journal entry {entry.seq} does not follow entry {seq}")
        if not _is_own(entry):
            raise JournalBroken(f"journal entry {entry.seq} has been altered")
        seq, prev_hash = entry.seq, entry.hash
    return seq, prev_hash


def _is_own(entry: Entry) -> bool:
    """Whether an entry bears its own hash; one with bytes where rot has left no text has none."""
    try:
        return entry_hash(entry) == entry.hash
    except (TypeError, ValueError):
        return False


def check_new(entry: NewEntry) -> None:
    """StoreError where an entry holds what a journal must not: anything but short, plain, finite values."""
    for name, text in (("kind", entry.kind), ("reason", entry.reason), ("person_id", entry.person_id)):
        if text is not None and (type(text) is not str or not _is_text(text)):
            raise StoreError(f"a journal entry's {name} must be a short text")
    if not entry.kind:
        raise StoreError("a journal entry needs a kind")
    if len(entry.detail) > MAX_DETAILS:
        raise StoreError(f"a journal entry holds at most {MAX_DETAILS} details")
    for key, value in entry.detail:
        if type(key) is not str or not _is_text(key):
            raise StoreError("a journal entry's details are named by short texts")
        if not _is_plain(value):
            raise StoreError(f"journal detail {key} must be a finite number, a short text, true, false or nothing")


def write_at(at: datetime) -> str:
    """A moment as stored and hashed: UTC, microseconds, `2026-01-05T08:00:00.000000Z`."""
    return at.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def read_at(text: str) -> datetime:
    """The moment that `write_at` wrote; ValueError for anything else."""
    if len(text) != 27 or text[-1] != "Z":
        raise ValueError("no moment in UTC with microseconds")
    return datetime.fromisoformat(text[:-1]).replace(tzinfo=timezone.utc)


def write_detail(detail: tuple[tuple[str, str | int | float | bool | None], ...]) -> str:
    """Details as stored: a JSON list of pairs, in the order given."""
    return json.dumps(detail, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def read_detail(text: str) -> tuple[tuple[str, str | int | float | bool | None], ...]:
    """The details that `write_detail` wrote; ValueError for anything else."""
    pairs = json.loads(text)
    if not isinstance(pairs, list):
        raise ValueError("no list")
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str) or not _is_plain(pair[1]):
            raise ValueError("no pair of name and plain value")
    return tuple((key, value) for key, value in pairs)


def _exact(value: Any) -> Any:
    return ["f", value.hex()] if isinstance(value, float) else value


def _is_text(text: str) -> bool:
    # a lone surrogate can't be written as UTF-8, and a zero byte ends a text in other tools
    return len(text) <= MAX_TEXT and "\0" not in text and not any("\ud800" <= sign <= "\udfff" for sign in text)


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        return _is_text(value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return abs(value) <= MAX_WHOLE
    return value is None
