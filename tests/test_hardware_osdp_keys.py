"""OSDP: pairing, and the keys that come of it."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from pathlib import Path

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
    secured,
    world,
)

from device.errors import HardwareMissing
from device.hardware.osdp_key import DEFAULT_KEY, KeyFile, PairingKey

__all__ = ["quiet_library", "world"]  # fixtures


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
