"""What is typed on a keypad, key by key, until it is whole: `number * PIN #`, or `PIN #` alone.

Pure; the reader thread has one Entry per keypad, so that two people at two keypads do not type into one another.
"""

from __future__ import annotations

from dataclasses import dataclass, field

PAUSE_S = 8.0  # whoever waits so long has gone; what they left must not become the next one's PIN
MOST_DIGITS = 24  # number and PIN have 22 at most
_DIGITS = frozenset("0123456789")


@dataclass(frozen=True, slots=True)
class Typed:
    """A whole entry; the number is empty where only a PIN was typed."""

    number: str = field(repr=False)
    pin: str = field(repr=False)


class Entry:
    """Collects keys: 0 to 9, `*` between number and PIN, `#` at the end; a second `*` clears. Others mean nothing.

    What grows beyond 24 digits is void until it is ended or cleared: its end is no PIN.
    """

    def __init__(self) -> None:
        self._keys = ""
        self._mono = float("-inf")

    def press(self, key: str, mono: float) -> Typed | None:
        """Take the next key; the entry that it ends, None where it ends none or nothing was typed."""
        if mono - self._mono > PAUSE_S:
            self.clear()
        self._mono = mono
        if key == "#":
            return self._end()
        if key == "*" and "*" in self._keys:
            self.clear()
        elif key == "*" or (key in _DIGITS and len(self._keys) <= MOST_DIGITS + 1):
            self._keys += key
        return None

    def clear(self) -> None:
        """Forget what was typed."""
        self._keys = ""

    def _end(self) -> Typed | None:
        keys = self._keys
        self.clear()
        first, star, second = keys.partition("*")
        if len(first + second) > MOST_DIGITS or not (second if star else first):
            return None
        return Typed(first, second) if star else Typed("", first)
