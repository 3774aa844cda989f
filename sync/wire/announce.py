"""The hub's announcements of its keys: how they are signed once, and handed to one terminal at a time.

An announcement is read by `device.store.trust_chain`. It is signed by a key that its readers trust, which a later key
cannot be; so what travels is a list of announcements, sealed to the terminal, without an envelope of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from device.store.trust import VERSION, Envelope, MessageRefused, Opener, bound, signed_bytes
from device.store.trust_chain import MAX_BYTES, MOST, TOPIC, HubKeys
from sync.wire.seal import seal_to
from sync.wire.sign import Signer


def announce(keys: HubKeys, signer: Signer) -> bytes:
    """The announcement, signed by a key that was valid before it."""
    payload = msgspec.msgpack.encode(keys)
    key_id, signature = signer.signed(signed_bytes(TOPIC, payload))
    return msgspec.msgpack.encode(Envelope(VERSION, key_id, signature, payload))


def hand_to(receiver: bytes, announcements: Sequence[bytes], topic: str) -> bytes:
    """What is published on a terminal's own topic."""
    return seal_to(receiver, msgspec.msgpack.encode(announcements), bound(topic))


def handed(data: bytes, topic: str, opener: Opener) -> tuple[bytes, ...]:
    """The announcements that came on `topic`, in order, none of them judged yet; SealBroken where they were sealed to
    somebody else, MessageRefused where they are none."""
    if len(data) > (MAX_BYTES + 100) * MOST:
        raise MessageRefused(f"{topic}: {len(data)} bytes of announcements are too many")
    try:
        found = msgspec.msgpack.decode(opener.open(data, bound(topic)), type=tuple[bytes, ...])
    except (msgspec.DecodeError, RecursionError) as error:
        raise MessageRefused(f"{topic}: not announcements of keys: {error}") from None
    return found[-MOST:]
