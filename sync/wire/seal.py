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
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from device.errors import SealBroken
from device.store.trust import SUITE

_NONCE_BYTES = 12


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


def seal_to(public: bytes, plain: bytes, bound_to: bytes) -> bytes:
    """`plain`, readable by the holder of the private half of `public` only, and bound to one place."""
    return bytes(SUITE.encrypt(plain, X25519PublicKey.from_public_bytes(public), bound_to))
