"""Bytes <-> messages. The envelope and its signature are `device.store.trust`'s, which doord checks for itself."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from device.store.trust import VERSION, Envelope, MessageRefused, Verifier, open_signed, signed_bytes
from sync.wire.messages import AnyMessage
from sync.wire.sign import Signer

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()
_messages = msgspec.msgpack.Decoder(AnyMessage)


def encode(message: AnyMessage, topic: str, signer: Signer) -> bytes:
    """The signed envelope of `message` for `topic`."""
    payload = _encoder.encode(message)
    signature = signer.sign(signed_bytes(topic, payload))
    return _encoder.encode(Envelope(v=VERSION, signer=signer.key_id, signature=signature, payload=payload))


def decode(data: bytes, topic: str, verifier: Verifier) -> AnyMessage:
    """The message in `data`, received on `topic`; MessageRefused where anything about it is wrong."""
    payload = open_signed(data, topic, verifier)
    try:
        message: AnyMessage = _messages.decode(payload)
        return message
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageRefused(f"{topic}: {error}") from None


def encode_body(body: msgspec.Struct) -> bytes:
    """A body, to be sealed."""
    return _encoder.encode(body)


def decode_body(data: bytes, kind: type[T]) -> T:
    """An unsealed body of the expected kind; MessageRefused where it is not one."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageRefused(f"not a {kind.__name__}: {error}") from None
