"""What is typed on a keypad: number and PIN, until `#`, and nothing that somebody else had begun."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.credentials import pin
from device.credentials.typed import MOST_DIGITS, PAUSE_S, Entry, Typed

KEYS = "0123456789*#ABCD"


def typed(keys: str, gap_s: float = 0.3) -> list[Typed]:
    """What comes of these keys, one after another."""
    entry, mono, found = Entry(), 1000.0, []
    for key in keys:
        mono += gap_s
        if (whole := entry.press(key, mono)) is not None:
            found.append(whole)
    return found


@pytest.mark.parametrize(("keys", "whole"), [
    ("1234#", [Typed("", "1234")]),
    ("17*1234#", [Typed("17", "1234")]),
    ("*1234#", [Typed("", "1234")]),
    ("1A2B3C4D#", [Typed("", "1234")]),
    ("1234#5678#", [Typed("", "1234"), Typed("", "5678")]),
    ("99**1234#", [Typed("", "1234")]),
    ("99*12*1234#", [Typed("", "1234")]),
    ("99**17*1234#", [Typed("17", "1234")]),
    ("#", []),
    ("*#", []),
    ("17*#", []),
    ("##*#", []),
    ("1234", []),
])
def test_keys_become_number_and_pin(keys: str, whole: list[Typed]) -> None:
    assert typed(keys) == whole


def test_what_was_left_unfinished_is_not_the_next_ones() -> None:
    entry = Entry()
    for key in "17*12":
        assert entry.press(key, 1000.0) is None
    for key in "5678":
        entry.press(key, 1000.0 + PAUSE_S + 0.1)
    assert entry.press("#", 1001.0 + PAUSE_S) == Typed("", "5678")


def test_a_slow_typist_is_waited_for() -> None:
    assert typed("17*1234#", PAUSE_S) == [Typed("17", "1234")]
    assert typed("17*1234#", PAUSE_S + 0.01) == []


@pytest.mark.parametrize("keys", ["1" * 25, "1" * 20 + "*" + "2" * 5, "1" * 24 + "*1", "1" * 500,
                                  "1" * 500 + "*1234"])
def test_too_many_digits_are_no_pin_and_neither_is_their_end(keys: str) -> None:
    assert typed(keys + "#") == []
    assert typed(keys + "#1234#") == [Typed("", "1234")]


def test_too_many_digits_are_cleared_as_any() -> None:
    assert typed("1" * 500 + "**1234#") == [Typed("", "1234")]
    assert typed("1" * MOST_DIGITS + "#") == [Typed("", "1" * MOST_DIGITS)]


def test_the_longest_number_and_pin_can_be_typed() -> None:
    number, digits = "1" * pin.MOST_NUMBER, "2" * pin.MOST_DIGITS
    assert typed(f"{number}*{digits}#") == [Typed(number, digits)]


@given(st.text(KEYS, max_size=80))
def test_whatever_is_typed_an_entry_is_digits_and_not_too_many(keys: str) -> None:
    for whole in typed(keys):
        assert whole.pin.isdigit() and set(whole.number) <= set("0123456789")
        assert len(whole.number + whole.pin) <= MOST_DIGITS
        assert f"{whole.number}*{whole.pin}".removeprefix("*") + "#" in "".join(filter("0123456789*#".count, keys))


@given(st.text(max_size=20))
def test_what_is_no_key_means_nothing(text: str) -> None:
    entry = Entry()
    entry.press("1", 1000.0)
    for key in (text, *text, "", "12", "*#"):
        if key not in KEYS or len(key) != 1:
            assert entry.press(key, 1000.0) is None
    assert entry.press("#", 1000.0) == Typed("", "1")


def test_an_entry_stays_out_of_logs() -> None:
    assert "12" not in repr(Typed("12", "1234"))
