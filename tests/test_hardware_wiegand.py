"""Wiegand in and out on mock pins: cards, keys, noise, stuck lines, and what is sent is what is read."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from gpiod_bench import eventually
from gpiozero.pins.mock import MockConnectedPin, MockFactory
from hypothesis import given, settings
from hypothesis import strategies as st

from device.clock import HandClock, SystemClock
from device.credentials.card import Card, decode, encode
from device.errors import ConfigError, HardwareMissing
from device.hardware.fake_chip import FakeChip
from device.hardware.fake_gpiod import FakeGpiod
from device.hardware.gpiod_factory import GpiodFactory
from device.hardware.pins import open_factory
from device.hardware.wiegand import MOST_BITS, QUIET_S, STUCK_S, WiegandReader
from device.hardware.wiegand_out import PAUSE_S, WiegandOut, measure, wave

D0, D1 = 20, 21
OUT = 5, 6
CARD = Card(24, 8_190_777)


class Bench:
    """A reader on mock pins whose time is the hand clock's, and hands that pull its lines."""

    def __init__(self) -> None:
        self.clock = HandClock(mono=100.0)
        self.cards: list[tuple[tuple[int, ...], float]] = []
        self.factory = MockFactory()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("gpiozero.pins.mock.monotonic", self.clock.mono)
            self.reader = WiegandReader(self.factory, D0, D1, self.clock, lambda *given: self.cards.append(given))

    def pulse(self, bit: int, width_s: float = 50e-6) -> None:
        pin = self.factory.pin((D0, D1)[bit])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("gpiozero.pins.mock.monotonic", self.clock.mono)
            pin.drive_low()
            self.clock.advance(width_s)
            pin.drive_high()

    def send(self, bits: Sequence[int], period_s: float = 0.002, width_s: float = 50e-6) -> None:
        for bit in bits:
            self.pulse(bit, width_s)
            self.clock.advance(period_s - width_s)

    def poll(self, after_s: float = QUIET_S) -> list[str]:
        self.clock.advance(after_s)
        return self.reader.poll(self.clock.mono())

    def poll_for(self, seconds: float) -> list[str]:
        keys: list[str] = []
        for _ in range(round(seconds / 0.02)):
            keys += self.poll(0.02)
        return keys

    def taken(self) -> list[tuple[int, ...]]:
        return [bits for bits, _ in self.cards]

    def close(self) -> None:
        self.reader.close()
        self.factory.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


# --- cards -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [26, 34, 37])
@pytest.mark.parametrize(("width_s", "period_s"), [(20e-6, 200e-6), (50e-6, 0.002), (100e-6, 0.001), (1e-3, 0.02)])
def test_a_card_is_read_at_every_pace(bench: Bench, length: int, width_s: float, period_s: float) -> None:
    bits = encode(CARD, length)
    bench.send(bits, period_s, width_s)
    assert bench.poll() == []
    assert bench.taken() == [bits]
    assert decode(bench.taken()[0]).value == CARD.value
    assert (bench.reader.fault, bench.reader.dropped) == ("", 0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 1), min_size=24, max_size=MOST_BITS))
def test_any_bits_of_a_cards_length_come_as_they_were_sent(bits: list[int]) -> None:
    bench = Bench()
    bench.send(bits)
    bench.poll()
    assert bench.taken() == [tuple(bits)]
    bench.close()


def test_a_card_is_handed_on_once_its_lines_are_quiet_and_not_before(bench: Bench) -> None:
    bits = encode(CARD, 26)
    bench.send(bits[:-1])
    bench.pulse(bits[-1])
    last = bench.clock.mono() - 50e-6
    assert bench.poll(QUIET_S - 0.001) == [] and bench.cards == []
    bench.poll(0.001)
    assert bench.taken() == [bits]
    assert bench.cards[0][1] == pytest.approx(last)
    bench.poll_for(1.0)
    assert len(bench.cards) == 1


def test_polls_in_the_midst_of_a_card_do_not_cut_it(bench: Bench) -> None:
    bits = encode(CARD, 37)
    for bit in bits:
        bench.send([bit], 0.02)
        bench.poll(0.0)
    bench.poll()
    assert bench.taken() == [bits]


def test_two_cards_are_two_although_the_thread_was_late(bench: Bench) -> None:
    first, second = encode(CARD, 26), encode(Card(24, 5), 26)
    bench.send(first)
    bench.clock.advance(QUIET_S)
    bench.send(second)
    bench.poll(3.0)
    assert bench.taken() == [first, second]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("looks", [False, True])
def test_lines_whose_edges_are_told_in_bunches_are_put_in_order(
        bench: Bench, order: tuple[int, int], looks: bool) -> None:
    """As they are where a busy machine gets round to one line after the other."""
    bits = encode(CARD, 26)
    for line in order:
        for place in (place for place, bit in enumerate(bits) if bit == line):
            bench.reader._stamp(200.0 + place * 0.002, line)
        if looks:
            bench.poll(0.0)
    bench.poll()
    assert bench.taken() == [bits]


def test_two_cards_told_in_bunches_are_two(bench: Bench) -> None:
    frames = [encode(Card(24, number), 26) for number in (5, 8_190_777)]
    for line in (0, 1):
        for number, bits in enumerate(frames):
            for place in (place for place, bit in enumerate(bits) if bit == line):
                bench.reader._stamp(200.0 + number + place * 0.002, line)
    bench.poll()
    assert bench.taken() == frames


def test_the_longest_card_at_the_slowest_pace_is_no_flood(bench: Bench) -> None:
    for bit in (0, 1) * 64:
        bench.send([bit], 0.02)
        bench.poll(0.0)
        assert bench.reader.fault == ""
    bench.poll()
    assert bench.taken() == [(0, 1) * 64]


# --- keys ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_long", [False, True])
def test_a_keypads_bursts_are_its_keys(bench: Bench, is_long: bool) -> None:
    keys = []
    for number in range(12):
        low = [number >> place & 1 for place in (3, 2, 1, 0)]
        bench.send([*(1 - bit for bit in low), *low] if is_long else low)
        keys += bench.poll()
    assert keys == list("0123456789*#")
    assert (bench.cards, bench.reader.dropped) == ([], 0)


def test_keys_in_one_go_stay_in_order(bench: Bench) -> None:
    for number in (1, 7, 11):
        bench.send([number >> place & 1 for place in (3, 2, 1, 0)])
        bench.clock.advance(QUIET_S)
    assert bench.poll() == ["1", "7", "#"]


@pytest.mark.parametrize("bits", [(1, 1, 0, 0), (1, 1, 1, 1), (0, 0, 0, 1, 0, 0, 0, 1), (0, 0, 1, 1, 1, 1, 0, 0)])
def test_a_burst_that_is_no_key_is_dropped(bench: Bench, bits: tuple[int, ...]) -> None:
    bench.send(bits)
    assert bench.poll() == []
    assert (bench.cards, bench.reader.dropped) == ([], 1)


# --- what is no frame ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 9, 13, 23, MOST_BITS + 1, 500])
def test_halves_and_what_is_far_too_long_are_dropped_and_counted(bench: Bench, count: int) -> None:
    bench.send([0, 1, 1] * (count // 3) + [1] * (count % 3))
    assert bench.poll() == []
    assert (bench.cards, bench.reader.dropped, bench.reader.fault) == ([], 1, "")


def test_a_card_that_pauses_in_its_midst_is_no_card(bench: Bench) -> None:
    bits = encode(CARD, 26)
    bench.send(bits[:20])
    bench.clock.advance(QUIET_S)
    bench.send(bits[20:])
    bench.poll()
    assert (bench.cards, bench.reader.dropped) == ([], 2)


@pytest.mark.parametrize("apart_s", [0.0, 1e-6, 20e-6])
def test_both_lines_at_once_spoil_the_frame(bench: Bench, apart_s: float) -> None:
    bits = encode(CARD, 26)
    bench.send(bits[:10])
    bench.pulse(0, apart_s)
    bench.send([1, *bits[10:]])
    bench.poll()
    assert (bench.cards, bench.reader.dropped) == ([], 1)
    bench.send(bits)
    bench.poll()
    assert bench.taken() == [bits]


def test_a_line_that_bounces_makes_no_second_bit(bench: Bench) -> None:
    bits = encode(CARD, 26)
    bench.send(bits[:10])
    bench.pulse(bits[9], 5e-6)
    bench.pulse(bits[9], 5e-6)
    bench.send(bits[10:])
    bench.poll()
    assert (bench.cards, bench.reader.dropped) == ([], 1)


def test_more_than_can_be_queued_is_told_and_what_comes_after_is_read(bench: Bench) -> None:
    bench.send([0, 1] * 800, 0.001)
    bench.poll()
    assert bench.cards == [] and bench.reader.dropped == 1
    assert "pulses without end" in bench.reader.fault
    bench.poll(STUCK_S)
    assert bench.reader.fault == ""
    bench.send(encode(CARD, 26))
    bench.poll()
    assert bench.taken() == [encode(CARD, 26)]


@pytest.mark.parametrize("period_s", [0.0005, 0.01, 0.02])
def test_pulses_without_end_are_reported_and_taken_back(bench: Bench, period_s: float) -> None:
    for _ in range(round(3.0 / period_s)):
        bench.send([1], period_s)
        bench.poll(0.0)
    assert "pulses without end" in bench.reader.fault
    bench.poll_for(STUCK_S + 0.1)
    assert (bench.reader.fault, bench.cards, bench.reader.dropped) == ("", [], 1)


def test_now_and_then_a_stray_pulse_is_counted_and_no_fault(bench: Bench) -> None:
    for _ in range(50):
        bench.send([1])
        bench.poll(0.1)
        assert bench.reader.fault == ""
    assert bench.reader.dropped == 50


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from([1e-6, 1e-4, 2e-3, 0.03, 0.5])), max_size=200))
def test_whatever_the_lines_do_nothing_raises_and_frames_have_their_length(pulses: list[tuple[int, float]]) -> None:
    bench = Bench()
    for bit, gap_s in pulses:
        bench.pulse(bit, gap_s / 2)
        bench.poll(gap_s / 2)
    bench.poll()
    assert all(24 <= len(bits) <= MOST_BITS for bits in bench.taken())
    bench.close()


# --- the lines -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "named"), [((D0,), "D0 (pin 20) stays"), ((D1,), "D1 (pin 21) stays"),
                                            ((D0, D1), "D0 (pin 20) and D1 (pin 21) stays")])
def test_a_line_that_stays_low_is_reported_until_it_is_high_again(
        bench: Bench, low: tuple[int, ...], named: str) -> None:
    for pin in low:
        bench.factory.pin(pin).drive_low()
    bench.poll_for(STUCK_S - 0.1)
    assert bench.reader.fault == ""
    bench.poll_for(0.2)
    assert named in bench.reader.fault and len(bench.reader.fault.splitlines()) == 1
    for pin in low:
        bench.factory.pin(pin).drive_high()
    bench.poll()
    assert bench.reader.fault == ""


def test_a_line_that_is_low_whenever_one_looks_but_moves_is_not_stuck(bench: Bench) -> None:
    for _ in range(200):
        bench.factory.pin(D1).drive_low()
        bench.poll(0.05)
        bench.factory.pin(D1).drive_high()
    assert bench.reader.fault == ""


def test_a_pin_that_cannot_be_had_is_named_and_lets_go_of_the_other() -> None:
    factory = MockFactory()
    for pins in ((D0, 60), (60, D0)):
        with pytest.raises(HardwareMissing, match="input pin 60 cannot be had") as caught:
            WiegandReader(factory, *pins, HandClock(), lambda *_: None)
        WiegandReader(factory, D0, D1, HandClock(), lambda *_: None).close()
        assert caught.traceback  # which holds on to what was half made: it was closed, not only forgotten


def test_nothing_is_heard_after_closing(bench: Bench) -> None:
    bench.send(encode(CARD, 26))
    bench.reader.close()
    bench.send(encode(CARD, 26))
    bench.poll()
    assert bench.taken() == [encode(CARD, 26)]


def test_a_card_is_read_by_way_of_a_gpio_chip() -> None:
    chip, cards = FakeChip(), []
    clock = SystemClock()
    factory = GpiodFactory(gpiod=FakeGpiod(chip))
    reader = WiegandReader(factory, D0, D1, clock, lambda bits, _: cards.append(bits))
    bits = encode(CARD, 26)

    def is_read() -> bool:
        # A busy machine may stretch a pause beyond a frame's end: then once more.
        for bit in bits:
            chip.drive((D0, D1)[bit], 0)
            chip.drive((D0, D1)[bit], 1)
            wait(clock, 300e-6)
        return eventually(lambda: reader.poll(clock.mono()) == [] and bool(cards), 0.5)

    assert eventually(is_read)
    assert cards == [bits]
    reader.close()
    assert chip.held() == set()
    factory.close()


def wait(clock: SystemClock, seconds: float) -> None:
    until = clock.mono() + seconds
    while clock.mono() < until:
        pass


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
