"""A door's machine for tests, with everything it did; and grants."""

from __future__ import annotations

from datetime import datetime, timezone

from device.door.decision import Decision, PassFacts
from device.door.machine import step
from device.door.types import (
    Command,
    ContactClosed,
    ContactOpened,
    Decided,
    DoorInput,
    DoorState,
    Effect,
    Note,
    Release,
    Secure,
    Signal,
    Tick,
    Timing,
    Verb,
)

ANNA, BORIS = "a" * 32, "b" * 32
TIMING = Timing(has_contact=True)


PASS = PassFacts("f" * 32, "door", "visitors", datetime(2026, 1, 5, tzinfo=timezone.utc),
                 datetime(2026, 1, 6, tzinfo=timezone.utc))


def granted(person_id: str = ANNA, release_s: float = 5.0) -> Decision:
    return Decision(True, "face_granted", person_id, release_s, "r1")


class Door:
    """A door's machine and everything it did."""

    def __init__(self, timing: Timing = TIMING, state: DoorState | None = None) -> None:
        self.timing, self.state, self.mono = timing, state or DoorState(), 100.0
        self.effects: tuple[Effect, ...] = ()

    def do(self, event: DoorInput) -> Door:
        self.state, self.effects = step(self.state, event, self.timing)
        return self

    def grant(self, person_id: str = ANNA, release_s: float = 5.0) -> Door:
        return self.do(Decided(granted(person_id, release_s), self.mono))

    def tick(self, seconds: float) -> Door:
        self.mono += seconds
        return self.do(Tick(self.mono))

    def opens(self, after: float = 0.0) -> Door:
        self.mono += after
        return self.do(ContactOpened(self.mono))

    def closes(self, after: float = 0.0) -> Door:
        self.mono += after
        return self.do(ContactClosed(self.mono))

    def order(self, verb: Verb, **more: object) -> Door:
        return self.do(Command(self.mono, "c1", verb, **more))  # type: ignore[arg-type]

    @property
    def noted(self) -> list[str]:
        return [effect.entry.reason for effect in self.effects if isinstance(effect, Note)]

    @property
    def shown(self) -> list[str]:
        return [effect.reason for effect in self.effects if isinstance(effect, Signal)]

    @property
    def orders(self) -> list[Effect]:
        return [effect for effect in self.effects if isinstance(effect, (Release, Secure))]
