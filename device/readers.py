"""Other ways in than the face: every reader that is configured, polled by one thread; QR codes by another.

What they take in goes to the credential desk. A reader that is stuck or falls silent is a fault of the terminal, told
once and taken back once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from device.clock import Clock
from device.config import ReaderConfig
from device.credentials import pin
from device.credentials.card import Card, decode
from device.credentials.qr_reader import QrReader
from device.credentials.typed import Entry
from device.door.reasons import entry
from device.door.types import CredentialShown
from device.frame import Frame
from device.hardware.keypad import Keypad
from device.hardware.usb_reader import UsbReader
from device.hardware.wiegand import WiegandReader
from device.store.records import Direction, Method, NewEntry
from device.threads import Worker

log = logging.getLogger(__name__)

POLL_S = 0.015  # a keypad's contact is closed for 50 ms at least
PAIRING_S = 300.0


class Polled(Protocol):
    """What every reader has in common; used on the readers' thread."""

    @property
    def fault(self) -> str: ...

    def poll(self, mono: float) -> Sequence[str]: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Hands:
    """What the readers do with what they take in.

    offer    hands what was shown to the credential desk
    degrade  told where a reader is lost and why, and where all are well again
    note     writes into the journal
    """

    offer: Callable[[CredentialShown], bool]
    degrade: Callable[[str, bool, str], None]
    note: Callable[[NewEntry], None]


@dataclass(frozen=True, slots=True)
class _Reader:
    """One reader: its name in the journal, which way its holders pass, what its keys collect in."""

    name: str
    device: Polled
    direction: Direction
    typed: Entry


class Readers:
    """Opened once at the start, where a pin that cannot be had is still a reason not to start."""

    def __init__(self, config: ReaderConfig, clock: Clock, hands: Hands, keys: Path) -> None:
        """keys  the folder in which an OSDP reader's key lies"""
        self._config, self._clock, self._hands, self._keys = config, clock, hands, keys
        self._qr = QrReader(self._qr_taken, clock) if config.qr else None
        self._readers: list[_Reader] = []
        self._osdp: Any = None
        self._fault = ""

    def open(self, factory: Any) -> None:
        """HardwareMissing or ConfigError where a reader cannot be had; factory: gpiozero's."""
        config = self._config
        if config.wiegand_d0 is not None and config.wiegand_d1 is not None:
            side = Direction(config.wiegand_side)
            self._add("wiegand", WiegandReader(factory, config.wiegand_d0, config.wiegand_d1, self._clock,
                                               lambda bits, mono: self._bits(bits, mono, "wiegand", side)), side)
        if config.keypad_rows:
            self._add("keypad", Keypad(factory, config.keypad_rows, config.keypad_columns),
                      Direction(config.keypad_side))
        if config.usb is not None:
            self._add("usb", UsbReader(Path(config.usb)), Direction(config.usb_side))
        if config.osdp is not None:
            self._add("osdp", self._open_osdp(config.osdp), Direction(config.osdp_side))

    def bodies(self) -> dict[str, Callable[[Worker], None]]:
        """Name -> body of the threads that are needed."""
        found: dict[str, Callable[[Worker], None]] = {}
        if self._readers:
            found["readers"] = self._run
        if self._qr is not None:
            found["qr"] = self._qr.run
        return found

    def look(self, frame: Frame) -> None:
        """Vision's newest frame; called on the vision thread."""
        if self._qr is not None:
            self._qr.look(frame)

    def show(self, light: str, sound: str) -> None:
        """Have an OSDP reader show what the terminal shows; from any thread."""
        if self._osdp is not None:
            self._osdp.show(light, sound)

    def pair(self, mono: float) -> bool:
        """Let an OSDP reader be paired for five minutes; False where there is none. From any thread."""
        if self._osdp is not None:
            self._osdp.pair(mono + PAIRING_S)
        return self._osdp is not None

    def close(self) -> None:
        """Let go of lines and devices; after the threads have ended."""
        for reader in self._readers:
            reader.device.close()
        self._readers.clear()

    # --- on the readers' thread -------------------------------------------------------------------------

    def poll(self, mono: float) -> None:
        """Ask every reader once."""
        for reader in self._readers:
            for text in reader.device.poll(mono):
                if reader.name == "usb":
                    self._number(text, mono, reader)
                else:
                    self._key(text, mono, reader)
        fault = next((f"{one.name}: {one.device.fault}" for one in self._readers if one.device.fault), "")
        if bool(fault) is not bool(self._fault):
            self._hands.degrade("reader_lost", bool(fault), fault)
        self._fault = fault

    def _run(self, worker: Worker) -> None:
        while not worker.stopping.wait(POLL_S):
            worker.beat()
            self.poll(self._clock.mono())

    def _key(self, key: str, mono: float, reader: _Reader) -> None:
        whole = reader.typed.press(key, mono)
        if whole is not None:
            self._show(Method.PIN, pin.typed(whole.number, whole.pin), mono, reader.name, reader.direction)

    def _number(self, text: str, mono: float, reader: _Reader) -> None:
        try:
            card = Card.from_reader(text, self._config.usb_bits)
        except ValueError as error:
            log.warning("the USB reader typed what is no card: %s", error)
            return
        self._show(Method.CARD, card.secret(), mono, reader.name, reader.direction)

    def _bits(self, bits: tuple[int, ...], mono: float, name: str, direction: Direction) -> None:
        try:
            card = decode(bits)
        except ValueError as error:
            log.warning("the %s reader sent what is no card: %s", name, error)
            return
        self._show(Method.CARD, card.secret(), mono, name, direction)

    def _show(self, method: Method, secret: bytes, mono: float, name: str, direction: Direction) -> None:
        self._hands.offer(CredentialShown(mono, method, secret, name, direction))

    # --- parts ------------------------------------------------------------------------------------------

    def _add(self, name: str, device: Polled, direction: Direction) -> None:
        self._readers.append(_Reader(name, device, direction, Entry()))

    def _open_osdp(self, port: str) -> Polled:
        from device.hardware.osdp_key import KeyFile
        from device.hardware.osdp_port import OsdpPort
        from device.hardware.osdp_reader import OsdpReader

        side = Direction(self._config.osdp_side)
        self._osdp = OsdpReader(
            OsdpPort(Path(port), self._config.osdp_baud), self._config.osdp_address,
            KeyFile(self._keys / "osdp-reader.key"), lambda bits, mono: self._bits(bits, mono, "osdp", side),
            lambda code, detail: self._hands.note(entry(code, **detail)))
        reader: Polled = self._osdp
        return reader

    def _qr_taken(self, text: str) -> None:
        self._show(Method.QR, text.encode("ascii", "replace"), self._clock.mono(), "camera", Direction.ENTRY)
