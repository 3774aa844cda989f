"""What is wired to the terminal besides the lock, as the door thread uses it: debounced inputs in, signals out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from device.clock import Clock
from device.config import Config, other_pins
from device.door.reasons import reason
from device.door.second import pulses, stands
from device.door.types import DoorInput, DoorState, Effect
from device.door.wires import Wires
from device.errors import HardwareMissing
from device.hardware.board import Board
from device.hardware.pins import VARIABLE

Hands = Callable[[Any], None]
"""Puts the wires of a mock factory at rest before they are looked at for the first time."""


class Panel:
    """Opened once at the start; all methods on the door thread."""

    def __init__(self, board: Board, clock: Clock, second_for: str = "alarm") -> None:
        """second_for  what the second relay follows (see `door.second`)"""
        self._board, self._clock, self._second_for = board, clock, second_for
        self._wires = Wires(board.inputs.levels(), clock.mono())

    @classmethod
    def open(cls, config: Config, clock: Clock, wake: Callable[[], None],
             echo: Callable[[str], None] | None = None, hands: Hands | None = None) -> Panel:
        """HardwareMissing where there is no pin factory or a pin cannot be had.

        wake   called on gpiozero's thread after each edge
        echo   gets a line per signal where the pins are mock ones
        hands  mock pins that a scenario moves
        """
        pins, others = config.pins, other_pins(config)
        if hands is None:
            return cls(Board.open(pins, clock, wake, echo, others=others), clock, pins.relay2_for)
        board = Board.open(pins, clock, wake, echo, {VARIABLE: "mock"}, others)
        hands(board.factory)
        return cls(board, clock, pins.relay2_for)

    @property
    def is_second_on(self) -> bool:
        """Whether the second relay is energised."""
        return self._board.second is not None and self._board.second.is_on

    def initial(self) -> tuple[DoorInput, ...]:
        """What was active already when the terminal started."""
        return self._wires.initial()

    def inputs(self) -> list[DoorInput]:
        """The debounced changes since the last call, in order. HardwareMissing where the pins were lost."""
        if self._board.lost is not None:
            raise HardwareMissing(self._board.lost)
        return self._wires.feed(self._board.inputs.drain(), self._clock.mono())

    def wait_s(self, most: float) -> float:
        """How long to wait for something else before asking `inputs` again."""
        due = self._wires.due_mono()
        return most if due is None else min(max(due - self._clock.mono(), 0.0), most)

    def show(self, code: str) -> None:
        """Play a reason's light and sound."""
        row = reason(code)
        self._board.signals.show(row.light, row.sound, self._clock.mono())

    @property
    def factory(self) -> Any:
        """gpiozero's pins, for readers that are wired to them."""
        return self._board.factory

    def light(self, light: str, sound: str) -> None:
        """Play what a controller wants to be seen at its reader."""
        self._board.signals.show(light, sound, self._clock.mono())

    def stepped(self, state: DoorState, effects: Sequence[Effect]) -> None:
        """Have the second relay follow the door."""
        second, mono = self._board.second, self._clock.mono()
        if second is None:
            return
        second.hold(stands(self._second_for, state), mono)
        if pulses(self._second_for, effects):
            second.pulse(mono)

    def tick(self) -> None:
        """Move the signals on."""
        mono = self._clock.mono()
        self._board.signals.tick(mono)
        if self._board.second is not None:
            self._board.second.tick(mono)

    def close(self) -> None:
        self._board.close()
