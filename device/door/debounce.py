"""Debounce: time-stamped edges of one wire in, stable changes of its level out. Pure; used by `door.wires`.

A quiet wire takes a new level once that has held for `settle_s`. From then until it has been quiet again for
`quiet_s`, only a level that holds for `quiet_s` counts. So a pulse longer than `quiet_s` is always seen, and bounces
shorter than that are never counted as a second change. IEC 60839-11-1 asks that an input active for over 400 ms is
processed; contacts bounce for 5 to 50 ms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Filter:
    """settle_s  0 takes the first edge at once; quiet_s must be longer than the longest bounce."""

    settle_s: float = 0.060
    quiet_s: float = 0.060


@dataclass(frozen=True, slots=True)
class Wire:
    """level is the stable one; raw the newest, held since raw_since; is_quiet once a change has held for quiet_s."""

    level: bool
    raw: bool
    raw_since: float
    is_quiet: bool = True


@dataclass(frozen=True, slots=True)
class Change:
    """The wire took `level`; `mono` is when that level began to hold."""

    mono: float
    level: bool


def wire(level: bool, mono: float) -> Wire:
    """A wire that is at `level` from the start."""
    return Wire(level, level, mono)


def edge(state: Wire, mono: float, level: bool, rule: Filter) -> tuple[Wire, Change | None]:
    """The wire went to `level` at `mono`: what it did before may become a change now."""
    state, change = settle(state, mono, rule)
    if level == state.raw:
        return state, change
    return replace(state, raw=level, raw_since=mono), change


def settle(state: Wire, mono: float, rule: Filter) -> tuple[Wire, Change | None]:
    """Time has passed until `mono` without an edge."""
    due = due_mono(state, rule)
    if due is None or mono < due:
        return state, None
    if state.raw == state.level:
        return replace(state, is_quiet=True), None
    change = Change(state.raw_since, state.raw)
    is_quiet = mono >= state.raw_since + rule.quiet_s
    return replace(state, level=state.raw, is_quiet=is_quiet), change


def due_mono(state: Wire, rule: Filter) -> float | None:
    """When `settle` should be asked again; None while nothing is pending."""
    if state.raw == state.level:
        return None if state.is_quiet else state.raw_since + rule.quiet_s
    return state.raw_since + (rule.settle_s if state.is_quiet else rule.quiet_s)
