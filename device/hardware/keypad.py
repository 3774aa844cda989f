"""A keypad of 4 rows and 3 or 4 columns, without diodes, scanned by the reader thread.

Wiring: each key joins its row to its column; rows and columns go to pins, nothing else is needed, since columns are
read against their pins' pull-ups. Keep the cable short: long ones pick up keys.

At rest every row is low, so that a look at the columns tells whether a key is down at all. Only then are the rows
driven one after another, with the others let go: two rows that were driven against one another would be joined by two
keys of one column. Without diodes three keys look like four, so that several at once count as none.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from device.errors import HardwareMissing

KEYS = ("123A", "456B", "789C", "*0#D")
DEBOUNCE_S = 0.02  # rubber and metal domes bounce for 5 to 15 ms
STUCK_S = 30.0
_SETTLE_S = 0.0002  # for a pull-up of 50 kΩ to lift a metre of cable


class Keypad:
    """One keypad. `poll`, `fault` and `close` on the reader thread."""

    def __init__(self, factory: Any, rows: Sequence[int], columns: Sequence[int]) -> None:
        """rows, columns  pins from the top and from the left, 4 and 3 or 4
        HardwareMissing names one that cannot be had."""
        self._rows: list[Any] = []
        self._columns: list[Any] = []
        self._seen: frozenset[str] = frozenset()
        self._seen_mono = 0.0
        self._down: frozenset[str] = frozenset()
        self._down_mono = 0.0
        self._fault = ""
        try:
            for devices, pins in ((self._columns, columns), (self._rows, rows)):
                for pin in pins:
                    devices.append(_open(factory, pin))
            for row in self._rows:
                _drive(row)
        except BaseException:
            self.close()
            raise

    @property
    def fault(self) -> str:
        """Empty, or what somebody must look after; a cable that is cut cannot be noticed."""
        return self._fault

    def poll(self, mono: float) -> list[str]:
        """The key that has just been pressed ("0".."9", "*", "#", "A".."D"), once per press, or nothing. Call it
        every 10 to 20 ms; takes a millisecond or two while a key is down."""
        pressed = self._debounce(self._scan(), mono)
        self._fault = self._stuck(mono)
        return pressed

    def close(self) -> None:
        """Let go of the pins."""
        for device in (*self._rows, *self._columns):
            device.close()
        self._rows, self._columns = [], []

    def _debounce(self, seen: frozenset[str], mono: float) -> list[str]:
        if seen != self._seen:
            self._seen, self._seen_mono = seen, mono
        if self._seen == self._down or mono - self._seen_mono < DEBOUNCE_S:
            return []
        before, self._down = self._down, self._seen
        if before:  # all must be let go before the next counts
            return []
        self._down_mono = self._seen_mono
        return list(self._down) if len(self._down) == 1 else []

    def _stuck(self, mono: float) -> str:
        if not self._down or mono - self._down_mono < STUCK_S:
            return ""
        return f"keypad: a key has been down for {STUCK_S:.0f} s ({', '.join(sorted(self._down))}); is it stuck?"

    def _scan(self) -> frozenset[str]:
        """The keys that are down."""
        if not any(column.is_active for column in self._columns):
            return frozenset()
        down = set()
        with self._rows_let_go():
            for row, keys in zip(self._rows, KEYS, strict=True):
                _drive(row)
                time.sleep(_SETTLE_S)
                down |= {key for column, key in zip(self._columns, keys, strict=False) if column.is_active}
                _let_go(row)
        return frozenset(down)

    @contextmanager
    def _rows_let_go(self) -> Iterator[None]:
        for row in self._rows:
            _let_go(row)
        try:
            yield
        finally:
            for row in self._rows:
                _drive(row)


def _open(factory: Any, pin: int) -> Any:
    """A pin with its pull-up, without edges: it is looked at, and may become an output."""
    from gpiozero import InputDevice

    try:
        return InputDevice(pin, pull_up=True, pin_factory=factory)
    except Exception as error:
        line = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise HardwareMissing(f"keypad pin {pin} cannot be had ({line}); see [reader]") from None


def _drive(row: Any) -> None:
    row.pin.output_with_state(0)


def _let_go(row: Any) -> None:
    row.pin.input_with_pull("up")
