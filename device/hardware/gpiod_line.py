"""One line of a GPIO chip: held in a mode, moved from mode to mode in one step, and let go.

Between two modes there is no third: an output comes up at its level, without the instant at the other one that
energises a relay. Used by the pins; edges are read by the watch.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from gpiozero.exc import GPIOPinInUse, PinEdgeDetectUnsupported, PinFixedPull

from device.errors import HardwareMissing
from device.hardware.gpiod_chip import GpiodChip

_BATCH = 64  # edges read at a time, so that a storm on one line leaves the others their turn
_SECOND_NS = 1_000_000_000
_BIASES = {"floating": "DISABLED", "up": "PULL_UP", "down": "PULL_DOWN"}
# NVIDIA's driver takes a pull and sets none, and the kernel does not tell (drivers/gpio/gpio-tegra186.c answers
# "not supported", which gpiolib passes over). An exit button's line that floats would release the door.
_SETS_NO_PULL = ("tegra",)


@dataclass(frozen=True, slots=True)
class Mode:
    """How a line is held."""

    function: str = "input"  # input, output
    pull: str = "floating"  # of an input: floating, up, down
    edges: str = "none"  # of an input, told by the kernel: none, rising, falling, both
    level: int = 0  # of an output


@dataclass(frozen=True, slots=True)
class LineEdge:
    """A line has changed to `level`, at the kernel's monotonic time."""

    mono: float
    level: int


class Line:
    """A line; nothing is held until a mode is set or the level is read."""

    def __init__(self, chip: GpiodChip, offset: int, is_pulled_outside: bool) -> None:
        """is_pulled_outside  resistors or the device tree pull the inputs; the chip's own pulls stay as they are"""
        self.chip = chip
        self.offset = offset
        self.lost_edges = 0
        with self._diagnosed():
            is_output = chip.info(offset).direction is chip.gpiod.line.Direction.OUTPUT
        self.mode = Mode("output" if is_output else "input")
        self._is_pulled_outside = is_pulled_outside
        self._request: Any = None
        self._seq = 0

    def __str__(self) -> str:
        return self.chip.text(self.offset)

    def fileno(self) -> int:
        """Descriptor that turns readable with an edge; -1 while nothing is held."""
        with self.chip.lock:
            return -1 if self._request is None else int(self._request.fd)

    def hold(self, mode: Mode) -> None:
        """Take the line, or change how it is held; what was stays where that fails.

        GPIOPinInUse where somebody else holds it, PinFixedPull where the pull cannot be had, HardwareMissing else.
        """
        self._check_pull(mode)
        with self.chip.lock, self._diagnosed(mode):
            self._set(self._settings(mode))
            self.mode = mode

    def level(self) -> int:
        """0 or 1, as it is on the wire; a line that is not held is taken as it is found."""
        with self.chip.lock, self._diagnosed():
            if self._request is None:
                self._set(self.chip.gpiod.LineSettings())
            return int(bool(self._request.get_value(self.offset)))

    def check(self) -> None:
        """HardwareMissing where the line is held and its chip is gone."""
        with self.chip.lock, self._diagnosed():
            if self._request is not None:
                self._request.get_value(self.offset)

    def put(self, level: int) -> None:
        """Set the level of an output that is held."""
        with self.chip.lock, self._diagnosed():
            if self._request is not None:
                self._request.set_value(self.offset, self._value(level))

    def read_edges(self) -> list[LineEdge]:
        """The next edges in order, none where there are none; HardwareMissing where the chip is gone."""
        with self.chip.lock, self._diagnosed():
            if self._request is None:
                return []
            try:
                events = self._request.read_edge_events(_BATCH)
            except BlockingIOError:
                return []
            return [self._edge(event) for event in events]

    def forget_edges(self) -> None:
        """Drop what has come unheard; to be called while no edges are told, else it might have no end."""
        while self.read_edges():
            pass

    def release(self) -> None:
        """Let go; the line is whoever's comes next, and held at its level by an external resistor alone."""
        with self.chip.lock:
            if self._request is not None:
                self._request.release()
            self._request = None
            self._seq = 0
            self.mode = Mode()

    def _set(self, settings: Any) -> None:
        if self._request is not None:
            self._request.reconfigure_lines({self.offset: settings})
            return
        self._request = self.chip.request(self.offset, settings)
        os.set_blocking(self._request.fd, False)

    def _settings(self, mode: Mode) -> Any:
        line, is_input = self.chip.gpiod.line, mode.function == "input"
        is_own = is_input and not self._is_pulled_outside
        return self.chip.gpiod.LineSettings(
            direction=line.Direction.INPUT if is_input else line.Direction.OUTPUT,
            bias=line.Bias[_BIASES[mode.pull]] if is_own else line.Bias.AS_IS,
            edge_detection=line.Edge[mode.edges.upper()] if is_input else line.Edge.NONE,
            output_value=self._value(mode.level),
        )

    def _value(self, level: int) -> Any:
        value = self.chip.gpiod.line.Value
        return value.ACTIVE if level else value.INACTIVE

    def _edge(self, event: Any) -> LineEdge:
        self.lost_edges += max(event.line_seqno - self._seq - 1, 0)
        self._seq = event.line_seqno
        is_rising = event.event_type is self.chip.gpiod.EdgeEvent.Type.RISING_EDGE
        return LineEdge(event.timestamp_ns / _SECOND_NS, int(is_rising))

    def _check_pull(self, mode: Mode) -> None:
        if self._is_pulled_outside or mode.function != "input" or mode.pull == "floating":
            return
        if self.chip.label.startswith(_SETS_NO_PULL):
            raise PinFixedPull(f"{self}: {self.chip.label} sets no pull-{mode.pull}; wire a resistor and set "
                               "DOOR_GPIO_BIAS=external")

    @contextmanager
    def _diagnosed(self, mode: Mode | None = None) -> Iterator[None]:
        """mode  that is being set, where one is"""
        try:
            yield
        except HardwareMissing:
            raise
        except OSError as error:
            self._refuse(error, mode)

    def _refuse(self, error: OSError, mode: Mode | None) -> NoReturn:
        if error.errno == errno.EBUSY:
            raise GPIOPinInUse(f"{self} is busy: {self._holder()} holds it") from None
        if error.errno == errno.ENODEV:
            raise HardwareMissing(f"{self} is gone with its chip {self.chip.path}") from None
        if mode and mode.edges != "none" and error.errno == errno.ENXIO:
            raise PinEdgeDetectUnsupported(f"{self} has no interrupt: its edges cannot be told") from None
        if mode and mode.function == "input" and error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
            raise PinFixedPull(f"{self} refuses pull {mode.pull}; wire a resistor and set DOOR_GPIO_BIAS=external "
                               f"({error.strerror})") from None
        raise HardwareMissing(f"{self} cannot be had ({error.strerror})") from None

    def _holder(self) -> str:
        try:
            return self.chip.info(self.offset).consumer or "another program"
        except OSError:
            return "another program"
