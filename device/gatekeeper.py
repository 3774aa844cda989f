"""The door thread: every arrival becomes a step of the door's machine, every effect is carried out here.

It owns the door's state, the policy's memory and the journal. What it does it does in the order in which the
machine says; the decision itself is pure (`device.door`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Protocol

from device.clock import Clock, ClockQuality
from device.door.claim import claim_from
from device.door.decision import Claim, Decision, Memory, Now
from device.door.machine import step
from device.door.modes import planned
from device.door.policy import decide
from device.door.reasons import entry
from device.door.types import (
    Command,
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
from device.inbox import Inbox
from device.passages import PASSED, Passages, Positions
from device.roster import Roster
from device.sighting import Demand, Level, Outcome, Sighting
from device.store.keeper import JournalKeeper
from device.store.records import NewEntry, Person

log = logging.getLogger(__name__)

TICK_S = 0.05


class Lock(Protocol):
    """What the gatekeeper needs of the relay's process."""

    def release(self, seconds: float) -> int: ...

    def secure(self) -> int: ...


class Observer(Protocol):
    """Who looks on: the status, the kiosk's screen, the rehearsal. Called on the door thread; must not wait."""

    def decided(self, decision: Decision, at: Now) -> None:
        """A new answer was given to somebody (repeats to the same track are not told)."""
        ...

    def signalled(self, reason: str) -> None:
        """The screen, lamp and buzzer now say this."""
        ...

    def awaited(self, sighting: Sighting) -> None:
        """A face is being looked at and nothing is decided yet; its hint and action say what would help."""
        ...


@dataclass(frozen=True, slots=True)
class Vigilance:
    """How much proof of a live person is asked for.

    level   as configured
    high_s  seconds of level high after the alarm of several attacks
    """

    level: Level = Level.NORMAL
    high_s: float = 600.0


class Gatekeeper:
    """One door. `turn` is called in a loop by the thread that owns it; `turned_mono` says when it was last."""

    def __init__(self, inbox: Inbox, roster: Callable[[], Roster], person: Callable[[str], Person | None], lock: Lock,
                 signal: Callable[[str], None], journal: JournalKeeper, timing: Timing, clock: Clock,
                 clock_quality: Callable[[], ClockQuality], observers: tuple[Observer, ...] = (),
                 vigilance: Vigilance | None = None, latch: Callable[[bool], None] | None = None,
                 stepped: Callable[[DoorState, Sequence[Effect]], None] | None = None) -> None:
        """latch    keeps whether fire has freed the door, over a restart
        stepped  is told of each step of the machine: the second relay follows it"""
        self._inbox, self._roster, self._person = inbox, roster, person
        self._lock, self._signal, self._journal = lock, signal, journal
        self._timing, self._clock, self._clock_quality = timing, clock, clock_quality
        self._observers = observers
        self._vigilance = vigilance or Vigilance()
        self._latch, self._stepped = latch, stepped
        self.passages = Passages(self._positions, lambda: "hub_silent" in self.state.degraded)
        self._opened: frozenset[str] = frozenset()  # plans whose first person has come
        self._vigilant_until = float("-inf")
        self._asked = Demand()
        self._memory = Memory()
        self._committed: list[Note] = []
        self.state = DoorState()
        self.turned_mono = clock.mono()

    @property
    def demand(self) -> Demand:
        """What the door asks of vision now; read by the vision thread."""
        level = self._vigilance.level
        if level is not Level.NONE and self._clock.mono() < self._vigilant_until:
            level = Level.HIGH
        return replace(self._asked, level=level)

    @property
    def awaited(self) -> str | None:
        """Whose second proof the door waits for; read by the credential desk's thread."""
        shown = self._memory.shown
        return shown[-1].person_id if shown else None

    def turn(self, timeout_s: float = TICK_S) -> None:
        """Handle one arrival, or let time pass when none comes."""
        self.turned_mono = self._clock.mono()
        arrival = self._inbox.take(timeout_s)
        if arrival is None:
            self.handle(Tick(self._clock.mono()))
        elif isinstance(arrival, Sighting):
            self._sighted(arrival)
        elif isinstance(arrival, Claim):
            self._decide(arrival, self._now())
        elif isinstance(arrival, NewEntry):
            self._journal.append(arrival)
        else:
            self.handle(arrival)

    def handle(self, event: DoorInput) -> bool:
        """Step the machine and carry out what it says; whether that was done.

        Where the journal must come first and cannot be written, nothing has happened: the old state stands, or a
        renewal would carry out later what was refused now.
        """
        before = self.state
        after, effects = step(before, event, self._timing)
        if not self._commit(effects):
            self._not_recorded()
            return False
        self.state = after
        for effect in effects:
            self._perform(effect)
        if self._stepped is not None:
            self._stepped(self.state, effects)
        if self._latch is not None and self.state.is_fire is not before.is_fire:
            self._latch(self.state.is_fire)
        return True

    def plan(self) -> None:
        """See what the calendar asks for now; called once a second, and when a first person has come."""
        wanted = planned(self._roster().rules, self._opened, self._now())
        self._opened = wanted.opened
        if wanted.mode is not self.state.planned:
            self.handle(Command(self._clock.mono(), wanted.plan_id or "none", Verb.MODE, mode=wanted.mode,
                                source="schedule"))

    def _commit(self, effects: Sequence[Effect]) -> bool:
        """Write what must be on the medium before the relay moves; false where that failed, and nothing happened."""
        ahead = list(takewhile(lambda effect: isinstance(effect, Note), effects))
        after = effects[len(ahead):len(ahead) + 1]
        if not after or not isinstance(after[0], Release) or not after[0].only_if_noted:
            return True
        self._committed = [note for note in ahead if isinstance(note, Note)]
        return self._journal.commit([note.entry for note in self._committed],
                                    [note.uses for note in self._committed if note.uses is not None])

    def _not_recorded(self) -> None:
        self._journal.append(entry("not_recorded"))
        self._perform(Signal("not_recorded"))

    def _sighted(self, sighting: Sighting) -> None:
        claim = claim_from(sighting)
        if claim is None:
            for observer in self._observers:
                observer.awaited(sighting)
            return
        decision = self._decide(claim, self._now())
        if sighting.outcome in (Outcome.ATTACK, Outcome.UNPROVED) and decision.alarms:
            self._vigilant_until = self._clock.mono() + self._vigilance.high_s

    def _now(self) -> Now:
        return Now(self._clock.now(), self._clock.mono(), self._clock_quality())

    def _decide(self, claim: Claim, now: Now) -> Decision:
        """Ask the policy about a claim, and act on the answer."""
        person = None if claim.person_id is None else self._person(claim.person_id)
        rules, shown = self._roster().rules, claim.qr_pass
        is_used = shown is not None and self._journal.is_used(shown.pass_id)
        scene = self.passages.scene(claim.person_id, rules, is_used)
        decision, self._memory = decide(claim, person, rules, self._memory, now, scene)
        self._asked = decision.demand or Demand()
        if not self.handle(Decided(decision, now.mono)):
            decision = replace(decision, granted=False, reason="not_recorded", opens=())
        if decision.opens and not self._opened.issuperset(decision.opens):
            self._opened |= frozenset(decision.opens)
            self.plan()
        if not decision.is_repeat:
            for observer in self._observers:
                observer.decided(decision, now)
        return decision

    def _positions(self) -> Positions:
        return self._roster().positions

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, Release):
            self._lock.release(effect.seconds)
        elif isinstance(effect, Secure):
            self._lock.secure()
        elif isinstance(effect, Note):
            self._note(effect)
        elif isinstance(effect, Signal):
            self._signal(effect.reason)
            for observer in self._observers:
                observer.signalled(effect.reason)

    def _note(self, note: Note) -> None:
        if note in self._committed:
            self._committed.remove(note)  # it is on the medium already
        else:
            self._journal.append(note.entry)
        if note.entry.reason in PASSED and note.entry.person_id is not None:
            area = str(dict(note.entry.detail).get("area") or "")
            self.passages.passed(note.entry.person_id, area, self._clock.now())
