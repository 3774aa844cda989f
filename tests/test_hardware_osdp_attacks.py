"""OSDP: what somebody at the wires may try."""

from __future__ import annotations

import ctypes
import itertools
import threading

import osdp_sys
import pytest
from osdp_world import (
    BUZZ,
    CARD,
    RAW_CARD,
    World,
    foreign_device,
    foreign_panel,
    frame,
    quiet_library,
    recut,
    reply_code,
    secured,
    seed_c_library,
    world,
)

from device.hardware.osdp_key import KeyFile, PairingKey
from device.hardware.osdp_port import Sieve, stir

__all__ = ["quiet_library", "world"]  # fixtures


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
