"""Sealing: who may read it.

To a group: AES-256-GCM-SIV (RFC 8452) under the group's key with a random nonce. GCM-SIV because one key is used by
a hub that may be restored from a backup or run as several workers: should a nonce ever repeat, GCM would give its
key away, GCM-SIV only tells that two messages were equal.

To one terminal or to the hub: HPKE (RFC 9180), X25519, HKDF-SHA256, AES-256-GCM; every message has a fresh key.
"""

from __future__ import annotations

import hashlib
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_NONCE_BYTES = 12


class SealBroken(ValueError):
    """Sealed bytes that do not open: altered, of another place, or for another key."""


class GroupSeal:
    """A symmetric key, shared by the hub and the terminals of a group."""

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise ValueError("a group key has 32 bytes")
        self._key = key
        self._cipher = AESGCMSIV(key)
        self.key_id = hashlib.sha256(b"door group key " + key).hexdigest()[:16]

    @classmethod
    def new(cls) -> GroupSeal:
        return cls(secrets.token_bytes(32))

    def key_bytes(self) -> bytes:
        """32 bytes, to be kept or sent sealed."""
        return self._key

    def seal(self, plain: bytes, bound_to: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, bound_to)

    def open(self, sealed: bytes, bound_to: bytes) -> bytes:
        """The plain bytes; SealBroken where they were not sealed so and bound to the same place."""
        if len(sealed) < _NONCE_BYTES + 16:
            raise SealBroken("sealed bytes are too short")
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to)
        except InvalidTag:
            raise SealBroken("sealed bytes do not open under this key") from None

    def __repr__(self) -> str:
        return f"GroupSeal({self.key_id})"


class Opener:
    """A private X25519 key: opens what was sealed to its public half."""

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
        try:
            return bytes(_SUITE.decrypt(sealed, self._key, bound_to))
        except (InvalidTag, ValueError):
            raise SealBroken("sealed bytes do not open under this key") from None

    def __repr__(self) -> str:
        return f"Opener({hashlib.sha256(self.public).hexdigest()[:16]})"


def seal_to(public: bytes, plain: bytes, bound_to: bytes) -> bytes:
    """`plain`, readable by the holder of the private half of `public` only, and bound to one place."""
    return bytes(_SUITE.encrypt(plain, X25519PublicKey.from_public_bytes(public), bound_to))


def place(*parts: str | int) -> bytes:
    """What a seal is bound to (site, stream, epoch, sequence, ...), without ambiguity."""
    return b"".join(len(text := str(part).encode()).to_bytes(2, "big") + text for part in parts)
