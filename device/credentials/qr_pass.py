"""QR passes: a text that the hub signed, which admits somebody at one door for some time. Verify-only here.

    text     = "ODP1:" + base32 of signature (64 bytes) and payload, upper case without padding, so that a QR code
               needs only its dense alphanumeric mode
    payload  = MessagePack array, see `PassPayload`
    signature = Ed25519 over "door-pass-v1" NUL payload, by the key that the payload names

Every byte is hostile until the signature holds; what the pass grants is the policy's to decide. Called by the
credential desk; `sync.hub.passes` issues with `pass_text`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Annotated

import msgspec
from msgspec import Meta

from device.door.decision import PassFacts
from device.store.trust import Verifier

PREFIX = "ODP1:"
MOST_TEXT = 700
_SIGNATURE = 64
_Id = Annotated[str, Meta(min_length=1, max_length=48)]
_Second = Annotated[int, Meta(ge=0, le=32_503_680_000)]  # the year 3000


class PassPayload(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is signed. Moments are whole seconds since 1970, UTC; person_id is None for who is in no library."""

    key_id: Annotated[str, Meta(min_length=16, max_length=16)]
    pass_id: Annotated[bytes, Meta(min_length=16, max_length=16)]
    door_id: _Id
    group: _Id
    valid_from: _Second
    valid_until: _Second
    is_once: bool = True
    person_id: Annotated[bytes, Meta(min_length=16, max_length=16)] | None = None


@dataclass(frozen=True, slots=True)
class ShownPass:
    """A pass whose signature holds, and whose it is (32 hex digits; of the pass itself where it names nobody)."""

    facts: PassFacts
    person_id: str


_payloads = msgspec.msgpack.Decoder(PassPayload)


def read_pass(text: str, verifier: Verifier) -> ShownPass | None:
    """The pass in a QR code's text; None for whatever is none, or is signed by nobody who is trusted."""
    raw = _bytes_of(text)
    if raw is None:
        return None
    signature, payload = raw[:_SIGNATURE], raw[_SIGNATURE:]
    try:
        found = _payloads.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if found.valid_from >= found.valid_until or not verifier.holds(found.key_id, signature, signed(payload)):
        return None
    facts = PassFacts(found.pass_id.hex(), found.door_id, found.group, _moment(found.valid_from),
                      _moment(found.valid_until), found.is_once)
    return ShownPass(facts, (found.person_id or found.pass_id).hex())


def pass_text(payload: PassPayload, sign: Callable[[bytes], bytes]) -> str:
    """The text of a pass; sign makes the 64 bytes with the key that the payload names."""
    packed = msgspec.msgpack.encode(payload)
    return PREFIX + base64.b32encode(sign(signed(packed)) + packed).decode("ascii").rstrip("=")


def signed(payload: bytes) -> bytes:
    """What a pass's signature covers."""
    return b"door-pass-v1\0" + payload


def _bytes_of(text: str) -> bytes | None:
    if not text.startswith(PREFIX) or len(text) > MOST_TEXT or not text.isascii():
        return None
    letters = text.removeprefix(PREFIX)
    try:
        raw = base64.b32decode(letters + "=" * (-len(letters) % 8))
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) > _SIGNATURE else None


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
