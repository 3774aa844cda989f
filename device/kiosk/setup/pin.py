"""The setup PIN: what opens the installer's page. Kept as an Argon2 hash; guessed at five times, the page is shut.

Set by `doorctl kiosk-pin`, or made and shown once where a terminal is tried out. The count of wrong tries lies beside
the hash, so that a restart gives no fresh ones. Owned by the kiosk; checking takes a tenth of a second by design.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from enum import Enum
from pathlib import Path

from device.clock import Clock
from device.credentials import pin
from device.errors import StoreError, UsageError
from device.store.places import Places

LEAST_DIGITS = 6
TRIES = 5
LOCKED_S = 900.0
_FRESH_DIGITS = 8
_MOST_BYTES = 400


class Verdict(Enum):
    RIGHT = "right"
    WRONG = "wrong"
    LOCKED = "locked"
    UNSET = "unset"


class SetupPin:
    """One terminal's. `check` is called by one thread at a time."""

    def __init__(self, where: Places, clock: Clock) -> None:
        self._path, self._tries_path = _paths(where)
        self._clock = clock
        self._locked_until = float("-inf")
        if self._tries() >= TRIES:
            self._locked_until = clock.mono() + LOCKED_S

    @property
    def is_set(self) -> bool:
        return self._path.exists()

    @property
    def locked_s(self) -> float:
        """Seconds for which no PIN is looked at; 0 where one is."""
        return max(self._locked_until - self._clock.mono(), 0.0)

    def check(self, digits: str) -> Verdict:
        """Whether the PIN is right. A try is counted before it is judged: whoever pulls the plug has tried too."""
        if self.locked_s:
            return Verdict.LOCKED
        if not self.is_set:
            return Verdict.UNSET
        tries = self._tries() % TRIES + 1
        self._count(tries)
        if pin.is_right(_read(self._path), digits):
            self._count(0)
            return Verdict.RIGHT
        if tries >= TRIES:
            self._locked_until = self._clock.mono() + LOCKED_S
            return Verdict.LOCKED
        return Verdict.WRONG

    def _tries(self) -> int:
        with contextlib.suppress(OSError, ValueError):
            return min(max(int(_read(self._tries_path)), 0), TRIES)
        return 0

    def _count(self, tries: int) -> None:
        if tries:
            _write(self._tries_path, str(tries).encode())
        else:
            self._tries_path.unlink(missing_ok=True)


def set_pin(where: Places, digits: str) -> None:
    """Set the PIN; UsageError where it is too short or guessed first, StoreError where it cannot be kept."""
    if len(digits) < LEAST_DIGITS:
        raise UsageError(f"the setup PIN has {LEAST_DIGITS} to {pin.MOST_DIGITS} digits")
    try:
        secret = pin.pin_secret("0", digits)
    except ValueError as error:
        raise UsageError(str(error)) from None
    path, tries = _paths(where)
    _write(path, secret)
    tries.unlink(missing_ok=True)


def fresh_pin(where: Places) -> str | None:
    """A PIN made at random where none was set, to be shown once; None where there is one."""
    if _paths(where)[0].exists():
        return None
    while True:
        digits = "".join(str(secrets.randbelow(10)) for _ in range(_FRESH_DIGITS))
        with contextlib.suppress(UsageError):
            set_pin(where, digits)
            return digits


def _paths(where: Places) -> tuple[Path, Path]:
    folder = where.journal_db.parent
    return folder / "setup-pin", folder / "setup-tries"


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MOST_BYTES)


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, for doord alone to read; where an administrator's command writes it, for doord too."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, content)
            os.fsync(fd)
            if os.geteuid() == 0:
                folder = path.parent.stat()
                os.fchown(fd, folder.st_uid, folder.st_gid)
        finally:
            os.close(fd)
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise StoreError(f"{path}: the setup PIN cannot be kept: {error.strerror}") from None
