"""What only a chip can show: no pulse, pulls that a driver does not set, storms of edges, a chip that goes."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterator

import pytest
from gpiod_bench import Heard, eventually, is_watching
from gpiozero import DigitalInputDevice, OutputDevice
from gpiozero.exc import GPIOPinInUse, PinInvalidBounce, PinInvalidEdges, PinInvalidState, PinSPIUnsupported
from hypothesis import given, settings
from hypothesis import strategies as st

from device.clock import HandClock
from device.errors import HardwareMissing
from device.hardware import fake_gpiod, gpiod_chip
from device.hardware.fake_chip import FakeChip
from device.hardware.fake_gpiod import FakeGpiod
from device.hardware.gpiod_factory import GpiodFactory
from device.hardware.pins import open_input, open_output


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("DOOR_GPIO_CHIP", "DOOR_GPIO_BIAS"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def chip() -> FakeChip:
    return FakeChip(names={5: "PQ.05"})


@pytest.fixture
def factory(chip: FakeChip) -> Iterator[GpiodFactory]:
    made = GpiodFactory(gpiod=FakeGpiod(chip))
    yield made
    made.close()


# --- no pulse --------------------------------------------------------------------------------------------


def test_the_fake_shows_the_pulse_that_a_careless_start_makes() -> None:
    chip = FakeChip()
    chip.drive(17, 1)
    request = FakeGpiod(chip).Chip(chip.path).request_lines(
        {17: fake_gpiod.LineSettings(direction=fake_gpiod.Direction.OUTPUT)})
    request.set_value(17, fake_gpiod.Value.ACTIVE)
    assert chip.levels(17) == [0, 1, 0, 1]


MOVES = st.sampled_from(["on", "off", "toggle", "reopen", "shut"])


@settings(deadline=None)
@given(active_low=st.booleans(), moves=st.lists(MOVES, max_size=12))
def test_an_output_is_never_on_but_when_it_is_told_to_be(active_low: bool, moves: list[str]) -> None:
    chip, off = FakeChip(), int(active_low)
    chip.drive(17, off)  # the external resistor
    begun = len(chip.levels(17)) - 1
    factory = GpiodFactory(gpiod=FakeGpiod(chip))
    output, expected = open_output(factory, 17, active_low), [off]
    for move in moves:
        if move in ("reopen", "shut"):
            output.close()
            if move == "shut":
                factory.close()
                factory = GpiodFactory(gpiod=FakeGpiod(chip))
            output = open_output(factory, 17, active_low)
            wanted = off
        else:
            getattr(output, move)()
            wanted = {"on": 1 - off, "off": off, "toggle": 1 - expected[-1]}[move]
        expected += [wanted] if wanted != expected[-1] else []
    factory.close()
    expected += [off] if expected[-1] != off else []
    assert chip.levels(17)[begun:] == expected
    assert chip.held() == set()


@pytest.mark.parametrize("resistor", [0, 1])
def test_function_then_state_switches_nothing_but_what_the_state_says(
        chip: FakeChip, factory: GpiodFactory, resistor: int) -> None:
    chip.drive(17, resistor)
    begun = chip.levels(17)
    pin = factory.pin(17)
    pin.function = "output"
    chip.drive(17, None)
    assert (pin.state, chip.levels(17)) == (resistor, begun)
    pin.state = resistor
    assert chip.levels(17) == begun
    pin.state = 1 - resistor
    assert chip.levels(17) == [*begun, 1 - resistor]


def test_what_the_boot_loader_put_out_stays_until_somebody_decides(chip: FakeChip, factory: GpiodFactory) -> None:
    chip.set(17, 1, None)
    begun, heard = chip.levels(17), Heard()
    pin = factory.pin(17)
    assert (pin.function, pin.state) == ("output", 1)
    pin.when_changed = heard.changed
    pin.edges = "rising"
    assert chip.levels(17) == begun
    output = OutputDevice(17, active_high=False, pin_factory=factory)
    output.on()
    output.close()
    assert chip.levels(17)[len(begun):] == [0, 1]


def test_an_output_is_left_at_the_level_at_which_it_came_up(chip: FakeChip, factory: GpiodFactory) -> None:
    pin = factory.pin(17)
    for rest in (0, 1):
        begun = len(chip.levels(17))
        pin.output_with_state(rest)
        pin.output_with_state(1 - rest)
        pin.close()
        assert chip.levels(17)[begun:][-2:] == [1 - rest, rest]


def test_closing_leaves_an_output_off_and_nothing_held(chip: FakeChip, factory: GpiodFactory) -> None:
    chip.drive(18, 1)
    outputs = [open_output(factory, pin, active_low) for pin, active_low in ((17, False), (18, True))]
    for output in outputs:
        output.on()
    contact = open_input(factory, 4)
    assert (chip.held(), contact.is_active) == ({4, 17, 18}, False)
    factory.close()
    assert (chip.levels(17), chip.levels(18)) == ([0, 1, 0], [0, 1, 0, 1])
    assert chip.held() == set()


def test_openings_leave_no_descriptor_and_no_thread_behind(chip: FakeChip) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        made = GpiodFactory(gpiod=FakeGpiod(chip))
        devices = open_output(made, 17, False), open_input(made, 4)
        assert is_watching()
        made.close()
        assert not is_watching()
        del devices
    assert len(os.listdir("/proc/self/fd")) == before


def test_outputs_alone_need_no_thread(factory: GpiodFactory) -> None:
    output = open_output(factory, 17, False)
    output.on()
    assert not is_watching()


# --- pulls -----------------------------------------------------------------------------------------------


def test_a_driver_that_refuses_pulls_is_said_with_the_remedy() -> None:
    factory = GpiodFactory(gpiod=FakeGpiod(chip := FakeChip(names={5: "PQ.05"}, pulls="refuses")))
    with pytest.raises(HardwareMissing, match=r"line 5 \(PQ\.05\) refuses pull .*; wire a resistor and set "
                                              "DOOR_GPIO_BIAS=external"):
        open_input(factory, 5)
    assert chip.held() == set()
    factory.close()


def test_a_jetsons_driver_is_not_trusted_to_pull(monkeypatch: pytest.MonkeyPatch) -> None:
    chip = FakeChip(label="tegra234-gpio", num_lines=164, names={105: "PQ.05"}, pulls="ignores")
    factory = GpiodFactory(gpiod=FakeGpiod(chip))
    with pytest.raises(HardwareMissing, match=r"line 105 \(PQ\.05\): tegra234-gpio sets no pull-up; wire a resistor "
                                              "and set DOOR_GPIO_BIAS=external"):
        open_input(factory, 105)
    floating = DigitalInputDevice(105, pull_up=None, active_state=False, pin_factory=factory)
    assert floating.is_active
    factory.close()

    monkeypatch.setenv("DOOR_GPIO_BIAS", "external")
    chip.drive(105, 1)  # the resistor
    factory = GpiodFactory(gpiod=FakeGpiod(chip))
    contact = open_input(factory, 105)
    assert (contact.pull_up, contact.is_active) == (True, False)
    chip.drive(105, 0)
    assert contact.wait_for_active(30)
    factory.close()


def test_pulls_from_outside_leave_the_chips_own_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOOR_GPIO_BIAS", "external")
    factory = GpiodFactory(gpiod=FakeGpiod(chip := FakeChip(pulls="refuses")))
    assert not open_input(factory, 4).is_active or chip.levels(4) == [0]
    assert chip.wires[4].pull is None
    factory.close()


# --- edges -----------------------------------------------------------------------------------------------


def test_a_storm_of_edges_is_bounded_counted_and_ends_with_the_last_level(
        chip: FakeChip, factory: GpiodFactory) -> None:
    calm, heard, stormy = Heard(), Heard(), 5000
    for pin, listener in ((4, heard), (6, calm)):
        factory.pin(pin).input_with_pull("down")
        factory.pin(pin).when_changed = listener.changed
    for number in range(stormy):
        chip.drive(4, number % 2 == 0)
    chip.drive(4, 1)
    chip.drive(6, 1)
    assert eventually(lambda: len(heard.levels) + factory.lost_edges == stormy + 1)
    assert heard.levels[-1] == 1
    assert eventually(lambda: calm.levels == [1])


def test_edges_that_the_kernel_could_not_keep_are_counted(chip: FakeChip, factory: GpiodFactory) -> None:
    heard, gate, held_up = Heard(), threading.Event(), threading.Event()

    def slow(ticks: float, state: int) -> None:
        held_up.set()
        gate.wait(30)
        heard.changed(ticks, state)

    factory.pin(4).input_with_pull("down")
    factory.pin(4).when_changed = slow
    chip.drive(4, 1)
    assert held_up.wait(30)
    for number in range(1000):
        chip.drive(4, number % 2)
    gate.set()
    assert eventually(lambda: len(heard.levels) + factory.lost_edges == 1001)
    assert factory.lost_edges == 1001 - 1 - gpiod_chip._EDGES_KEPT
    assert heard.levels[-1] == 1


def test_a_new_listener_hears_nothing_of_what_went_before(chip: FakeChip, factory: GpiodFactory) -> None:
    heard, gate, held_up = Heard(), threading.Event(), threading.Event()

    def slow(_ticks: float, _state: int) -> None:
        held_up.set()
        gate.wait(30)

    pin = factory.pin(4)
    pin.input_with_pull("down")
    pin.when_changed = slow
    chip.drive(4, 1)
    assert held_up.wait(30)
    for level in (0, 1):
        chip.drive(4, level)
    pin.when_changed = None
    pin.when_changed = heard.changed
    gate.set()
    chip.drive(4, 0)
    assert eventually(lambda: heard.levels == [0])


def test_edges_bear_the_kernels_time() -> None:
    clock, heard = HandClock(mono=50.0), Heard()
    chip = FakeChip(clock=clock)
    stamped = GpiodFactory(gpiod=FakeGpiod(chip))
    stamped.pin(4).input_with_pull("down")
    stamped.pin(4).when_changed = heard.changed
    chip.drive(4, 1)
    clock.advance(0.25)
    chip.drive(4, 0)
    assert eventually(lambda: len(heard.levels) == 2)
    assert heard.ticks == [50.0, 50.25]
    stamped.close()


def test_a_listener_that_raises_is_logged_once_and_the_thread_goes_on(
        chip: FakeChip, factory: GpiodFactory, caplog: pytest.LogCaptureFixture) -> None:
    other, calls = Heard(), []

    def failing(_ticks: float, state: int) -> None:
        calls.append(state)
        raise ValueError("cannot cope")

    for pin, listener in ((5, failing), (6, other.changed)):
        factory.pin(pin).input_with_pull("down")
        factory.pin(pin).when_changed = listener
    for level in (1, 0, 1):
        chip.drive(5, level)
    chip.drive(6, 1)
    assert eventually(lambda: calls == [1, 0, 1] and other.levels == [1])
    said = [record for record in caplog.records if record.name == "device.hardware.gpiod_watch"]
    assert [record.getMessage() for record in said] == [
        "line 5 (PQ.05): what listens to it fails; its edges go on"]
    assert said[0].exc_info is not None


def test_a_listener_may_close_everything(chip: FakeChip, factory: GpiodFactory) -> None:
    def shut(_ticks: float, _state: int) -> None:
        factory.close()

    factory.pin(4).input_with_pull("down")
    factory.pin(4).when_changed = shut
    chip.drive(4, 1)
    assert eventually(lambda: not is_watching())
    assert chip.held() == set()


# --- losses and refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize("wakes", [True, False], ids=["kernel 6.5", "kernel 5.10"])
def test_a_chip_that_goes_is_said_once_and_ends_nothing(wakes: bool, caplog: pytest.LogCaptureFixture) -> None:
    chip = FakeChip(wakes=wakes)
    factory = GpiodFactory(gpiod=FakeGpiod(chip))
    inputs = [open_input(factory, pin) for pin in (4, 5)]
    lock = open_output(factory, 17, False)
    lock.on()
    assert factory.lost is None
    with caplog.at_level(logging.ERROR):
        chip.vanish()
        assert eventually(lambda: factory.lost is not None)
        assert re.fullmatch("line [45] is gone with its chip /dev/gpiochip0", str(factory.lost))
        assert eventually(lambda: len(caplog.records) >= 1)
    with pytest.raises(HardwareMissing, match="line 17 is gone with its chip"):
        lock.off()
    with pytest.raises(HardwareMissing, match="line 4 is gone with its chip"):
        _ = inputs[0].is_active
    with pytest.raises(HardwareMissing, match="line 6 is gone with its chip"):
        factory.pin(6)
    assert len(caplog.records) == 1
    for device in (*inputs, lock):
        device.close()
    factory.close()
    assert not is_watching()


def test_a_line_that_another_process_holds_is_busy_and_says_whose_it_is(
        chip: FakeChip, factory: GpiodFactory) -> None:
    second = GpiodFactory(gpiod=FakeGpiod(chip))
    output = open_output(factory, 5, False)
    with pytest.raises(HardwareMissing, match=rf"line 5 \(PQ\.05\) is busy: open-door {os.getpid()} holds it"):
        open_output(second, 5, False)
    with pytest.raises(GPIOPinInUse, match="is busy"):
        _ = second.pin(5).state
    output.close()
    assert not open_output(second, 5, False).value
    second.close()


def test_what_a_line_cannot_do_is_refused(factory: GpiodFactory) -> None:
    pin = factory.pin(4)
    with pytest.raises(PinInvalidBounce, match="bounce must be None"):
        pin.bounce = 0.01
    with pytest.raises(PinInvalidEdges, match="edges must be"):
        pin.edges = "sometimes"
    with pytest.raises(PinSPIUnsupported):
        factory.spi()
    pin.function = "output"
    with pytest.raises(PinInvalidState, match="state must be 0 or 1"):
        pin.state = 0.5


def test_closed_pins_are_not_opened_again(chip: FakeChip) -> None:
    factory = GpiodFactory(gpiod=FakeGpiod(chip))
    factory.close()
    with pytest.raises(HardwareMissing, match="/dev/gpiochip0 has been closed"):
        factory.pin(4)
