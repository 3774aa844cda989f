"""Keys of those who sign updates: Ed25519 in PEM files (PKCS #8), encrypted with a passphrase or plain.

Used on the machine where bundles are made, never on a terminal: a terminal knows public keys only.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from device.errors import UsageError

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]

ROLES = {"root": 3, "targets": 3, "snapshot": 1, "timestamp": 1}
"""Keys of each role,"""
THRESHOLDS = {"root": 2, "targets": 2, "snapshot": 1, "timestamp": 1}
"""and how many of them must sign."""


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A key and the file that it lies in."""

    name: str
    signer: CryptoSigner


def make_keys(folder: Path, passphrase: bytes | None) -> list[Path]:
    """A whole set in a folder that holds none yet: root-1.pem to timestamp-1.pem."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths = [folder / f"{role}-{number}.pem" for role, count in ROLES.items() for number in range(1, count + 1)]
    if there := next((path for path in paths if path.exists()), None):
        raise UsageError(f"{there} is there already; name another folder")
    for path in paths:
        make_key(path, passphrase)
    return paths


def make_key(path: Path, passphrase: bytes | None) -> None:
    """One key in a new file, which only its owner may read."""
    how = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    data = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(data)
        os.fsync(fd)


def read_keys(folders: list[Path], passphrase: Callable[[Path], bytes]) -> list[KeyFile]:
    """Every key in the folders; `passphrase` is asked for each that is encrypted. UsageError where there is none."""
    paths = sorted(path for folder in folders for path in folder.glob("*.pem"))
    if not paths:
        raise UsageError(f"no keys (*.pem) in {', '.join(map(str, folders))}")
    return [KeyFile(path.name, _read(path, passphrase)) for path in paths]


def _read(path: Path, passphrase: Callable[[Path], bytes]) -> CryptoSigner:
    from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]

    data = path.read_bytes()
    secret = passphrase(path) if b"ENCRYPTED" in data else None
    try:
        key = load_pem_private_key(data, secret)
    except (ValueError, TypeError):
        raise UsageError(f"{path}: not a key, or the passphrase is wrong") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path}: not an Ed25519 key")
    return CryptoSigner(key)
