"""Bytes <-> messages: signed always, and sealed whole where they are for one receiver.

The envelope and its signature are `device.store.trust`'s, which doord checks for itself.
"""

from __future__ import annotations

from typing import TypeVar, Union

import msgspec

from device.store.orders import Head, Sealed
from device.store.trust import VERSION, Envelope, MessageRefused, Opener, Verifier, bound, open_signed, signed_bytes
from sync.wire.messages import AnyMessage, Outer, Page, ToHub, ToTerminal
from sync.wire.seal import seal_to
from sync.wire.sign import Signer

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()
_outer = msgspec.msgpack.Decoder(Outer)
_inner = msgspec.msgpack.Decoder(Union[ToTerminal, ToHub])


def encode(message: Page | Head | Sealed, topic: str, signer: Signer) -> bytes:
    """The signed envelope of `message` for `topic`."""
    payload = _encoder.encode(message)
    key_id, signature = signer.signed(signed_bytes(topic, payload))
    return _encoder.encode(Envelope(v=VERSION, signer=key_id, signature=signature, payload=payload))


def encode_to(receiver: bytes, message: ToTerminal | ToHub, topic: str, signer: Signer) -> bytes:
    """The same of a message that only the holder of the private half of `receiver` can read."""
    return encode(Sealed(sealed=seal_to(receiver, _encoder.encode(message), bound(topic))), topic, signer)


def decode(data: bytes, topic: str, verifier: Verifier, opener: Opener) -> AnyMessage:
    """The message in `data`, received on `topic`; MessageRefused where anything about it is wrong, SealBroken where
    it is sealed to somebody else."""
    payload = open_signed(data, topic, verifier)
    try:
        message: Outer = _outer.decode(payload)
        if not isinstance(message, Sealed):
            return message
        inner: AnyMessage = _inner.decode(opener.open(message.sealed, bound(topic)))
        return inner
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageRefused(f"{topic}: {error}") from None


def encode_body(body: msgspec.Struct) -> bytes:
    """What is to be sealed: a page's detail or body, a head's."""
    return _encoder.encode(body)


def decode_body(data: bytes, kind: type[T]) -> T:
    """An unsealed body of the expected kind; MessageRefused where it is not one."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageRefused(f"not a {kind.__name__}: {error}") from None
