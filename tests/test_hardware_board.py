"""Inputs, lamps and buzzer on mock pins, and the refusal to guess a pin factory."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

from device.clock import HandClock
from device.config import PinsConfig
from device.door.reasons import REASONS
from device.door.types import ContactClosed, ContactOpened, Rex
from device.door.wires import Wires
from device.errors import ConfigError, HardwareMissing
from device.hardware import inputs as inputs_module
from device.hardware.board import Board, check_pins
from device.hardware.inputs import Edge
from device.hardware.pins import open_factory
from device.hardware.signals import LIGHTS, SOUNDS, Pattern

MOCK = {"GPIOZERO_PIN_FACTORY": "mock"}
PINS = PinsConfig(lock=17, contact=22, rex=27, tamper=23, fire=24, lamp_green=5, lamp_red=6, buzzer=13)


@pytest.fixture
def clock() -> HandClock:
    return HandClock(mono=100.0)


@pytest.fixture
def board(clock: HandClock) -> Iterator[Board]:
    made = Board.open(PINS, clock, environ=MOCK)
    for pin in (PINS.contact, PINS.tamper, PINS.fire):
        made.factory.pin(pin).drive_low()  # door closed, cover on, no fire
    made.inputs.drain()
    yield made
    made.close()


def lit(board: Board) -> set[str]:
    pins = {"green": PINS.lamp_green, "red": PINS.lamp_red, "buzzer": PINS.buzzer}
    return {name for name, pin in pins.items() if board.factory.pin(pin).state}


# --- the factory -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("environ", "says"), [
    ({}, "GPIOZERO_PIN_FACTORY is not set"),
    ({"GPIOZERO_PIN_FACTORY": " "}, "GPIOZERO_PIN_FACTORY is not set"),
    ({"GPIOZERO_PIN_FACTORY": "Mock"}, "Mock is not a pin factory"),
    ({"GPIOZERO_PIN_FACTORY": "pigpio"}, "pigpio cannot be opened"),
])
def test_only_the_named_factory_is_tried(environ: dict[str, str], says: str) -> None:
    with pytest.raises(HardwareMissing, match=says) as caught:
        open_factory(environ)
    assert len(str(caught.value).splitlines()) == 1
    assert caught.value.exit_code == 2


def test_lgpio_outputs_are_claimed_at_their_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a recording of lgpio's calls: this machine has no pins that lgpio could open."""
    calls: list[tuple[str, tuple[Any, ...]]] = []
    recorder = types.ModuleType("lgpio")

    def record(name: str) -> Any:
        def call(*given: Any) -> int:
            calls.append((name, given))
            return 0

        return call

    for name in ("gpiochip_open", "gpiochip_close", "gpio_claim_input", "gpio_claim_output", "gpio_write"):
        setattr(recorder, name, record(name))
    for name in ("SET_PULL_NONE", "SET_PULL_UP", "SET_PULL_DOWN", "BOTH_EDGES", "RISING_EDGE", "FALLING_EDGE"):
        setattr(recorder, name, 0)
    monkeypatch.setitem(sys.modules, "lgpio", recorder)
    monkeypatch.delitem(sys.modules, "gpiozero.pins.lgpio", raising=False)
    monkeypatch.setattr("gpiozero.pins.local.get_pi_revision", lambda: 0xC03111)
    from device.hardware.pins import open_output

    factory = open_factory({"GPIOZERO_PIN_FACTORY": "lgpio"})
    output = open_output(factory, 17, active_low=True)
    assert [call for call in calls if call[0] in ("gpio_claim_output", "gpio_write")] == [
        ("gpio_claim_output", (0, 17, 1))]
    output.close()
    factory.close()
    sys.modules.pop("gpiozero.pins.lgpio", None)


def test_two_things_on_one_pin_are_named() -> None:
    with pytest.raises(ConfigError, match=r"pins\.rex and pins\.lock are both 17"):
        check_pins(PinsConfig(lock=17, rex=17))


def test_a_pin_that_does_not_exist_is_named_and_lets_go_of_the_rest(clock: HandClock) -> None:
    with pytest.raises(HardwareMissing, match="input pin 60 cannot be had"):
        Board.open(PinsConfig(contact=22, rex=60), clock, environ=MOCK)
    Board.open(PinsConfig(contact=22), clock, environ=MOCK).close()


# --- inputs ----------------------------------------------------------------------------------------------


def test_only_what_is_wired_is_read(clock: HandClock) -> None:
    board = Board.open(PinsConfig(contact=22), clock, environ=MOCK)
    assert board.inputs.levels() == {"contact": True}
    board.close()


def test_a_cut_wire_reads_as_open_tampered_and_fire_but_never_as_a_press(clock: HandClock) -> None:
    board = Board.open(PINS, clock, environ=MOCK)
    assert board.inputs.levels() == {"contact": True, "rex": False, "tamper": True, "fire": True}
    board.close()


def test_a_fire_panel_that_closes_its_contact_is_read_the_other_way_round(clock: HandClock) -> None:
    board = Board.open(PinsConfig(fire=24, fire_closes=True), clock, environ=MOCK)
    assert board.inputs.levels() == {"fire": False}
    board.factory.pin(24).drive_low()
    assert board.inputs.drain() == [Edge("fire", 100.0, True)]
    board.close()


def test_edges_come_in_order_with_their_time(board: Board, clock: HandClock) -> None:
    board.factory.pin(PINS.rex).drive_low()
    clock.advance(0.3)
    board.factory.pin(PINS.contact).drive_high()
    board.factory.pin(PINS.rex).drive_high()
    assert board.inputs.drain() == [Edge("rex", 100.0, True), Edge("contact", 100.3, True), Edge("rex", 100.3, False)]
    assert board.inputs.drain() == []


def test_every_edge_wakes_the_door_thread(clock: HandClock) -> None:
    woken: list[int] = []
    board = Board.open(PINS, clock, wake=lambda: woken.append(1), environ=MOCK)
    board.factory.pin(PINS.rex).drive_low()
    assert woken == [1]
    board.close()


def test_a_flood_of_edges_is_counted_and_the_last_position_is_still_told(
        board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(inputs_module._MOST_EDGES):
        board.factory.pin(PINS.contact).drive_high()
        board.factory.pin(PINS.contact).drive_low()
    board.factory.pin(PINS.rex).drive_low()
    edges = board.inputs.drain()
    assert board.inputs.dropped == inputs_module._MOST_EDGES + 1
    assert {edge.name: edge.is_active for edge in edges[-4:]} == board.inputs.levels()
    assert board.inputs.levels()["rex"]
    assert board.inputs.drain() == []


def test_a_press_on_the_pin_becomes_an_exit_ten_milliseconds_later(board: Board, clock: HandClock) -> None:
    wires = Wires(board.inputs.levels(), clock.mono())
    board.factory.pin(PINS.rex).drive_low()
    assert wires.feed(board.inputs.drain(), clock.mono()) == []
    clock.advance(0.011)
    assert wires.feed(board.inputs.drain(), clock.mono()) == [Rex(100.0)]


def test_a_bouncing_contact_opens_and_closes_once(board: Board, clock: HandClock) -> None:
    wires, seen = Wires(board.inputs.levels(), clock.mono()), []
    contact = board.factory.pin(PINS.contact)
    for step in range(400):  # 2 ms each: bounces while opening and while closing, still between
        is_bouncing = step % 200 < 20
        is_open = (step < 200) != (is_bouncing and step % 2 == 1)
        (contact.drive_high if is_open else contact.drive_low)()
        seen += wires.feed(board.inputs.drain(), clock.mono())
        clock.advance(0.002)
    assert [type(event) for event in seen] == [ContactOpened, ContactClosed]


# --- signals ---------------------------------------------------------------------------------------------


def test_nothing_is_lit_at_the_start_or_after_closing(clock: HandClock) -> None:
    board = Board.open(PINS, clock, environ=MOCK)
    pins = [board.factory.pin(pin) for pin in (PINS.lamp_green, PINS.lamp_red, PINS.buzzer)]
    board.signals.show("green_steady", "alarm", 100.0)
    assert lit(board) == {"green", "buzzer"}
    board.signals.close()
    assert [pin.state for pin in pins] == [0, 0, 0]
    assert [pin.states[0].state for pin in pins] == [0, 0, 0]
    board.close()


def test_a_passing_light_goes_out_by_itself(board: Board) -> None:
    board.signals.show("green", "granted", 100.0)
    assert lit(board) == {"green", "buzzer"}
    board.signals.tick(100.2)
    assert lit(board) == {"green"}
    board.signals.tick(103.0)
    assert lit(board) == set()


def test_a_standing_alarm_goes_on_under_a_passing_light_until_it_is_ended(board: Board) -> None:
    board.signals.show("alarm", "alarm", 100.0)
    board.signals.show("green", "granted", 101.0)
    assert lit(board) == {"green", "buzzer"}
    board.signals.tick(104.05)
    assert lit(board) == {"red", "buzzer"}
    board.signals.show("off", "", 104.1)
    for later in range(100):
        board.signals.tick(104.1 + later / 10)
        assert lit(board) == set()


def test_the_pins_follow_a_blinking_pattern(board: Board) -> None:
    board.signals.show("green_blink", "", 100.0)
    seen = []
    for tenth in range(20):
        board.signals.tick(100.0 + tenth / 10 + 0.01)
        seen.append("green" in lit(board))
    assert seen == [True] * 5 + [False] * 5 + [True] * 5 + [False] * 5


def test_every_reason_can_be_shown(board: Board) -> None:
    for number, row in enumerate(REASONS.values()):
        board.signals.show(row.light, row.sound, 100.0 + number)


def test_an_unknown_pattern_is_an_error(board: Board) -> None:
    with pytest.raises(KeyError):
        board.signals.show("purple", "", 1.0)


@pytest.mark.parametrize("pattern", [*LIGHTS.values(), *SOUNDS.values()])
def test_passing_patterns_end_and_standing_ones_do_not(pattern: Pattern) -> None:
    assert all(seconds > 0 for _, seconds in pattern.steps)
    assert (pattern.at(1e6) is not None) == pattern.is_standing


def test_with_mock_pins_every_signal_is_a_line(clock: HandClock) -> None:
    lines: list[str] = []
    board = Board.open(PINS, clock, echo=lines.append, environ=MOCK)
    board.signals.show("red", "refused", 1.0)
    board.signals.show("", "", 2.0)
    board.signals.show("off", "", 3.0)
    assert lines == ["lamp red buzzer refused", "lamp off"]
    board.close()
