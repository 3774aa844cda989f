"""The door's phases as a table: what `machine` looks up, and what the state diagram is drawn from.

A pair that the table does not name leaves the phase as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from device.door.types import Phase


class Event(Enum):
    """What can move the phase; `machine` works it out from an input and the deadlines."""

    RELEASED = "released"
    FREED = "free or fire begins"
    ENDED = "release or free mode ends"
    OPENED = "opens"
    OPENED_UNASKED = "opens unasked"
    CLOSED = "closes"
    CLOSED_RELEASED = "closes while released"
    HELD = "open too long"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Transition:
    """One row. reason, where there is one, is written into the journal."""

    phase: Phase
    event: Event
    to: Phase
    reason: str = ""


TABLE = (
    Transition(Phase.SECURE, Event.RELEASED, Phase.RELEASED),
    Transition(Phase.SECURE, Event.FREED, Phase.RELEASED),
    Transition(Phase.SECURE, Event.OPENED, Phase.OPEN, "door_opened"),
    Transition(Phase.SECURE, Event.OPENED_UNASKED, Phase.FORCED, "forced_open"),
    Transition(Phase.RELEASED, Event.ENDED, Phase.SECURE),
    Transition(Phase.RELEASED, Event.OPENED, Phase.OPEN, "door_opened"),
    Transition(Phase.OPEN, Event.HELD, Phase.HELD, "held_open"),
    Transition(Phase.OPEN, Event.CLOSED, Phase.SECURE),
    Transition(Phase.OPEN, Event.CLOSED_RELEASED, Phase.RELEASED),
    Transition(Phase.HELD, Event.CLOSED, Phase.SECURE, "held_cleared"),
    Transition(Phase.HELD, Event.CLOSED_RELEASED, Phase.RELEASED, "held_cleared"),
    Transition(Phase.HELD, Event.FREED, Phase.OPEN, "held_cleared"),
    Transition(Phase.HELD, Event.RESET, Phase.OPEN, "held_cleared"),
    Transition(Phase.FORCED, Event.CLOSED, Phase.SECURE, "forced_cleared"),
    Transition(Phase.FORCED, Event.CLOSED_RELEASED, Phase.RELEASED, "forced_cleared"),
    Transition(Phase.FORCED, Event.FREED, Phase.OPEN, "forced_cleared"),
    Transition(Phase.FORCED, Event.RESET, Phase.OPEN, "forced_cleared"),
)

TRANSITIONS = MappingProxyType({(row.phase, row.event): row for row in TABLE})


def transition(phase: Phase, event: Event) -> Transition:
    """The row for `phase` and `event`; one that stays where the table has none."""
    return TRANSITIONS.get((phase, event)) or Transition(phase, event, phase)


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> SECURE"]
    for row in TABLE:
        note = f" / {row.reason}" if row.reason else ""
        lines.append(f"    {row.phase.name} --> {row.to.name}: {row.event.value}{note}")
    return "\n".join(lines)
