"""Credentials: private keys as the service manager keeps them and hands them to the daemons.

Encrypted by systemd-creds where systemd runs the machine: to its TPM where there is one, else under the system's own
key. Elsewhere in clear, for root alone. The daemons find them by name in their credentials folder; doctor and
self-test say which of the two it is.
"""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from door_setup.plan import Step, Stop, run
from door_setup.tree import Tree, sync_folder
from door_setup.unit_file import FOLDER

TERMINAL_KEY = "terminal-key"
HUB_KEY = "fleethub-key"
SIGNING, SEALING, TLS = "signing.key", "sealing.key", "tls.key"
KEYS_OF_LINK = (SIGNING, SEALING, TLS)
KEY_BYTES = 32
SEALED_FOLDER, CLEAR_FOLDER = "/etc/credstore.encrypted", "/etc/credstore"
FIRST_WITH_SEALING = 250  # systemd-creds and LoadCredentialEncrypted=

READERS = {
    "doord": (TERMINAL_KEY, SEALING),
    "door-syncd": (TERMINAL_KEY, *KEYS_OF_LINK),
    "fleethub": (HUB_KEY,),
}
"""Which service is given which keys."""


class Way(Enum):
    """How keys are kept."""

    TPM = "sealed to this board's TPM: a stolen card opens nothing"
    SYSTEM = ("sealed under the system's own key, which lies on the same card: copied files open nothing, the whole "
              "card does")
    CLEAR = "in clear, readable by root alone: whoever has the card has the keys"


@dataclass(frozen=True, slots=True)
class Store:
    """The keys of one tree."""

    tree: Tree
    way: Way

    @classmethod
    def of(cls, tree: Tree, systemd_version: int) -> Store:
        if not tree.has_systemd or systemd_version < FIRST_WITH_SEALING or shutil.which("systemd-creds") is None:
            return cls(tree, Way.CLEAR)
        return cls(tree, Way.TPM if tree.at("/dev/tpmrm0").exists() else Way.SYSTEM)

    def path(self, name: str) -> str | None:
        """Where the key lies; None where there is none."""
        for folder in (SEALED_FOLDER, CLEAR_FOLDER):
            if self.tree.at(f"{folder}/{name}").is_file():
                return f"{folder}/{name}"
        return None

    def put(self, name: str, secret: bytes) -> str:
        """Keep a key in the place of any other of that name; where it lies."""
        if self.way is Way.CLEAR:
            return self._put(f"{CLEAR_FOLDER}/{name}", secret)
        try:
            sealed = run(["systemd-creds", "encrypt", f"--name={name}", "-", "-"], data=secret)
        except Stop as stop:
            print(f"        {name} is kept {Way.CLEAR.value} ({stop})")
            return self._put(f"{CLEAR_FOLDER}/{name}", secret)
        return self._put(f"{SEALED_FOLDER}/{name}", sealed)

    def make_step(self, name: str, why: str) -> Step:
        """A new random key, where there is none."""
        def act() -> None:
            self.put(name, secrets.token_bytes(KEY_BYTES))

        return Step(f"make the key {name}, {self.way.value}", why, lambda: self.path(name) is not None, act)

    def dropin(self, service: str) -> bytes:
        """The service's drop-in that hands over the keys that are there."""
        lines = ["# Written by the installation: which keys this service is given.", "[Service]",
                 *(f"{word}={name}:{path}" for word, name, path in self.loaded(service))]
        return ("\n".join(lines) + "\n").encode()

    def dropin_step(self, service: str) -> Step:
        """The drop-in as it must be with the keys that are there when it is asked."""
        path = dropin_path(service)
        return Step(f"hand {service} its keys", "they are in no file that it could give away",
                    lambda: self.tree.read(path) == self.dropin(service),
                    lambda: self.tree.write(path, self.dropin(service), 0o644))

    def loaded(self, service: str) -> list[tuple[str, str, str]]:
        """(setting of the unit, name, path) of the service's keys that are there."""
        found = [(name, self.path(name)) for name in READERS[service]]
        return [("LoadCredentialEncrypted" if path.startswith(SEALED_FOLDER) else "LoadCredential", name, path)
                for name, path in found if path is not None]

    def open(self, name: str, path: str) -> bytes:
        """The key itself, for root."""
        data = self.tree.at(path).read_bytes()
        if not path.startswith(SEALED_FOLDER):
            return data
        return run(["systemd-creds", "decrypt", f"--name={name}", "-", "-"], data=data)

    def _put(self, path: str, data: bytes) -> str:
        folder, _, name = path.rpartition("/")
        self.tree.at(folder).mkdir(parents=True, exist_ok=True)
        self.tree.at(folder).chmod(0o700)
        self.tree.write(path, data, 0o600)
        other = self.tree.at(f"{CLEAR_FOLDER if folder == SEALED_FOLDER else SEALED_FOLDER}/{name}")
        if other.exists():
            destroy(other)
        return path


def dropin_path(service: str) -> str:
    return f"{FOLDER}/{service}.service.d/credentials.conf"


def destroy(path: Path) -> None:
    """Overwrite a file and remove it; durable when it returns.

    What a flash cell may still hold cannot be reached by software: a sealed key is worthless there without the TPM,
    one in clear is not.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        size = os.fstat(fd).st_size
        os.pwrite(fd, secrets.token_bytes(size), 0)
        os.fsync(fd)
    finally:
        os.close(fd)
    path.unlink()
    sync_folder(path.parent)
