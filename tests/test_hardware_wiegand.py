"""Wiegand in, on mock pins and a GPIO chip: cards, keys, noise, stuck lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from gpiod_bench import eventually
from gpiozero.pins.mock import MockFactory
from hypothesis import given, settings
from hypothesis import strategies as st

from device.clock import HandClock, SystemClock
from device.credentials.card import Card, decode, encode
from device.errors import HardwareMissing
from device.hardware.fake_chip import FakeChip
from device.hardware.fake_gpiod import FakeGpiod
from device.hardware.gpiod_factory import GpiodFactory
from device.hardware.wiegand import MOST_BITS, QUIET_S, STUCK_S, WiegandReader

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
