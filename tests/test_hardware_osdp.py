"""OSDP: both ends joined by a wire with a man in the middle, by two pseudo-terminals, and against libosdp's own ends.

libosdp keeps time by the machine's clock, so these wait for real; only what is ours can be skipped over.
"""

from __future__ import annotations

import binascii
import contextlib
import ctypes
import itertools
import logging
import os
import pickle
import pty
import random
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import osdp
import osdp_sys
import pytest

from device.door.reasons import REASONS
from device.errors import ConfigError, HardwareMissing
from device.hardware import osdp_device as device_module
from device.hardware.osdp_device import BuzzerOrder, LampOrder, Order, OsdpDevice, OutputOrder
from device.hardware.osdp_key import DEFAULT_KEY, KeyFile, PairingKey
from device.hardware.osdp_port import BAUDS, OsdpPort, Sieve, stir
from device.hardware.osdp_reader import OsdpReader
from device.hardware.signals import LIGHTS, SOUNDS

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


# --- pairing ---------------------------------------------------------------------------------------------


def test_both_ends_are_paired_within_the_window_and_know_each_other_after_a_restart(world: World) -> None:
    reader, device = world.pair()
    assert [code for code, _ in world.notes] == ["osdp_pairing", "osdp_pairing", "osdp_paired", "osdp_paired"]
    assert {detail["device"] for _, detail in world.notes} == {"OSDP reader 5", "OSDP device 5"}
    assert key_of(world, "reader") == key_of(world, "device") != DEFAULT_KEY
    assert {path.name: path.stat().st_mode & 0o777 for path in world.folder.iterdir()} == {
        "reader.key": 0o600, "device.key": 0o600}
    world.remove(reader)
    world.remove(device)
    reader, device = world.reader(), world.device()
    world.run(lambda: world.is_up(reader, device))
    assert len(world.notes) == 4


def test_every_pairing_has_a_key_of_its_own(world: World) -> None:
    reader, device = world.pair()
    first = key_of(world, "reader")
    reader.pair(world.mono() + 60.0)
    device.pair(world.mono() + 60.0)
    world.run(lambda: key_of(world, "reader") != first and world.is_up(reader, device))
    assert key_of(world, "reader") == key_of(world, "device")


def test_what_is_not_paired_says_nothing_and_asks_to_be(world: World) -> None:
    reader, device = world.reader(), world.device()
    world.wire.device.come += frame(5, 0, bytes((0x61, 0)))
    world.run_for(0.2)
    assert world.wire.recorded == []
    assert reader.fault == "OSDP reader 5: not paired; open the pairing window"
    assert device.fault == "OSDP device 5: not paired; open the pairing window"


def test_a_window_lasts_five_minutes_at_the_most(world: World) -> None:
    reader, device = world.reader(), world.device()
    reader.pair(world.mono() + 86_400.0)
    device.pair(world.mono() + 86_400.0)
    device.pair(world.mono() - 1.0)
    world.ends.remove(reader)
    world.turn()
    reader.poll(world.mono())
    assert world.notes == [("osdp_pairing", {"device": "OSDP device 5", "seconds": 300}),
                           ("osdp_pairing", {"device": "OSDP reader 5", "seconds": 300})]
    reader.close()


def test_after_the_window_nothing_is_paired(world: World) -> None:
    reader, device = world.reader(), world.device()
    device.pair(world.mono() + 300.0)
    world.turn()
    world.skip(301.0)
    reader.pair(world.mono() + 10.0)
    world.run_for(0.5)
    assert world.wire.said("panel")
    assert not world.wire.said("device")
    said = len(world.wire.recorded)
    world.skip(11.0)
    world.run_for(0.2)
    assert len(world.wire.recorded) == said
    assert [code for code, _ in world.notes] == ["osdp_pairing", "osdp_pairing"]
    assert list(world.folder.iterdir()) == []
    assert "not paired" in reader.fault and "not paired" in device.fault


def test_a_window_in_which_nothing_came_leaves_the_former_key(world: World) -> None:
    reader, device = world.pair()
    reader.pair(world.mono() + 10.0)
    world.run_for(0.3)
    assert not reader._is_secure
    world.skip(11.0)
    world.run(lambda: world.is_up(reader, device))
    assert key_of(world, "reader") == key_of(world, "device")


def test_a_pairing_that_a_power_cut_ended_is_finished_with_the_same_key(world: World) -> None:
    reader, device = world.reader(), world.device()
    reader.pair(world.mono() + 60.0)
    device.pair(world.mono() + 60.0)
    world.run((world.folder / "device.key").exists)
    world.ends.remove(reader)
    assert not (world.folder / "reader.key").exists()
    again = world.reader()
    again.pair(world.mono() + 60.0)
    world.run(lambda: world.is_up(again, device))
    assert key_of(world, "reader") == key_of(world, "device")
    reader.close()


def test_a_window_is_closed_by_its_pairing(world: World) -> None:
    reader, device = world.pair()
    world.remove(reader)
    panel = foreign_panel(world, bytes(range(100, 116)))
    before = key_of(world, "device")
    world.wire.recorded.clear()
    world.run_for(0.5)
    assert not panel.sc_status()
    assert key_of(world, "device") == before
    assert device._sieve.dropped


# --- keys ------------------------------------------------------------------------------------------------


def test_another_key_is_refused_by_both_ends(world: World) -> None:
    reader, device = world.pair()
    world.remove(reader)
    KeyFile(world.folder / "reader.key").store(PairingKey.random())
    reader = world.reader()
    world.run_for(0.3)
    device.admit(CARD, world.mono())
    world.skip(5.5)
    world.run(lambda: "has another key" in reader.fault)
    world.skip(1.0)
    world.run(lambda: "has another key" in device.fault)
    reader.show("green", "granted")
    world.run_for(0.2)
    assert world.cards == [] and world.orders == []


@pytest.mark.parametrize("secret", [
    DEFAULT_KEY, bytes(16), b"\xff" * 16, bytes(range(16)), bytes(range(0, 160, 10)), b"0123456701234567", b"short",
    bytes(range(17))])
def test_keys_that_can_be_guessed_are_refused(secret: bytes) -> None:
    with pytest.raises(HardwareMissing) as caught:
        PairingKey(secret)
    assert secret.hex() not in str(caught.value) and repr(secret) not in str(caught.value)


def test_a_controller_with_a_weak_key_is_not_paired_with(world: World, caplog: pytest.LogCaptureFixture) -> None:
    device = world.device()
    device.pair(world.mono() + 60.0)
    panel = foreign_panel(world, bytes(range(16)))
    world.run(lambda: "can be guessed" in caplog.text)
    world.run_for(0.2)
    assert not panel.sc_status()
    assert list(world.folder.iterdir()) == []


def test_the_default_key_opens_nothing_after_commissioning(world: World) -> None:
    reader, device = world.pair()
    world.remove(reader)
    world.wire.recorded.clear()
    foreign_panel(world, bytes(range(100, 116)))  # tries its own key, then the default one
    world.run(lambda: any(data[5:8] == b"\x03\x11\x00" for data in secured(world, "panel")))
    world.run_for(0.5)
    assert {reply_code(data) for data in world.wire.said("device")} <= {0x45, 0x46, 0x76, 0x41}
    assert not device._is_secure


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_reader_in_install_mode_is_not_believed_after_commissioning(world: World, is_restarted: bool) -> None:
    reader, device = world.pair()
    world.remove(device)
    if is_restarted:
        world.remove(reader)
        reader = world.reader()
    world.wire.recorded.clear()
    theirs = foreign_device(world, None)  # without a key of its own: the default one
    theirs.submit_event({"event": osdp_sys.EVENT_CARDREAD, "reader_no": 0, "direction": 0,
                         "format": osdp_sys.CARD_FMT_RAW_WIEGAND, "length": 26, "data": b"\x01\x02\x03\x04"})
    for tries in (1, 2, 3):
        world.run(lambda wanted=tries: [data[6] for data in secured(world, "panel")].count(0x11) >= wanted)
        world.run_for(0.02)
        world.skip(2.0)
    world.run(lambda: "has another key" in reader.fault)
    assert {data[7] for data in secured(world, "panel") if data[6] == 0x11} == {1}
    assert world.cards == []


@pytest.mark.parametrize(("damage", "says"), [
    (lambda path: path.chmod(0o640), "others may read"),
    (lambda path: path.write_bytes(b"short"), "must be 16 bytes, not 5"),
    (lambda path: path.write_bytes(bytes(16)), "can be guessed"),
    (lambda path: (path.unlink(), path.mkdir()), "cannot be read"),
])
def test_a_key_file_that_cannot_be_used_is_a_fault_in_one_line(
        world: World, damage: Callable[[Path], None], says: str) -> None:
    path = world.folder / "reader.key"
    KeyFile(path).store(PairingKey.random())
    damage(path)
    reader = world.reader()
    world.turn()
    assert says in reader.fault and len(reader.fault.splitlines()) == 1
    assert world.wire.recorded == []


def test_where_no_key_can_be_kept_nothing_is_paired(world: World, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("reader", "device"):
        (world.folder / f"{name}.key").mkdir()
        (world.folder / f"{name}.key" / "full").touch()
    (world.folder / "reader.key.begun").mkdir()
    (world.folder / "reader.key.begun" / "full").touch()
    reader, device = world.reader(), world.device()
    reader.pair(world.mono() + 60.0)
    device.pair(world.mono() + 60.0)
    world.run_for(0.2)
    assert "cannot be written" in reader.fault and world.wire.said("panel") == []
    foreign_panel(world, PairingKey.random().secret)
    world.run(lambda: "key was refused" in caplog.text)
    assert "cannot be" in device.fault


def test_no_key_is_ever_shown(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    reader, device = world.pair()
    key = KeyFile(world.folder / "reader.key").load()
    assert key is not None and repr(key) == str(key) == "PairingKey(secret)"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(key)
    shown = caplog.text + repr(world.notes) + repr(vars(reader)) + repr(vars(device)) + repr(vars(reader._pairing))
    assert key.secret.hex() not in shown and repr(key.secret)[2:-1] not in shown


# --- cards, keys, lamps ------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [CARD, (1,), (0, 1) * 17, (1, 0, 0, 1) * 16, (0,) * 127 + (1,)])
def test_a_card_goes_from_the_device_to_the_panel_once(world: World, bits: tuple[int, ...]) -> None:
    _, device = world.pair()
    assert device.admit(bits, world.mono())
    world.run(lambda: bool(world.cards))
    world.run_for(0.1)
    assert world.cards == [bits]


def test_several_cards_come_in_order(world: World) -> None:
    _, device = world.pair()
    cards = [tuple(int(bit) for bit in f"{number:026b}") for number in range(5)]
    assert all([device.admit(card, world.mono()) for card in cards])
    world.run(lambda: len(world.cards) == 5)
    assert world.cards == cards


@pytest.mark.parametrize("bits", [(), (2,), (0,) * 129, (-1, 0)])
def test_what_is_no_card_is_not_told(world: World, bits: tuple[int, ...]) -> None:
    _, device = world.pair()
    with pytest.raises(ValueError, match="1 to 128 bits"):
        device.admit(bits, world.mono())


def test_granted_refused_and_ask_light_the_lamp_and_sound_the_buzzer(world: World) -> None:
    reader, _ = world.pair()
    for code, lamp, buzzer in (
            ("face_granted", LampOrder("green", 3.0, "off", 0.0, 3.0), BuzzerOrder(0.2, 0.0, 1)),
            ("unknown_card", LampOrder("red", 2.0, "off", 0.0, 2.0), BuzzerOrder(0.1, 0.1, 3)),
            ("more_needed", LampOrder("amber", 3.0, "off", 0.0, 3.0), BuzzerOrder(0.1, 0.1, 2))):
        reader.show(REASONS[code].light, REASONS[code].sound)
        world.orders.clear()
        world.run(lambda: len(world.orders) == 2)
        assert world.orders == [lamp, buzzer]


def test_every_pattern_can_be_shown_and_a_standing_light_ends_the_sound(world: World) -> None:
    reader, _ = world.pair()
    for light in LIGHTS:
        reader.show(light, "")
        world.run(world.orders.__len__)
        world.run_for(0.02)
        assert isinstance(world.orders[0], LampOrder)
        assert (world.orders[0].for_s is None) == LIGHTS[light].is_standing
        assert world.orders[1:] == [BuzzerOrder(0.0, 0.0, 0)] * LIGHTS[light].is_standing
        world.orders.clear()
    for sound in SOUNDS:
        reader.show("", sound)
        world.run(lambda: bool(world.orders))
        assert [order for order in world.orders if not isinstance(order, BuzzerOrder)] == []
        world.orders.clear()
    with pytest.raises(KeyError):
        reader.show("purple", "")


def test_a_controller_switches_an_output_and_may_change_nothing_else(world: World) -> None:
    reader, device = world.pair()
    world.remove(reader)
    panel = foreign_panel(world, key_of(world, "device"), osdp_sys.FLAG_ENFORCE_SECURE)
    world.run(lambda: bool(panel.sc_status()))
    for code, timer in ((5, 30), (2, 0), (1, 0)):
        panel.submit_command(0, {"command": osdp_sys.CMD_OUTPUT, "output_no": 0, "control_code": code,
                                 "timer_count": timer})
    world.run(lambda: len(world.orders) == 3)
    assert world.orders == [OutputOrder(0, True, 3.0), OutputOrder(0, True, None), OutputOrder(0, False, None)]
    before = key_of(world, "device")
    for command in ({"command": osdp_sys.CMD_KEYSET, "type": 1, "data": PairingKey.random().secret},
                    {"command": osdp_sys.CMD_COMSET, "address": 9, "baud_rate": 9600},
                    {"command": osdp_sys.CMD_MFG, "vendor_code": 1, "data": b"x"}):
        world.wire.recorded.clear()
        assert panel.submit_command(0, command)
        # A refusal is the end of libosdp's session.
        world.run(lambda: any(reply_code(data) == 0x41 for data in world.wire.said("device")))
        panel.disable_pd(0)
        world.turn()
        panel.enable_pd(0)
        world.run(lambda: bool(panel.sc_status()))
    assert key_of(world, "device") == before
    assert len(world.orders) == 3 and not device.fault


def test_keys_and_tampering_at_somebody_elses_reader_are_told(world: World) -> None:
    KeyFile(world.folder / "reader.key").store(key := PairingKey.random())
    theirs = foreign_device(world, key.secret, osdp_sys.FLAG_ENFORCE_SECURE)
    reader = world.reader()
    world.run(lambda: reader._is_secure)
    theirs.submit_event({"event": osdp_sys.EVENT_KEYPRESS, "reader_no": 0, "data": b"12\x7f34#\x0d\x00\xffA"})
    world.run(lambda: len(world.keys) >= 8)
    assert world.keys == list("12*34##A")
    for report, is_tampered in ((b"\x01\x00", True), (b"\x00\x00", False)):
        theirs.submit_event({"event": osdp_sys.EVENT_STATUS, "type": osdp_sys.STATUS_REPORT_LOCAL, "report": report})
        world.run(lambda wanted=is_tampered: reader.is_tampered is wanted)
    assert world.cards == []


def test_a_reader_that_refuses_its_lamp_keeps_its_session(world: World, caplog: pytest.LogCaptureFixture) -> None:
    KeyFile(world.folder / "reader.key").store(key := PairingKey.random())
    asked: list[int] = []

    def hears(command: dict[str, Any]) -> int:
        asked.append(command["command"])
        return -1 if command["command"] == osdp_sys.CMD_LED else 0

    foreign_device(world, key.secret, osdp_sys.FLAG_ENFORCE_SECURE, hears)
    reader = world.reader()
    for _ in range(3):
        world.run(lambda: reader._is_secure)
        asked.clear()
        reader.show("green", "")
        world.run(lambda: osdp_sys.CMD_LED in asked and not reader._is_secure)
        world.skip(1.6)
    world.run(lambda: reader._is_secure)
    asked.clear()
    reader.show("green", "granted")
    world.run(lambda: osdp_sys.CMD_BUZZER in asked)
    assert osdp_sys.CMD_LED not in asked and reader._is_secure
    assert "refuses commands of kind" in caplog.text


def test_a_card_that_could_not_be_told_in_time_is_never_told(world: World) -> None:
    reader, device = world.pair()
    world.ends.remove(reader)  # its thread hangs: the line is whole and the session stands
    assert device.admit(CARD, world.mono())
    assert device.admit(CARD, world.mono())
    world.run_for(0.1)
    world.skip(2.5)
    assert device._is_secure and device.dropped == 1
    world.turn()
    assert device.dropped == 2
    world.ends.append(reader)
    world.run_for(0.3)
    world.run(lambda: world.is_up(reader, device))
    assert world.cards == []


def test_a_card_that_waited_for_our_own_thread_is_not_told_late(world: World) -> None:
    _, device = world.pair()
    world.ends.remove(device)
    asked = len(world.wire.said("panel"))
    world.run(lambda: len(world.wire.said("panel")) > asked)
    assert device.admit(CARD, world.mono())
    world.skipped_s += 2.5
    world.ends.append(device)
    world.run(lambda: device.dropped == 1)
    world.run_for(0.1)
    assert world.cards == []


def test_what_waited_to_be_shown_goes_with_the_session(world: World) -> None:
    reader, device = world.pair()
    world.wire.between = lambda side, data: b"" if side == "device" else data
    for _ in range(3):
        reader.show("green", "granted")
    world.run(lambda: len(world.orders) == 1)
    world.wire.between = lambda _side, data: data
    world.run(lambda: not reader._is_secure)
    world.skip(2.0)
    world.run(lambda: world.is_up(reader, device))
    world.run_for(0.15)
    assert len(world.orders) == 1


def test_nothing_is_kept_for_a_controller_that_is_away(world: World) -> None:
    reader, device = world.pair()
    world.wire.is_cut = True
    world.skip(5.5)
    assert not device.admit(CARD, world.mono())
    reader.show("green", "granted")
    world.wire.is_cut = False
    world.skip(6.0)
    world.run(lambda: world.is_up(reader, device))
    world.run_for(0.15)
    assert world.cards == [] and world.orders == []


def test_commands_leave_no_reference_behind_or_missing(world: World) -> None:
    reader, _ = world.pair()
    before = sys.getrefcount(device_module._NOTHING)
    for _ in range(100):
        reader.show("green", "")
        world.run(world.orders.__len__)
        world.orders.clear()
    assert abs(sys.getrefcount(device_module._NOTHING) - before) < 10


# --- the line ----------------------------------------------------------------------------------------------


def test_an_unplugged_end_is_noticed_and_so_is_its_return(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    reader, device = world.pair()
    world.wire.is_cut = True
    world.run_for(0.05)
    world.skip(2.0)
    assert not reader.fault and not device.fault
    world.skip(1.5)
    assert "line is silent" in reader.fault
    world.skip(2.0)
    assert "line is silent" in device.fault
    world.wire.is_cut = False
    world.skip(6.0)
    world.run(lambda: world.is_up(reader, device))
    device.admit(CARD, world.mono())
    world.run(lambda: world.cards == [CARD])
    told = [record.getMessage() for record in caplog.records if record.name.startswith("device.hardware")]
    assert len([line for line in told if "silent" in line]) == 2
    assert len([line for line in told if "is back" in line and "paired" not in line]) >= 2


def test_frames_that_come_byte_by_byte_are_read(world: World) -> None:
    world.wire.at_once = 7
    world.wire.forgets = False
    _, device = world.pair()
    device.admit(CARD, world.mono())
    world.run(lambda: world.cards == [CARD])


def test_an_adapter_that_hears_itself_does_no_harm(world: World) -> None:
    def echo(side: str, data: bytes) -> bytes:
        (world.wire.panel if side == "panel" else world.wire.device).come += data
        return data

    world.wire.between = echo
    reader, device = world.pair()
    device.admit(CARD, world.mono())
    reader.show("green", "")
    world.run(lambda: world.cards == [CARD] and len(world.orders) == 1)


def test_a_lost_reply_costs_the_session_and_no_more(world: World) -> None:
    reader, device = world.pair()
    lost = iter([b""])
    world.wire.between = lambda side, data: next(lost, data) if side == "device" else data
    panel = reader._panel
    world.run(lambda: not reader._is_secure)
    world.skip(2.0)
    world.run(lambda: world.is_up(reader, device))
    assert reader._panel is panel


def test_a_panel_whose_wait_does_not_end_begins_anew(world: World) -> None:
    """As where the machine's clock was set back, by which libosdp waits."""
    reader, device = world.pair()
    world.wire.is_cut = True
    asked = len(world.wire.said("panel"))
    world.run(lambda: len(world.wire.said("panel")) > asked)
    world.wire.is_cut = False
    asked = len(world.wire.said("panel"))
    world.skip(5.5)
    world.run(lambda: len(world.wire.said("panel")) > asked)
    assert reply_code(world.wire.said("panel")[asked]) == 0x61
    world.run(lambda: world.is_up(reader, device))


def test_noise_is_survived(world: World) -> None:
    chance = random.Random(7)

    def noise(_side: str, data: bytes) -> bytes:
        if chance.random() < 0.7:
            return data
        spoilt = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
        return chance.randbytes(chance.randint(0, 9)) + bytes(spoilt[:chance.randint(1, len(spoilt))])

    reader, device = world.pair()
    world.wire.between = noise
    for _ in range(100):
        world.run_for(0.01)
        reader.show("green", "granted")
        device.admit(CARD, world.mono())
        world.skip(0.5)
    world.wire.between = lambda _side, data: data
    world.skip(2.0)
    world.run(lambda: world.is_up(reader, device))
    assert set(world.cards) <= {CARD}
    world.cards.clear()
    device.admit(CARD, world.mono())
    world.run(lambda: world.cards == [CARD])


def test_garbage_does_nothing_to_either_end(world: World) -> None:
    reader, device = world.pair()
    chance = random.Random(11)
    recorded = [data for _, data in world.wire.recorded]
    world.orders.clear()
    world.wire.is_cut = True
    for _ in range(3000):
        for end in (world.wire.panel, world.wire.device):
            if chance.random() < 0.3:
                end.come += chance.randbytes(chance.randint(1, 300))
            else:
                address = 5 if end is world.wire.device else 0x85
                end.come += frame(address, chance.randrange(256), chance.randbytes(chance.randint(1, 60)))
                end.come += chance.choice(recorded)[:chance.randint(1, 9)]
        world.turn()
    world.skip(2.0)
    world.wire.is_cut = False
    world.run(lambda: world.is_up(reader, device))
    assert world.cards == [] and world.orders == []


# --- attacks -----------------------------------------------------------------------------------------------


def test_plain_commands_are_neither_answered_nor_obeyed(world: World) -> None:
    """Every code there is, before the session and in it. Some of them end libosdp's process where nothing sieves."""
    reader, device = world.pair()
    for is_in_session in (True, False):
        for code in set(range(256)) - {0x61, 0x62}:
            body = bytes((code,)) + BUZZ[1:]
            world.wire.recorded.clear()
            world.wire.device.come += frame(5, code % 4, body) + frame(0x7F, code % 4, body)
            device.poll(world.mono())
            assert world.wire.recorded == []
            if is_in_session and code % 16 == 0:
                world.run(lambda: world.is_up(reader, device))
        if is_in_session:
            world.remove(reader)
            world.skip(6.0)
    assert world.orders == []


def test_behind_the_sieve_libosdp_enforces_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for end in world.pair():
        world.remove(end)
    monkeypatch.setattr(Sieve, "_is_permitted", lambda _self, _frame: True)
    device = world.device()
    for code in (0x60, 0x69, 0x6A, 0x75):
        world.wire.recorded.clear()
        world.wire.device.come += frame(5, 0, bytes((code,)) + BUZZ[1:])
        world.turn()
        assert [data[5:7] for data in world.wire.said("device")] == [b"\x41\x06"]  # refused: needs Secure Channel
    world.wire.recorded.clear()
    foreign_panel(world, bytes(range(100, 116)))
    world.run(lambda: any(data[5:8] == b"\x03\x11\x00" for data in secured(world, "panel")))
    world.run_for(0.2)
    assert 0x78 not in {reply_code(data) for data in world.wire.said("device")}
    assert world.orders == [] and not device._is_secure


def test_what_libosdp_tells_outside_a_session_is_dropped(world: World) -> None:
    KeyFile(world.folder / "reader.key").store(PairingKey.random())
    reader = world.reader()
    world.turn()
    event = {"event": osdp_sys.EVENT_CARDREAD, "length": 8, "data": b"\x01"}
    assert reader._hear(0, event) == 0
    world.turn()
    assert world.cards == [] and event == {}


def test_identity_and_capabilities_are_told_to_anybody_and_nothing_else(world: World) -> None:
    reader, device = world.pair()
    world.remove(reader)
    for code, answer in ((0x61, 0x45), (0x62, 0x46)):
        world.wire.recorded.clear()
        world.wire.device.come += frame(5, 0, bytes((code, 0)))
        device.poll(world.mono())
        assert [reply_code(data) for data in world.wire.said("device")] == [answer]


@pytest.mark.parametrize("kind", [0x10, 0x11, 0x13, 0x15, 0x17, 0x19, 0xFF])
@pytest.mark.parametrize("size", [0, 2, 3, 9])
def test_a_forged_command_in_a_session_is_not_obeyed(world: World, kind: int, size: int) -> None:
    reader, device = world.pair()
    for _ in range(20):
        world.run(lambda: world.is_up(reader, device))
        last = world.wire.said("panel")[-1]
        sequence = (last[4] & 3) % 3 + 1
        block = bytes((size, kind)) + bytes((1,)) * max(size - 2, 0)
        for body in (block + BUZZ, block + BUZZ + b"\x00" * 4):
            world.wire.device.come += frame(5, sequence | 8, body)
            device.poll(world.mono())
        if kind in (0x15, 0x17) and size == 2:
            break  # a wrong MAC has ended the session
    assert world.orders == []


@pytest.mark.parametrize("block", [b"", b"\x02\x12", b"\x03\x12\x01", b"\x03\x14\x01", b"\x02\x16", b"\x02\x18"])
def test_a_forged_card_in_a_session_is_not_believed(world: World, block: bytes) -> None:
    reader, device = world.pair()
    body = block + RAW_CARD + (b"\x00" * 4 if block[1:] in (b"\x16", b"\x18") else b"")
    polls = itertools.count()

    def forge(side: str, data: bytes) -> bytes:
        if side == "panel" and next(polls) % 4 == 3:
            sequence = data[data.index(0x53) + 4] & 3
            world.wire.panel.come += frame(0x85, sequence | (8 if block else 0), body)
        return data

    world.wire.between = forge
    world.run(lambda: next(polls) > 4)
    world.run_for(0.05)
    world.wire.between = lambda _side, data: data
    world.skip(6.0)
    world.run(lambda: world.is_up(reader, device))
    world.run_for(0.05)
    assert world.cards == []


@pytest.mark.parametrize("asked", [0x61, 0x62, 0x76, 0x77])
def test_a_card_that_was_slipped_in_before_the_session_is_not_believed_in_it(world: World, asked: int) -> None:
    reader, device = world.pair()
    world.remove(reader)
    slipped: list[bytes] = []

    def slip(side: str, data: bytes) -> bytes:
        if side == "panel" and not slipped and reply_code(data[data.index(0x53):]) == asked:
            slipped.append(frame(0x85, data[data.index(0x53) + 4] & 3, RAW_CARD))
            world.wire.panel.come += slipped[0]
            return b""
        return data

    world.wire.between = slip
    reader = world.reader()
    world.run(lambda: bool(slipped))
    world.run_for(0.05)
    world.skip(6.0)
    world.run(lambda: world.is_up(reader, device))
    world.run_for(0.2)
    assert world.cards == []


def test_a_recorded_session_played_to_the_device_does_nothing(world: World) -> None:
    """Even where the C library's chance stands at the same point each time, as it would after each start."""
    reader, device = world.pair()
    world.remove(reader)
    world.remove(device)
    world.wire.recorded.clear()

    def same_chance(_side: str, data: bytes) -> bytes:
        seed_c_library(3)
        return data

    world.wire.between = same_chance
    reader, device = world.reader(), world.device()
    world.run(lambda: world.is_up(reader, device))
    reader.show("green", "granted")
    world.run(lambda: len(world.orders) == 2)
    recorded = world.wire.said("panel")
    world.remove(reader)
    world.remove(device)
    world.orders.clear()
    world.device()
    for data in recorded:
        seed_c_library(3)
        world.wire.device.come += data
        world.turn()
    assert world.orders == [] and not world.ends[0]._is_secure


def test_a_recorded_session_played_to_the_panel_does_nothing(world: World) -> None:
    reader, device = world.pair()
    world.remove(reader)
    world.remove(device)
    world.wire.recorded.clear()
    reader, device = world.reader(), world.device()
    world.run(lambda: world.is_up(reader, device))
    device.admit(CARD, world.mono())
    world.run(lambda: world.cards == [CARD])
    world.cards.clear()
    recorded = iter(world.wire.said("device"))
    world.remove(reader)
    world.remove(device)
    wire = world.wire

    def play(side: str, _data: bytes) -> bytes:
        wire.panel.come += next(recorded, b"")
        return b""

    wire.between = play
    reader = world.reader()
    world.run_for(0.5)
    world.skip(4.0)
    assert world.cards == [] and not reader._is_secure and reader.fault


def test_challenges_differ_even_where_the_c_librarys_chance_does_not(world: World) -> None:
    challenges = []
    for _ in range(3):
        KeyFile(world.folder / "reader.key").store(key := PairingKey.random())
        foreign_device(world, key.secret)
        seed_c_library(1)
        reader = world.reader()
        world.run(lambda: any(data[6] == 0x11 for data in secured(world, "panel")))
        challenges.append(next(data[9:17] for data in secured(world, "panel")))
        world.remove(reader)
        world.ends.clear()
        world.wire.recorded.clear()
    assert len(set(challenges)) == 3
    assert all(len(challenge) == 8 for challenge in challenges)


def test_stirring_is_what_makes_chance_differ() -> None:
    libc = ctypes.CDLL(None)
    drawn = []
    for stirs in (False, False, True):
        seed_c_library(1)
        if stirs:
            stir()
        drawn.append(libc.rand())
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("is_paired", [True, False])
def test_a_downgrade_of_capabilities_is_a_fault_and_no_way_in(world: World, is_paired: bool) -> None:
    if is_paired:
        for end in world.pair():
            world.remove(end)
    lied: list[bytes] = []

    def no_secure_channel(body: bytearray) -> None:
        for place in range(6, len(body), 3):
            if body[place] == osdp_sys.CAP_COMMUNICATION_SECURITY:
                body[place + 1] = 0

    def lie(side: str, data: bytes) -> bytes:
        if side == "device" and reply_code(data[data.index(0x53):]) == 0x46:
            lied.append(recut(data, no_secure_channel))
            return lied[-1]
        return data

    world.wire.between = lie
    world.wire.recorded.clear()
    reader, device = world.reader(), world.device()
    reader.pair(world.mono() + (0.0 if is_paired else 60.0))
    device.pair(world.mono() + (0.0 if is_paired else 60.0))
    world.run(lambda: bool(lied))
    world.run_for(0.1)
    world.skip(4.0)
    reader.show("green", "granted")
    world.run_for(0.1)
    assert reader.fault and not reader._is_secure and not device._is_secure
    assert world.orders == [] and world.cards == []
    assert {code for code, _ in world.notes[4 if is_paired else 0:]} <= {"osdp_pairing"}
    assert {reply_code(data) for data in world.wire.said("panel")} == {0x61, 0x62}


def test_a_reader_without_secure_channel_is_not_even_asked_while_a_window_is_open(world: World) -> None:
    reader = world.reader()
    reader.pair(world.mono() + 60.0)

    def answer(side: str, data: bytes) -> bytes:
        start = data.index(0x53)
        code, sequence = reply_code(data[start:]), data[start + 4] & 3
        body = {0x61: b"\x45" + bytes(12), 0x62: b"\x46\x09\x00\x00\x08\x01\x00"}.get(code, RAW_CARD)
        world.wire.panel.come += frame(0x85, sequence, body)
        return b""

    world.wire.between = answer
    world.run(lambda: len(world.wire.said("panel")) > 8)
    assert {reply_code(data) for data in world.wire.said("panel")} == {0x61, 0x62}
    assert world.cards == [] and "not paired" in reader.fault


def test_a_window_cannot_be_used_without_the_pairing(world: World) -> None:
    """A panel under the default key is answered in the window, may set the key, and is obeyed in nothing else."""
    device = world.device()
    device.pair(world.mono() + 60.0)
    foreign_panel(world, PairingKey.random().secret)
    keyset = threading.Event()

    def hold_back(side: str, data: bytes) -> bytes:
        if side == "panel" and reply_code(data[data.index(0x53):]) == 0x75:
            keyset.set()
            return b""
        return data

    world.wire.between = hold_back
    world.run(keyset.is_set)
    assert not device._is_secure and not device.admit(CARD, world.mono())
    device._hear({"command": osdp_sys.CMD_OUTPUT, "output_no": 0, "control_code": 2, "timer_count": 0})
    world.turn()
    assert world.orders == []


# --- the sieve and the port ----------------------------------------------------------------------------------


def test_the_sieve_and_the_port_have_what_a_channel_must_have() -> None:
    for kind in (Sieve, OsdpPort):
        assert osdp.Channel.__abstractmethods__ <= set(dir(kind))
    assert Sieve.id == 0


@pytest.mark.parametrize(("hears_replies", "body", "says"), [
    (False, b"\x61\x00", "always"),
    (False, b"\x60", "never"),
    (False, b"\x40", "never"),
    (False, b"\x03\x11\x01\x76" + bytes(8), "always"),
    (False, b"\x03\x11\x00\x76" + bytes(8), "in a window"),
    (False, b"\x03\x11\x01\x76" + bytes(9), "never"),
    (False, b"\x03\x11\x01\x77" + bytes(16), "never"),
    (False, b"\x03\x13\x01\x77" + bytes(16), "always"),
    (False, b"\x03\x13\x00\x77" + bytes(16), "in a window"),
    (False, b"\x03\x12\x01\x76" + bytes(32), "never"),
    (False, b"\x02\x15\x60" + bytes(4), "always"),
    (False, b"\x02\x15\x60" + bytes(2), "never"),
    (False, b"\x02\x16\x40" + bytes(4), "never"),
    (False, b"\x03\x15\x60" + bytes(4), "never"),
    (True, b"\x41\x06", "always"),
    (True, b"\x40", "in a window"),
    (True, RAW_CARD, "never"),
    (True, b"\x03\x12\x01\x76" + bytes(32), "always"),
    (True, b"\x03\x12\x00\x76" + bytes(32), "in a window"),
    (True, b"\x03\x14\x01\x78" + bytes(16), "always"),
    (True, b"\x03\x14\x01\x50" + bytes(16), "never"),
    (True, b"\x02\x18\x50" + bytes(20), "always"),
    (True, b"\x02\x17\x50" + bytes(20), "never"),
])
def test_the_sieve_lets_through_what_may_come_at_that_time(
        world: World, hears_replies: bool, body: bytes, says: str) -> None:
    sieve = Sieve(world.wire.panel, 5, hears_replies=hears_replies)
    own = 0x85 if hears_replies else 0x05
    control = 8 if body[0] in (2, 3) else 0
    for sieve.allows_default in (False, True):
        for address in (own, own ^ 0x80, own ^ 1, 0x7F, 0xFF):
            world.wire.panel.come += frame(address, control, body)
            sieve.turn(1.0)
            is_permitted = says == "always" or (says == "in a window" and sieve.allows_default)
            assert bool(sieve.read(256)) == (is_permitted and address == own)
        for bit in (0x10, 0x20, 0x40, 0x80):
            world.wire.panel.come += frame(own, control | bit, body)
            sieve.turn(1.0)
            assert sieve.read(256) == b""


def test_a_frame_is_handed_on_alone_and_whole(world: World) -> None:
    sieve = Sieve(world.wire.device, 5, hears_replies=False)
    first, second = frame(5, 0, bytes((0x61, 0))), frame(5, 1, bytes((0x62, 0)))
    summed = bytes((0x53, 5, 8, 0, 2, 0x61, 0, 0x100 - 0xC3))
    world.wire.device.come += b"\xff" + first[:3] + first + b"\x53\x05" + second + summed
    heard = []
    for turn in range(5):
        sieve.turn(float(turn) / 10)
        heard.append(sieve.read(64) + sieve.read(64))
    assert heard == [first, second, summed, b"", b""]


def test_half_a_frame_is_forgotten_after_a_while(world: World) -> None:
    sieve = Sieve(world.wire.device, 5, hears_replies=False)
    whole = frame(5, 0, bytes((0x61, 0)))
    world.wire.device.come += b"\x53\x05\xff\x00"
    sieve.turn(1.0)
    sieve.turn(1.4)
    world.wire.device.come += whole
    sieve.turn(1.5)
    assert sieve.read(64) == whole
    assert sieve.heard_mono == 1.5 and sieve.dropped == 0


@contextlib.contextmanager
def null_modem(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Two serial ports whose cables are joined: pseudo-terminals, and a thread that carries bytes between them."""
    masters, paths = [], []
    for name in ("panel", "device"):
        master, slave = pty.openpty()
        (folder / name).symlink_to(os.ttyname(slave))
        os.close(slave)
        os.set_blocking(master, False)
        masters.append(master)
        paths.append(folder / name)
    stopping = threading.Event()

    def carry() -> None:
        while not stopping.wait(0.002):
            for source, sink in (masters, masters[::-1]):
                with contextlib.suppress(OSError):
                    os.write(sink, os.read(source, 13))

    thread = threading.Thread(target=carry)
    thread.start()
    try:
        yield paths[0], paths[1]
    finally:
        stopping.set()
        thread.join()
        for master in masters:
            os.close(master)


def test_two_ports_are_paired_and_talk(world: World) -> None:
    with null_modem(world.folder) as (panel, theirs):
        reader, device = world.reader(OsdpPort(panel, 9600)), world.device(OsdpPort(theirs, 9600))
        reader.pair(world.mono() + 60.0)
        device.pair(world.mono() + 60.0)
        world.run(lambda: world.is_up(reader, device))
        device.admit(CARD, world.mono())
        reader.show("red", "")
        world.run(lambda: world.cards == [CARD] and len(world.orders) == 1)
        for end in list(world.ends):
            world.remove(end)


@pytest.mark.parametrize("baud", BAUDS)
def test_a_port_is_raw_at_its_speed(tmp_path: Path, baud: int) -> None:
    master, slave = pty.openpty()
    port = OsdpPort(Path(os.ttyname(slave)), baud)
    port.tend(0.0)
    flags = termios.tcgetattr(slave)
    assert flags[4] == flags[5] == BAUDS[baud]
    assert flags[2] & termios.CSIZE == termios.CS8 and not flags[2] & (termios.PARENB | termios.CSTOPB)
    assert flags[1] == 0 and not flags[3] & (termios.ECHO | termios.ICANON | termios.ISIG)
    everything = bytes(range(256))
    assert port.write(everything) == 256
    assert os.read(master, 512) == everything
    os.write(master, everything)
    got = b""
    deadline = time.monotonic() + DEADLINE_S
    while len(got) < 256 and time.monotonic() < deadline:
        got += port.read(64)
    assert got == everything and port.read(64) == b"" and port.fault == ""
    port.close()
    os.close(slave)
    os.close(master)


def test_a_port_that_goes_is_reported_and_opened_again_when_it_is_back(tmp_path: Path) -> None:
    path = tmp_path / "ttyUSB0"
    port = OsdpPort(path, 9600)
    port.tend(0.0)
    assert port.fault == f"{path} cannot be opened (No such file or directory); is the adapter plugged in?"
    for start in (1.0, 11.0):
        master, slave = pty.openpty()
        path.symlink_to(os.ttyname(slave))
        os.close(slave)
        port.tend(start)
        assert port.fault == "" and port.write(b"here") == 4 and os.read(master, 64) == b"here"
        os.close(master)
        assert port.read(64) == b""
        assert port.fault == f"{path} is gone; is the adapter plugged in?"
        port.flush()
        assert port.write(b"lost") == 0
        path.unlink()
        port.tend(start + 0.5)
        assert "is gone" in port.fault
        port.tend(start + 1.0)
        assert "cannot be opened" in port.fault
    port.close()


def test_a_reader_says_that_its_port_is_gone(world: World) -> None:
    KeyFile(world.folder / "reader.key").store(PairingKey.random())
    reader = world.reader(OsdpPort(world.folder / "none", 9600))
    world.run_for(0.1)
    assert reader.fault.startswith(f"OSDP reader 5: {world.folder}/none cannot be opened")
    world.skip(20.0)
    world.run_for(0.1)


def test_what_is_no_serial_port_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a port")
    port = OsdpPort(tmp_path / "file", 9600)
    port.tend(0.0)
    assert port.fault == f"{tmp_path}/file is no serial port; name the adapter's"
    with pytest.raises(ConfigError, match="does not run at 1200 bits per second; use 9600, 19200"):
        OsdpPort(tmp_path / "file", 1200)


def test_a_missing_library_is_one_clear_line(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "osdp_sys", None)
    for make in (world.reader, world.device):
        with pytest.raises(HardwareMissing, match=r"libosdp, which is not installed: install the extra") as caught:
            make()
        assert len(str(caught.value).splitlines()) == 1
