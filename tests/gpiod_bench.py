"""Benches on which pins are tried: gpiozero's mock pins, a fake chip, the kernel's simulated one; and who listens."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest
from gpiozero.pins.mock import MockFactory

from device.hardware.fake_chip import FakeChip
from device.hardware.fake_gpiod import FakeGpiod
from device.hardware.gpiod_factory import GpiodFactory

SIM = Path("/sys/kernel/config/gpio-sim")


def eventually(holds: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Whether it comes to hold; waits generously, since the machine may be busy."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.002)
    return False


class Heard:
    """Who listens to a pin."""

    def __init__(self) -> None:
        self.levels: list[int] = []
        self.ticks: list[float] = []

    def changed(self, ticks: float, state: int) -> None:
        self.ticks.append(ticks)
        self.levels.append(int(state))


def is_watching() -> bool:
    """Whether the thread that tells edges runs."""
    return "gpiod" in {thread.name for thread in threading.enumerate()}


class Bench(Protocol):
    """Pins, and hands that move what is wired to the inputs."""

    factory: Any

    def drive(self, pin: int, level: int) -> None: ...

    def close(self) -> None: ...


class MockBench:
    def __init__(self) -> None:
        self.factory = MockFactory()

    def drive(self, pin: int, level: int) -> None:
        wire = self.factory.pin(pin)
        (wire.drive_high if level else wire.drive_low)()

    def close(self) -> None:
        self.factory.close()


class FakeBench:
    def __init__(self) -> None:
        self._chip = FakeChip()
        self.factory = GpiodFactory(gpiod=FakeGpiod(self._chip))

    def drive(self, pin: int, level: int) -> None:
        self._chip.drive(pin, level)

    def close(self) -> None:
        self.factory.close()
        assert self._chip.held() == set()


class SimBench:
    """The kernel's own simulated chip, with the real library."""

    def __init__(self) -> None:
        if not os.access(SIM, os.W_OK):
            pytest.skip("no gpio-sim: modprobe gpio-sim, and run where /sys/kernel/config/gpio-sim may be written")
        self._device = SIM / f"door-{os.getpid()}-{time.monotonic_ns()}"
        self._bank = self._device / "bank0"
        self._device.mkdir()
        self._bank.mkdir()
        (self._bank / "num_lines").write_text("32")
        (self._device / "live").write_text("1")
        chip = (self._bank / "chip_name").read_text().strip()
        self._lines = Path("/sys/devices/platform") / (self._device / "dev_name").read_text().strip() / chip
        assert eventually(lambda: os.access(f"/dev/{chip}", os.W_OK))
        self.factory = GpiodFactory(f"/dev/{chip}")

    def drive(self, pin: int, level: int) -> None:
        (self._lines / f"sim_gpio{pin}" / "pull").write_text("pull-up" if level else "pull-down")
        time.sleep(0.01)  # its interrupts are told by a thread of the kernel's, which joins what comes too fast

    def close(self) -> None:
        self.factory.close()
        (self._device / "live").write_text("0")
        self._bank.rmdir()
        self._device.rmdir()
