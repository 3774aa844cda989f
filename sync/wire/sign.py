"""Ed25519 signatures: who said it. Verification is `device.store.trust`'s."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from device.store.trust import key_id_of


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

    def signed(self, data: bytes) -> tuple[str, bytes]:
        """(name of the key, its signature over `data`)"""
        return self.key_id, self.sign(data)

    def __repr__(self) -> str:
        return f"Signer({self.key_id})"
