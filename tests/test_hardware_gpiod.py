"""The pins of boards on libgpiod, as gpiozero wants them: the same behaviours on its mock pins, on a fake chip and on
the kernel's simulated one where there is one; then the terminal's devices on them."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from gpiod_bench import Bench, FakeBench, Heard, MockBench, SimBench, eventually
from gpiozero import LED, Button, Buzzer, DigitalInputDevice
from gpiozero.exc import (
    GPIOPinInUse,
    PinFixedPull,
    PinInvalidFunction,
    PinInvalidPin,
    PinInvalidPull,
    PinPWMUnsupported,
    PinSetInput,
)

from device.clock import HandClock, SystemClock
from device.config import PinsConfig
from device.hardware.board import Board
from device.hardware.coil import Coil
from device.hardware.fake_chip import FakeChip
from device.hardware.fake_gpiod import FakeGpiod
from device.hardware.gpiod_factory import GpiodFactory
from device.hardware.orders import ORDER_SIZE, Order, pack_order, read_ack
from device.hardware.pins import open_factory, open_output
from device.hardware.relay import serve

NAMED = {"GPIOZERO_PIN_FACTORY": "gpiod"}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("DOOR_GPIO_CHIP", "DOOR_GPIO_BIAS"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(params=[MockBench, FakeBench, SimBench], ids=["mock", "fake", "sim"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    made: Bench = request.param()
    yield made
    made.close()


def test_a_fresh_pin_is_an_input_at_its_level(bench: Bench) -> None:
    pin = bench.factory.pin(4)
    assert (pin.function, pin.state, pin.pull, pin.edges) == ("input", 0, "floating", "both")
    assert (pin.bounce, pin.frequency, pin.when_changed) == (None, None, None)
    bench.drive(4, 1)
    assert pin.state == 1


def test_a_pin_is_one_object_whatever_it_is_called_by(bench: Bench) -> None:
    pin = bench.factory.pin(4)
    assert bench.factory.pin("4") is pin
    assert bench.factory.pin(pin.info.name) is pin
    assert bench.factory.pin(5) is not pin


@pytest.mark.parametrize("name", [-1, 64, "PX.99", "", "4.0"])
def test_a_pin_that_does_not_exist_is_refused(bench: Bench, name: int | str) -> None:
    with pytest.raises(PinInvalidPin, match="line|pin name"):
        bench.factory.pin(name)
    with pytest.raises(PinInvalidPin, match="line|pin name"):
        LED(name, pin_factory=bench.factory)


def test_an_output_takes_the_levels_that_it_is_given(bench: Bench) -> None:
    pin = bench.factory.pin(4)
    pin.function = "output"
    assert pin.function == "output"
    for level in (1, 0, True, False):
        pin.state = level
        assert pin.state == level
    pin.output_with_state(1)
    assert (pin.function, pin.state) == ("output", 1)


def test_the_state_of_an_input_cannot_be_set(bench: Bench) -> None:
    pin = bench.factory.pin(4)
    with pytest.raises(PinSetInput):
        pin.state = 1
    pin.function = "input"
    with pytest.raises(PinSetInput):
        pin.state = 1


def test_an_unknown_function_is_refused(bench: Bench) -> None:
    pin = bench.factory.pin(4)
    with pytest.raises(PinInvalidFunction):
        pin.function = "pwm"
    assert pin.function == "input"


def test_a_pull_holds_an_input_that_nothing_else_holds(bench: Bench) -> None:
    pin = bench.factory.pin(4)
    pin.function = "input"
    for pull, level in (("up", 1), ("down", 0), ("up", 1)):
        pin.pull = pull
        assert (pin.pull, pin.state) == (pull, level)
    pin.input_with_pull("down")
    assert (pin.function, pin.pull, pin.state) == ("input", "down", 0)
    pin.pull = "floating"
    assert pin.pull == "floating"


def test_an_unknown_pull_and_a_pull_on_an_output_are_refused(bench: Bench) -> None:
    pin = bench.factory.pin(4)
    pin.function = "input"
    with pytest.raises(PinInvalidPull):
        pin.pull = "sideways"
    pin.function = "output"
    with pytest.raises(PinFixedPull):
        pin.pull = "up"


def test_there_is_no_pwm_and_no_bounce_by_default(bench: Bench) -> None:
    pin = bench.factory.pin(4)
    pin.function = "output"
    with pytest.raises(PinPWMUnsupported):
        pin.frequency = 100
    pin.frequency = None
    pin.bounce = None
    assert (pin.frequency, pin.bounce) == (None, None)


@pytest.mark.parametrize(("edges", "told"), [("both", [1, 0, 1, 0]), ("rising", [1, 1]), ("falling", [0, 0])])
def test_the_edges_that_are_wanted_are_told_in_order(bench: Bench, edges: str, told: list[int]) -> None:
    pin, heard = bench.factory.pin(4), Heard()
    pin.input_with_pull("floating")
    pin.edges = edges
    before = bench.factory.ticks()
    pin.when_changed = heard.changed
    for level in (1, 0, 1, 0):
        bench.drive(4, level)
    assert eventually(lambda: heard.levels == told)
    assert heard.ticks == sorted(heard.ticks)
    assert bench.factory.ticks_diff(heard.ticks[0], before) >= 0
    assert bench.factory.ticks_diff(bench.factory.ticks(), heard.ticks[-1]) >= 0


def test_edges_that_nobody_wants_are_not_told(bench: Bench) -> None:
    pin, heard = bench.factory.pin(4), Heard()
    pin.input_with_pull("floating")
    pin.edges = "none"
    pin.when_changed = heard.changed
    bench.drive(4, 1)
    pin.edges = "both"
    bench.drive(4, 0)
    assert eventually(lambda: heard.levels == [0])
    pin.when_changed = None
    assert pin.when_changed is None
    bench.drive(4, 1)
    pin.when_changed = heard.changed
    bench.drive(4, 0)
    assert eventually(lambda: heard.levels == [0, 0])


def test_a_pin_that_was_an_output_meanwhile_tells_its_edges_again(bench: Bench) -> None:
    pin, heard = bench.factory.pin(4), Heard()
    pin.input_with_pull("floating")
    pin.when_changed = heard.changed
    pin.function = "output"
    pin.state = 1
    pin.state = 0
    pin.function = "input"
    bench.drive(4, 1)
    assert eventually(lambda: heard.levels == [1])


def test_a_listener_that_is_gone_is_not_called_and_breaks_nothing(bench: Bench) -> None:
    gone, there = bench.factory.pin(4), bench.factory.pin(5)
    heard, dying = Heard(), Heard()
    for pin, listener in ((gone, dying), (there, heard)):
        pin.input_with_pull("floating")
        pin.when_changed = listener.changed
    levels = dying.levels
    del dying, listener
    assert gone.when_changed is None
    bench.drive(4, 1)
    bench.drive(5, 1)
    assert eventually(lambda: heard.levels == [1])
    assert levels == []


def test_one_pin_is_one_devices_until_that_is_closed(bench: Bench) -> None:
    lamp = LED(4, pin_factory=bench.factory)
    with pytest.raises(GPIOPinInUse, match="in use"):
        Buzzer("4", pin_factory=bench.factory)
    lamp.close()
    lamp.close()
    with Buzzer(4, pin_factory=bench.factory) as buzzer:
        buzzer.on()
        assert bench.factory.pin(4).state == 1


def test_gpiozeros_outputs_work(bench: Bench) -> None:
    with LED(4, pin_factory=bench.factory) as lamp, Buzzer(5, active_high=False, pin_factory=bench.factory) as buzzer:
        pins = bench.factory.pin(4), bench.factory.pin(5)
        assert [pin.state for pin in pins] == [0, 1]
        lamp.on()
        buzzer.on()
        assert ([pin.state for pin in pins], lamp.is_lit, buzzer.is_active) == ([1, 0], True, True)
        lamp.toggle()
        buzzer.off()
        assert [pin.state for pin in pins] == [0, 1]
        lamp.blink(on_time=0.001, off_time=0.001, n=3, background=False)
        assert not lamp.is_lit


def test_gpiozeros_inputs_work(bench: Bench) -> None:
    heard: list[str] = []
    with (Button(4, pin_factory=bench.factory) as button,
          DigitalInputDevice(5, pull_up=None, active_state=True, pin_factory=bench.factory) as contact):
        assert (button.pull_up, button.is_pressed, contact.pull_up, contact.is_active) == (True, False, None, False)
        button.when_pressed = lambda: heard.append("pressed")
        button.when_released = lambda: heard.append("released")
        contact.when_activated = lambda: heard.append("open")
        for pin, level in ((4, 0), (4, 1), (5, 1)):
            bench.drive(pin, level)
        assert eventually(lambda: sorted(heard) == ["open", "pressed", "released"])
        assert heard.index("pressed") < heard.index("released")
        assert button.wait_for_release(30)
        assert contact.wait_for_active(30)
    bench.drive(4, 0)
    assert len(heard) == 3


def test_a_factory_may_be_closed_twice_and_under_its_devices(bench: Bench) -> None:
    lamp = LED(4, pin_factory=bench.factory)
    button = Button(5, pin_factory=bench.factory)
    lamp.on()
    bench.factory.close()
    bench.factory.close()
    lamp.close()
    button.close()


# --- our own devices on it -------------------------------------------------------------------------------


@pytest.fixture
def chip() -> FakeChip:
    return FakeChip()


@pytest.fixture
def factory(chip: FakeChip) -> Iterator[GpiodFactory]:
    made = GpiodFactory(gpiod=FakeGpiod(chip))
    yield made
    made.close()


@pytest.fixture
def installed(chip: FakeChip, monkeypatch: pytest.MonkeyPatch) -> FakeChip:
    """The chip, where the module gpiod is imported."""
    monkeypatch.setitem(sys.modules, "gpiod", FakeGpiod(chip))
    return chip


def test_the_variable_chooses_the_factory(installed: FakeChip) -> None:
    made = open_factory(NAMED)
    assert isinstance(made, GpiodFactory)
    assert made.board_info.model == "fake"
    made.close()


def test_the_board_hears_its_inputs_and_lights_its_lamps(installed: FakeChip) -> None:
    pins = PinsConfig(lock=17, contact=22, rex=27, tamper=23, fire=24, lamp_green=5, lamp_red=6, buzzer=13)
    for pin in (22, 23, 24):
        installed.drive(pin, 0)
    woken: list[int] = []
    board = Board.open(pins, HandClock(mono=100.0), wake=lambda: woken.append(1), environ=NAMED)
    assert board.inputs.levels() == {"contact": False, "rex": False, "tamper": False, "fire": False}
    installed.drive(27, 0)
    installed.drive(22, 1)
    assert eventually(lambda: len(woken) == 2)
    assert {edge.name: edge.is_active for edge in board.inputs.drain()} == {"rex": True, "contact": True}
    board.signals.show("green_steady", "alarm", 100.0)
    assert [installed.levels(pin)[-1] for pin in (5, 6, 13)] == [1, 0, 1]
    board.close()
    assert [installed.levels(pin)[-1] for pin in (5, 6, 13)] == [0, 0, 0]
    assert installed.held() == set()


def test_the_relay_energises_until_its_deadline_and_falls_with_its_peer(
        chip: FakeChip, factory: GpiodFactory) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(30)
    coil = Coil(open_output(factory, 17, active_low=False), SystemClock())
    thread = threading.Thread(target=serve, args=(theirs, coil))
    thread.start()
    ours.send(pack_order(Order(1, time.monotonic() + 0.05)))
    said = [read_ack(ours.recv(4 * ORDER_SIZE)) for _ in range(3)]
    assert [ack is not None and ack.is_on for ack in said] == [False, True, False]
    ours.send(pack_order(Order(2, time.monotonic() + 30)))
    assert eventually(lambda: chip.levels(17) == [0, 1, 0, 1])
    ours.close()
    thread.join(30)
    assert chip.levels(17) == [0, 1, 0, 1, 0]
