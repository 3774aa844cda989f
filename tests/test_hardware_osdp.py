"""OSDP: cards, keys and lamps over a wire with a man in the middle, over pseudo-terminals, against libosdp itself."""

from __future__ import annotations

import logging
import random
import sys
from typing import Any

import osdp_sys
import pytest
from osdp_world import (
    CARD,
    World,
    foreign_device,
    foreign_panel,
    frame,
    key_of,
    quiet_library,
    reply_code,
    world,
)

from device.door.reasons import REASONS
from device.hardware import osdp_device as device_module
from device.hardware.osdp_device import BuzzerOrder, LampOrder, OutputOrder
from device.hardware.osdp_key import KeyFile, PairingKey
from device.hardware.signals import LIGHTS, SOUNDS

__all__ = ["quiet_library", "world"]  # fixtures


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
