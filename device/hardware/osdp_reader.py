"""OsdpReader: a card reader or keypad on an OSDP line, of which this terminal is the control panel.

Nothing that the reader says counts before Secure Channel is up under the pairing's key, and nothing but the handshake
is said to it until then. What that leaves to an attacker is in `osdp_key`.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from device.hardware.osdp_key import KeyFile, Pairing, Watch
from device.hardware.osdp_port import Line, Sieve, open_library, stir
from device.hardware.signals import LIGHTS, SOUNDS, Pattern

log = logging.getLogger(__name__)

Note = Callable[[str, dict[str, str | float]], None]

_STEPS = 4  # libosdp moves on by one step a call: asking, sending, hearing, concluding
_SILENT_S = 3.0  # a lost reply is asked for again after 1 s: two in a row are no noise
_STALLED_S = 1.5  # libosdp says something every second, or has given the reader up for 5 minutes
_STUCK_S = 5.0  # it waits by the wall clock, for hours where that was set back
_MOST_ORDERS = 32
_MOST_EVENTS = 32
_MOST_WAITING = 8  # commands that the reader has not answered
_MOST_FAILURES = 3  # in a row, after which a kind of command is no more sent: each refusal costs the session
_MOST_BITS = 128

_COLOURS = {frozenset[str](): 0, frozenset({"red"}): 1, frozenset({"green"}): 2, frozenset({"red", "green"}): 3}
_KEYS = {**{ord(key): key for key in "0123456789*#ABCD"}, 0x7F: "*", 0x0D: "#"}


@dataclass(frozen=True, slots=True)
class _Pair:
    until_mono: float


@dataclass(frozen=True, slots=True)
class _Show:
    light: Pattern | None
    sound: Pattern | None


class OsdpReader:
    """One reader. `poll`, `fault`, `is_tampered` and `close` on the reader thread, `pair` and `show` on any."""

    def __init__(self, line: Line, address: int, key_file: KeyFile,
                 taken: Callable[[tuple[int, ...], float], None], note: Note) -> None:
        """taken  gets the bits of each card, parity included where the card has any, and when it came
        note   gets `osdp_pairing` and `osdp_paired` with their details
        HardwareMissing where libosdp is not installed."""
        self._library = open_library()
        self._name = f"OSDP reader {address}"
        self._line, self._address = line, address
        self._taken, self._note = taken, note
        self._sieve = Sieve(line, address, hears_replies=True)
        self._watch = Watch(self._name, _SILENT_S)
        self._pairing = Pairing(key_file)
        self._key = self._pairing.key  # or, in a window, the one that is to be
        self._orders: queue.Queue[_Pair | _Show] = queue.Queue(_MOST_ORDERS)
        self._events: list[dict[str, Any]] = []
        self._panel: Any = None
        self._waiting = 0
        self._failures: dict[int, int] = {}
        self._is_secure = False
        self.is_tampered = False

    @property
    def fault(self) -> str:
        """Empty, or what somebody must look after."""
        return self._watch.fault

    def pair(self, until_mono: float) -> None:
        """Let a reader be paired until then, for 5 minutes at most; one that was paired before is out in that time,
        and for good once another has the key."""
        self._ask(_Pair(until_mono))

    def show(self, light: str, sound: str) -> None:
        """Begin the named patterns as `Signals.show` does. Dropped where the reader is away: a light that comes late
        misleads. KeyError for a name that is not there."""
        lights, sounds = LIGHTS[light] if light else None, SOUNDS[sound] if sound else None
        if lights is not None and lights.is_standing and sounds is None:
            sounds = SOUNDS["off"]
        self._ask(_Show(lights, sounds))

    def poll(self, mono: float) -> list[str]:
        """The keys pressed since the last call ("0".."9", "*", "#", "A".."D"); cards go to `taken`. Never waits; call
        it every 20 ms or so."""
        self._obey(mono)
        self._line.tend(mono)
        self._keep_going(mono)
        for _ in range(_STEPS):
            self._sieve.turn(mono)
            if self._panel is not None:
                stir()
                self._panel.refresh()
        self._judge(mono)
        return self._hand_over(mono)

    def close(self) -> None:
        """Let go of the reader and of the line."""
        self._close_panel()
        self._line.close()

    # --- the link -----------------------------------------------------------------------------------

    def _open_window(self, until_mono: float, mono: float) -> None:
        seconds = self._pairing.open(until_mono, mono)
        begun = self._pairing.begin() if seconds else None
        if begun is not None:
            self._close_panel()
            self._key = begun
            self._sieve.allows_default = True
            self._note("osdp_pairing", {"device": self._name, "seconds": round(seconds)})

    def _end_window(self) -> None:
        log.warning("%s: the pairing window has ended and nothing was paired", self._name)
        self._close_panel()
        self._pairing.abandon()
        self._key = self._pairing.key
        self._sieve.allows_default = False

    def _finish_pairing(self) -> None:
        """The reader speaks under the new key: from now on under no other."""
        if self._key is not None:
            self._panel.set_flag(0, self._library.FLAG_ENFORCE_SECURE)
            self._sieve.allows_default = False
            self._pairing.finish(self._key)
            self._note("osdp_paired", {"device": self._name})

    def _keep_going(self, mono: float) -> None:
        """Wake libosdp where it has given the reader up, and never let it go on without Secure Channel."""
        if self._sieve.allows_default and not self._pairing.is_open(mono):
            self._end_window()
        silent_s = mono - self._sieve.said_mono
        if self._panel is None or silent_s > _STUCK_S:
            self._open_panel(mono)
        elif not self._panel.is_pd_enabled(0):
            self._panel.enable_pd(0)
        elif silent_s > _STALLED_S or (self._panel.status() & 1 and not self._panel.sc_status() & 1):
            self._panel.disable_pd(0)

    def _open_panel(self, mono: float) -> None:
        self._close_panel()
        self._sieve.said_mono = mono
        if self._key is None:
            return
        library = self._library
        secure = 0 if self._sieve.allows_default else library.FLAG_ENFORCE_SECURE
        self._panel = library.ControlPanel([{
            "name": "reader", "address": self._address, "channel": self._sieve, "scbk": self._key.secret,
            "flags": library.FLAG_IGN_UNSOLICITED | secure}])
        self._panel.set_event_callback(self._hear)
        self._panel.set_command_completion_callback(self._conclude)

    def _close_panel(self) -> None:
        if self._panel is not None:
            # Its last calls are made while it is taken down, and it would hold on to us for ever.
            self._panel.set_event_callback(_ignore)
            self._panel.set_command_completion_callback(_ignore)
            self._panel = None
        self._is_secure = False
        self._waiting = 0

    def _judge(self, mono: float) -> None:
        """Whether the reader can be believed now."""
        # The bit is not set for a session under the default key.
        is_secure = self._panel is not None and bool(self._panel.sc_status() & 1)
        was_secure, self._is_secure = self._is_secure, self._watch.judge(
            is_secure, self._sieve.heard_mono, mono, self._line.fault or self._pairing.trouble)
        if is_secure and self._sieve.allows_default:
            self._finish_pairing()
        if self._is_secure and not was_secure:
            self._send(self._library.CMD_STATUS, {"type": self._library.STATUS_REPORT_LOCAL})
        elif self._waiting and not is_secure:
            self._panel.flush_commands(0)

    # --- what is said and heard -----------------------------------------------------------------------

    def _ask(self, order: _Pair | _Show) -> None:
        try:
            self._orders.put_nowait(order)
        except queue.Full:
            log.warning("%s: too many orders wait, one was dropped", self._name)

    def _obey(self, mono: float) -> None:
        while not self._orders.empty():
            order = self._orders.get_nowait()
            if isinstance(order, _Pair):
                self._open_window(order.until_mono, mono)
            else:
                self._light(order)

    def _light(self, order: _Show) -> None:
        library = self._library
        if order.light is not None and self._has(library.CAP_READER_LED_CONTROL):
            self._send(library.CMD_LED, _lamp(order.light))
        if order.sound is not None and self._has(library.CAP_READER_AUDIBLE_OUTPUT):
            self._send(library.CMD_BUZZER, _buzzer(order.sound))

    def _has(self, capability: int) -> bool:
        return self._is_secure and any(self._panel.check_capability(0, capability))

    def _send(self, kind: int, command: dict[str, Any]) -> None:
        if self._waiting < _MOST_WAITING and self._failures.get(kind, 0) < _MOST_FAILURES:
            self._waiting += self._panel.submit_command(0, {"command": kind, **command})

    def _conclude(self, _reader: int, command: dict[str, Any], status: int) -> None:
        """libosdp is done with a command."""
        self._waiting -= 1
        kind = command["command"]
        if status == self._library.COMPLETION_OK:
            self._failures[kind] = 0
        elif status == self._library.COMPLETION_FAILED:
            self._failures[kind] = self._failures.get(kind, 0) + 1
            if self._failures[kind] == _MOST_FAILURES:
                log.warning("%s refuses commands of kind %d; they are sent no more", self._name, kind)

    def _hear(self, _reader: int, event: dict[str, Any]) -> int:
        """libosdp has heard something. What is raised here would end the process: so nothing but to keep it."""
        if self._is_secure and self._panel.sc_status() & 1 and len(self._events) < _MOST_EVENTS:
            self._events.append(dict(event))
        event.clear()  # libosdp forgets to let go of it; at least no card number stays in it
        return 0

    def _hand_over(self, mono: float) -> list[str]:
        keys: list[str] = []
        events, self._events = self._events, []
        for event in events:
            if event["event"] == self._library.EVENT_CARDREAD and 0 < event.get("length", 0) <= _MOST_BITS:
                self._taken(_bits(event["data"], event["length"]), mono)
            elif event["event"] == self._library.EVENT_KEYPRESS:
                keys += [_KEYS[code] for code in event["data"] if code in _KEYS]
            elif event["event"] == self._library.EVENT_STATUS and event["type"] == self._library.STATUS_REPORT_LOCAL:
                self.is_tampered = bool(event["report"][0])
        return keys


def _bits(data: bytes, length: int) -> tuple[int, ...]:
    """The first `length` bits, the most significant of each byte first."""
    return tuple(data[place // 8] >> 7 - place % 8 & 1 for place in range(length))


def _lamp(pattern: Pattern) -> dict[str, Any]:
    """libosdp's LED command: two colours in turns, in tenths of a second, for a time or until the next."""
    (on, on_s), (off, off_s) = (*pattern.steps, (frozenset(), 0.0))[:2]
    lasts_s = 0.0 if pattern.is_standing else sum(seconds for _, seconds in pattern.steps)
    return {"reader": 0, "led_number": 0, "temporary": not pattern.is_standing,
            "control_code": 1 if pattern.is_standing else 2, "on_color": _COLOURS[on], "on_count": round(on_s * 10),
            "off_color": _COLOURS[off], "off_count": round(off_s * 10), "timer_count": round(lasts_s * 10)}


def _buzzer(pattern: Pattern) -> dict[str, Any]:
    """libosdp's buzzer command: a tone and a pause in turns, so many times; 0 = until the next."""
    (on, on_s), (_, off_s) = (*pattern.steps, (frozenset(), 0.0))[:2]
    if not on:
        return {"reader": 0, "control_code": 1, "on_count": 0, "off_count": 0, "rep_count": 0}
    return {"reader": 0, "control_code": 2, "on_count": round(on_s * 10), "off_count": round(off_s * 10),
            "rep_count": 0 if pattern.is_standing else (len(pattern.steps) + 1) // 2}


def _ignore(*_given: object) -> int:
    return 0
