"""A GPIO chip of the kernel through libgpiod 2: which one it is, and what its lines are called.

Opened by the factory, asked by its lines. The kernel must be 5.10 or later (JetPack 5 or later).
"""

from __future__ import annotations

import os
from collections import Counter
from glob import glob
from importlib import import_module
from threading import RLock
from typing import Any

from device.errors import HardwareMissing

DEFAULT = "/dev/gpiochip0"
_DEVICES = "/dev/gpiochip*"
# What the kernel keeps of one line, some times a contact's bounces; beyond it the oldest edge gives way.
_EDGES_KEPT = 256


class GpiodChip:
    """An opened chip.

    `lock` is held around every call of libgpiod, whose objects ask for that. A queue would not do: gpiozero's calls
    answer at once, on whatever thread they are made, even inside one another where the garbage collector closes a
    device.
    """

    def __init__(self, gpiod: Any, wanted: str) -> None:
        """gpiod   the module, or a fake of it
        wanted  path of the device, or the chip's label, such as tegra234-gpio

        HardwareMissing where there is no such chip or it may not be opened.
        """
        self.gpiod = gpiod
        self.lock = RLock()
        self.path = wanted if "/" in wanted else _find(gpiod, wanted)
        self._chip: Any = _open(gpiod, self.path)
        try:
            info = self._chip.get_info()
            self.label: str = info.label
            self.names = _usable([self._chip.get_line_info(offset).name for offset in range(info.num_lines)])
        except OSError as error:
            self.close()
            raise HardwareMissing(f"{self.path} cannot be read ({error.strerror}); the kernel must be 5.10 or "
                                  "later") from None

    def info(self, offset: int) -> Any:
        """The kernel's description of a line: direction, consumer; OSError where the chip is gone."""
        with self.lock:
            return self._opened().get_line_info(offset)

    def request(self, offset: int, settings: Any) -> Any:
        """The line for this process alone, set at once; OSError as the kernel gives it."""
        with self.lock:
            return self._opened().request_lines(
                {offset: settings}, consumer=f"open-door {os.getpid()}", event_buffer_size=_EDGES_KEPT)

    def text(self, offset: int) -> str:
        """A line as errors name it."""
        name = self.names[offset]
        return f"line {offset} ({name})" if name else f"line {offset}"

    def close(self) -> None:
        with self.lock:
            if self._chip is not None:
                self._chip.close()
            self._chip = None

    def _opened(self) -> Any:
        if self._chip is None:
            raise HardwareMissing(f"{self.path} has been closed")
        return self._chip


def load_gpiod() -> Any:
    """The module gpiod; HardwareMissing where it is absent or is libgpiod 1's, which has the same name."""
    try:
        gpiod = import_module("gpiod")
    except ImportError:
        raise HardwareMissing("gpiod is missing: pip install 'open-door[jetson]'") from None
    if not hasattr(gpiod, "LineSettings"):
        raise HardwareMissing("gpiod is of libgpiod 1: pip install 'gpiod>=2.2'")
    return gpiod


def _open(gpiod: Any, path: str) -> Any:
    try:
        return gpiod.Chip(path)
    except FileNotFoundError:
        raise HardwareMissing(f"{path} is not there; DOOR_GPIO_CHIP names another") from None
    except PermissionError:
        raise HardwareMissing(f"{path} may not be opened; add this account to the device's group") from None
    except OSError as error:
        raise HardwareMissing(f"{path} is no GPIO chip ({error.strerror})") from None


def _find(gpiod: Any, wanted: str) -> str:
    """Path of the one chip whose label, or name in the kernel (gpiochip1), this is."""
    chips: dict[str, tuple[str, str]] = {}
    for path in sorted(glob(_DEVICES)):
        try:
            chip = gpiod.Chip(path)
        except OSError:
            continue
        info = chip.get_info()
        chip.close()
        # Links to a device would show its chip once more.
        chips.setdefault(info.name, (path, info.label))
    paths = [path for name, (path, label) in chips.items() if wanted in (label, name)]
    if len(paths) == 1:
        return paths[0]
    if paths:
        raise HardwareMissing(f"{len(paths)} chips are called {wanted}: {', '.join(paths)}; name the path")
    there = ", ".join(f"{label} ({path})" for path, label in chips.values()) or "none that may be opened"
    raise HardwareMissing(f"no GPIO chip is called {wanted}; there are: {there}")


def _usable(names: list[str | None]) -> tuple[str, ...]:
    """offset -> the line's own name; "" where it has none, shares it, or it could be taken for an offset."""
    count = Counter(names)
    return tuple(name if name and count[name] == 1 and not name.isdigit() else "" for name in names)
