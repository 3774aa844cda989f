"""Board: everything that is wired to this terminal except the lock, which is the relay process's.

Made once by the app. With the mock factory a test drives the pins by hand: `board.factory.pin(22).drive_low()`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from device.clock import Clock
from device.config import PinsConfig
from device.errors import ConfigError
from device.hardware.inputs import Inputs
from device.hardware.pins import is_mock, open_factory, open_output
from device.hardware.second_relay import SecondRelay
from device.hardware.signals import Signals


@dataclass(slots=True)
class Board:
    """The opened inputs and outputs; is_mock where effects are only printed."""

    factory: Any
    inputs: Inputs
    signals: Signals
    is_mock: bool
    second: SecondRelay | None = None

    @classmethod
    def open(
        cls,
        pins: PinsConfig,
        clock: Clock,
        wake: Callable[[], None] | None = None,
        echo: Callable[[str], None] | None = None,
        environ: Mapping[str, str] = os.environ,
        others: Mapping[str, int | None] | None = None,
    ) -> Board:
        """The board as `pins` says; HardwareMissing where there is no factory or a pin cannot be had.

        wake  called after each edge of an input (see Inputs)
        echo  gets a line per lamp or buzzer pattern and move of the second relay, where the pins are mock ones
        others  configuration key -> pin of what is wired besides
        """
        check_pins(pins, others)
        factory = open_factory(environ)
        mock = is_mock(factory)
        try:
            inputs = Inputs(factory, pins, clock, wake)
            signals = Signals(factory, pins, echo if mock else None)
            second = None if pins.relay2 is None else SecondRelay(
                open_output(factory, pins.relay2, pins.active_low), pins.relay2_s, echo if mock else None)
        except BaseException:
            factory.close()
            raise
        return cls(factory, inputs, signals, mock, second)

    @property
    def lost(self) -> str | None:
        """Why the pins can no longer be had; None while they can."""
        return getattr(self.factory, "lost", None)

    def close(self) -> None:
        if self.second is not None:
            self.second.close()
        self.inputs.close()
        self.signals.close()
        self.factory.close()


WIRED = ("lock", "contact", "rex", "tamper", "fire", "interlock", "bell", "lamp_green", "lamp_red", "buzzer",
         "relay2")


def check_pins(pins: PinsConfig, others: Mapping[str, int | None] | None = None) -> None:
    """ConfigError where two things are said to be on one pin; the second would take the first one's line.

    others  configuration key -> pin of what is wired besides (readers, keypad)
    """
    named = {f"pins.{name}": getattr(pins, name) for name in WIRED} | dict(others or {})
    seen: dict[int, str] = {}
    for name, pin in named.items():
        if pin is None:
            continue
        if pin in seen:
            raise ConfigError(f"{name} and {seen[pin]} are both {pin}; each needs a pin of its own")
        seen[pin] = name
