"""OSDP: the sieve before the protocol library, and the port behind it."""

from __future__ import annotations

import contextlib
import os
import pty
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import osdp
import pytest
from osdp_world import (
    CARD,
    DEADLINE_S,
    RAW_CARD,
    World,
    frame,
    quiet_library,
    world,
)

from device.errors import ConfigError, HardwareMissing
from device.hardware.osdp_key import KeyFile, PairingKey
from device.hardware.osdp_port import BAUDS, OsdpPort, Sieve

__all__ = ["quiet_library", "world"]  # fixtures


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
