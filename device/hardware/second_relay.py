"""The second relay: an output that is held, or on for a pulse. Moved by the door thread; it releases no door.

Wire it like the lock's: through a relay or transistor, with an external pull resistor that holds the line off while
no process drives it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class SecondRelay:
    """One output; the longer of what holds it and its pulse counts."""

    def __init__(self, output: Any, pulse_s: float, echo: Callable[[str], None] | None = None) -> None:
        """output  a gpiozero OutputDevice, off; echo gets a line whenever it moves"""
        self._output, self._pulse_s, self._echo = output, pulse_s, echo
        self._is_held = False
        self._until = float("-inf")

    @property
    def is_on(self) -> bool:
        return bool(self._output.value)

    def hold(self, is_on: bool, mono: float) -> None:
        self._is_held = is_on
        self.tick(mono)

    def pulse(self, mono: float) -> None:
        self._until = mono + self._pulse_s
        self.tick(mono)

    def tick(self, mono: float) -> None:
        """Set the output as it must be at `mono`."""
        is_on = self._is_held or mono < self._until
        if self.is_on is not is_on:
            self._output.value = is_on
            if self._echo is not None:
                self._echo(f"relay2 {'ON' if is_on else 'OFF'}")

    def close(self) -> None:
        self._output.off()
        self._output.close()
