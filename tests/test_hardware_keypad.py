"""A keypad's matrix, with keys that join its wires as real ones do: presses, bounces, several keys at once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from gpiozero.pins.mock import MockFactory, MockPin
from hypothesis import given, settings
from hypothesis import strategies as st

from device.credentials.typed import Entry, Typed
from device.errors import HardwareMissing
from device.hardware.fake_chip import FakeChip
from device.hardware.fake_gpiod import FakeGpiod
from device.hardware.gpiod_factory import GpiodFactory
from device.hardware.keypad import DEBOUNCE_S, KEYS, STUCK_S, Keypad

ROWS, COLUMNS = (5, 6, 13, 19), (12, 16, 20, 21)
ALL = "".join(KEYS)
TURN_S = 0.015


class Matrix:
    """Wires and the keys that join them. Where two that are driven against one another are joined, it burns."""

    def __init__(self, columns: tuple[int, ...] = COLUMNS) -> None:
        matrix = self
        self.down: set[str] = set()
        self._joined: list[list[Any]] = []

        class MatrixPin(MockPin):  # type: ignore[misc]
            def _set_function(self, value: str) -> None:
                super()._set_function(value)
                matrix.settle()

            def _set_state(self, value: int) -> None:
                super()._set_state(value)
                matrix.settle()

            def _set_pull(self, value: str) -> None:
                super()._set_pull(value)
                matrix.settle()

        self.factory = MockFactory(pin_class=MatrixPin)
        self.keypad = Keypad(self.factory, ROWS, columns)
        self.mono = 1000.0

    def settle(self) -> None:
        for pins in self._joined:
            driven = {pin.state for pin in pins if pin.function == "output"}
            assert len(driven) < 2, f"{pins} are driven against one another"
            for pin in pins:
                if pin.function == "input":
                    (pin.drive_low if driven == {False} else pin.drive_high)()

    def press(self, keys: str) -> None:
        self._hold(self.down | set(keys))

    def let_go(self, keys: str = ALL) -> None:
        self._hold(self.down - set(keys))

    def turn(self, seconds: float = TURN_S, every_s: float = TURN_S) -> list[str]:
        """What is pressed while so much time passes, polled every turn."""
        keys = []
        for _ in range(max(round(seconds / every_s), 1)):
            self.mono += every_s
            keys += self.keypad.poll(self.mono)
        return keys

    def _hold(self, down: set[str]) -> None:
        """Hold these keys and no others: wires that they join are one, the others stand at their pull-ups."""
        groups: list[set[int]] = []
        for key in down:
            row, column = divmod(ALL.index(key), 4)
            ends = {ROWS[row], COLUMNS[column]}
            groups = [group for group in groups if not group & ends] + [
                ends.union(*(group for group in groups if group & ends))]
        before, self.down = self._joined, down
        self._joined = [[self.factory.pin(number) for number in sorted(group)] for group in groups]
        for pin in (pin for pins in before for pin in pins if pin.function == "input"):
            pin.drive_high()
        self.settle()


@pytest.fixture
def matrix() -> Iterator[Matrix]:
    made = Matrix()
    yield made
    made.keypad.close()


@pytest.mark.parametrize("key", ALL)
def test_each_key_is_told_once_per_press(matrix: Matrix, key: str) -> None:
    for _ in range(2):
        matrix.press(key)
        assert matrix.turn(1.0) == [key]
        matrix.let_go()
        assert matrix.turn(0.1) == []


def test_a_keypad_of_three_columns_has_no_letters() -> None:
    matrix = Matrix(COLUMNS[:3])
    found = []
    for key in "123456789*0#":
        matrix.press(key)
        found += matrix.turn(0.1)
        matrix.let_go()
        found += matrix.turn(0.1)
    assert found == list("123456789*0#")
    matrix.keypad.close()


def test_what_is_typed_becomes_an_entry(matrix: Matrix) -> None:
    entry, found = Entry(), []
    for key in "17*1234#":
        matrix.press(key)
        pressed = matrix.turn(0.12)
        matrix.let_go()
        pressed += matrix.turn(0.15)
        found += [entry.press(one, matrix.mono) for one in pressed]
    assert found == [None] * 7 + [Typed("17", "1234")]


def test_a_key_that_bounces_is_one_press(matrix: Matrix) -> None:
    chance = random.Random(3)
    for _ in range(60):
        key = chance.choice(ALL)
        pressed = []
        for is_down in (True, False):
            for _ in range(chance.randint(0, 6)):
                (matrix.press if chance.random() < 0.5 else matrix.let_go)(key)
                matrix.mono += chance.uniform(0.0005, 0.003)
                pressed += matrix.keypad.poll(matrix.mono)
            (matrix.press if is_down else matrix.let_go)(key)
            pressed += matrix.turn(0.12)
        assert pressed == [key]


def test_a_touch_too_short_to_be_a_press_is_none(matrix: Matrix) -> None:
    matrix.press("5")
    assert matrix.turn() == []
    matrix.let_go()
    assert matrix.turn(0.2) == []


def test_a_press_is_told_as_soon_as_it_is_sure(matrix: Matrix) -> None:
    matrix.press("5")
    found, begun = [], matrix.mono
    while not found:
        found = matrix.turn()
    assert DEBOUNCE_S <= matrix.mono - begun <= DEBOUNCE_S + 2 * TURN_S + 1e-6


@pytest.mark.parametrize("keys", ["12", "15", "147", "1245", "124", "0*#D", ALL])
def test_several_keys_at_once_are_none_until_all_are_let_go(matrix: Matrix, keys: str) -> None:
    matrix.press(keys)
    assert matrix.turn(0.5) == []
    for key in keys:
        matrix.let_go(key)
        assert matrix.turn(0.1) == []
    matrix.press("5")
    assert matrix.turn(0.1) == ["5"]


def test_a_second_key_beside_one_that_is_held_does_not_count(matrix: Matrix) -> None:
    matrix.press("1")
    assert matrix.turn(0.1) == ["1"]
    matrix.press("5")
    assert matrix.turn(0.1) == []
    matrix.let_go("1")
    assert matrix.turn(0.1) == []
    matrix.let_go("5")
    assert matrix.turn(0.1) == []
    matrix.press("5")
    assert matrix.turn(0.1) == ["5"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(ALL), st.booleans(), st.integers(1, 4)), max_size=20))
def test_only_a_key_that_was_down_alone_is_ever_told(moves: list[tuple[str, bool, int]]) -> None:
    """And no hand on the keys joins what is driven against one another: the matrix would say so."""
    matrix = Matrix()
    for key, is_down, turns in moves:
        (matrix.press if is_down else matrix.let_go)(key)
        for _ in range(turns):
            pressed = matrix.turn()
            assert not pressed or (len(pressed) == 1 and set(pressed) == matrix.down)
    matrix.keypad.close()


def test_a_key_held_down_is_stuck_until_it_is_let_go(matrix: Matrix) -> None:
    matrix.press("5")
    assert matrix.turn(STUCK_S - 1.0, 0.5) == ["5"]
    assert matrix.keypad.fault == ""
    matrix.turn(2.0, 0.5)
    assert matrix.keypad.fault == "keypad: a key has been down for 30 s (5); is it stuck?"
    matrix.press("9")
    matrix.turn(0.1)
    assert "(5, 9)" in matrix.keypad.fault
    matrix.let_go()
    matrix.turn(0.1)
    assert matrix.keypad.fault == ""
    matrix.press("7")
    assert matrix.turn(0.1) == ["7"]
    assert matrix.keypad.fault == ""


def test_at_rest_no_pin_is_switched(matrix: Matrix) -> None:
    matrix.turn(0.1)
    for pin in (*ROWS, *COLUMNS):
        matrix.factory.pin(pin).clear_states()
    matrix.turn(1.0)
    assert [len(matrix.factory.pin(pin).states) for pin in (*ROWS, *COLUMNS)] == [1] * 8


def test_every_pin_is_let_go_at_the_end(matrix: Matrix) -> None:
    matrix.press("5")
    matrix.turn(0.1)
    matrix.keypad.close()
    assert {matrix.factory.pin(pin).function for pin in (*ROWS, *COLUMNS)} == {"input"}
    matrix.keypad.close()


@pytest.mark.parametrize("place", range(8))
def test_a_pin_that_cannot_be_had_is_named_and_lets_go_of_the_rest(place: int) -> None:
    factory = MockFactory()
    pins: list[int] = [*ROWS, *COLUMNS]
    pins[place] = 60
    with pytest.raises(HardwareMissing, match=r"keypad pin 60 cannot be had \(.*\); see \[reader\]") as caught:
        Keypad(factory, pins[:4], pins[4:])
    Keypad(factory, ROWS, COLUMNS).close()
    assert caught.traceback  # which holds on to what was half made: it was closed, not only forgotten


def test_a_gpio_chips_lines_are_scanned_alike() -> None:
    chip = FakeChip()
    factory: Any = GpiodFactory(gpiod=FakeGpiod(chip))
    keypad = Keypad(factory, ROWS, COLUMNS)
    assert [chip.levels(pin)[-1] for pin in (*ROWS, *COLUMNS)] == [0] * 4 + [1] * 4
    before = [len(chip.levels(pin)) for pin in ROWS]
    chip.drive(COLUMNS[1], 0)  # a column shorted to ground: as if all its keys were down
    assert [keypad.poll(1000.0 + turn * TURN_S) for turn in range(5)] == [[]] * 5
    assert all(len(chip.levels(pin)) > count for pin, count in zip(ROWS, before, strict=True))
    keypad.poll(1100.0)
    assert "(0, 2, 5, 8)" in keypad.fault
    keypad.close()
    factory.close()
    assert chip.held() == set()
