"""A USB card reader that types like a keyboard: its keys are taken from the kernel's input events.

The device is grabbed, so that no card number reaches a login prompt or the kiosk's browser. Name it by
/dev/input/by-id/...-event-kbd, which stays the same when it is plugged in elsewhere, and give the account the group
`input`. It may be absent and may come back. Whoever plugs in a keyboard of that name can type any number; a reader
on a desk outside needs its socket inside.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Callable
from pathlib import Path

GAP_S = 0.5  # a reader types a number in a tenth of a second; what stands still was left half typed
MOST_LETTERS = 24  # 64 bits are 20 digits
_REOPEN_S = 1.0  # between two tries to open a device that is not there
_MOST_READS = 16  # in one poll, so that a device that never stops does not hold up the others
_EVIOCGRAB = 0x40044590  # _IOW('E', 0x90, int), linux/input.h
_EVENT = struct.Struct("llHHi")  # struct input_event: two longs of time, type, code, value
_BATCH = 64 * _EVENT.size
_SYN, _KEY = 0, 1  # types
_SYN_DROPPED = 3
_DOWN = 1  # 0 = up, 2 = repeated

# Codes of linux/input-event-codes.h.
_LETTERS = {**dict(zip(range(2, 12), "1234567890", strict=True)),
            30: "a", 48: "b", 46: "c", 32: "d", 18: "e", 33: "f",
            82: "0", 79: "1", 80: "2", 81: "3", 75: "4", 76: "5", 77: "6", 71: "7", 72: "8", 73: "9"}
_ENTER = (28, 96)
_SILENT = (42, 54, 58, 69)  # shift, caps lock and num lock, which readers press around letters

_GONE = "is not there; is it plugged in?"
_REMEDIES = {errno.EACCES: "give this account the group input", errno.EBUSY: "another program has grabbed it",
             errno.ENOTTY: "name an input device", errno.EINVAL: "name an input device"}


def open_grabbed(path: Path) -> int:
    """Descriptor of an input device that types for nobody else from now on; OSError where it cannot be had."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        fcntl.ioctl(fd, _EVIOCGRAB, 1)
    except OSError:
        os.close(fd)
        raise
    return fd


class UsbReader:
    """One reader. `poll`, `fault` and `close` on the reader thread.

    dropped  numbers that were none: half typed, too long, with other keys in them
    """

    def __init__(self, path: Path, opener: Callable[[Path], int] = open_grabbed) -> None:
        """opener  gives the descriptor of the device, non-blocking"""
        self._path, self._opener = path, opener
        self._fd: int | None = None
        self._next_try = float("-inf")
        self._fault = ""
        self._bytes = b""
        self._text = ""
        self._is_void = False
        self._typed_mono = float("-inf")
        self.dropped = 0

    @property
    def fault(self) -> str:
        """Empty, or what somebody must look after."""
        return self._fault

    def poll(self, mono: float) -> list[str]:
        """The numbers typed since the last call, 1 to 24 digits or a to f. Never waits; call it every 20 ms or so."""
        if self._fd is None:
            self._open(mono)
        numbers: list[str] = []
        for _ in range(_MOST_READS):
            data = self._read()
            if not data:
                break
            numbers += self._take(data, mono)
        return numbers

    def close(self) -> None:
        """Let go of the device; it types for everybody again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        self._bytes = b""
        self._forget()

    # --- the device -------------------------------------------------------------------------------------

    def _open(self, mono: float) -> None:
        if mono < self._next_try:
            return
        self._next_try = mono + _REOPEN_S
        try:
            self._fd, self._fault = self._opener(self._path), ""
        except OSError as error:
            self._fault = f"USB reader {self._path} {_said(error)}"

    def _read(self) -> bytes:
        """What has come; empty where nothing has, or the device is gone."""
        if self._fd is None:
            return b""
        try:
            data = os.read(self._fd, _BATCH)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self.close()
            self._fault = f"USB reader {self._path} {_GONE}"
        return data

    # --- what it types ----------------------------------------------------------------------------------

    def _take(self, data: bytes, mono: float) -> list[str]:
        if mono - self._typed_mono > GAP_S:
            self._bytes = b""
            self._forget()
        self._typed_mono = mono
        self._bytes += data
        whole = len(self._bytes) - len(self._bytes) % _EVENT.size
        events, self._bytes = self._bytes[:whole], self._bytes[whole:]
        numbers = []
        for _, _, kind, code, value in _EVENT.iter_unpack(events):
            if kind == _SYN and code == _SYN_DROPPED:
                self._is_void = True  # the kernel had no room: keys are missing
            elif kind == _KEY and value == _DOWN and (number := self._press(code)):
                numbers.append(number)
        return numbers

    def _press(self, code: int) -> str:
        """The number that this key ends, empty where it ends none."""
        if code in _ENTER:
            number = "" if self._is_void else self._text
            self._text = ""
            self._forget()
            return number
        if code in _LETTERS and len(self._text) < MOST_LETTERS:
            self._text += _LETTERS[code]
        elif code not in _SILENT:
            self._is_void = True
        return ""

    def _forget(self) -> None:
        """Begin anew; what was not handed on counts as dropped."""
        if self._text or self._is_void:
            self.dropped += 1
        self._text, self._is_void = "", False


def _said(error: OSError) -> str:
    """Why a device cannot be had and what to do."""
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return _GONE  # in the same words as of one that has just gone, so that it is told once
    remedy = _REMEDIES.get(error.errno or 0, "plug it in anew")
    return f"cannot be opened ({error.strerror}); {remedy}"
