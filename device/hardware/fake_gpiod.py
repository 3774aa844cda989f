"""The part of the module gpiod that the pins use, over fake chips.

What gpiod has and nobody here calls is left out; a test holds the names, the parameters and the fields to gpiod's.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import SimpleNamespace

from device.hardware.fake_chip import FakeChip, os_error

_SECOND_NS = 1_000_000_000
_EDGES_KEPT = 16  # what the kernel keeps for a request that does not say
_BATCH = 64  # what gpiod reads at a time where nothing is said


class Value(Enum):
    INACTIVE = 0
    ACTIVE = 1

    def __bool__(self) -> bool:
        return self is Value.ACTIVE


class Direction(Enum):
    AS_IS = 1
    INPUT = 2
    OUTPUT = 3


class Bias(Enum):
    AS_IS = 1
    DISABLED = 3
    PULL_UP = 4
    PULL_DOWN = 5


class Edge(Enum):
    NONE = 1
    RISING = 2
    FALLING = 3
    BOTH = 4


_PULLS = {Bias.AS_IS: None, Bias.DISABLED: "floating", Bias.PULL_UP: "up", Bias.PULL_DOWN: "down"}


class ChipClosedError(Exception):
    """A closed chip was used."""


class RequestReleasedError(Exception):
    """A released request was used."""


@dataclass(slots=True)
class LineSettings:
    """What is asked of a line; values and edges are the other way round where it is active low."""

    direction: Direction = Direction.AS_IS
    edge_detection: Edge = Edge.NONE
    bias: Bias = Bias.AS_IS
    active_low: bool = False
    output_value: Value = Value.INACTIVE


@dataclass(frozen=True, slots=True)
class LineInfo:
    """What the kernel says of a line."""

    offset: int
    name: str | None
    used: bool
    consumer: str | None
    direction: Direction


@dataclass(frozen=True, slots=True)
class ChipInfo:
    """What the kernel says of a chip."""

    name: str
    label: str
    num_lines: int


@dataclass(frozen=True)
class EdgeEvent:
    """One edge, stamped with the monotonic clock."""

    class Type(Enum):
        RISING_EDGE = 1
        FALLING_EDGE = 2

    event_type: Type
    timestamp_ns: int
    line_offset: int
    global_seqno: int
    line_seqno: int


class LineRequest:
    """One line that is held; gpiod's may hold several."""

    def __init__(self, chip: FakeChip, offset: int, consumer: str, kept: int) -> None:
        self.consumer = consumer
        self._chip, self._offset = chip, offset
        self._settings = LineSettings()
        self._events: deque[EdgeEvent] = deque(maxlen=kept)
        self._seq = 0
        # Readable while edges wait, hung up when the chip goes: like the kernel's descriptor.
        self._reading, self._writing = os.pipe()
        self._is_readable = False

    @property
    def fd(self) -> int:
        if self._reading < 0:
            raise RequestReleasedError
        return self._reading

    def get_value(self, line: int | str) -> Value:
        with self._chip.lock:
            self._check()
            return Value(self._chip.levels(self._offset)[-1] ^ self._settings.active_low)

    def set_value(self, line: int | str, value: Value) -> None:
        with self._chip.lock:
            self._check()
            if self._chip.wires[self._offset].output is None:
                raise os_error(errno.EPERM)
            self._chip.set(self._offset, self._level(value), None)

    def reconfigure_lines(self, config: Mapping[int, LineSettings]) -> None:
        with self._chip.lock:
            self._check()
            self.apply(config[self._offset])

    def apply(self, settings: LineSettings) -> None:
        """Called with the chip locked."""
        if settings.direction is not Direction.AS_IS:
            before, self._settings = self._settings, settings
            output = self._level(settings.output_value) if settings.direction is Direction.OUTPUT else None
            try:
                self._chip.set(self._offset, output, _PULLS[settings.bias])
            except OSError:
                self._settings = before
                raise

    def read_edge_events(self, max_events: int | None = None) -> list[EdgeEvent]:
        """The oldest edges; waits for one, unless the descriptor does not block (BlockingIOError)."""
        self._check()
        if not self._events:
            os.read(self.fd, 1)
            self._is_readable = False
        with self._chip.lock:
            self._check()
            events = [self._events.popleft() for _ in range(min(max_events or _BATCH, len(self._events)))]
            self._show(bool(self._events))
            return events

    def release(self) -> None:
        with self._chip.lock:
            if self._reading >= 0:
                self._chip.free(self._offset)
                self.hang_up()
                os.close(self._reading)
            self._reading = -1

    def hear(self, level: int) -> None:
        """An edge where that one is asked for, in the place of the oldest where all is full."""
        is_rising = bool(level ^ self._settings.active_low)
        if self._settings.edge_detection not in (Edge.BOTH, Edge.RISING if is_rising else Edge.FALLING):
            return
        self._seq += 1
        stamp = int(self._chip.clock.mono() * _SECOND_NS)
        kind = EdgeEvent.Type.RISING_EDGE if is_rising else EdgeEvent.Type.FALLING_EDGE
        self._events.append(EdgeEvent(kind, stamp, self._offset, self._seq, self._seq))
        self._show(True)

    def hang_up(self) -> None:
        if self._writing >= 0:
            os.close(self._writing)
        self._writing = -1

    def _show(self, is_readable: bool) -> None:
        if is_readable and not self._is_readable:
            os.write(self._writing, b"e")
        elif self._is_readable and not is_readable:
            os.read(self._reading, 1)
        self._is_readable = is_readable

    def _level(self, value: Value) -> int:
        return int(bool(value) is not self._settings.active_low)

    def _check(self) -> None:
        if self._reading < 0:
            raise RequestReleasedError
        self._chip.check()


class OpenedChip:
    """What the class Chip of gpiod makes."""

    def __init__(self, chip: FakeChip) -> None:
        self._chip: FakeChip | None = chip

    def get_info(self) -> ChipInfo:
        chip = self._opened()
        return ChipInfo(os.path.basename(chip.path), chip.label, len(chip.wires))

    def get_line_info(self, line: int | str) -> LineInfo:
        chip, offset = self._opened(), self._offset(line)
        wire = chip.wires[offset]
        direction = Direction.INPUT if wire.output is None else Direction.OUTPUT
        consumer = wire.holder.consumer if wire.holder is not None else None
        return LineInfo(offset, wire.name or None, wire.holder is not None, consumer, direction)

    def request_lines(self, config: Mapping[int, LineSettings], consumer: str | None = None,
                      event_buffer_size: int | None = None) -> LineRequest:
        """The one line of `config`."""
        chip, ((line, settings),) = self._opened(), config.items()
        offset = self._offset(line)
        with chip.lock:
            chip.check_free(offset)
            request = LineRequest(chip, offset, consumer or "?", event_buffer_size or _EDGES_KEPT)
            chip.wires[offset].holder = request
            try:
                request.apply(settings)
            except OSError:
                request.release()
                raise
            return request

    def close(self) -> None:
        """Requests outlive it."""
        self._chip = None

    def _opened(self) -> FakeChip:
        if self._chip is None:
            raise ChipClosedError
        self._chip.check()
        return self._chip

    def _offset(self, line: int | str) -> int:
        if not isinstance(line, int) or not 0 <= line < len(self._opened().wires):
            raise ValueError("line offset of out range")
        return line


class FakeGpiod:
    """Stands where the module gpiod does, on a machine that has these chips."""

    line = SimpleNamespace(Value=Value, Direction=Direction, Bias=Bias, Edge=Edge)
    LineSettings, EdgeEvent = LineSettings, EdgeEvent

    def __init__(self, *chips: FakeChip) -> None:
        self._chips = {chip.path: chip for chip in chips}

    def Chip(self, path: str) -> OpenedChip:
        """FileNotFoundError where there is no such chip."""
        if path not in self._chips:
            raise os_error(errno.ENOENT)
        return OpenedChip(self._chips[path])
