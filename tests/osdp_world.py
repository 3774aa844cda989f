"""OSDP for tests: two ends of ours, or one of ours and one of libosdp's, joined by a wire with a man in the middle.

libosdp keeps time by the machine's clock, so these wait for real; only what is ours can be skipped over.
"""

from __future__ import annotations

import binascii
import ctypes
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import osdp_sys
import pytest

from device.hardware.osdp_device import Order, OsdpDevice
from device.hardware.osdp_key import KeyFile
from device.hardware.osdp_reader import OsdpReader

CARD = (1, 0, 1, 1, 0, 0, 1, 0, 1, 1, 1, 1, 0, 1, 0, 0, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1)
RAW_CARD = bytes((0x50, 0, 1, 26, 0, 1, 2, 3, 4))  # a reply that tells a card
BUZZ = bytes((0x6A, 0, 2, 5, 5, 1))  # a command that sounds the buzzer
DEADLINE_S = 60.0


class End:
    """One end of a wire in this process."""

    def __init__(self, wire: Wire, side: str) -> None:
        self._wire, self._side = wire, side
        self.come = bytearray()
        self.fault = ""

    def read(self, most: int) -> bytes:
        taken = bytes(self.come[:min(most, self._wire.at_once)])
        del self.come[:len(taken)]
        return taken

    def write(self, data: bytes) -> int:
        self._wire.carry(self._side, bytes(data))
        return len(data)

    def flush(self) -> None:
        if self._wire.forgets:
            self.come.clear()

    def tend(self, mono: float) -> None: ...

    def close(self) -> None: ...


class Wire:
    """Carries what each end writes to the other, past whoever sits in between.

    between  (side that writes, bytes) -> the bytes that arrive at the other end
    at_once  how many bytes an end can read at a time
    """

    def __init__(self) -> None:
        self.panel, self.device = End(self, "panel"), End(self, "device")
        self.between: Callable[[str, bytes], bytes] = lambda _side, data: data
        self.at_once = 4096
        self.forgets = True
        self.is_cut = False
        self.recorded: list[tuple[str, bytes]] = []

    def carry(self, side: str, data: bytes) -> None:
        self.recorded.append((side, data))
        if not self.is_cut:
            (self.device if side == "panel" else self.panel).come += self.between(side, data)

    def said(self, side: str) -> list[bytes]:
        """What that end has written, frame by frame, from the start byte on."""
        return [data[data.index(0x53):] for who, data in self.recorded if who == side]


@dataclass
class World:
    """A wire, what stands at its ends, and a time that can be skipped."""

    folder: Path
    wire: Wire = field(default_factory=Wire)
    skipped_s: float = 0.0
    cards: list[tuple[int, ...]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    notes: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    ends: list[Any] = field(default_factory=list)

    def reader(self, line: Any = None) -> OsdpReader:
        made = OsdpReader(line or self.wire.panel, 5, KeyFile(self.folder / "reader.key"),
                          lambda bits, _mono: self.cards.append(bits), lambda *note: self.notes.append(note))
        self.ends.append(made)
        return made

    def device(self, line: Any = None) -> OsdpDevice:
        made = OsdpDevice(line or self.wire.device, 5, KeyFile(self.folder / "device.key"), self.orders.append,
                          lambda *note: self.notes.append(note))
        self.ends.append(made)
        return made

    def pair(self) -> tuple[OsdpReader, OsdpDevice]:
        """Both ends, paired with each other and in session."""
        reader, device = self.reader(), self.device()
        reader.pair(self.mono() + 60.0)
        device.pair(self.mono() + 60.0)
        self.run(lambda: self.is_up(reader, device))
        return reader, device

    def is_up(self, reader: OsdpReader, device: OsdpDevice) -> bool:
        return not reader.fault and not device.fault and reader._is_secure and device._is_secure

    def mono(self) -> float:
        return time.monotonic() + self.skipped_s

    def turn(self) -> None:
        for end in self.ends:
            heard = end.poll(self.mono())
            if isinstance(end, OsdpReader):
                self.keys += heard

    def run(self, until: Callable[[], object]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not until():
            assert time.monotonic() < deadline, "it did not come about"
            self.turn()
            time.sleep(0.001)

    def run_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.run(lambda: time.monotonic() > end)

    def skip(self, seconds: float) -> None:
        self.skipped_s += seconds
        self.turn()

    def remove(self, end: Any) -> None:
        self.ends.remove(end)
        end.close()


class Foreign:
    """An end that is libosdp's own, without our sieve: somebody else's device or panel."""

    def __init__(self, end: Any) -> None:
        self.end = end

    def poll(self, _mono: float) -> list[str]:
        for _ in range(4):
            self.end.refresh()
        return []

    def close(self) -> None: ...


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    for end in made.ends:
        end.close()


def frame(address: int, control: int, body: bytes) -> bytes:
    """A frame with a right CRC."""
    length = len(body) + 7
    data = bytes((0x53, address, length & 0xFF, length >> 8, control | 4)) + body
    return data + binascii.crc_hqx(data, 0x1D0F).to_bytes(2, "little")


def recut(data: bytes, change: Callable[[bytearray], None]) -> bytes:
    """A frame, changed and with its CRC put right."""
    start = data.index(0x53)
    body = bytearray(data[start:-2])
    change(body)
    return data[:start] + bytes(body) + binascii.crc_hqx(body, 0x1D0F).to_bytes(2, "little")


def reply_code(data: bytes) -> int:
    """The reply's code, after its security block where it has one."""
    return data[5 + data[5]] if data[4] & 8 else data[5]


def secured(world: World, side: str) -> list[bytes]:
    """The frames with a security block that an end has written."""
    return [data for data in world.wire.said(side) if data[4] & 8]


def foreign_device(world: World, key: bytes | None, flags: int = 0,
                   hears: Callable[[dict[str, Any]], int] = lambda _command: 0) -> Any:
    made = osdp_sys.PeripheralDevice({
        "name": "theirs", "address": 5, "channel": world.wire.device, "scbk": key, "flags": flags, "version": 1,
        "model": 1, "vendor_code": 1, "serial_number": 1, "firmware_version": 1},
        capabilities=[{"function_code": code, "compliance_level": 1, "num_items": 1}
                      for code in (osdp_sys.CAP_READER_LED_CONTROL, osdp_sys.CAP_READER_AUDIBLE_OUTPUT)])
    made.set_command_callback(lambda command: tuple([hears(command), None]))
    world.ends.append(Foreign(made))
    return made


def foreign_panel(world: World, key: bytes, flags: int = 0) -> Any:
    made = osdp_sys.ControlPanel([
        {"name": "theirs", "address": 5, "channel": world.wire.panel, "scbk": key, "flags": flags}])
    made.set_event_callback(lambda _pd, event: world.cards.append(event) or 0)
    world.ends.append(Foreign(made))
    return made


def key_of(world: World, end: str) -> bytes:
    return (world.folder / f"{end}.key").read_bytes()


def seed_c_library(seed: int) -> None:
    ctypes.CDLL(None).srand(seed)


@pytest.fixture(autouse=True)
def quiet_library() -> None:
    osdp_sys.set_loglevel(osdp_sys.LOG_EMERG)
