"""doord before an empty hall, for an updater's whole way: run with a release's interpreter, until it is ended.

Pins are mock pins, state is where DOOR_STATE says.
"""

from __future__ import annotations

import time

import numpy as np

from device.app import obey_signals
from device.clock import SystemClock
from device.config import parse_config
from device.frame import Frame, Pixels
from device.store.places import places
from device.terminal import Terminal


class Hall:
    """An empty hall, ten pictures a second."""

    description = "an empty hall"
    has_noise = False

    def __init__(self) -> None:
        self._pixels: Pixels = np.random.default_rng(1).integers(60, 200, (480, 640, 3)).astype(np.uint8)
        self._seq = 0

    def read(self, timeout_s: float) -> Frame:
        time.sleep(0.1)
        self._seq += 1
        return Frame(self._seq, time.monotonic(), self._pixels)

    def close(self) -> None:
        """Nothing to give back."""


if __name__ == "__main__":
    config = parse_config({"door": {"lock": "strike"}})
    with Terminal(config, places(), SystemClock(), camera=Hall) as terminal:
        obey_signals(terminal)
        terminal.start()
        terminal.run()
