"""A USB card reader's events, through a FIFO that stands for its device: numbers, garbage, unplugging."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device.credentials.card import Card
from device.hardware import usb_reader
from device.hardware.usb_reader import GAP_S, MOST_LETTERS, UsbReader, open_grabbed

CODES = {**{digit: code for code, digit in enumerate("1234567890", 2)},
         "a": 30, "b": 48, "c": 46, "d": 32, "e": 18, "f": 33, "g": 34, "\n": 28, "-": 12, "^": 42}
PAD = {"0": 82, "1": 79, "2": 80, "3": 81, "4": 75, "5": 76, "6": 77, "7": 71, "8": 72, "9": 73, "\n": 96}
DOWN, UP, AGAIN = 1, 0, 2


def event(kind: int, code: int, value: int) -> bytes:
    return struct.pack("llHHi", 1_700_000_000, 5, kind, code, value)


def keys(text: str, codes: dict[str, int] = CODES) -> bytes:
    """What a keyboard sends for these keys: scan code, down, report, up, report."""
    report = event(0, 0, 0)
    return b"".join(event(4, 4, codes[key]) + event(1, codes[key], DOWN) + report + event(1, codes[key], UP) + report
                    for key in text)


class Device:
    """The reader, and the hands that plug its device in, out, and type."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "usb-reader-event-kbd"
        self.tries = 0
        self.mono = 1000.0
        self._wire: int | None = None
        self.plug_in()
        self.reader = UsbReader(self.path, self._open)

    def plug_in(self) -> None:
        os.mkfifo(self.path)
        self._wire = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)

    def unplug(self) -> None:
        if self._wire is not None:
            os.close(self._wire)
            self.path.unlink()
        self._wire = None

    def send(self, data: bytes) -> None:
        assert self._wire is not None
        assert os.write(self._wire, data) == len(data)

    def poll(self, after_s: float = 0.02) -> list[str]:
        self.mono += after_s
        return self.reader.poll(self.mono)

    def type(self, text: str, codes: dict[str, int] = CODES) -> list[str]:
        self.send(keys(text, codes))
        return self.poll()

    def close(self) -> None:
        self.reader.close()
        self.unplug()

    def _open(self, path: Path) -> int:
        self.tries += 1
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    made = Device(tmp_path)
    assert made.poll() == []
    yield made
    made.close()


# --- numbers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "number"), [
    ("0008190777\n", "0008190777"), ("04a1b2c3\n", "04a1b2c3"), ("7\n", "7"), ("^a^b\n", "ab"),
    ("1" * MOST_LETTERS + "\n", "1" * MOST_LETTERS),
])
def test_what_is_typed_up_to_enter_is_a_number(device: Device, text: str, number: str) -> None:
    assert device.type(text) == [number]
    assert device.poll() == []
    assert (device.reader.fault, device.reader.dropped) == ("", 0)


def test_the_keys_of_a_number_pad_count_too(device: Device) -> None:
    assert device.type("1234567890\n", PAD) == ["1234567890"]


def test_a_number_is_a_card(device: Device) -> None:
    (number,) = device.type("0008190777\n")
    assert Card.from_reader(number, 24).secret() == b"24:8190777"


def test_several_numbers_at_once_stay_in_order(device: Device) -> None:
    assert device.type("1\n22\n\n333\n") == ["1", "22", "333"]


def test_a_number_may_come_in_pieces_of_any_size(device: Device) -> None:
    chance, data, found = random.Random(5), keys("0008190777\n"), []
    while data:
        size = chance.randint(1, 40)
        device.send(data[:size])
        data = data[size:]
        found += device.poll(0.01)
    assert found == ["0008190777"]


def test_only_going_down_counts(device: Device) -> None:
    for value in (DOWN, AGAIN, AGAIN, UP):
        device.send(event(1, CODES["5"], value))
    device.send(event(2, CODES["6"], DOWN) + event(1, CODES["\n"], UP))
    assert device.poll() == []
    assert device.type("\n") == ["5"]


# --- what is no number -----------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["12g34\n", "-1\n", "g\n", "1" * (MOST_LETTERS + 1) + "\n", "2" * 150 + "\n"])
def test_other_keys_and_too_many_void_the_number_and_not_the_next(device: Device, text: str) -> None:
    assert device.type(text) == []
    assert device.reader.dropped == 1
    assert device.type("42\n") == ["42"]


def test_a_pause_discards_what_was_typed_before_it(device: Device) -> None:
    device.type("999")
    assert device.poll(GAP_S) == []
    assert device.type("42\n") == ["42"]
    assert device.reader.dropped == 1


def test_a_reader_may_take_its_time_between_keys(device: Device) -> None:
    for key in "0008190777":
        assert device.type(key) == []
        device.mono += GAP_S - 0.03
    assert device.type("\n") == ["0008190777"]


def test_a_number_of_which_the_kernel_lost_keys_is_none(device: Device) -> None:
    device.send(keys("00081") + event(0, 3, 0) + keys("777\n"))
    assert device.poll() == []
    assert device.reader.dropped == 1
    assert device.type("42\n") == ["42"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=120) | st.text("0123456789abcdefg-\n", max_size=30).map(keys), max_size=12))
def test_whatever_comes_nothing_raises_and_numbers_are_numbers(device: Device, pieces: list[bytes]) -> None:
    for piece in pieces:
        device.send(piece)
        for number in device.poll():
            assert 0 < len(number) <= MOST_LETTERS and set(number) <= set("0123456789abcdef")
    device.poll(GAP_S + 0.1)
    device.send(b"\0" * 3)  # half an event is forgotten in a pause
    device.poll()
    device.mono += GAP_S + 0.1
    assert device.type("42\n") == ["42"]


def test_a_device_that_never_stops_does_not_hold_up_the_thread(device: Device) -> None:
    fd = os.open("/dev/zero", os.O_RDONLY)
    endless = UsbReader(Path("/dev/zero"), lambda _: fd)
    assert endless.poll(1.0) == []
    endless.close()


# --- the device ------------------------------------------------------------------------------------------


def test_an_unplugged_reader_is_reported_and_found_again(device: Device) -> None:
    device.type("123")
    device.unplug()
    tries = device.tries
    for _ in range(200):
        assert device.poll(0.02) == []
        assert device.reader.fault == f"USB reader {device.path} is not there; is it plugged in?"
    assert 3 <= device.tries - tries <= 4
    device.plug_in()
    device.poll(1.0)
    assert device.reader.fault == ""
    assert device.type("42\n") == ["42"]
    assert device.reader.dropped == 1


def test_a_device_whose_read_fails_is_gone(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> bytes:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    with monkeypatch.context() as patch:
        patch.setattr(usb_reader.os, "read", gone)
        assert device.poll() == []
    assert "is not there" in device.reader.fault
    device.poll(1.0)
    assert device.reader.fault == ""


@pytest.mark.parametrize(("number", "remedy"), [
    (errno.EACCES, "give this account the group input"), (errno.EBUSY, "another program has grabbed it"),
    (errno.ENOTTY, "name an input device"), (errno.EIO, "plug it in anew")])
def test_why_a_device_cannot_be_had_is_said_with_the_remedy(number: int, remedy: str) -> None:
    def refuse(_: Path) -> int:
        raise OSError(number, os.strerror(number))

    reader = UsbReader(Path("/dev/input/by-id/usb-reader"), refuse)
    assert reader.poll(1.0) == []
    assert reader.fault == f"USB reader {reader._path} cannot be opened ({os.strerror(number)}); {remedy}"
    assert len(reader.fault.splitlines()) == 1


def test_the_device_is_opened_read_only_and_grabbed(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(fcntl, "ioctl", lambda *given: asked.append(given))
    fd = open_grabbed(device.path)
    try:
        assert asked == [(fd, 1 << 30 | 4 << 16 | ord("E") << 8 | 0x90, 1)]  # _IOW('E', 0x90, int)
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        assert flags & os.O_ACCMODE == os.O_RDONLY and flags & os.O_NONBLOCK
    finally:
        os.close(fd)


def test_what_cannot_be_grabbed_is_not_read(device: Device) -> None:
    before = len(os.listdir("/proc/self/fd"))
    reader = UsbReader(device.path)
    assert reader.poll(1.0) == []
    assert reader.fault.endswith("; name an input device")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_closed_reader_holds_nothing(device: Device) -> None:
    device.type("12")
    before = len(os.listdir("/proc/self/fd"))
    device.reader.close()
    device.reader.close()
    assert len(os.listdir("/proc/self/fd")) == before - 1
