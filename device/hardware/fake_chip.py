"""A GPIO chip that is not there: wires that are moved by hand and keep every level that they have had.

    chip = FakeChip(label="tegra234-gpio", num_lines=164, names={105: "PQ.05"})
    factory = GpiodFactory(gpiod=FakeGpiod(chip))
    chip.drive(105, 0)

`fake_gpiod` gives programs the way to it. What the kernel refuses is refused here with the kernel's errors.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from threading import RLock
from typing import Protocol

from device.clock import Clock, SystemClock


class Holder(Protocol):
    """Whoever holds a line."""

    consumer: str

    def hear(self, level: int) -> None:
        """The wire has gone to `level`."""
        ...

    def hang_up(self) -> None:
        """The chip is gone."""
        ...


class FakeWire:
    """One wire. An output sets it; else what is outside does, else the pull, else it stays as it was."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.output: int | None = None
        self.outside: int | None = None
        self.pull: int | None = None
        self.levels = [0]
        self.holder: Holder | None = None

    def settle(self) -> None:
        forces = (self.output, self.outside, self.pull, self.levels[-1])
        level = next(force for force in forces if force is not None)
        if level == self.levels[-1]:
            return
        self.levels.append(level)
        if self.holder is not None:
            self.holder.hear(level)


class FakeChip:
    """A chip with its wires; any thread may use it, as the kernel's."""

    def __init__(self, path: str = "/dev/gpiochip0", label: str = "fake", num_lines: int = 64,
                 names: Mapping[int, str] | None = None, pulls: str = "sets", wakes: bool = True,
                 clock: Clock | None = None) -> None:
        """pulls  what the driver does with a pull: sets, refuses or ignores
        wakes  whether those who wait for edges are woken when the chip goes; kernels before 6.5 do not
        """
        self.path, self.label = path, label
        self.clock = clock or SystemClock()
        # Stands for the kernel's own, which serialises the processes that use a chip.
        self.lock = RLock()
        self.wires = [FakeWire((names or {}).get(offset, "")) for offset in range(num_lines)]
        self._pulls, self._wakes = pulls, wakes
        self._is_gone = False

    def drive(self, offset: int, level: int | None) -> None:
        """Put a wire to a level from outside, as a contact or a resistor does; None lets go of it."""
        with self.lock:
            self.wires[offset].outside = level
            self.wires[offset].settle()

    def levels(self, offset: int) -> list[int]:
        """Every level that the wire has had, in order."""
        return list(self.wires[offset].levels)

    def held(self) -> set[int]:
        """Offsets of the lines that somebody holds."""
        return {offset for offset, wire in enumerate(self.wires) if wire.holder is not None}

    def vanish(self) -> None:
        """The chip goes: its driver is unloaded, its plug pulled."""
        with self.lock:
            self._is_gone = True
            for wire in self.wires:
                holder, wire.output = wire.holder, None
                wire.holder = None
                if holder is not None and self._wakes:
                    holder.hang_up()
                wire.settle()

    def check_free(self, offset: int) -> None:
        """OSError where the line is held already."""
        if self.wires[offset].holder is not None:
            raise os_error(errno.EBUSY)

    def set(self, offset: int, output: int | None, pull: str | None) -> None:
        """Make a line an output at a level in one step, or (None) an input; pull None leaves it as it is."""
        if pull is not None and self._pulls == "refuses":
            raise os_error(errno.EINVAL)
        wire = self.wires[offset]
        if pull is not None and self._pulls == "sets":
            wire.pull = {"up": 1, "down": 0}.get(pull)
        wire.output = output
        wire.settle()

    def free(self, offset: int) -> None:
        """A line that nobody holds: an input again, which is what some drivers make of it, a Jetson's among them."""
        wire = self.wires[offset]
        wire.holder = wire.output = None
        wire.settle()

    def check(self) -> None:
        """OSError where the chip is gone."""
        if self._is_gone:
            raise os_error(errno.ENODEV)


def os_error(number: int) -> OSError:
    """The kernel's error, of the class that Python has for it."""
    return OSError(number, os.strerror(number))
