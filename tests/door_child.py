"""A door in a process of its own, to be killed: `python door_child.py RELAY_SOCKET PICTURE`.

Says that it has started, shows the picture thirty times a second and writes a line for each release once everything
it entails is done.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import cv2
import numpy as np

from device.clock import SystemClock
from device.config import parse_config
from device.door.decision import Decision, Now
from device.frame import Frame, Pixels
from device.hardware.link import RelayLink
from device.sighting import Sighting
from device.store.places import places
from device.terminal import Terminal


class Picture:
    description = "a picture"
    has_noise = False

    def __init__(self, pixels: Pixels) -> None:
        self._pixels = pixels
        self._seq = 0

    def read(self, timeout_s: float) -> Frame:
        time.sleep(1 / 30)
        self._seq += 1
        return Frame(self._seq, time.monotonic(), self._pixels)

    def close(self) -> None:
        """Nothing to give back."""


class Says:
    def decided(self, decision: Decision, at: Now) -> None:
        sys.stdout.write(f"{'granted' if decision.granted else decision.reason}\n")
        sys.stdout.flush()

    def signalled(self, reason: str) -> None:
        """Not needed here."""

    def awaited(self, sighting: Sighting) -> None:
        """Of no interest here."""


def main() -> None:
    pixels = np.asarray(cv2.imread(sys.argv[2]), np.uint8)
    config = parse_config({"door": {"lock": "strike", "release_s": 2.0}, "face": {"liveness": "none"}})
    clock = SystemClock()
    relay = RelayLink(config.pins.lock, config.pins.active_low, clock, Path(sys.argv[1]))
    with Terminal(config, places(), clock, camera=lambda: Picture(pixels), observers=[Says()],
                  relay=relay) as terminal:
        terminal.start()
        sys.stdout.write("started\n")  # from here on the relay has a peer to lose
        sys.stdout.flush()
        terminal.run()


if __name__ == "__main__":
    main()
