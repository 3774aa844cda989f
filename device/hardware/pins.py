"""The pin factory: the one that GPIOZERO_PIN_FACTORY names, or a refusal.

gpiozero by itself tries one library after the other with no more than a warning; a door must know what drives it.
Called by the relay process and by the board.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from device.errors import HardwareMissing

VARIABLE = "GPIOZERO_PIN_FACTORY"


def open_factory(environ: Mapping[str, str] = os.environ) -> Any:
    """The named gpiozero factory, and no other; HardwareMissing where none is named or it cannot be had."""
    name = environ.get(VARIABLE, "").strip()
    if not name:
        raise HardwareMissing(f"{VARIABLE} is not set: use lgpio on a Raspberry Pi, gpiod on a Jetson, mock where "
                              "there are no pins")
    found = {point.name: point for point in entry_points(group="gpiozero_pin_factories")}
    if name not in found:
        raise HardwareMissing(f"{VARIABLE}={name} is not a pin factory; known here: {', '.join(sorted(found))}")
    try:
        factory = found[name].load()()
    except HardwareMissing:
        raise
    # The libraries raise whatever they like: ImportError, OSError, their own classes, even bare Exception.
    except Exception as error:
        raise HardwareMissing(f"the pin factory {name} cannot be opened ({_one_line(error)}); install its library "
                              "and give this account the GPIO device") from None
    if name == "lgpio":
        factory.pin_class = _steady(factory.pin_class)
    return factory


def is_mock(factory: Any) -> bool:
    """True where there are no real pins, so that effects are printed instead."""
    from gpiozero.pins.mock import MockFactory

    return isinstance(factory, MockFactory)


def open_output(factory: Any, pin: int, active_low: bool) -> Any:
    """An output that starts and stays off; HardwareMissing names the pin that cannot be had."""
    from gpiozero import OutputDevice

    try:
        return OutputDevice(pin, active_high=not active_low, initial_value=False, pin_factory=factory)
    except Exception as error:
        raise HardwareMissing(f"output pin {pin} cannot be had ({_one_line(error)}); see [pins]") from None


def open_input(factory: Any, pin: int) -> Any:
    """An input with the pull-up on, active when its contact closes to ground."""
    from gpiozero import DigitalInputDevice

    try:
        return DigitalInputDevice(pin, pull_up=True, pin_factory=factory)
    except Exception as error:
        raise HardwareMissing(f"input pin {pin} cannot be had ({_one_line(error)}); see [pins]") from None


def _steady(pin_class: Any) -> Any:
    """lgpio's pin, claimed as an output at its level: gpiozero claims it low first, which would energise a relay
    board of active-low inputs for an instant at every start."""
    lgpio = import_module("lgpio")

    class SteadyPin(pin_class):  # type: ignore[misc]
        def output_with_state(self, state: int) -> None:
            lgpio.gpio_claim_output(self.factory._handle, self._number, int(bool(state)))

    return SteadyPin


def _one_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
