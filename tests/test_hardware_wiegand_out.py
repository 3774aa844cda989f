"""Wiegand to a controller: what goes out is what a reader reads, by Python on mock pins and by lgpio on a Pi."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gpiozero.pins.mock import MockConnectedPin, MockFactory
from hypothesis import given
from hypothesis import strategies as st

from device.clock import HandClock, SystemClock
from device.credentials.card import Card, decode, encode
from device.errors import ConfigError, HardwareMissing
from device.hardware.fake_chip import FakeChip
from device.hardware.fake_gpiod import FakeGpiod
from device.hardware.gpiod_factory import GpiodFactory
from device.hardware.pins import open_factory
from device.hardware.wiegand import QUIET_S, WiegandReader
from device.hardware.wiegand_out import PAUSE_S, WiegandOut, measure, wave

D0, D1 = 20, 21
OUT = 5, 6
CARD = Card(24, 8_190_777)


# --- out -------------------------------------------------------------------------------------------------


class StepClock(HandClock):
    """Whoever asks it makes it go on by 5 µs."""

    def mono(self) -> float:
        self.advance(5e-6)
        return super().mono()


class Cable:
    """Out to a controller, whose inputs are a reader's."""

    def __init__(self, clock: HandClock, pulse_us: int = 500, period_us: int = 1000) -> None:
        self.clock, self.cards = clock, list[tuple[int, ...]]()
        self.factory = MockFactory()
        for out, into in zip(OUT, (D0, D1), strict=True):
            self.factory.pin(out, pin_class=MockConnectedPin, input_pin=self.factory.pin(into)).drive_high()
        self.reader = WiegandReader(self.factory, D0, D1, clock, lambda bits, _: self.cards.append(bits))
        for pin in (*OUT, D0, D1):
            self.factory.pin(pin).clear_states()
        self.out = WiegandOut(self.factory, *OUT, pulse_us, period_us, clock)

    def poll(self, after_s: float = 0.0) -> None:
        self.clock.advance(after_s)
        self.out.poll(self.clock.mono())
        self.reader.poll(self.clock.mono())

    def levels(self) -> list[list[bool]]:
        return [[state.state for state in self.factory.pin(pin).states] for pin in OUT]

    def close(self) -> None:
        self.out.close()
        self.reader.close()
        self.factory.close()


@pytest.fixture
def cable(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cable]:
    clock = StepClock(mono=100.0)
    monkeypatch.setattr("gpiozero.pins.mock.monotonic", clock.mono)
    made = Cable(clock)
    yield made
    made.close()


def test_a_frames_levels_are_exact() -> None:
    assert wave((0, 1), 50, 2000) == ((0, 1, 50), (1, 1, 1950), (1, 0, 50), (1, 1, 1950))
    assert wave((), 50, 2000) == ()


@given(st.lists(st.integers(0, 1), max_size=128), st.integers(20, 1000), st.integers(2000, 20_000))
def test_a_frame_has_one_pulse_a_bit_and_idles_between(bits: list[int], pulse_us: int, period_us: int) -> None:
    steps = wave(bits, pulse_us, period_us)
    assert [step[0] for step in steps[::2]] == bits
    assert all(d0 + d1 == 1 and us == pulse_us for d0, d1, us in steps[::2])
    assert all((d0, d1, us) == (1, 1, period_us - pulse_us) for d0, d1, us in steps[1::2])
    assert sum(us for _, _, us in steps) == len(bits) * period_us


@pytest.mark.parametrize(("card", "length"), [
    (CARD, 26), (CARD, 34), (CARD, 37), (Card(24, 0), 26), (Card(32, 2**32 - 1), 34), (Card(35, 2**35 - 1), 37)])
def test_what_is_sent_is_what_a_reader_reads(cable: Cable, card: Card, length: int) -> None:
    bits = encode(card, length)
    assert cable.out.admit(bits, cable.clock.mono())
    cable.poll()
    cable.poll(QUIET_S)
    assert cable.cards == [bits]
    assert decode(cable.cards[0]).value == card.value
    assert (cable.out.fault, cable.reader.fault) == ("", "")


def test_pulses_and_pauses_last_as_long_as_configured(cable: Cable) -> None:
    cable.out.admit((0,) * 26, cable.clock.mono())
    cable.poll()
    states = cable.factory.pin(OUT[0]).states
    lows = [state.timestamp for state in states[1:] if state.state]
    highs = [state.timestamp for state in states[2:] if not state.state]
    assert (len(lows), len(highs)) == (26, 25)
    assert all(500e-6 <= lasted < 600e-6 for lasted in lows + highs)


def test_the_lines_idle_at_start_and_are_left_so(cable: Cable) -> None:
    assert cable.levels() == [[True], [True]]
    cable.out.admit((0, 1), cable.clock.mono())
    cable.poll()
    cable.out.close()
    assert cable.levels() == [[True, False, True], [True, False, True]]
    assert [cable.factory.pin(pin).state for pin in OUT] == [True, True]


def test_cards_in_a_row_stay_apart(cable: Cable) -> None:
    frames = [encode(Card(24, number), 26) for number in (1, 2, 3)]
    for frame in frames:
        assert cable.out.admit(frame, cable.clock.mono())
    for _ in range(30):
        cable.poll(0.01)
    assert cable.cards == frames


def test_a_card_that_had_to_wait_too_long_is_dropped(cable: Cable) -> None:
    cable.out.admit(encode(CARD, 26), cable.clock.mono())
    cable.poll(2.1)
    cable.poll(QUIET_S)
    assert (cable.cards, cable.out.dropped) == ([], 1)


def test_too_many_cards_at_once_are_refused(cable: Cable) -> None:
    assert [cable.out.admit(encode(CARD, 26), 0.0) for _ in range(9)] == [True] * 8 + [False]
    assert cable.out.dropped == 1


@pytest.mark.parametrize("bits", [(), (0, 2), (1,) * 129])
def test_what_is_no_card_is_not_sent(cable: Cable, bits: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="1 to 128 bits"):
        cable.out.admit(bits, 0.0)


def test_a_pin_that_fails_is_a_fault_until_it_works(cable: Cable, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(MockConnectedPin, "_change_state", lambda *_: 1 / 0)
        cable.out.admit(encode(CARD, 26), cable.clock.mono())
        assert cable.out.poll(cable.clock.mono()) == []
    assert "pins 5 and 6 cannot be driven (division by zero)" in cable.out.fault
    cable.out.admit(encode(CARD, 26), cable.clock.mono())
    cable.poll(PAUSE_S + 0.1)
    assert cable.out.fault == ""


@pytest.mark.parametrize("make", [MockFactory, lambda: GpiodFactory(gpiod=FakeGpiod(FakeChip()))])
def test_pulses_that_python_cannot_time_are_refused_with_the_remedy(make: Callable[[], Any]) -> None:
    factory = make()
    with pytest.raises(ConfigError, match=r"controller\.pulse_us = 100 .* 500 or more, or use a converter") as caught:
        WiegandOut(factory, *OUT, 100, 2000, HandClock())
    assert len(str(caught.value).splitlines()) == 1
    WiegandOut(factory, *OUT, 500, 2000, HandClock()).close()
    factory.close()


def test_a_period_that_leaves_no_room_between_pulses_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"controller\.period_us = 900 must be twice controller\.pulse_us = 500"):
        WiegandOut(MockFactory(), *OUT, 500, 900, HandClock())


def test_an_output_that_cannot_be_had_is_named_and_lets_go_of_the_other() -> None:
    factory = MockFactory()
    with pytest.raises(HardwareMissing, match="output pin 60 cannot be had") as caught:
        WiegandOut(factory, OUT[0], 60, 500, 2000, HandClock())
    WiegandOut(factory, *OUT, 500, 2000, HandClock()).close()
    assert caught.traceback  # which holds on to what was half made: it was closed, not only forgotten


def test_how_well_pulses_are_kept_can_be_measured() -> None:
    found = measure(MockFactory(), *OUT, 500, 1000, SystemClock(), frames=2)
    assert (found.asked_us, found.pulses) == (500, 52)
    assert 500 <= found.median_us <= found.longest_us


# --- lgpio -----------------------------------------------------------------------------------------------


class FakeLgpio(types.ModuleType):
    """What lgpio documents of groups and waves, on two wires; a wave is sent at once."""

    SET_PULL_NONE = SET_PULL_UP = SET_PULL_DOWN = BOTH_EDGES = RISING_EDGE = FALLING_EDGE = 0
    TX_WAVE = 1

    class error(Exception):
        pass

    class pulse:
        def __init__(self, group_bits: int, group_mask: int, pulse_delay: int) -> None:
            self.group_bits, self.group_mask, self.pulse_delay = group_bits, group_mask, pulse_delay

    def __init__(self) -> None:
        super().__init__("lgpio")
        self.group: list[int] = []
        self.levels: list[int] = []
        self.sent: list[tuple[int, int, int]] = []
        self.busy = 0
        self.is_lost = False

    def gpiochip_open(self, gpiochip: int) -> int:
        return 7

    def gpiochip_close(self, handle: int) -> int:
        return 0

    def group_claim_output(self, handle: int, gpio: list[int], levels: list[int], lFlags: int = 0) -> int:
        if handle != 7 or len(gpio) != len(set(gpio)):
            raise self.error("'GPIO busy'")
        self.group, self.levels = list(gpio), list(levels)
        return 0

    def group_free(self, handle: int, gpio: int) -> int:
        self._leads(handle, gpio)
        self.group = []
        return 0

    def tx_wave(self, handle: int, gpio: int, pulses: list[Any]) -> int:
        self._leads(handle, gpio)
        for pulse in pulses:
            for place in range(len(self.group)):
                if pulse.group_mask >> place & 1:
                    self.levels[place] = pulse.group_bits >> place & 1
            self.sent.append((*self.levels, pulse.pulse_delay))
        return 9

    def tx_busy(self, handle: int, gpio: int, kind: int) -> int:
        self._leads(handle, gpio)
        self.busy = max(self.busy - 1, 0)
        return int(kind == self.TX_WAVE and self.busy > 0)

    def _leads(self, handle: int, gpio: int) -> None:
        if self.is_lost or handle != 7 or not self.group or gpio != self.group[0]:
            raise self.error("'not a group leader'")


@pytest.fixture
def lgpio(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLgpio]:
    fake = FakeLgpio()
    monkeypatch.setitem(sys.modules, "lgpio", fake)
    monkeypatch.delitem(sys.modules, "gpiozero.pins.lgpio", raising=False)
    monkeypatch.setattr("gpiozero.pins.local.get_pi_revision", lambda: 0xC03111)
    yield fake
    sys.modules.pop("gpiozero.pins.lgpio", None)


@pytest.fixture
def pi(lgpio: FakeLgpio) -> Iterator[Any]:
    factory = open_factory({"GPIOZERO_PIN_FACTORY": "lgpio"})
    yield factory
    factory.close()


def test_on_a_pi_lgpio_sends_the_whole_frame(lgpio: FakeLgpio, pi: Any) -> None:
    clock = HandClock()
    out = WiegandOut(pi, *OUT, 50, 2000, clock)
    assert (lgpio.group, lgpio.levels) == ([5, 6], [1, 1])
    bits = encode(CARD, 26)
    assert out.admit(bits, clock.mono())
    out.poll(clock.mono())
    assert lgpio.sent == list(wave(bits, 50, 2000))
    assert lgpio.levels == [1, 1]
    out.close()
    assert lgpio.group == []


def test_lgpio_gets_no_second_frame_before_the_first_has_ended(lgpio: FakeLgpio, pi: Any) -> None:
    clock = HandClock()
    out = WiegandOut(pi, *OUT, 50, 2000, clock)
    for number in (1, 2):
        out.admit(encode(Card(24, number), 26), clock.mono())
    out.poll(clock.mono())
    clock.advance(26 * 0.002 + PAUSE_S - 0.001)
    out.poll(clock.mono())
    assert len(lgpio.sent) == 2 * 26
    clock.advance(0.002)
    out.poll(clock.mono())
    assert len(lgpio.sent) == 4 * 26
    out.close()


def test_a_frame_under_way_is_not_cut_off(lgpio: FakeLgpio, pi: Any) -> None:
    out = WiegandOut(pi, *OUT, 50, 2000, HandClock())
    lgpio.busy = 5
    out.close()
    assert lgpio.busy == 0


def test_lgpios_refusals_are_said(lgpio: FakeLgpio, pi: Any) -> None:
    with pytest.raises(HardwareMissing, match=r"pins 5 and 5 cannot be had \('GPIO busy'\); see \[controller\]"):
        WiegandOut(pi, 5, 5, 50, 2000, HandClock())
    clock = HandClock()
    out = WiegandOut(pi, *OUT, 50, 2000, clock)
    lgpio.is_lost = True
    out.admit(encode(CARD, 26), clock.mono())
    out.poll(clock.mono())
    assert "pins 5 and 6 cannot be driven ('not a group leader')" in out.fault
    out.close()


def test_the_fake_is_called_as_lgpio_is() -> None:
    real = pytest.importorskip("lgpio")
    fake = FakeLgpio()
    for name in ("gpiochip_open", "gpiochip_close", "group_claim_output", "group_free", "tx_wave", "tx_busy"):
        assert list(inspect.signature(getattr(fake, name)).parameters) == list(
            inspect.signature(getattr(real, name)).parameters), name
    assert list(inspect.signature(fake.pulse).parameters) == list(inspect.signature(real.pulse).parameters)
    assert hasattr(real, "TX_WAVE")
