"""Pins of a Jetson and of other Linux boards: gpiozero's pin factory on libgpiod 2.

`GPIOZERO_PIN_FACTORY=gpiod` chooses it. A pin is the line's offset in its chip, or the line's own name (`PQ.05`;
`gpioinfo` lists both). Two variables say what is wired:

    DOOR_GPIO_CHIP  the chip, by device or by label (tegra234-gpio); /dev/gpiochip0 where it is not set
    DOOR_GPIO_BIAS  `external` where resistors, or pulls in the device tree, hold the inputs: a pull that is asked for
                    is then taken to be there. A Jetson needs it, since its driver sets no pull; so does every board
                    on which an input with nothing connected does not read 1.
"""

from __future__ import annotations

import os
from typing import Any

from gpiozero.exc import PinInvalidPin
from gpiozero.pins import BoardInfo, Factory, HeaderInfo, PinInfo

from device.clock import Clock, SystemClock
from device.errors import HardwareMissing
from device.hardware.gpiod_chip import DEFAULT, GpiodChip, load_gpiod
from device.hardware.gpiod_line import Line
from device.hardware.gpiod_pin import GpiodPin
from device.hardware.gpiod_watch import GpiodWatch


class GpiodFactory(Factory):  # type: ignore[misc]
    """The pins of one chip. Only one process can hold a line; the second is told who does."""

    def __init__(self, chip: str | None = None, gpiod: Any = None, clock: Clock | None = None) -> None:
        """chip   device or label, instead of what DOOR_GPIO_CHIP says
        gpiod  a fake of the library

        HardwareMissing where the library or the chip cannot be had, or a variable says what cannot be meant.
        """
        super().__init__()
        self._is_pulled_outside = _is_pulled_outside(os.environ.get("DOOR_GPIO_BIAS", ""))
        self._clock = clock or SystemClock()
        wanted = chip or os.environ.get("DOOR_GPIO_CHIP", "").strip() or DEFAULT
        self._chip = GpiodChip(load_gpiod() if gpiod is None else gpiod, wanted)
        self._board = _board(self._chip)
        self._watch = GpiodWatch(self._clock)
        self._pins: dict[int, GpiodPin] = {}

    @property
    def lost(self) -> str | None:
        """What has gone, in one line, once inputs can tell no more edges; they stay so until all is opened anew."""
        return self._watch.lost

    @property
    def lost_edges(self) -> int:
        """Edges that came faster than they were told, of all pins; the last of each line is told always."""
        return sum(pin.lost_edges for pin in self._pins.values())

    def pin(self, name: int | str) -> GpiodPin:
        """The pin of an offset or of a line's name; PinInvalidPin where the chip has no such line."""
        for _, info in self.board_info.find_pin(name):
            offset = info.number - 1
            with self._chip.lock:
                if offset not in self._pins:
                    line = Line(self._chip, offset, self._is_pulled_outside)
                    self._pins[offset] = GpiodPin(line, info, self._watch)
                return self._pins[offset]
        raise PinInvalidPin(f"{name!r} is no line of {self._chip.path} ({self._chip.label}), or not the only one "
                            f"called so; offsets go to {len(self._chip.names) - 1}")

    def close(self) -> None:
        """End the thread, let go of every line (outputs at the level at which they came up) and close the chip."""
        self._watch.close()
        for pin in self._pins.values():
            pin.close()
        self._pins.clear()
        self._chip.close()

    def ticks(self) -> float:
        """Seconds of the kernel's monotonic clock, which its edges bear too."""
        return self._clock.mono()

    def ticks_diff(self, later: float, earlier: float) -> float:
        return later - earlier

    def _get_board_info(self) -> Any:
        return self._board


def _is_pulled_outside(bias: str) -> bool:
    if bias not in ("", "external"):
        raise HardwareMissing(f"DOOR_GPIO_BIAS={bias[:40]} is unknown: leave it out, or external for own resistors")
    return bias == "external"


def _board(chip: GpiodChip) -> Any:
    """gpiozero's picture of the chip: one header with a pin per line, counted from 1 as on headers."""
    pins = {offset + 1: _pin(offset, name) for offset, name in enumerate(chip.names)}
    unknown = dict.fromkeys(("pcb_revision", "released", "soc", "manufacturer", "storage", "board"), "")
    none = dict.fromkeys(("memory", "usb", "usb3", "ethernet", "eth_speed", "csi", "dsi"), 0)
    headers = {"lines": HeaderInfo(name="lines", rows=len(pins), columns=1, pins=pins)}
    return BoardInfo(revision=chip.label, model=chip.label, wifi=False, bluetooth=False, headers=headers,
                     **unknown, **none)


def _pin(offset: int, name: str) -> Any:
    names = frozenset(filter(None, (name, str(offset)))) | {offset}
    return PinInfo(number=offset + 1, name=name or str(offset), names=names, pull="", row=offset + 1, col=1,
                   interfaces=frozenset({"gpio"}))
