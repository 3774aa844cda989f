"""Ed25519 signatures: who said it. Keys are named by the first 16 hex digits of their SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


def key_id_of(public: bytes) -> str:
    """Name of a raw public key."""
    return hashlib.sha256(public).hexdigest()[:16]


class Signer:
    """One private signing key."""

    def __init__(self, private: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(private)
        self.public = self._key.public_key().public_bytes_raw()
        self.key_id = key_id_of(self.public)

    @classmethod
    def new(cls) -> Signer:
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    def private_bytes(self) -> bytes:
        """32 bytes, to be kept sealed."""
        return self._key.private_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)

    def __repr__(self) -> str:
        return f"Signer({self.key_id})"


class Verifier:
    """The public keys that are trusted, by name."""

    def __init__(self, publics: Mapping[str, bytes] | None = None) -> None:
        self._keys: dict[str, Ed25519PublicKey] = {}
        for public in (publics or {}).values():
            self.trust(public)

    def trust(self, public: bytes) -> str:
        """Add a raw public key; its name."""
        name = key_id_of(public)
        self._keys[name] = Ed25519PublicKey.from_public_bytes(public)
        return name

    def forget(self, key_id: str) -> None:
        self._keys.pop(key_id, None)

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
