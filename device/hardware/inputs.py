"""The wired inputs: contact, exit button, tamper, fire, other door, bell. gpiozero's callbacks only stamp and queue.

Wiring: every input's contact closes to ground against the pin's pull-up.

    contact  closed while the door is closed (a cut wire reads as open)
    rex      closes when pressed
    tamper   closed while the cover is on (a cut wire reads as tampered)
    interlock  closed while the other door is closed (a cut wire reads as open: this door stays shut)
    bell     closes when pressed
    fire     closed while all is well, opens on alarm, so that a cut wire frees the door; a panel that closes its
             contact on alarm instead is set with `pins.fire_closes`

Debounce is `door.debounce`'s: the edges here are raw.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from device.clock import Clock
from device.config import PinsConfig
from device.hardware.pins import open_input

_MOST_EDGES = 1024
NAMES = ("contact", "rex", "tamper", "fire", "interlock", "bell")


@dataclass(frozen=True, slots=True)
class Edge:
    """One wire changed. is_active: door (or other door) open, button pressed, cover off, fire."""

    name: str
    mono: float
    is_active: bool


class Inputs:
    """Edges of the inputs that are wired, in order."""

    def __init__(self, factory: Any, pins: PinsConfig, clock: Clock, wake: Callable[[], None] | None = None) -> None:
        """wake  called after each edge, on gpiozero's thread; must not block"""
        self._clock = clock
        self._wake = wake or (lambda: None)
        self._edges: queue.Queue[Edge] = queue.Queue(_MOST_EDGES)
        inverted = {"contact", "tamper", "interlock"}
        self._inverted = frozenset(inverted if pins.fire_closes else inverted | {"fire"})
        self.dropped = 0
        self._resync = False
        self._devices: dict[str, Any] = {}
        try:
            for name in NAMES:
                if (pin := getattr(pins, name)) is not None:
                    self._watch(name, open_input(factory, pin))
        except BaseException:
            self.close()
            raise

    def levels(self) -> dict[str, bool]:
        """name -> is_active now, of every input that is wired."""
        return {name: self._is_active(name, bool(device.is_active)) for name, device in self._devices.items()}

    def drain(self) -> list[Edge]:
        """The edges since the last call. After an overflow the levels as they are now follow, so that the last
        position of every wire is always told."""
        edges = []
        while not self._edges.empty():
            edges.append(self._edges.get_nowait())
        if self._resync:
            self._resync = False
            mono = self._clock.mono()
            edges += [Edge(name, mono, is_active) for name, is_active in self.levels().items()]
        return edges

    def close(self) -> None:
        for device in self._devices.values():
            device.close()
        self._devices.clear()

    def _watch(self, name: str, device: Any) -> None:
        self._devices[name] = device
        device.when_activated = lambda: self._edge(name, True)
        device.when_deactivated = lambda: self._edge(name, False)

    def _edge(self, name: str, is_closed: bool) -> None:
        try:
            self._edges.put_nowait(Edge(name, self._clock.mono(), self._is_active(name, is_closed)))
        except queue.Full:
            self.dropped += 1
            self._resync = True
        self._wake()

    def _is_active(self, name: str, is_closed: bool) -> bool:
        return is_closed != (name in self._inverted)
