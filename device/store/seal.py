"""Sealing of records at rest under the terminal's key: what a stolen card or a copied file shows is ciphertext.

AES-256-GCM-SIV (RFC 8452) with random nonces: a nonce that came twice would reveal only that two equal plaintexts
are equal, where plain GCM would lose its key stream; a card's random source right after boot is not always good.
Associated data bind a sealed body to the kind of record and to its ids, so that a body moved to another row, or a
row whose ids were altered, does not open. Records of people are sealed by `store.slots`, which can destroy keys;
door-syncd and `credentials` derive their own from the same `Key`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from device.errors import SealBroken
from device.store.places import Places

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
CREDENTIAL = "terminal-key"

# Where the service manager shows doord's credentials to root, so that doorctl finds the same key as the service.
DOORD_CREDENTIALS = Path("/run/credentials/doord.service")


class Key:
    """The terminal's 32 secret bytes; never printed, never pickled, used only to derive keys by purpose."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        if len(secret) != KEY_BYTES:
            raise SealBroken(f"the terminal's key must be {KEY_BYTES} bytes, not {len(secret)}")
        self._secret = bytes(secret)

    def derive(self, purpose: str) -> bytes:
        """32 bytes for one purpose: HKDF-SHA256 (RFC 5869) without salt, the purpose as info."""
        fresh = hmac.digest(bytes(32), self._secret, hashlib.sha256)
        return hmac.digest(fresh, b"door " + purpose.encode() + b"\x01", hashlib.sha256)

    def __repr__(self) -> str:
        return "Key(secret)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not pickled")


class Sealer:
    """Seals and opens bodies under one key; one cipher object is kept, since making it costs more than using it."""

    def __init__(self, key: Key) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

        self.cipher: AESGCMSIV = AESGCMSIV(key.derive("records"))
        self._finder_key = key.derive("finders")

    def seal(self, body: bytes, *bound: str) -> bytes:
        """nonce (12 bytes), ciphertext, tag (16 bytes); `bound` is what the body belongs to."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self.cipher.encrypt(nonce, body, bind(*bound))

    def unseal(self, sealed: bytes, *bound: str) -> bytes:
        """The body; SealBroken names what it was bound to, never what is in it."""
        from cryptography.exceptions import InvalidTag

        try:
            return self.cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bind(*bound))
        except (InvalidTag, ValueError, TypeError):
            raise SealBroken(f"the sealed {' '.join(bound)} does not open: altered, or sealed under another "
                             "key") from None

    def finder(self, *parts: bytes) -> bytes:
        """16 bytes by which a secret is found again without being stored: a keyed hash (HMAC-SHA256)."""
        return hmac.digest(self._finder_key, b"".join(len(part).to_bytes(4, "big") + part for part in parts),
                           hashlib.sha256)[:16]


def bind(*bound: str) -> bytes:
    """Associated data of a record: kind and ids, none of which may hold a zero byte."""
    return "\0".join(bound).encode()


def load_key(where: Places, environment: Mapping[str, str] | None = None) -> Key:
    """The terminal's key from the service manager's credential, else from the state folder.

    On a stand-alone terminal's first start, when there is neither a key nor a gallery, a key is made (0600). A
    gallery without its key is an error: a fresh key would hide that nothing can be opened any more.
    """
    for path in _credential_files(where, os.environ if environment is None else environment):
        if path.is_file():
            return Key(_read(path))
    if not where.key.exists():
        if where.gallery_db.exists():
            raise SealBroken(f"{where.key}: missing, and {where.gallery_db} is sealed under it; put the key back, or "
                             "move the gallery away and enrol again")
        _make_key(where.key)
    if where.key.stat().st_mode & 0o077:
        raise SealBroken(f"{where.key}: others may read it; chmod 600 it")
    return Key(_read(where.key))


def _credential_files(where: Places, environment: Mapping[str, str]) -> list[Path]:
    given = environment.get("CREDENTIALS_DIRECTORY")
    folders = [Path(given)] if given else []
    if "DOOR_STATE" not in environment:
        folders.append(DOORD_CREDENTIALS)
    return [folder / CREDENTIAL for folder in folders]


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            secret = file.read(KEY_BYTES + 1)
    except OSError as error:
        raise SealBroken(f"{path}: the terminal's key cannot be read: {error.strerror}") from None
    if len(secret) != KEY_BYTES:
        raise SealBroken(f"{path}: the terminal's key must be {KEY_BYTES} bytes; put the right file back")
    return secret


def _make_key(path: Path) -> None:
    """A new key, whole or not at all; where another process was quicker, its key stands."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        _write_key(fresh)
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(fresh)
    except OSError as error:
        raise SealBroken(f"{path}: the terminal's key cannot be made: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            fresh.unlink()


def _write_key(path: Path) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if os.write(fd, secrets.token_bytes(KEY_BYTES)) != KEY_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(fd)
        if os.geteuid() == 0:  # made by an administrator's doorctl, but the service must be able to read it
            folder = path.parent.stat()
            os.fchown(fd, folder.st_uid, folder.st_gid)
    finally:
        os.close(fd)
