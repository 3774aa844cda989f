"""What wired readers take in, on its way to the credential desk, and what goes out to a controller."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gpiozero.pins.mock import MockFactory

from device.clock import HandClock
from device.config import ControllerConfig, PinsConfig, ReaderConfig, parse_config
from device.controller import Controller
from device.credentials.card import Card, encode
from device.door.decision import Decision, Now
from device.door.types import CredentialShown
from device.errors import ConfigError
from device.hardware.board import check_pins
from device.hardware.wiegand import STUCK_S
from device.readers import Hands, Readers
from device.store.records import Direction, Method, NewEntry

ANNA = "a" * 32
CARD = Card(24, 8126329)


class Post:
    """What the readers gave out."""

    def __init__(self) -> None:
        self.shown: list[CredentialShown] = []
        self.faults: list[tuple[str, bool]] = []
        self.notes: list[NewEntry] = []

    def hands(self) -> Hands:
        return Hands(lambda one: not self.shown.append(one), self.degrade, self.notes.append)  # type: ignore[func-returns-value]

    def degrade(self, reason: str, is_active: bool, detail: str) -> None:
        assert bool(detail) is is_active
        self.faults.append((reason, is_active))


class Wires:
    """Readers on mock pins, with a clock moved by hand."""

    def __init__(self, config: ReaderConfig, folder: Path) -> None:
        self.clock, self.post, self.factory = HandClock(), Post(), MockFactory()
        self.readers = Readers(config, self.clock, self.post.hands(), folder)
        self.readers.open(self.factory)

    def send(self, bits: tuple[int, ...], d0: int, d1: int) -> None:
        for bit in bits:
            pin = self.factory.pin(d1 if bit else d0)
            pin.drive_low()
            self.clock.advance(0.0001)
            pin.drive_high()
            self.clock.advance(0.0019)

    def turn(self, seconds: float = 0.1) -> None:
        self.clock.advance(seconds)
        self.readers.poll(self.clock.mono())


@pytest.fixture
def wires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    clock = HandClock()
    monkeypatch.setattr("gpiozero.pins.mock.monotonic", lambda: made.clock.mono() if made else clock.mono())
    made: Wires | None = None
    made = Wires(ReaderConfig(wiegand_d0=14, wiegand_d1=15, wiegand_side="exit"), tmp_path)
    yield made
    made.readers.close()
    made.factory.close()


def test_a_card_becomes_a_credential_of_its_reader_and_direction(wires: Wires) -> None:
    wires.send(encode(CARD, 26), 14, 15)
    wires.turn()
    [shown] = wires.post.shown
    assert (shown.method, shown.secret, shown.reader, shown.direction) == (
        Method.CARD, CARD.secret(), "wiegand", Direction.EXIT)


def test_a_card_with_wrong_parity_is_no_credential(wires: Wires) -> None:
    bits = list(encode(CARD, 26))
    bits[5] ^= 1
    wires.send(tuple(bits), 14, 15)
    wires.turn()
    assert wires.post.shown == []


def test_keys_of_a_reader_with_a_keypad_are_collected_until_the_hash(wires: Wires) -> None:
    for key in (1, 0, 0, 1, 10, 4, 7, 1, 1, 11):
        wires.send(tuple(key >> place & 1 for place in (3, 2, 1, 0)), 14, 15)
        wires.turn()
    [shown] = wires.post.shown
    assert (shown.method, shown.secret) == (Method.PIN, b"1001*4711")


def test_a_line_that_is_stuck_is_told_once_and_its_return_once(wires: Wires) -> None:
    wires.factory.pin(14).drive_low()
    for _ in range(4):
        wires.turn(STUCK_S)
    wires.factory.pin(14).drive_high()
    for _ in range(3):
        wires.turn(1.0)
    assert wires.post.faults == [("reader_lost", True), ("reader_lost", False)]


def test_a_usb_reader_that_is_not_there_is_a_fault_and_no_reason_not_to_start(tmp_path: Path) -> None:
    made = Wires(ReaderConfig(usb=str(tmp_path / "none")), tmp_path)
    made.turn()
    assert made.post.faults == [("reader_lost", True)]
    made.readers.close()


def test_without_readers_there_is_no_thread_for_them(tmp_path: Path) -> None:
    assert Wires(ReaderConfig(), tmp_path).readers.bodies() == {}
    both = Wires(ReaderConfig(qr=True, wiegand_d0=4, wiegand_d1=5), tmp_path)
    assert set(both.readers.bodies()) == {"readers", "qr"}


# --- to a controller -------------------------------------------------------------------------------------


def granted(person_id: str | None = ANNA) -> Decision:
    return Decision(True, "face_granted", person_id, 5.0)


@pytest.fixture
def controller(tmp_path: Path) -> Any:
    clock, factory = HandClock(), MockFactory()
    config = ControllerConfig(wiegand_d0=20, wiegand_d1=21, pulse_us=500, period_us=2000)
    made = Controller(config, clock, lambda person_id: [CARD.secret()] if person_id == ANNA else [],
                      lambda light, sound: None, lambda *_: None, lambda _: None, tmp_path)
    made.open(factory)
    made.sent = []
    made._outs[0].admit = lambda bits, mono: made.sent.append(bits)
    yield made
    made.close()
    factory.close()


def test_an_admitted_persons_card_goes_out_with_parity(controller: Any) -> None:
    now = Now(HandClock().now(), 5.0)
    controller.decided(granted(), now)
    controller.decided(granted("b" * 32), now)  # has no card
    controller.decided(replace(granted(), granted=False), now)
    assert controller.sent == [encode(CARD, 26)]


# --- configuration ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("table", "word"), [
    ({"reader": {"wiegand_d0": 4}}, "belong together"),
    ({"reader": {"keypad_rows": [1, 2, 3], "keypad_columns": [4, 5, 6]}}, "4 pins"),
    ({"controller": {"pulse_us": 200, "period_us": 300}}, "twice"),
    ({"reader": {"osdp": "/dev/ttyS0"}, "controller": {"osdp": "/dev/ttyS0"}}, "one serial port"),
    ({"reader": {"keypad_rows": [1, 2, 3, 4.5]}}, "whole number"),
    ({"reader": {"keypad_rows": 4}}, "list of whole numbers"),
])
def test_readers_that_cannot_be_meant_so_are_refused(table: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        parse_config({"door": {"lock": "strike"}, **table})


def test_no_reader_takes_the_pin_of_something_else() -> None:
    from device.config import other_pins

    config = parse_config({"door": {"lock": "strike"}, "pins": {"rex": 15}, "reader": {
        "wiegand_d0": 14, "wiegand_d1": 15}})
    with pytest.raises(ConfigError, match=r"reader\.wiegand_d1 and pins\.rex are both 15"):
        check_pins(config.pins, other_pins(config))
    check_pins(PinsConfig(), {})
