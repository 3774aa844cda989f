"""A line of a GPIO chip as gpiozero wants a pin: function, state, pull, edges, when_changed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from types import MethodType
from typing import Any
from weakref import ReferenceType, WeakMethod, ref

from gpiozero.exc import (
    PinFixedPull,
    PinInvalidBounce,
    PinInvalidEdges,
    PinInvalidFunction,
    PinInvalidPull,
    PinInvalidState,
    PinPWMUnsupported,
    PinSetInput,
)
from gpiozero.pins import Pin

from device.errors import HardwareMissing
from device.hardware.gpiod_line import Line, LineEdge, Mode
from device.hardware.gpiod_watch import GpiodWatch

log = logging.getLogger(__name__)

Changed = Callable[[float, int], None]


class GpiodPin(Pin):  # type: ignore[misc]
    """A pin; the line is taken when it is first configured or read, not before, so that it keeps until then what
    the boot loader gave it.

    Wire an external resistor that holds an output at the level at which its load is off: nobody drives the line
    before it is opened and after it is closed.
    """

    def __init__(self, line: Line, info: Any, watch: GpiodWatch) -> None:
        """info  gpiozero's PinInfo"""
        super().__init__()
        self._line = line
        self._info = info
        self._watch = watch
        self._edges = "both"
        self._changed: ReferenceType[Changed] | None = None
        self._rest: int | None = None  # the level at which an output came up first, and at which it is left

    def __repr__(self) -> str:
        return str(self._line)

    @property
    def lost_edges(self) -> int:
        """How many edges have given way in the kernel to later ones."""
        return self._line.lost_edges

    def close(self) -> None:
        """Let go of the line; an output falls back to the level at which it came up first."""
        with self._line.chip.lock:
            self._watch.drop(self._line)
            self._changed, self._edges = None, "both"
            try:
                if self._rest is not None and self._line.mode.function == "output":
                    self._line.put(self._rest)
            except HardwareMissing as error:
                log.error("%s", error)
            finally:
                self._rest = None
                self._line.release()

    def output_with_state(self, state: object) -> None:
        level = self._level(state)
        with self._line.chip.lock:
            self._watch.drop(self._line)
            self._line.hold(replace(self._line.mode, function="output", level=level))
            if self._rest is None:
                self._rest = level

    def input_with_pull(self, pull: str) -> None:
        if pull not in ("floating", "up", "down"):
            raise PinInvalidPull(f"pull must be floating, up or down, not {pull!r}")
        self._listen(replace(self._line.mode, function="input", pull=pull))

    def _get_info(self) -> Any:
        return self._info

    def _get_function(self) -> str:
        return self._line.mode.function

    def _set_function(self, value: str) -> None:
        """An output without a level takes over the one that is on the wire: nothing switches."""
        if value == "input":
            self.input_with_pull(self._line.mode.pull)
        elif value == "output":
            self.output_with_state(self._line.level())
        else:
            raise PinInvalidFunction(f"function must be input or output, not {value!r}")

    def _get_state(self) -> int:
        return self._line.level()

    def _set_state(self, value: object) -> None:
        if self._line.mode.function != "output":
            raise PinSetInput(f"{self!r} is an input: its state cannot be set")
        if self._rest is None:
            self.output_with_state(value)
        else:
            self._line.put(self._level(value))

    def _get_pull(self) -> str:
        return self._line.mode.pull

    def _set_pull(self, value: str) -> None:
        if self._line.mode.function != "input":
            raise PinFixedPull(f"{self!r} is an output: it has no pull")
        self.input_with_pull(value)

    def _get_frequency(self) -> None:
        return None

    def _set_frequency(self, value: float | None) -> None:
        if value is not None:
            raise PinPWMUnsupported(f"{self!r}: a GPIO chip has no PWM")

    def _get_bounce(self) -> None:
        return None

    def _set_bounce(self, value: float | None) -> None:
        if value is not None:
            raise PinInvalidBounce(f"{self!r}: bounce must be None; edges come as they are")

    def _get_edges(self) -> str:
        return self._edges

    def _set_edges(self, value: str) -> None:
        if value not in ("none", "rising", "falling", "both"):
            raise PinInvalidEdges(f"edges must be none, rising, falling or both, not {value!r}")
        self._edges = value
        if self._changed is not None:
            self._listen(self._line.mode)

    def _get_when_changed(self) -> Changed | None:
        return None if self._changed is None else self._changed()

    def _set_when_changed(self, value: Changed | None) -> None:
        """Held weakly, as all of gpiozero's pins do: a device that nobody holds any more closes."""
        was_listening = self._changed is not None
        if value is None:
            self._changed = None
        else:
            self._changed = WeakMethod(value) if isinstance(value, MethodType) else ref(value)
        if was_listening or value is not None:
            self._listen(self._line.mode)

    def _listen(self, mode: Mode) -> None:
        """Hold an input so, with the edges that somebody wants to hear; an output has none and stays as it is."""
        if mode.function != "input":
            return
        with self._line.chip.lock:
            is_heard = self._changed is not None and self._edges != "none"
            if not is_heard:
                self._watch.drop(self._line)
            elif self._line.mode.edges == "none":
                self._line.forget_edges()
            self._line.hold(replace(mode, edges=self._edges if is_heard else "none"))
            if is_heard:
                self._watch.add(self._line, self._tell)

    def _tell(self, edge: LineEdge) -> None:
        if changed := self._get_when_changed():
            changed(edge.mono, edge.level)

    def _level(self, state: object) -> int:
        if state not in (0, 1):
            raise PinInvalidState(f"{self!r}: state must be 0 or 1, not {state!r}")
        return int(bool(state))
