"""The key that one reader and one panel share (OSDP's SCBK), its file, and the window of time in which it is set.

What is known to break OSDP in the field, and what becomes of it here, whichever end of the line this terminal is:

    encryption is optional   not here: outside Secure Channel under the pairing's key a panel believes no card, and a
                             device carries out no command and tells no card
    capabilities downgraded  they go in plain text, so a reader can be made to say that it has no Secure Channel: that
                             is a fault, not a way in. The rest can cost a reader its lamp and buzzer, no more
    install mode left on     here it exists only in a window that somebody opens, that is noted and that ends after 5
                             minutes at the latest. Whether the other end leaves its own is for its manual to say
    weak or shared keys      a random key for each pairing; a controller's key that can be guessed is refused
    the key on the line      it is handed over under the default key (SCBK-D), which is public: whoever records the
                             line in that window has it, and whoever answers first is paired. So pair with the reader
                             in the hand and a short cable, and show a card afterwards

Whoever has the line can always silence it: that is a fault within seconds, and grants nothing. The MAC is 4 bytes, as
the standard has it; a wrong one ends the session.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import secrets
from pathlib import Path
from typing import NoReturn

from device.errors import HardwareMissing

log = logging.getLogger(__name__)

KEY_BYTES = 16
DEFAULT_KEY = bytes(range(0x30, 0x40))
WINDOW_S = 300.0  # no window is longer: an install mode that is left on hands the key to whoever asks

# Of sixteen random bytes nearly all differ; less than 10 do once in a hundred million keys.
_FEWEST_DIFFERENT = 10


class PairingKey:
    """Sixteen secret bytes; never printed, never pickled. HardwareMissing for another length and for a key that can
    be guessed: the default one, few different bytes, equal steps."""

    __slots__ = ("secret",)

    def __init__(self, secret: bytes) -> None:
        if len(secret) != KEY_BYTES:
            raise HardwareMissing(f"a pairing key must be {KEY_BYTES} bytes, not {len(secret)}")
        steps = {(after - before) % 256 for before, after in itertools.pairwise(secret)}
        if secret == DEFAULT_KEY or len(set(secret)) < _FEWEST_DIFFERENT or len(steps) == 1:
            raise HardwareMissing("a pairing key that can be guessed was refused; it must be random")
        self.secret = bytes(secret)

    @classmethod
    def random(cls) -> PairingKey:
        while True:
            with contextlib.suppress(HardwareMissing):
                return cls(secrets.token_bytes(KEY_BYTES))

    def __repr__(self) -> str:
        return "PairingKey(secret)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not pickled")


class KeyFile:
    """Where the key of one pairing lies, mode 0600. A key on its way to a reader lies beside it until the reader has
    used it, so that a power cut between the two does not shut that reader out for good."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begun = path.with_name(f"{path.name}.begun")

    def load(self) -> PairingKey | None:
        """The key; None where nothing was ever paired, HardwareMissing where the file cannot be used."""
        return _read(self._path)

    def begin(self) -> PairingKey:
        """A key for the pairing that begins, on the medium when this returns: a random one, or the one of a pairing
        that was cut short, which the reader may have by now."""
        try:
            begun = _read(self._begun)
        except HardwareMissing:
            begun = None
        if begun is None:
            begun = PairingKey.random()
            _write(self._begun, begun)
        return begun

    def finish(self) -> None:
        """The key that was begun is the pairing's from now on."""
        try:
            self._begun.replace(self._path)
            _settle(self._path.parent)
        except OSError as error:
            raise HardwareMissing(f"{self._path}: cannot be written ({error.strerror})") from None

    def abandon(self) -> None:
        """Nothing came of what was begun."""
        with contextlib.suppress(OSError):
            self._begun.unlink()

    def store(self, key: PairingKey) -> None:
        """Keep the key that a panel has set; on the medium when this returns."""
        _write(self._path, key)


class Pairing:
    """One end's key, and the window in which it may be set: closed until somebody opens it, for 5 minutes at most.

    key  what is spoken under; None before the first pairing
    """

    def __init__(self, file: KeyFile) -> None:
        self._file = file
        self._until = float("-inf")
        self.key: PairingKey | None = None
        self._damage = ""
        try:
            self.key = file.load()
        except HardwareMissing as error:
            self._damage = str(error)

    @property
    def trouble(self) -> str:
        """Empty, or why there is nothing to speak under."""
        return self._damage or ("" if self.key is not None else "not paired; open the pairing window")

    def open(self, until_mono: float, mono: float) -> float:
        """For how many seconds from now the window is open: WINDOW_S at most, 0 where the time is past."""
        self._until = min(until_mono, mono + WINDOW_S)
        return max(self._until - mono, 0.0)

    def is_open(self, mono: float) -> bool:
        return mono < self._until

    def close(self) -> None:
        self._until = float("-inf")

    def begin(self) -> PairingKey | None:
        """A panel's: the key to hand over; None, and a closed window, where it cannot be kept."""
        try:
            begun, self._damage = self._file.begin(), ""
        except HardwareMissing as error:
            self._damage = str(error)
            self.close()
            return None
        return begun

    def finish(self, begun: PairingKey) -> None:
        """A panel's: the reader has used the key. Where its file cannot be written it holds until the next start."""
        self.key = begun
        self.close()
        try:
            self._file.finish()
        except HardwareMissing as error:
            self._damage = str(error)

    def abandon(self) -> None:
        """A panel's: the window is over and nothing came of it."""
        self.close()
        self._file.abandon()

    def take(self, secret: bytes, mono: float) -> str:
        """A device's: the controller sets the key, which is on the medium when this returns; empty, or why not."""
        if not self.is_open(mono):
            return "no pairing window is open"
        try:
            given = PairingKey(secret)
            self._file.store(given)
        except HardwareMissing as error:
            return str(error)
        self.key, self._damage = given, ""
        self.close()
        return ""


class Watch:
    """Whether the other end is there, under the pairing's key; a loss and a return are logged once each.

    fault  empty, or what somebody must look after
    """

    def __init__(self, name: str, patience_s: float) -> None:
        """patience_s  how long the other end may be away before that is a fault"""
        self._name, self._patience_s = name, patience_s
        self._good_mono: float | None = None
        self.fault = ""

    def judge(self, is_secure: bool, heard_mono: float, mono: float, trouble: str) -> bool:
        """Whether the other end can be believed and spoken to now; trouble  what is a fault in any case"""
        if is_secure or self._good_mono is None:
            self._good_mono = heard_mono if is_secure else mono
        is_late = mono > self._good_mono + self._patience_s
        if is_late and not trouble:
            is_silent = mono > heard_mono + self._patience_s
            trouble = ("the line is silent; check the other end's power, the wires and the address" if is_silent else
                       "the other end has another key: it was exchanged, reset or tampered with; pair again")
        self._say(trouble and f"{self._name}: {trouble}")
        return is_secure and not is_late

    def _say(self, fault: str) -> None:
        if fault and not self.fault:
            log.warning("%s", fault)
        elif self.fault and not fault:
            log.info("%s is back", self._name)
        self.fault = fault


def _read(path: Path) -> PairingKey | None:
    try:
        with path.open("rb") as file:
            mode, secret = os.fstat(file.fileno()).st_mode, file.read(KEY_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HardwareMissing(f"{path}: the pairing key cannot be read ({error.strerror})") from None
    if mode & 0o077:
        raise HardwareMissing(f"{path}: others may read this pairing key; remove it and pair again")
    try:
        return PairingKey(secret)
    except HardwareMissing as error:
        raise HardwareMissing(f"{path}: {error}; remove it and pair again") from None


def _write(path: Path, key: PairingKey) -> None:
    """Whole or not at all."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, key.secret)
            os.fsync(fd)
        finally:
            os.close(fd)
        fresh.replace(path)
        _settle(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise HardwareMissing(f"{path}: the pairing key cannot be written ({error.strerror})") from None


def _settle(folder: Path) -> None:
    """Have the medium know the folder's new names."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
