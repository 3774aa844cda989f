"""An installer before the wires: what is said of each, on mock pins with a clock moved by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from device.cli import main
from device.clock import HandClock
from device.config import parse_config
from device.findings import Finding, Verdict
from device.hardware.board import Board
from device.hardware.link import HandRelay
from device.hardware.pins import VARIABLE, open_factory
from device.wiretest import WAIT_S, WireTest

PINS = {"contact": 22, "rex": 27, "lamp_green": 5, "buzzer": 6, "relay2": 23, "bell": 24}
WIRES = ("contact", "rex", "bell")


class Installer:
    """Says yes, or no, and does at each pause what the script has for the wire that is asked for."""

    def __init__(self, is_there: bool = True, agrees: bool = True) -> None:
        self.is_there, self.answer = is_there, agrees
        self.told: list[str] = []

    def tell(self, text: str) -> None:
        self.told.append(text)

    def agrees(self, question: str) -> bool:
        self.told.append(question)
        return self.answer


class Place:
    """A door being tried; `hands` is called at each pause with the name of the wire that was asked for last."""

    def __init__(self, installer: Installer, hands: Callable[[str, Board, float], None] = lambda *_: None) -> None:
        self.clock, self.installer, self.hands = HandClock(), installer, hands
        config = parse_config({"door": {"lock": "strike"}, "pins": PINS})
        self.board = Board.open(config.pins, self.clock, environ={VARIABLE: "mock"})
        for name in ("contact",):
            self.board.factory.pin(PINS[name]).drive_low()
        self.board.inputs.drain()
        self.relay = HandRelay(open_factory({VARIABLE: "mock"}), 17, False, self.clock)
        self.test = WireTest(config, self.board, self.relay, self.clock, installer, self.pause)
        self.asked_mono = self.clock.mono()
        self.asked = ""

    def pause(self, seconds: float) -> None:
        asked = next((name for name in WIRES if self.installer.told and self.installer.told[-1].startswith(name)), "")
        if asked != self.asked:
            self.asked, self.asked_mono = asked, self.clock.mono()
        self.clock.advance(seconds)
        if asked:
            self.hands(asked, self.board, self.clock.mono() - self.asked_mono)

    def findings(self) -> dict[str, Finding]:
        found = {one.name: one for one in self.test.run()}
        self.board.close()
        self.relay.close()
        return found


def operates(name: str, board: Board, since_s: float) -> None:
    """Moves the wire after two seconds, for a second."""
    pin = board.factory.pin(PINS[name])
    is_closed_at_rest = name == "contact"
    moved = 2.0 <= since_s < 3.0
    (pin.drive_high if moved is is_closed_at_rest else pin.drive_low)()


def test_a_door_whose_wires_all_move_is_well() -> None:
    found = Place(Installer(), operates).findings()
    assert {name: one.verdict for name, one in found.items()} == dict.fromkeys(
        ("contact", "rex", "bell", "lamp_green", "buzzer", "relay2", "lock"), Verdict.OK)


def test_a_wire_that_does_not_move_fails_and_its_pin_is_named() -> None:
    place = Place(Installer(), lambda name, board, since: operates(name, board, since) if name != "rex" else None)
    begun = place.clock.mono()
    found = place.findings()
    assert found["rex"].verdict is Verdict.FAIL
    assert "pin 27" in found["rex"].said
    assert found["contact"].verdict is found["bell"].verdict is Verdict.OK
    assert WAIT_S < place.clock.mono() - begun < 3 * WAIT_S


def test_nobody_there_is_asked_nothing_and_nothing_is_released() -> None:
    place = Place(Installer(is_there=False, agrees=False))
    found = place.findings()
    assert found["lock"].verdict is found["relay2"].verdict is Verdict.SKIPPED
    assert found["contact"].said == "reads closed"
    assert not [ack for ack in place.relay.history if ack.is_on]


def test_an_input_that_is_active_though_nobody_touches_it_is_warned_of() -> None:
    place = Place(Installer(is_there=False, agrees=False))
    place.board.factory.pin(PINS["rex"]).drive_low()
    assert place.findings()["rex"].verdict is Verdict.WARN


def test_what_was_not_seen_to_move_fails() -> None:
    found = Place(Installer(agrees=False), operates).findings()
    assert found["lamp_green"].verdict is Verdict.FAIL


def test_the_lock_is_released_for_a_second_and_no_longer() -> None:
    place = Place(Installer(), operates)
    place.findings()
    on = [ack for ack in place.relay.history if ack.is_on]
    assert on
    assert all(ack.until - ack.mono <= 1.0 for ack in on)


def test_doorctl_selftest_tells_what_it_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: object,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DOOR_STATE", str(tmp_path / "state"))
    monkeypatch.setenv(VARIABLE, "mock")
    monkeypatch.delenv("DOOR_LINK", raising=False)
    (tmp_path / "state").mkdir()
    config = tmp_path / "terminal.toml"
    config.write_text('[door]\nlock = "strike"\n[pins]\nrex = 27\n[camera]\nsource = "usb:97"\n')
    assert main(["selftest", "--config", str(config), "--json", "--yes"]) == 1
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert found["camera"]["verdict"] == "fail"
    assert found["lock"]["verdict"] == "ok"
    assert found["gallery"]["verdict"] == "warn"
    assert found["model pack"]["verdict"] == "ok"
