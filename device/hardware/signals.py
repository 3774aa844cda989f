"""Lamps and buzzer: named patterns, played by the door thread's ticks, without a thread of their own.

A pattern that repeats stands until another standing one (or `off`) replaces it; one that ends is played over it. The
names are those of the reasons' table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from device.config import PinsConfig
from device.hardware.pins import open_output


@dataclass(frozen=True, slots=True)
class Pattern:
    """Steps of (outputs that are on, seconds); `is_standing` repeats it until it is replaced."""

    steps: tuple[tuple[frozenset[str], float], ...]
    is_standing: bool = False

    def at(self, elapsed: float) -> frozenset[str] | None:
        """What is on so long after the beginning; None once it is over."""
        total = sum(seconds for _, seconds in self.steps)
        if self.is_standing:
            elapsed %= total
        for outputs, seconds in self.steps:
            if elapsed < seconds:
                return outputs
            elapsed -= seconds
        return None


_NONE = frozenset[str]()
_GREEN, _RED, _AMBER = frozenset({"green"}), frozenset({"red"}), frozenset({"green", "red"})
_BEEP = frozenset({"buzzer"})

LIGHTS = {
    "off": Pattern(((_NONE, 1.0),), is_standing=True),
    "green": Pattern(((_GREEN, 3.0),)),
    "red": Pattern(((_RED, 2.0),)),
    "amber": Pattern(((_AMBER, 3.0),)),
    "fault": Pattern(((_RED, 0.1), (_NONE, 0.9)) * 3),
    "green_steady": Pattern(((_GREEN, 1.0),), is_standing=True),
    "red_steady": Pattern(((_RED, 1.0),), is_standing=True),
    "green_blink": Pattern(((_GREEN, 0.5), (_NONE, 0.5)), is_standing=True),
    "amber_blink": Pattern(((_AMBER, 0.5), (_NONE, 0.5)), is_standing=True),
    "alarm": Pattern(((_RED, 0.2), (_NONE, 0.2)), is_standing=True),
}
SOUNDS = {
    "granted": Pattern(((_BEEP, 0.15),)),
    "refused": Pattern(((_BEEP, 0.1), (_NONE, 0.1)) * 3),
    "ask": Pattern(((_BEEP, 0.1), (_NONE, 0.1)) * 2),
    "warning": Pattern(((_BEEP, 0.1), (_NONE, 1.9)), is_standing=True),
    "alarm": Pattern(((_BEEP, 0.5), (_NONE, 0.5)), is_standing=True),
    "fire": Pattern(((_BEEP, 0.2), (_NONE, 0.2)), is_standing=True),
    "off": Pattern(((_NONE, 1.0),), is_standing=True),
}


@dataclass(slots=True)
class _Player:
    """One channel: what stands, and what is played over it."""

    standing: Pattern
    standing_since: float = 0.0
    passing: Pattern | None = None
    passing_since: float = 0.0

    def show(self, pattern: Pattern, mono: float) -> None:
        if pattern.is_standing:
            self.standing, self.standing_since = pattern, mono
        else:
            self.passing, self.passing_since = pattern, mono

    def at(self, mono: float) -> frozenset[str]:
        if self.passing is not None:
            outputs = self.passing.at(mono - self.passing_since)
            if outputs is not None:
                return outputs
            self.passing = None
        return self.standing.at(mono - self.standing_since) or _NONE


class Signals:
    """The lamps and the buzzer that are wired. `show` begins a pattern, `tick` moves it on."""

    def __init__(self, factory: Any, pins: PinsConfig, echo: Callable[[str], None] | None = None) -> None:
        """echo  gets one line per pattern shown: what a person sees where there are no pins"""
        self._echo = echo
        self._outputs: dict[str, Any] = {}
        self._is_on: dict[str, bool] = {}
        wired = {"green": pins.lamp_green, "red": pins.lamp_red, "buzzer": pins.buzzer}
        try:
            for name, pin in wired.items():
                if pin is not None:
                    self._outputs[name] = open_output(factory, pin, active_low=False)
        except BaseException:
            self.close()
            raise
        self._light, self._sound = _Player(LIGHTS["off"]), _Player(SOUNDS["off"])

    def show(self, light: str, sound: str, mono: float) -> None:
        """Begin the named patterns; "" leaves a channel as it is. A standing light silences a standing sound
        unless it brings its own. KeyError for a name that is not there."""
        if light:
            self._light.show(LIGHTS[light], mono)
            if LIGHTS[light].is_standing and not sound:
                self._sound.show(SOUNDS["off"], mono)
        if sound:
            self._sound.show(SOUNDS[sound], mono)
        if self._echo and (light or sound):
            self._echo(" ".join(filter(None, (light and f"lamp {light}", sound and f"buzzer {sound}"))))
        self.tick(mono)

    def tick(self, mono: float) -> None:
        """Set the outputs as they must be at `mono`; cheap, call it at every turn of the door loop."""
        on = self._light.at(mono) | self._sound.at(mono)
        for name, output in self._outputs.items():
            if self._is_on.get(name, False) != (name in on):
                self._is_on[name] = name in on
                output.value = name in on

    def close(self) -> None:
        for output in self._outputs.values():
            output.off()
            output.close()
        self._outputs.clear()
