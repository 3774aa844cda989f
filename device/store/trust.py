"""Verify-only: what the hub signed, as doord checks it for itself before it acts.

The envelope of every message between terminals and hub, and the keys that open what was sealed to this terminal.
`sync.wire` builds on it; doord uses it for commands and desired state, because the process that has the network is
not trusted.

    envelope  = MessagePack map {v: 1, signer, signature, payload}
    signature = Ed25519 over "door-v1 " + topic + NUL + payload

The topic is part of what is signed: a message that is valid in one place is not valid in another. What is sealed to
one receiver is bound to its topic as well (`bound`), which names the site, the receiver or sender, and the version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from msgspec import Meta

from device.errors import SealBroken, TerminalError

VERSION = 1
MAX_BYTES = 2_000_000

# RFC 9180: every message has a fresh key, so that no nonce can ever repeat.
SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class MessageRefused(TerminalError, ValueError):
    """Bytes from the network that are not a message for us; one line that says why."""


class Envelope(msgspec.Struct, frozen=True):
    """A signed payload, as it travels."""

    v: int
    signer: Annotated[str, Meta(min_length=1, max_length=64)]
    signature: Annotated[bytes, Meta(min_length=64, max_length=64)]
    payload: Annotated[bytes, Meta(max_length=MAX_BYTES)]


_envelopes = msgspec.msgpack.Decoder(Envelope)


def open_signed(data: bytes, topic: str, verifier: Verifier) -> bytes:
    """The payload of `data`, received on `topic`; MessageRefused where size, form, version or signature is wrong."""
    envelope = open_envelope(data)
    if not verifier.holds(envelope.signer, envelope.signature, signed_bytes(topic, envelope.payload)):
        raise MessageRefused(f"{topic}: the signature does not hold")
    return envelope.payload


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
    """What a signature covers."""
    return b"door-v1 " + topic.encode() + b"\0" + payload


def bound(topic: str) -> bytes:
    """What is sealed to one receiver alone is bound to: the version and the topic that it travels on."""
    return place("message", VERSION, topic)


def key_id_of(public: bytes) -> str:
    """Name of a raw public key: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(public).hexdigest()[:16]


class Verifier:
    """The raw Ed25519 public keys that are trusted, by name. One thread changes them; others may verify meanwhile."""

    def __init__(self, publics: Iterable[bytes] = ()) -> None:
        self._keys: dict[str, Ed25519PublicKey] = {}
        self.trust_only(publics)

    def trust_only(self, publics: Iterable[bytes]) -> None:
        """These keys and no others from now on; ValueError where one is none."""
        self._keys = {key_id_of(public): Ed25519PublicKey.from_public_bytes(public) for public in publics}

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Names of the keys that are trusted."""
        return tuple(self._keys)

    def holds(self, key_id: str, signature: bytes, data: bytes) -> bool:
        """Whether `signature` over `data` is that of the trusted key `key_id`."""
        key = self._keys.get(key_id)
        if key is None:
            return False
        try:
            key.verify(signature, data)
        except InvalidSignature:
            return False
        return True


class Opener:
    """A private X25519 key: opens what was sealed to its public half and bound to a place."""

    def __init__(self, private: bytes) -> None:
        self._key = X25519PrivateKey.from_private_bytes(private)
        self.public = self._key.public_key().public_bytes_raw()

    @classmethod
    def new(cls) -> Opener:
        return cls(X25519PrivateKey.generate().private_bytes_raw())

    def private_bytes(self) -> bytes:
        """32 bytes, to be kept sealed."""
        return self._key.private_bytes_raw()

    def open(self, sealed: bytes, bound_to: bytes) -> bytes:
        """The plain bytes; SealBroken where they were sealed to another key or bound to another place."""
        try:
            return bytes(SUITE.decrypt(sealed, self._key, bound_to))
        except (InvalidTag, ValueError):
            raise SealBroken("sealed bytes do not open under this key") from None

    def __repr__(self) -> str:
        return f"Opener({key_id_of(self.public)})"


def place(*parts: str | int) -> bytes:
    """What a seal is bound to (site, stream, epoch, sequence, ...), without ambiguity."""
    return b"".join(len(text := str(part).encode()).to_bytes(2, "big") + text for part in parts)
