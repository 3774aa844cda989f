"""Debounce: every press of over 400 ms is seen, no bounce is counted twice."""

from __future__ import annotations

import random

import pytest
from fault_figures import Figure

from device.door import debounce
from device.door.debounce import Change, Filter
from device.door.types import ContactClosed, ContactOpened, DoorInput, Fire, Rex, Tamper
from device.door.wires import FILTERS, Wires
from device.hardware.inputs import Edge


def changes(edges: list[tuple[float, bool]], rule: Filter, until: float = 10.0) -> list[Change]:
    """What a loop that settles whenever it is due makes of `edges`, starting from an inactive wire."""
    state, found = debounce.wire(False, 0.0), []
    for mono, level in [*edges, (until, edges[-1][1])]:
        while (due := debounce.due_mono(state, rule)) is not None and due < mono:
            state, change = debounce.settle(state, due, rule)
            found += [change] if change else []
        state, change = debounce.edge(state, mono, level, rule)
        found += [change] if change else []
    return found


def bouncing(chance: random.Random, mono: float, level: bool) -> list[tuple[float, bool]]:
    """A change to `level` at `mono` with 5 to 50 ms of bounce after it."""
    end = mono + chance.uniform(0.005, 0.050)
    edges = [(mono, level)]
    at = mono
    while (at := at + chance.uniform(0.0002, 0.012)) < end:
        edges.append((at, not edges[-1][1]))
    if edges[-1][1] != level:
        edges.append((end, level))
    return edges


@pytest.mark.parametrize("name", FILTERS)
def test_a_clean_pulse_of_over_400_ms_is_seen_once(name: str) -> None:
    for length in (0.4, 0.5, 1.0):
        found = changes([(1.0, True), (1.0 + length, False)], FILTERS[name])
        assert [change.level for change in found] == [True, False]
        assert [change.mono for change in found] == [1.0, 1.0 + length]


@pytest.mark.parametrize("name", FILTERS)
def test_bounces_are_never_counted_twice(name: str) -> None:
    chance = random.Random(7)
    for _ in range(2000):
        length = chance.uniform(0.4, 2.0)
        edges = bouncing(chance, 1.0, True) + bouncing(chance, 1.0 + length, False)
        assert [change.level for change in changes(edges, FILTERS[name])] == [True, False]


@pytest.mark.slow
@pytest.mark.parametrize("name", FILTERS)
def test_bounces_are_never_counted_twice_in_ten_thousand(name: str, figure: Figure) -> None:
    chance = random.Random(11)
    for _ in range(10_000):
        edges = bouncing(chance, 1.0, True) + bouncing(chance, 1.0 + chance.uniform(0.4, 2.0), False)
        assert [change.level for change in changes(edges, FILTERS[name])] == [True, False]
    figure("F33", "10000 bouncing pulses of each input: each seen once")


def test_a_vibrating_closed_door_is_not_an_opening() -> None:
    chance = random.Random(3)
    edges = []
    for n in range(200):
        edges += [(1.0 + n * 0.2, True), (1.0 + n * 0.2 + chance.uniform(0.001, 0.050), False)]
    assert changes(edges, FILTERS["contact"], until=60.0) == []


def test_a_chattering_wire_settles_on_where_it_ends() -> None:
    edges = [(1.0 + n * 0.015, n % 2 == 0) for n in range(401)]
    found = changes(edges, FILTERS["contact"])
    assert [change.level for change in found] == [True]


def test_the_exit_button_is_answered_ten_milliseconds_after_a_press() -> None:
    state, rule = debounce.wire(False, 0.0), FILTERS["rex"]
    state, _ = debounce.edge(state, 1.0, True, rule)
    assert debounce.due_mono(state, rule) == pytest.approx(1.010)
    assert debounce.settle(state, 1.010, rule)[1] == Change(1.0, True)


def test_edges_that_were_queued_late_count_by_their_own_time() -> None:
    state, rule = debounce.wire(False, 0.0), Filter()
    state, none = debounce.edge(state, 1.0, True, rule)
    state, change = debounce.edge(state, 1.5, False, rule)
    assert (none, change) == (None, Change(1.0, True))


def test_wires_turn_edges_into_the_machines_inputs() -> None:
    wires = Wires({"contact": False, "rex": False, "tamper": False, "fire": False}, 0.0)
    edges = [Edge(name, 1.0 + n / 100, True) for n, name in enumerate(["contact", "rex", "tamper", "fire"])]
    assert wires.due_mono() is None
    assert wires.feed(edges, 1.03) == [Rex(1.01)]
    expected: list[DoorInput] = [ContactOpened(1.0), Tamper(1.02, True), Fire(1.03, True)]
    assert wires.feed([], 1.1) == expected
    assert wires.feed([Edge("contact", 2.0, False)], 2.07) == [ContactClosed(2.0)]
    assert wires.feed([Edge("bell", 3.0, True)], 4.0) == []


def test_inputs_active_at_the_start_are_told_but_a_held_button_is_not_a_press() -> None:
    wires = Wires({"contact": True, "rex": True, "tamper": True, "fire": True}, 5.0)
    assert set(wires.initial()) == {ContactOpened(5.0, is_initial=True), Tamper(5.0, True), Fire(5.0, True)}
    assert Wires({"contact": False, "fire": False}, 5.0).initial() == ()
