"""What a webhook is told of an event, and how it is signed: identifiers, words of our own tables and numbers only.

Headers and signature are those of Standard Webhooks: `webhook-id`, `webhook-timestamp`, `webhook-signature`, the last
`v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`. What a terminal wrote is taken over only where it looks
like an identifier, so that no text can come through. Called by `messenger`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
from datetime import datetime
from typing import Any

from device.door.reasons import REASONS
from sync.hub.events import Event

SECRET_PREFIX = "whsec_"  # noqa: S105  (what every secret begins with)
SECRET_BYTES = 32
KINDS = tuple(sorted({row.kind for row in REASONS.values()}))
DETAILS = ("area", "command", "merged", "methods", "rule", "seconds", "source")
"""Of an entry's detail; the rest (scores, models, causes in words) stays at the hub."""

_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,63}")
_PERSON = re.compile(r"[0-9a-f]{32}")


def new_secret() -> str:
    """A secret as receivers' libraries take it: the prefix and the base64 of 32 random bytes."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def message_id(webhook_id: str, event: Event) -> str:
    """The same however often one event is sent to one webhook, by which a receiver knows it again."""
    place = "\0".join((webhook_id, event.terminal_id, event.journal_id, str(event.seq)))
    return "evt_" + hashlib.sha256(place.encode()).hexdigest()[:32]


def body_of(event: Event) -> bytes:
    """The event as JSON."""
    return _json(f"door.{_word(event.kind)}", event.at, {
        "terminal_id": event.terminal_id, "journal_id": event.journal_id, "seq": event.seq,
        "kind": _word(event.kind), "reason": _word(event.reason),
        "person_id": event.person_id if event.person_id and _PERSON.fullmatch(event.person_id) else None,
        "clock_quality": _word(event.clock_quality), "received": event.received.isoformat(),
        "detail": {name: event.detail[name] for name in DETAILS if _is_plain(event.detail.get(name))}})


def trial_body(webhook_id: str, at: datetime) -> bytes:
    """What `fleethub webhook test` sends."""
    return _json("test", at, {"webhook_id": webhook_id})


def headers_for(secret: str, sent_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """The headers of one try."""
    stamp = str(int(at.timestamp()))
    return {"Content-Type": "application/json", "User-Agent": "open-door-fleethub", "webhook-id": sent_id,
            "webhook-timestamp": stamp, "webhook-signature": signature(secret, sent_id, stamp, body)}


def signature(secret: str, sent_id: str, stamp: str, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    return "v1," + base64.b64encode(hmac.digest(key, f"{sent_id}.{stamp}.".encode() + body, hashlib.sha256)).decode()


def _json(kind: str, at: datetime, data: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "timestamp": at.isoformat(), "data": data}, separators=(",", ":")).encode()


def _word(text: str) -> str:
    return text if _IDENTIFIER.fullmatch(text) else "unknown"


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        return _IDENTIFIER.fullmatch(value) is not None
    return isinstance(value, (bool, int, float)) and abs(value) < 1e12
