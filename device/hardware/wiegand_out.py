"""Wiegand out: this terminal as the card reader of somebody else's controller, on two lines.

Wiring: D0 and D1 idle high and go low for each 0 and each 1. A controller pulls its inputs up to 5 V or more, which a
pin of 3.3 V does not survive: put a stage with open collectors between that does not invert, pull its inputs up too,
so that the lines idle while nobody drives the pins, and join the grounds.

A pulse of 50 to 100 µs is beyond Python, which may be kept waiting for milliseconds. On a Raspberry Pi lgpio's own
thread sends the whole frame. Elsewhere the pins are toggled from here, in pulses of 500 µs at least; they may become
longer where the machine is busy, which `measure` shows, and a controller that is particular wants a converter.

Nothing tells whether anybody listens, nothing is authenticated or encrypted, and whatever was sent can be sent again
by whoever reaches the cable: OSDP does better. Frames are made by `credentials.card.encode`.
"""

from __future__ import annotations

import contextlib
import queue
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from device.clock import Clock
from device.errors import ConfigError, HardwareMissing
from device.hardware.pins import open_output

LEAST_TOGGLED_US = 500
PAUSE_S = 0.05  # from frame to frame; receivers take 25 ms or so of quiet for a frame's end
_CARD_S = 2.0  # a card that could not be sent by then is dropped: it would open for whoever stands there later
_MOST_CARDS = 8
_MOST_BITS = 128
_SPIN_S = 0.0005  # the end of a pause that is waited for without sleeping
_END_S = 0.01  # between two looks whether the last frame is over
_MOST_LOOKS = 300  # the longest frame, 128 bits of 20 ms, is over by then

Step = tuple[int, int, int]
"""Levels of D0 and D1, and for how many microseconds."""


def wave(bits: Sequence[int], pulse_us: int, period_us: int) -> tuple[Step, ...]:
    """The levels of a frame, from the first pulse to the end of the last period."""
    steps: list[Step] = []
    for bit in bits:
        steps += [(bit, 1 - bit, pulse_us), (1, 1, period_us - pulse_us)]
    return tuple(steps)


class WiegandOut:
    """The lines to a controller. `poll`, `fault` and `close` on the reader thread, `admit` on any.

    dropped  cards that could not be sent in time
    """

    def __init__(self, factory: Any, d0: int, d1: int, pulse_us: int, period_us: int, clock: Clock) -> None:
        """pulse_us, period_us  as in [controller]; ConfigError where these pins cannot keep them
        HardwareMissing where a pin cannot be had."""
        if period_us < 2 * pulse_us:
            raise ConfigError(f"controller.period_us = {period_us} must be twice controller.pulse_us = {pulse_us} at "
                              "least")
        self._pulse_us, self._period_us, self._clock = pulse_us, period_us, clock
        self._pins = f"{d0} and {d1}"
        self._way: _Way = (_Waves(factory, d0, d1) if _is_lgpio(factory)
                           else _Toggles(factory, d0, d1, pulse_us, clock))
        self._asked: queue.Queue[tuple[tuple[int, ...], float]] = queue.Queue(_MOST_CARDS)
        self._free_mono = float("-inf")
        self._fault = ""
        self.dropped = 0

    @property
    def fault(self) -> str:
        """Empty, or what somebody must look after; a cable that is cut cannot be noticed."""
        return self._fault

    def admit(self, bits: tuple[int, ...], mono: float) -> bool:
        """Send an admitted person's card, parity included; False where too many wait. ValueError where these are not
        1 to 128 bits."""
        if not 0 < len(bits) <= _MOST_BITS or not set(bits) <= {0, 1}:
            raise ValueError(f"a card has 1 to {_MOST_BITS} bits of 0 or 1, not {len(bits)} of anything")
        try:
            self._asked.put_nowait((bits, mono))
        except queue.Full:
            self.dropped += 1
            return False
        return True

    def poll(self, mono: float) -> list[str]:
        """Send the next card, where the lines are free; there is nothing to return. Call it every 20 ms or so. Where
        pins are toggled it takes as long as the frame, 50 to 100 ms as a rule."""
        while mono >= self._free_mono and not self._asked.empty():
            bits, asked_mono = self._asked.get_nowait()
            if mono - asked_mono > _CARD_S:
                self.dropped += 1
            else:
                self._send(bits)
        return []

    def close(self) -> None:
        """Let the frame that is under way end, and let go of the lines."""
        self._way.close()

    def _send(self, bits: tuple[int, ...]) -> None:
        begun = self._clock.mono()
        try:
            self._way.send(wave(bits, self._pulse_us, self._period_us))
        # The libraries raise whatever they like.
        except Exception as error:
            self._fault = f"Wiegand out: pins {self._pins} cannot be driven ({_one_line(error)})"
        else:
            self._fault = ""
        self._free_mono = max(begun + len(bits) * self._period_us / 1e6, self._clock.mono()) + PAUSE_S


class _Way(Protocol):
    """How levels come onto the lines, which idle high before, between and after."""

    def send(self, steps: Sequence[Step]) -> None: ...

    def close(self) -> None: ...


class _Waves:
    """lgpio's thread sends; `send` returns at once."""

    def __init__(self, factory: Any, d0: int, d1: int) -> None:
        self._lgpio = import_module("lgpio")
        self._handle, self._leader = factory._handle, d0
        try:
            self._lgpio.group_claim_output(self._handle, [d0, d1], [1, 1])
        except Exception as error:
            raise HardwareMissing(f"output pins {d0} and {d1} cannot be had ({_one_line(error)}); see [controller]"
                                  ) from None

    def send(self, steps: Sequence[Step]) -> None:
        # A group's first pin is bit 0 of its levels.
        pulses = [self._lgpio.pulse(d0 | d1 << 1, 0b11, lasts_us) for d0, d1, lasts_us in steps]
        self._lgpio.tx_wave(self._handle, self._leader, pulses)

    def close(self) -> None:
        with contextlib.suppress(self._lgpio.error):  # a chip that is gone has let go by itself
            for _ in range(_MOST_LOOKS):
                if not self._lgpio.tx_busy(self._handle, self._leader, self._lgpio.TX_WAVE):
                    break
                time.sleep(_END_S)
            self._lgpio.group_free(self._handle, self._leader)


class _Toggles:
    """The pins are set from here; `send` returns when all is sent.

    widths_us  how long the pulses of the last frame became
    """

    def __init__(self, factory: Any, d0: int, d1: int, pulse_us: int, clock: Clock) -> None:
        if pulse_us < LEAST_TOGGLED_US:
            raise ConfigError(f"controller.pulse_us = {pulse_us} is too short for these pins, which only lgpio on a "
                              f"Raspberry Pi times so finely; set {LEAST_TOGGLED_US} or more, or use a converter")
        self._clock = clock
        self.widths_us: list[float] = []
        # Off is the idle level, at which they start and are left.
        self._lines = [open_output(factory, d0, active_low=True)]
        try:
            self._lines.append(open_output(factory, d1, active_low=True))
        except BaseException:
            self.close()
            raise

    def send(self, steps: Sequence[Step]) -> None:
        self.widths_us = []
        try:
            for d0, d1, lasts_us in steps:
                self._pass(d0, d1, lasts_us)
        finally:
            for line in self._lines:
                line.off()

    def close(self) -> None:
        for line in self._lines:
            line.off()
            line.close()
        self._lines = []

    def _pass(self, d0: int, d1: int, lasts_us: int) -> None:
        """Hold the levels for so long at least: counted from when they are there, lest a late one eat up the next."""
        if d0 and d1:
            self._wait(lasts_us / 1e6)
            return
        line = self._lines[0 if not d0 else 1]
        line.on()
        begun = self._clock.mono()
        self._spin(begun + lasts_us / 1e6)
        line.off()
        self.widths_us.append((self._clock.mono() - begun) * 1e6)

    def _wait(self, seconds: float) -> None:
        """Sleep through most of a pause, so that other threads take their turn in it and not in the next pulse."""
        until = self._clock.mono() + seconds
        time.sleep(max(seconds - _SPIN_S, 0.0))
        self._spin(until)

    def _spin(self, until_mono: float) -> None:
        while self._clock.mono() < until_mono:
            pass


@dataclass(frozen=True, slots=True)
class Widths:
    """How long pulses became, microseconds."""

    asked_us: int
    median_us: float
    longest_us: float
    pulses: int


def measure(factory: Any, d0: int, d1: int, pulse_us: int, period_us: int, clock: Clock, frames: int = 20) -> Widths:
    """Pulses of 26 bits toggled on these pins, as this process sees them; the lines must lead nowhere. What lgpio
    sends only an oscilloscope sees. ConfigError and HardwareMissing as of WiegandOut."""
    way = _Toggles(factory, d0, d1, pulse_us, clock)
    widths: list[float] = []
    try:
        for _ in range(frames):
            way.send(wave((0, 1) * 13, pulse_us, period_us))
            widths += way.widths_us
    finally:
        way.close()
    return Widths(pulse_us, statistics.median(widths), max(widths), len(widths))


def _is_lgpio(factory: Any) -> bool:
    return type(factory).__module__ == "gpiozero.pins.lgpio"


def _one_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
