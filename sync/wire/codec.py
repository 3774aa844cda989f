"""Bytes <-> messages: one versioned envelope, signed; nothing is parsed before its signature holds.

    envelope = MessagePack map {v: 1, signer, signature, payload}
    signature = Ed25519 over "door-v1 " + topic + NUL + payload

The topic is part of what is signed: a message that is valid in one place is not valid in another.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from sync.wire.messages import AnyMessage, Id
from sync.wire.sign import Signer, Verifier

VERSION = 1
MAX_BYTES = 2_000_000
T = TypeVar("T")


class MessageRefused(ValueError):
    """Bytes from the network that are not a message for us; one line that says why."""


class Envelope(msgspec.Struct, frozen=True):
    v: int
    signer: Id
    signature: Annotated[bytes, Meta(min_length=64, max_length=64)]
    payload: Annotated[bytes, Meta(max_length=MAX_BYTES)]


_encoder = msgspec.msgpack.Encoder()
_envelopes = msgspec.msgpack.Decoder(Envelope)
_messages = msgspec.msgpack.Decoder(AnyMessage)


def encode(message: AnyMessage, topic: str, signer: Signer) -> bytes:
    """The signed envelope of `message` for `topic`."""
    payload = _encoder.encode(message)
    signature = signer.sign(signed_bytes(topic, payload))
    return _encoder.encode(Envelope(v=VERSION, signer=signer.key_id, signature=signature, payload=payload))


def decode(data: bytes, topic: str, verifier: Verifier) -> AnyMessage:
    """The message in `data`, received on `topic`; MessageRefused where size, form, version or signature is wrong."""
    envelope = open_envelope(data)
    if not verifier.holds(envelope.signer, envelope.signature, signed_bytes(topic, envelope.payload)):
        raise MessageRefused(f"{topic}: the signature does not hold")
    try:
        message: AnyMessage = _messages.decode(envelope.payload)
        return message
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageRefused(f"{topic}: {error}") from None


def open_envelope(data: bytes) -> Envelope:
    """The envelope alone, unverified: for finding out whose key to verify with."""
    if len(data) > MAX_BYTES:
        raise MessageRefused(f"a message of {len(data)} bytes; at most {MAX_BYTES} are read")
    try:
        envelope = _envelopes.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageRefused(f"not an envelope: {error}") from None
    if envelope.v != VERSION:
        raise MessageRefused(f"envelope version {envelope.v}; this side speaks {VERSION}")
    return envelope


def signed_bytes(topic: str, payload: bytes) -> bytes:
    return b"door-v1 " + topic.encode() + b"\0" + payload


def encode_body(body: msgspec.Struct) -> bytes:
    """A body, to be sealed."""
    return _encoder.encode(body)


def decode_body(data: bytes, kind: type[T]) -> T:
    """An unsealed body of the expected kind; MessageRefused where it is not one."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageRefused(f"not a {kind.__name__}: {error}") from None
