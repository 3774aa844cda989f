"""`doorctl bench --only egress`: from the exit button, and from the fire alarm's wire, until the relay has moved.

The terminal as doord builds it, with the relay's own process, on pins that are not there, while vision looks at a
visitor. Taken is the time from a pin's edge until the relay's process has moved its own, by the one monotonic clock.
"""

from __future__ import annotations

import os
import queue
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from device.clock import SystemClock
from device.config import parse_config
from device.errors import TerminalError
from device.evaluate.bench_start import STILLS_FPS, stills
from device.evaluate.clips import SIZE
from device.face.card import Card
from device.hardware.orders import Ack
from device.hardware.pins import VARIABLE
from device.store.places import places
from device.terminal import Terminal
from device.threads import Worker

REX, FIRE, LOCK = 23, 24, 17
RELEASE_S = 0.5
PATIENCE_S = 10.0


def bench_egress(card: Card, rounds: int) -> dict[str, Any]:
    """Times in milliseconds; so many presses, so many alarms."""
    with tempfile.TemporaryDirectory(prefix="door-bench-") as folder:
        config = parse_config({
            "door": {"lock": "strike", "rex_release_s": RELEASE_S},
            "camera": {"source": str(stills(Path(folder), card)), "width": SIZE[0], "height": SIZE[1],
                       "fps": STILLS_FPS},
            "face": {"pack": card.name}, "pins": {"lock": LOCK, "rex": REX, "fire": FIRE, "fire_closes": True}})
        before = os.environ.get(VARIABLE)
        os.environ[VARIABLE] = "mock"
        try:
            with Terminal(config, places({"DOOR_STATE": folder}), SystemClock(),
                          acknowledged=(moved := _Moved()).put) as terminal:
                terminal.start()
                return _measured(terminal, moved, rounds)
        finally:
            if before is None:
                del os.environ[VARIABLE]
            else:
                os.environ[VARIABLE] = before


def _measured(terminal: Terminal, moved: _Moved, rounds: int) -> dict[str, Any]:
    hand = _Hand(terminal, moved)
    worker = Worker("hand", lambda worker: hand.work(rounds), terminal.clock)
    worker.start()
    terminal.run(lambda: not worker.is_alive())
    if worker.error is not None:
        raise worker.error
    return {f"egress_{name}_{key}": value for name, times in (("rex", hand.rex_ms), ("fire", hand.fire_ms))
            for key, value in (("ms", round(median(times), 1)), ("max_ms", round(max(times), 1)),
                               ("count", len(times)))}


class _Moved:
    """What the relay has said of its pin."""

    def __init__(self) -> None:
        self._said: queue.SimpleQueue[Ack] = queue.SimpleQueue()

    def put(self, ack: Ack) -> None:
        self._said.put(ack)

    def wait(self, is_on: bool) -> float:
        """When it came to be so, by the relay's clock; TerminalError where it does not."""
        try:
            while True:
                ack = self._said.get(timeout=PATIENCE_S)
                if ack.is_on is is_on:
                    return ack.mono
        except queue.Empty:
            word = "on" if is_on else "off"
            raise TerminalError(f"the relay did not go {word} within {PATIENCE_S:.0f} s") from None


class _Hand:
    """Presses the button and sets off the alarm, at moments that have nothing to do with the door's loop."""

    def __init__(self, terminal: Terminal, moved: _Moved) -> None:
        assert terminal.panel is not None  # noqa: S101  (started)
        self._terminal, self._moved, self._chance = terminal, moved, random.Random(1)  # noqa: S311
        self._pins = terminal.panel.factory
        self.rex_ms: list[float] = []
        self.fire_ms: list[float] = []

    def work(self, rounds: int) -> None:
        for _ in range(rounds):
            self.rex_ms.append(self._once(REX, lambda: None))
            self.fire_ms.append(self._once(FIRE, self._terminal.requests.reset))

    def _once(self, pin: int, end: Callable[[], None]) -> float:
        wire, clock = self._pins.pin(pin), self._terminal.clock
        pause = Worker("pause", lambda worker: None, clock).stopping
        pause.wait(0.1 + 0.1 * self._chance.random())
        begun = clock.mono()
        wire.drive_low()
        taken_ms = 1000 * (self._moved.wait(True) - begun)
        pause.wait(0.1)
        wire.drive_high()
        pause.wait(0.1)
        end()
        self._moved.wait(False)
        return taken_ms
