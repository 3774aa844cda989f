"""The line of an OSDP bus (IEC 60839-11-5): its serial port, and the sieve through which all that libosdp hears goes.

Anybody with a screwdriver reaches that line, and libosdp 3.2.9 by itself is no match for them: in the middle of a
session it takes a frame that is marked as part of the handshake without a MAC; it keeps a card number that came
before the session and hands it on once there is one; it ends the process at a plain command that it has no name for;
its challenges come from rand() without a seed, the same after every start. It also forgets a frame that comes in two
pieces, as they do on a serial line. So the sieve lets through whole frames only, each of a kind that may come
unprotected or with a MAC for libosdp to check, and `stir` seeds. Used by `osdp_reader` and `osdp_device`.
"""

from __future__ import annotations

import binascii
import contextlib
import ctypes
import fcntl
import os
import secrets
import termios
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from device.errors import ConfigError, HardwareMissing

BAUDS = {9600: termios.B9600, 19200: termios.B19200, 38400: termios.B38400, 57600: termios.B57600,
         115200: termios.B115200}

_LIBC = ctypes.CDLL(None)
_REOPEN_S = 1.0  # between two tries to open a port that is not there
_FRAME_S = 0.3  # the longest frame takes 0.27 s at 9600 bits/s; what is not whole by then never will be
_SHORTEST, _LONGEST = 7, 256  # bytes of a frame: header 5, code 1, check 1; libosdp's buffer
_SHORTEST_SECURED = 13  # with a security block of 2 and a MAC of 4
_SOM = 0x53
_CRC, _BLOCK = 0x04, 0x08  # bits of a frame's control byte: CRC instead of a checksum; a security block follows

# What may come in plain text, by code: identity, capabilities, and refusals, which end a session and never fake one.
_PLAIN_COMMANDS = frozenset({0x61, 0x62})  # ID, CAP
_PLAIN_REPLIES = frozenset({0x41, 0x45, 0x46, 0x79})  # NAK, PDID, PDCAP, BUSY
_PLAIN_ACK = 0x40  # some readers have dropped the session already when they acknowledge their key
# The handshake's frames: type of the security block -> the one code that it may carry, and the bytes after it.
_COMMAND_STEPS = {0x11: (0x76, 8), 0x13: (0x77, 16)}  # CHLNG, SCRYPT
_REPLY_STEPS = {0x12: (0x76, 32), 0x14: (0x78, 16)}  # CCRYPT, RMAC_I
_COMMANDS_WITH_MAC, _REPLIES_WITH_MAC = frozenset({0x15, 0x17}), frozenset({0x16, 0x18})


class Line(Protocol):
    """A line that carries bytes; nothing of it waits, and nothing raises."""

    def read(self, most: int) -> bytes:
        """What has come, at most so many bytes; empty where nothing has."""
        ...

    def write(self, data: bytes) -> int:
        """How many of the bytes were taken."""
        ...

    def flush(self) -> None:
        """Forget what has come and was not read."""
        ...

    def tend(self, mono: float) -> None:
        """Open again what is lost."""
        ...

    @property
    def fault(self) -> str:
        """Empty, or why the line carries nothing."""
        ...

    def close(self) -> None: ...


class OsdpPort:
    """A serial port with an RS-485 transceiver: 8 data bits, no parity, 1 stop bit, raw.

    Wire A to A, B to B and ground to ground, with 120 ohms across the pair at both ends of the cable. The transceiver
    must turn between sending and receiving by itself, as USB adapters do. It may be absent and may come back.
    """

    def __init__(self, path: Path, baud: int) -> None:
        """baud  bits per second, one of BAUDS; ConfigError for another"""
        if baud not in BAUDS:
            raise ConfigError(f"{path}: OSDP does not run at {baud} bits per second; "
                              f"use {', '.join(map(str, BAUDS))}")
        self._path = path
        self._speed = BAUDS[baud]
        self._fd: int | None = None
        self._fault = ""
        self._next_try = float("-inf")

    @property
    def fault(self) -> str:
        return self._fault

    def tend(self, mono: float) -> None:
        if self._fd is not None or mono < self._next_try:
            return
        self._next_try = mono + _REOPEN_S
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            self._fault = f"{self._path} cannot be opened ({error.strerror}); is the adapter plugged in?"
            return
        try:
            self._set_up(fd)
        except termios.error:
            os.close(fd)
            self._fault = f"{self._path} is no serial port; name the adapter's"
            return
        self._fd, self._fault = fd, ""

    def read(self, most: int) -> bytes:
        if self._fd is None:
            return b""
        try:
            data = os.read(self._fd, most)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self._lose()
        return data

    def write(self, data: bytes) -> int:
        if self._fd is None:
            return 0
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError:
            self._lose()
            return 0

    def flush(self) -> None:
        if self._fd is not None:
            with contextlib.suppress(termios.error):  # a port that is gone: the next read finds out
                termios.tcflush(self._fd, termios.TCIFLUSH)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _set_up(self, fd: int) -> None:
        special = termios.tcgetattr(fd)[6]
        # One byte at least, so that a read of none means that the port is gone.
        special[termios.VMIN], special[termios.VTIME] = 1, 0
        termios.tcsetattr(fd, termios.TCSANOW, [
            termios.IGNBRK | termios.IGNPAR, 0, termios.CS8 | termios.CREAD | termios.CLOCAL, 0,
            self._speed, self._speed, special])
        fcntl.ioctl(fd, termios.TIOCEXCL)

    def _lose(self) -> None:
        self.close()
        self._fault = f"{self._path} is gone; is the adapter plugged in?"


class Sieve:
    """The channel that libosdp reads and writes: hands on one whole and permitted frame per `turn`.

    allows_default  the default key (SCBK-D) may be spoken of: only while a pairing window is open
    heard_mono      when a permitted frame came last; said_mono: when libosdp last had something to say
    dropped         frames that were whole and not permitted
    """

    id = 0  # libosdp asks for it: which of several lines this is

    def __init__(self, line: Line, address: int, *, hears_replies: bool) -> None:
        """hears_replies  of the reader at `address`, for a panel; else commands to it, for a device"""
        self._line = line
        self._sender = address | 0x80 if hears_replies else address
        self._plain = _PLAIN_REPLIES if hears_replies else _PLAIN_COMMANDS
        self._steps = _REPLY_STEPS if hears_replies else _COMMAND_STEPS
        self._with_mac = _REPLIES_WITH_MAC if hears_replies else _COMMANDS_WITH_MAC
        self._hears_replies = hears_replies
        self._come = bytearray()
        self._come_mono = 0.0
        self._ready = b""
        self._mono = 0.0
        self.allows_default = False
        self.heard_mono = self.said_mono = float("-inf")
        self.dropped = 0

    def turn(self, mono: float) -> None:
        """Take in what the line has and make the next frame ready; call it before each refresh of libosdp."""
        self._mono = mono
        while len(self._come) < _LONGEST and (data := self._line.read(_LONGEST)):
            if not self._come:
                self._come_mono = mono
            self._come += data
        while not self._ready and (frame := self._cut()):
            self._come_mono = mono
            if self._is_permitted(frame):
                self.heard_mono = mono
                self._ready = frame
            else:
                self.dropped += 1
        if mono > self._come_mono + _FRAME_S:
            self._come.clear()

    def read(self, most: int) -> bytes:
        taken, self._ready = self._ready[:most], self._ready[most:]
        return taken

    def write(self, data: bytes) -> int:
        self.said_mono = self._mono
        return self._line.write(data)

    def flush(self) -> None:
        self._ready = b""
        self._come.clear()
        self._line.flush()

    def _cut(self) -> bytes:
        """The first frame whose length and check are right, taken out of what has come; empty where there is none."""
        while (start := self._come.find(_SOM)) >= 0:
            del self._come[:start]
            if len(self._come) < _SHORTEST:
                return b""
            length = int.from_bytes(self._come[2:4], "little")
            if _SHORTEST <= length <= _LONGEST:
                if len(self._come) < length:
                    return b""
                frame = bytes(self._come[:length])
                if _is_sound(frame):
                    del self._come[:length]
                    return frame
            del self._come[0]
        self._come.clear()
        return b""

    def _is_permitted(self, frame: bytes) -> bool:
        control = frame[4]
        if frame[1] != self._sender or control & 0xF0:
            return False
        if not control & _BLOCK:
            return frame[5] in self._plain or (self._hears_replies and self.allows_default and frame[5] == _PLAIN_ACK)
        if len(frame) < _SHORTEST_SECURED:
            return False
        size, kind, follows = frame[5], frame[6], frame[7]
        if kind in self._steps and size == 3:
            code, length = self._steps[kind]
            body = len(frame) - 5 - size - (2 if control & _CRC else 1)
            return body == 1 + length and frame[8] == code and (follows != 0 or self.allows_default)
        return kind in self._with_mac and size == 2


def _is_sound(frame: bytes) -> bool:
    """Whether the check at the frame's end is right: CRC-16 (0x1021 from 0x1D0F) or a sum."""
    if frame[4] & _CRC:
        return binascii.crc_hqx(frame[:-2], 0x1D0F) == int.from_bytes(frame[-2:], "little")
    return sum(frame) & 0xFF == 0


def open_library() -> Any:
    """libosdp's own module, silenced, since it would write past our log. HardwareMissing where it is not there."""
    try:
        library = import_module("osdp_sys")
    except ImportError:
        raise HardwareMissing("OSDP needs libosdp, which is not installed: install the extra open-door[osdp], or "
                              "take osdp out of [reader] and [controller]") from None
    library.set_loglevel(library.LOG_EMERG)
    return library


def stir() -> None:
    """Seed the C library's rand(), from which libosdp draws its challenges: under the same challenges a recorded
    session could be played again. 32 bits, and a try at them takes a tenth of a second. Call it at each refresh."""
    _LIBC.srand(ctypes.c_uint(secrets.randbits(32)))
