"""Walks an installer through each wire: what is wired is tried, one thing after the other, while doord rests.

Used by `doorctl selftest`. Nothing here decides about anybody; the lock is released only after somebody has said yes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from device.clock import Clock
from device.config import Config
from device.door import debounce
from device.door.wires import FILTERS
from device.findings import Finding, Verdict
from device.hardware.board import Board
from device.hardware.headers import place
from device.hardware.inputs import NAMES
from device.hardware.link import Relay
from device.hardware.orders import Said
from device.hardware.pins import VARIABLE

WAIT_S = 20.0
LOCK_S = 1.0
SHOWN_S = 1.5
TURN_S = 0.02

ASKED = {"contact": "open and close the door", "rex": "press and let go the exit button",
         "tamper": "take the cover off and put it back", "fire": "have the fire alarm's contact switched",
         "interlock": "open and close the other door", "bell": "ring the bell"}
LEVELS = {"contact": ("closed", "open"), "rex": ("let go", "pressed"), "tamper": ("cover on", "cover off"),
          "fire": ("quiet", "alarm"), "interlock": ("closed", "open"), "bell": ("let go", "pressed")}


class Installer(Protocol):
    """Who stands at the door; `is_there` false where nobody can be asked."""

    is_there: bool

    def tell(self, text: str) -> None: ...

    def agrees(self, question: str) -> bool: ...


class WireTest:
    """One board and one lock; pause lets real time pass."""

    def __init__(self, config: Config, board: Board, relay: Relay, clock: Clock, installer: Installer,
                 pause: Callable[[float], Any]) -> None:
        self._config, self._board, self._relay = config, board, relay
        self._clock, self._installer, self._pause = clock, installer, pause

    def run(self) -> Iterator[Finding]:
        """One finding after the other: inputs, outputs, the lock last."""
        for name in NAMES:
            if getattr(self._config.pins, name) is not None:
                yield self._input(name)
        for light in ("green", "red"):
            if getattr(self._config.pins, f"lamp_{light}") is not None:
                yield self._shown(f"lamp_{light}", light, "")
        if self._config.pins.buzzer is not None:
            yield self._shown("buzzer", "", "granted")
        if self._board.second is not None:
            yield self._second()
        yield self._lock()

    def _input(self, name: str) -> Finding:
        level = self._board.inputs.levels()[name]
        rest = LEVELS[name][level]
        odd = self._is_odd(name, level)
        if not self._installer.is_there:
            return Finding(name, Verdict.WARN if odd else Verdict.OK, f"reads {rest}{odd}")
        self._installer.tell(f"{name}: reads {rest}{odd}. Now {ASKED[name]} ({WAIT_S:.0f} s)")
        if self._has_moved(name, level):
            return Finding(name, Verdict.OK, "was seen to move there and back")
        pin = place(getattr(self._config.pins, name), os.environ.get(VARIABLE, ""))
        return Finding(name, Verdict.FAIL, f"stayed {rest}: check the wire to {pin}, its ground, and that the "
                       "contact is of the kind that [pins] says")

    def _is_odd(self, name: str, level: bool) -> str:
        """A word where an input is not as it is while all is well and nobody touches it."""
        return " (unusual while nobody touches it)" if level and name != "contact" else ""

    def _has_moved(self, name: str, before: bool) -> bool:
        """Whether the wire leaves its level and comes back to it in time, bounces left out."""
        wire, moves = debounce.wire(before, self._clock.mono()), 0
        until = self._clock.mono() + WAIT_S
        self._board.inputs.drain()
        while moves < 2 and self._clock.mono() < until:
            self._pause(TURN_S)
            for one in self._board.inputs.drain():
                if one.name == name:
                    wire, change = debounce.edge(wire, one.mono, one.is_active, FILTERS[name])
                    moves += change is not None
            wire, change = debounce.settle(wire, self._clock.mono(), FILTERS[name])
            moves += change is not None
        return moves >= 2

    def _shown(self, name: str, light: str, sound: str) -> Finding:
        self._board.signals.show(light, sound, self._clock.mono())
        self._wait(SHOWN_S)
        return self._seen(name, "did it show?")

    def _second(self) -> Finding:
        second = self._board.second
        if second is None or not self._installer.agrees(f"The second relay ({self._config.pins.relay2_for}) will be "
                                                        "energised for a moment. Go on?"):
            return Finding("relay2", Verdict.SKIPPED, "not tried")
        second.pulse(self._clock.mono())
        self._wait(self._config.pins.relay2_s + 0.2)
        return self._seen("relay2", "did it switch?")

    def _lock(self) -> Finding:
        if not self._installer.agrees(f"The lock will be released for {LOCK_S:.0f} s. Go on?"):
            return Finding("lock", Verdict.SKIPPED, "not tried: say yes, or give --yes")
        self._relay.acks()
        self._relay.release(LOCK_S)
        said = []
        until = self._clock.mono() + LOCK_S + 2.0
        while Said.DEADLINE not in said and self._clock.mono() < until:
            self._pause(TURN_S)
            said += [ack.said for ack in self._relay.acks()]
        if said[:1] != [Said.SWITCHED] or Said.DEADLINE not in said:
            self._relay.secure()
            return Finding("lock", Verdict.FAIL, "door-relay did not switch the line on and off again: see its log")
        return self._seen("lock", f"did the {self._config.door.lock} release and hold again?")

    def _seen(self, name: str, question: str) -> Finding:
        """Only a person can say whether something moved at the far end of a wire."""
        if not self._installer.is_there:
            return Finding(name, Verdict.OK, "switched on and off; nobody was there to see it")
        if self._installer.agrees(f"{name}: {question}"):
            return Finding(name, Verdict.OK, "was seen")
        return Finding(name, Verdict.FAIL, "was not seen: check the wire to its pin and the power of what it drives")

    def _wait(self, seconds: float) -> None:
        until = self._clock.mono() + seconds
        while self._clock.mono() < until:
            self._pause(TURN_S)
            self._board.signals.tick(self._clock.mono())
            if self._board.second is not None:
                self._board.second.tick(self._clock.mono())
