"""The door's wires: edges of named inputs in, the machine's inputs out.

The door thread feeds it the edges that `hardware.inputs` queued, and asks again when `due_mono` says so. Polarity is
settled below: `is_active` means door open, exit asked, cover off, fire.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from device.door import debounce
from device.door.debounce import Change, Filter
from device.door.types import (
    Bell,
    ContactClosed,
    ContactOpened,
    Degraded,
    DoorInput,
    Fire,
    OtherDoor,
    Rex,
    Tamper,
)

# An exit button is answered within 50 ms, so it settles faster than its longest bounce; see `debounce`.
FILTERS: Mapping[str, Filter] = {
    "contact": Filter(),
    "rex": Filter(settle_s=0.010),
    "tamper": Filter(),
    "fire": Filter(),
    "interlock": Filter(),
    "bell": Filter(),
}

CHATTER_S, CHATTER_EDGES = 10.0, 200
"""So many edges in so many seconds are no contact's bounce and no hand: the wire or the switch is broken."""


class EdgeLike(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def mono(self) -> float: ...
    @property
    def is_active(self) -> bool: ...


class Wires:
    """The debounced state of the wired inputs of one door."""

    def __init__(self, levels: Mapping[str, bool], mono: float) -> None:
        """levels  name -> is_active at the start, for the inputs that are wired"""
        self._wires = {name: debounce.wire(level, mono) for name, level in levels.items()}
        self._edges = dict.fromkeys(levels, 0)
        self._counted_since = mono
        self._chatters: frozenset[str] = frozenset()
        self._initial = tuple(
            item for name, level in levels.items() if level for item in [_initial(name, mono)] if item is not None
        )

    def initial(self) -> tuple[DoorInput, ...]:
        """What the machine must know of inputs that were active when the terminal started."""
        return self._initial

    def feed(self, edges: Iterable[EdgeLike], mono: float) -> list[DoorInput]:
        """The changes that `edges` and the time until `mono` make, in order."""
        changes: list[tuple[Change, str]] = []
        for one in edges:
            if one.name in self._wires:
                self._edges[one.name] += 1
                self._take(one.name, debounce.edge(self._wires[one.name], one.mono, one.is_active, FILTERS[one.name]),
                           changes)
        for name, state in list(self._wires.items()):
            self._take(name, debounce.settle(state, mono, FILTERS[name]), changes)
        changes.sort(key=lambda pair: pair[0].mono)
        told = [_input(name, change) for change, name in changes]
        return [one for one in told if one is not None] + self._judge_chatter(mono)

    def due_mono(self) -> float | None:
        """When to feed again although no edge has come; None while every wire is quiet."""
        due = [debounce.due_mono(state, FILTERS[name]) for name, state in self._wires.items()]
        return min((mono for mono in due if mono is not None), default=None)

    def _judge_chatter(self, mono: float) -> list[DoorInput]:
        """Which wires chatter, where that has changed: at once when one begins, after a quiet span when it ends."""
        chatters = frozenset(name for name, edges in self._edges.items() if edges > CHATTER_EDGES)
        if mono - self._counted_since >= CHATTER_S:
            self._counted_since = mono
            self._edges = dict.fromkeys(self._edges, 0)
        else:
            chatters |= self._chatters
        before, self._chatters = self._chatters, chatters
        return [] if bool(before) == bool(chatters) else [Degraded(mono, "input_chatters", bool(chatters))]

    def _take(
        self, name: str, outcome: tuple[debounce.Wire, Change | None], changes: list[tuple[Change, str]]
    ) -> None:
        self._wires[name], change = outcome
        if change is not None:
            changes.append((change, name))


def _input(name: str, change: Change) -> DoorInput | None:
    if name == "bell":
        return Bell(change.mono) if change.level else None
    if name == "interlock":
        return OtherDoor(change.mono, change.level)
    if name == "contact":
        return ContactOpened(change.mono) if change.level else ContactClosed(change.mono)
    if name == "rex":
        return Rex(change.mono, change.level)
    if name == "tamper":
        return Tamper(change.mono, change.level)
    return Fire(change.mono, change.level)


def _initial(name: str, mono: float) -> DoorInput | None:
    """A button that is down at the start asks for nothing: no release without a press."""
    if name == "contact":
        return ContactOpened(mono, is_initial=True)
    return None if name in ("rex", "bell") else _input(name, Change(mono, True))
