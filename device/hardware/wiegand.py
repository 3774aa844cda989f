"""A card reader on two Wiegand lines. gpiozero's callbacks only stamp and queue; the reader thread makes the frames.

Wiring: D0 and D1 idle high and go low for each 0 and each 1, for 20 to 1000 µs every 0.2 to 20 ms. A reader drives
them to 5 V, which a pin of 3.3 V does not survive: put a level shifter or a divider between, and join the grounds.

A line at rest looks the same with a reader and without: one that is unplugged, cut off or dead is never noticed here,
only one that holds a line low or makes noise. Nothing on these lines is authenticated or encrypted.
"""

from __future__ import annotations

import bisect
import queue
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from device.clock import Clock
from device.hardware.pins import open_input

QUIET_S = 0.025  # ends a frame: the longest period is 20 ms, and no reader sends two frames so close together
STUCK_S = 2.0  # a card's longest frame, 64 bits of 20 ms, is over before
MOST_BITS = 128
LEAST_BITS = 24  # of a card; a burst of 4 or 8 bits is a key, all else is noise or half a frame
_TOGETHER_S = 50e-6  # the shortest period is 200 µs: what comes closer is both lines at once, or a bounce
_MOST_WAITING = 1024
_KEYS = dict(enumerate("0123456789*#"))


@dataclass(frozen=True, slots=True, order=True)
class _Pulse:
    """A line fell: which bit that is, when by the pins' own time, and when it was told."""

    tick: float
    bit: int
    mono: float = field(compare=False)


class WiegandReader:
    """One reader. `poll`, `fault` and `close` on the reader thread.

    dropped  frames that were none: noise, halves, over-long ones, both lines at once, what came too fast to be queued
    """

    def __init__(self, factory: Any, d0: int, d1: int, clock: Clock,
                 taken: Callable[[tuple[int, ...], float], None]) -> None:
        """taken  gets the bits of each frame, parity included where the card has any, and when it came
        HardwareMissing where a pin cannot be had."""
        self._clock, self._taken = clock, taken
        self._pulses: queue.Queue[_Pulse] = queue.Queue(_MOST_WAITING)
        self._has_overflowed = False
        self._frame: list[_Pulse] = []
        self._begun_mono = 0.0
        self._is_spoilt = False
        self._flood_mono = float("-inf")
        self._low_since: dict[int, float] = {}
        self._fault = ""
        self.dropped = 0
        self._lines: dict[int, Any] = {}
        self._pins = {0: d0, 1: d1}
        try:
            for bit, fell in ((0, self._zero), (1, self._one)):
                self._lines[bit] = open_input(factory, self._pins[bit])
                self._lines[bit].pin.edges = "falling"
                self._lines[bit].pin.when_changed = fell
        except BaseException:
            self.close()
            raise

    @property
    def fault(self) -> str:
        """Empty, or what somebody must look after."""
        return self._fault

    def poll(self, mono: float) -> list[str]:
        """The keys pressed since the last call ("0".."9", "*", "#"), where the reader has a keypad; cards go to
        `taken`. Never waits; call it every 20 ms or so."""
        keys = self._take_in(mono)
        if self._frame and mono - self._frame[-1].mono >= QUIET_S:
            keys += self._end()
        self._fault = self._stuck(mono) or self._flooded(mono)
        return keys

    def close(self) -> None:
        """Let go of the lines."""
        for line in self._lines.values():
            line.pin.when_changed = None
            line.close()
        self._lines.clear()

    # --- on gpiozero's thread ---------------------------------------------------------------------------

    def _zero(self, tick: float, _state: object) -> None:
        self._stamp(tick, 0)

    def _one(self, tick: float, _state: object) -> None:
        self._stamp(tick, 1)

    def _stamp(self, tick: float, bit: int) -> None:
        try:
            self._pulses.put_nowait(_Pulse(tick, bit, self._clock.mono()))
        except queue.Full:
            self._has_overflowed = True

    # --- frames -----------------------------------------------------------------------------------------

    def _take_in(self, mono: float) -> list[str]:
        """Add what has come to the frame; the keys of frames that ended meanwhile."""
        waiting, keys = [], []
        for _ in range(_MOST_WAITING):
            if self._pulses.empty():
                break
            waiting.append(self._pulses.get_nowait())
        # By the pins' time: each line's edges may be told in a bunch of their own.
        for pulse in sorted(waiting):
            if self._frame and pulse.tick - self._frame[-1].tick >= QUIET_S:
                keys += self._end()
            self._add(pulse)
        if self._has_overflowed:
            self._has_overflowed, self._is_spoilt = False, True
            self._flood_mono = mono
        return keys

    def _add(self, pulse: _Pulse) -> None:
        self._low_since.pop(pulse.bit, None)
        if not self._frame:
            self._begun_mono = pulse.mono
        bisect.insort(self._frame, pulse)
        if len(self._frame) > MOST_BITS:
            self._is_spoilt = True
            del self._frame[:-1]
        if self._is_spoilt and pulse.mono - self._begun_mono >= STUCK_S:
            self._flood_mono = pulse.mono

    def _end(self) -> list[str]:
        """Hand the frame on; the key that it was."""
        frame, self._frame = self._frame, []
        is_spoilt, self._is_spoilt = self._is_spoilt, False
        bits = tuple(pulse.bit for pulse in frame)
        if not is_spoilt and not _is_together(frame):
            if (key := _key(bits)) is not None:
                return [key]
            if len(bits) >= LEAST_BITS:
                self._taken(bits, frame[-1].mono)
                return []
        self.dropped += 1
        return []

    # --- the lines ----------------------------------------------------------------------------------------

    def _stuck(self, mono: float) -> str:
        for bit, line in self._lines.items():
            if line.is_active:
                self._low_since.setdefault(bit, mono)
            else:
                self._low_since.pop(bit, None)
        stuck = [f"D{bit} (pin {self._pins[bit]})" for bit, since in sorted(self._low_since.items())
                 if mono - since >= STUCK_S]
        return f"card reader: {' and '.join(stuck)} stays low; is it shorted, or the reader without power?" \
            if stuck else ""

    def _flooded(self, mono: float) -> str:
        if mono - self._flood_mono >= STUCK_S:
            return ""
        return "card reader: pulses without end on its lines; is its ground joined and its cable screened?"


def _is_together(frame: list[_Pulse]) -> bool:
    """Whether two pulses came as one."""
    return any(later.tick - earlier.tick < _TOGETHER_S for earlier, later in pairwise(frame))


def _key(bits: tuple[int, ...]) -> str | None:
    """The key of a keypad's burst: 4 bits, or 8 of which the first 4 are the others inverted."""
    low = bits[-4:]
    if len(bits) != 4 and (len(bits) != 8 or any(one == other for one, other in zip(bits[:4], low, strict=True))):
        return None
    return _KEYS.get(low[0] << 3 | low[1] << 2 | low[2] << 1 | low[3])
