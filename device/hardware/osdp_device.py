"""OsdpDevice: this terminal as the reader of somebody else's controller, on an OSDP line.

The terminal decides who a face is; the controller decides what that opens: it gets an admitted person's card number
as if a card had been shown. It sets the key, in a pairing window; before that, and outside Secure Channel, it is told
nothing and obeyed in nothing. What that leaves to an attacker is in `osdp_key`.
"""

from __future__ import annotations

import ctypes
import logging
import queue
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Union

from device.hardware.osdp_key import KeyFile, Pairing, PairingKey, Watch
from device.hardware.osdp_port import Line, Sieve, open_library, stir

log = logging.getLogger(__name__)

Note = Callable[[str, dict[str, str | float]], None]

_STEPS = 4  # frames that may be answered in one call
_SILENT_S = 5.0  # a controller with many readers comes round every second or two; the standard allows it 8
_CARD_S = 2.0  # a card number that could not be told by then is dropped: it would open for whoever stands there later
_MOST_CARDS = 8
_MOST_ORDERS = 32
_MOST_BITS = 128
_NOTHING = object()
_DONE, _REFUSED = (0, _NOTHING), (-1, _NOTHING)
_COLOURS = ("off", "red", "green", "amber", "blue", "magenta", "cyan", "white")
_ON, _TIMED = (2, 4, 5), (5, 6)  # control codes of an output


@dataclass(frozen=True, slots=True)
class LampOrder:
    """Light the lamp in two colours in turns (off, red, green, amber, blue, magenta, cyan, white), each for so many
    seconds; for_s  altogether, None = until the next order."""

    on: str
    on_s: float
    off: str
    off_s: float
    for_s: float | None


@dataclass(frozen=True, slots=True)
class BuzzerOrder:
    """Sound a tone and a pause in turns; on_s 0 = be silent, times 0 = until the next order."""

    on_s: float
    off_s: float
    times: int


@dataclass(frozen=True, slots=True)
class OutputOrder:
    """Switch an output; for_s  seconds after which it falls back, None = until the next order."""

    output: int
    is_on: bool
    for_s: float | None


Order = Union[LampOrder, BuzzerOrder, OutputOrder]


@dataclass(frozen=True, slots=True)
class _Pair:
    until_mono: float


@dataclass(frozen=True, slots=True)
class _Card:
    bits: tuple[int, ...]
    mono: float


class OsdpDevice:
    """One device. `poll`, `fault` and `close` on the reader thread, `pair` and `admit` on any."""

    def __init__(self, line: Line, address: int, key_file: KeyFile, ordered: Callable[[Order], None], note: Note,
                 serial: int = 1, outputs: int = 1) -> None:
        """ordered  gets what the controller orders of lamp, buzzer and outputs
        note     gets `osdp_pairing` and `osdp_paired` with their details
        serial   told to the controller as this device's number, 0 .. 2**32 - 1
        outputs  how many the controller may switch, 0 .. 8
        HardwareMissing where libosdp is not installed."""
        self._library = open_library()
        self._name = f"OSDP device {address}"
        self._line, self._address = line, address
        self._ordered, self._note = ordered, note
        self._serial, self._outputs = serial, outputs
        self._sieve = Sieve(line, address, hears_replies=False)
        self._watch = Watch(self._name, _SILENT_S)
        self._pairing = Pairing(key_file)
        self._asked: queue.Queue[_Pair | _Card] = queue.Queue(_MOST_CARDS)
        self._orders: list[Order] = []
        self._has_new_key = False
        self._device: Any = None
        self._mono = 0.0
        self._told_mono: float | None = None
        self._is_secure = False
        self.dropped = 0

    @property
    def fault(self) -> str:
        """Empty, or what somebody must look after."""
        return self._watch.fault

    def pair(self, until_mono: float) -> None:
        """Let a controller set the key until then, for 5 minutes at most."""
        self._ask(_Pair(until_mono))

    def admit(self, bits: tuple[int, ...], mono: float) -> bool:
        """Tell the controller of an admitted person's card, parity included; False where it is not there. Told once
        or not at all: what is lost on the line is not told again. ValueError where these are not 1 to 128 bits."""
        if not 0 < len(bits) <= _MOST_BITS or not set(bits) <= {0, 1}:
            raise ValueError(f"a card has 1 to {_MOST_BITS} bits of 0 or 1, not {len(bits)} of anything")
        return self._is_secure and self._ask(_Card(bits, mono))

    def poll(self, mono: float) -> list[Order]:
        """What the controller has ordered since the last call; `ordered` has been given it already. Never waits; call
        it every 20 ms or so, since a controller waits 200 ms for an answer."""
        self._mono = mono
        self._obey(mono)
        self._line.tend(mono)
        self._keep_going(mono)
        for _ in range(_STEPS):
            self._sieve.turn(mono)
            if self._device is not None:
                stir()
                self._device.refresh()
                self._drop_late(mono)
        self._judge(mono)
        orders, self._orders = self._orders, []
        for order in orders:
            self._ordered(order)
        return orders

    def close(self) -> None:
        """Let go of the controller and of the line."""
        self._close_device()
        self._line.close()

    # --- the link -----------------------------------------------------------------------------------

    def _open_window(self, until_mono: float, mono: float) -> None:
        if seconds := self._pairing.open(until_mono, mono):
            self._close_device()
            self._sieve.allows_default = True
            self._note("osdp_pairing", {"device": self._name, "seconds": round(seconds)})

    def _take_key(self, secret: bytes) -> bool:
        """The controller sets the key; whether it is taken."""
        if refusal := self._pairing.take(secret, self._mono):
            log.warning("%s: a controller's key was refused: %s", self._name, refusal)
            return False
        # libosdp leaves its install mode by itself, and goes on under the new key.
        self._sieve.allows_default = False
        self._has_new_key = True
        return True

    def _keep_going(self, mono: float) -> None:
        if self._sieve.allows_default and not self._pairing.is_open(mono):
            self._close_device()
            self._sieve.allows_default = False
        if self._device is None and (self._pairing.key is not None or self._sieve.allows_default):
            self._open_device()

    def _open_device(self) -> None:
        library = self._library
        install = library.FLAG_INSTALL_MODE if self._sieve.allows_default else 0
        key = self._pairing.key or PairingKey.random()  # without one, libosdp would take the default key for good
        capabilities = ((library.CAP_CARD_DATA_FORMAT, 1, 0), (library.CAP_READER_LED_CONTROL, 4, 1),
                        (library.CAP_READER_AUDIBLE_OUTPUT, 2, 1), (library.CAP_OUTPUT_CONTROL, 2, self._outputs))
        self._device = library.PeripheralDevice({
            "name": "device", "address": self._address, "channel": self._sieve, "scbk": key.secret,
            "flags": library.FLAG_ENFORCE_SECURE | install,
            "version": 1, "model": 1, "vendor_code": 0, "serial_number": self._serial, "firmware_version": 1,
        }, capabilities=[{"function_code": code, "compliance_level": level, "num_items": items}
                         for code, level, items in capabilities])
        self._device.set_command_callback(self._hear)
        self._device.set_event_completion_callback(self._told)

    def _close_device(self) -> None:
        if self._device is not None:
            # Its last calls are made while it is taken down, and it would hold on to us for ever.
            self._device.set_event_completion_callback(_ignore)
            self._device.set_command_callback(_ignore)
            self._device = None
        self._is_secure = False
        self._told_mono = None

    def _judge(self, mono: float) -> None:
        """Whether the controller is there and can be told."""
        # Not so for a session under the default key.
        is_secure = self._device is not None and bool(self._device.is_sc_active())
        self._is_secure = self._watch.judge(
            is_secure, self._sieve.heard_mono, mono, self._line.fault or self._pairing.trouble)
        if is_secure and self._has_new_key:
            self._has_new_key = False
            self._note("osdp_paired", {"device": self._name})

    # --- what is said and heard -----------------------------------------------------------------------

    def _ask(self, asked: _Pair | _Card) -> bool:
        try:
            self._asked.put_nowait(asked)
        except queue.Full:
            log.warning("%s: too much waits, some was dropped", self._name)
            self.dropped += 1
            return False
        return True

    def _obey(self, mono: float) -> None:
        while self._told_mono is None and not self._asked.empty():
            asked = self._asked.get_nowait()
            if isinstance(asked, _Pair):
                self._open_window(asked.until_mono, mono)
            elif self._is_secure and mono <= asked.mono + _CARD_S:
                self._tell(asked)
            else:
                self.dropped += 1

    def _tell(self, card: _Card) -> None:
        library, length = self._library, len(card.bits)
        spare = -length % 8
        value = int("".join(map(str, card.bits)), 2) << spare
        self._device.submit_event({
            "event": library.EVENT_CARDREAD, "reader_no": 0, "direction": 0, "format": library.CARD_FMT_RAW_WIEGAND,
            "length": length, "data": value.to_bytes((length + spare) // 8, "big")})
        self._told_mono = card.mono

    def _told(self, _event: dict[str, Any], _status: int) -> None:
        self._told_mono = None

    def _drop_late(self, mono: float) -> None:
        """Nothing waits in libosdp for a controller that is away, to be told when it comes back."""
        is_late = self._told_mono is not None and mono > self._told_mono + _CARD_S
        if is_late or not self._device.is_sc_active():
            self.dropped += self._device.flush_events()
            self._told_mono = None

    def _hear(self, command: dict[str, Any]) -> tuple[int, object]:
        """The controller's command, from within libosdp, which an exception here would end: so none."""
        library, kind = self._library, command["command"]
        if kind == library.CMD_KEYSET:
            return _answer(self._take_key(command["data"]))
        if not self._device.is_sc_active() or len(self._orders) >= _MOST_ORDERS:
            return _answer(False)
        if kind == library.CMD_LED:
            self._orders += _lamp(command)
        elif kind == library.CMD_BUZZER:
            self._orders.append(BuzzerOrder(0.0 if command["control_code"] == 1 else command["on_count"] / 10,
                                            command["off_count"] / 10, command["rep_count"]))
        elif kind == library.CMD_OUTPUT:
            self._orders += _output(command)
        # A status is answered with zeros: the binding has no way to give another.
        return _answer(kind in (library.CMD_LED, library.CMD_BUZZER, library.CMD_OUTPUT, library.CMD_STATUS))


def _lamp(command: dict[str, Any]) -> list[Order]:
    """A lamp that is passing may be ended (1), set (2) or left (0); one that stands, set (1) or left (0)."""
    code = command["control_code"]
    if command["temporary"] and code == 1:
        return [LampOrder("off", 0.0, "off", 0.0, 0.0)]
    if code != (2 if command["temporary"] else 1) or max(command["on_color"], command["off_color"]) >= len(_COLOURS):
        return []
    return [LampOrder(_COLOURS[command["on_color"]], command["on_count"] / 10, _COLOURS[command["off_color"]],
                      command["off_count"] / 10, command["timer_count"] / 10 if command["temporary"] else None)]


def _output(command: dict[str, Any]) -> list[Order]:
    """An output may be left (0), switched off (1, 3) or on (2, 4), or on (5) or off (6) for a time."""
    code = command["control_code"]
    if not 1 <= code <= 6:
        return []
    return [OutputOrder(command["output_no"], code in _ON, command["timer_count"] / 10 if code in _TIMED else None)]


def _answer(is_done: bool) -> tuple[int, object]:
    """What libosdp wants of a command's callback."""
    # The binding lets go of the second item once too often, which would end None in Python 3.11 and before, and keeps
    # the tuple: so both are our own for ever, and the item is held once more each time.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_NOTHING))
    return _DONE if is_done else _REFUSED


def _ignore(*_given: object) -> None:
    return
