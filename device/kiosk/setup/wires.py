"""What is wired and how each wire stands, as the door takes it: after debounce, in the installer's words. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from device.config import PinsConfig
from device.door.types import DoorState

RUNG_S = 2.0
"""A ring is over at once; it is shown for so long."""


@dataclass(frozen=True, slots=True)
class Wire:
    """name of the input, its pin, whether it is active, and the catalogue's key of how it stands."""

    name: str
    pin: int
    is_active: bool
    word: str


_WORDS = {"contact": ("setup.closed", "setup.open"), "rex": ("setup.let_go", "setup.pressed"),
          "tamper": ("setup.cover_on", "setup.cover_off"), "fire": ("setup.quiet", "setup.alarm"),
          "interlock": ("setup.closed", "setup.open"), "bell": ("setup.let_go", "setup.pressed")}


def wires(state: DoorState, pins: PinsConfig, since_rung_s: float) -> list[Wire]:
    """Every input that is wired; since_rung_s is how long ago the bell rang."""
    levels = {"contact": state.is_contact_open, "rex": state.rex_since is not None, "tamper": state.is_tampered,
              "fire": state.is_fire_input, "interlock": state.is_other_open, "bell": since_rung_s < RUNG_S}
    found = []
    for name, is_active in levels.items():
        pin = getattr(pins, name)
        if pin is not None:
            found.append(Wire(name, pin, is_active, _WORDS[name][is_active]))
    return found
