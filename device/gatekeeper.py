"""The door thread: every arrival becomes a step of the door's machine, every effect is carried out here.

It owns the door's state, the policy's memory and the journal. What it does it does in the order in which the
machine says; the decision itself is pure (`device.door`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from device.clock import Clock, ClockQuality
from device.door.machine import step
from device.door.policy import claim_from, decide
from device.door.types import (
    Claim,
    CredentialShown,
    Decided,
    Decision,
    DoorInput,
    DoorState,
    Effect,
    Memory,
    Note,
    Now,
    Person,
    Release,
    Secure,
    Signal,
    Tick,
    Timing,
)
from device.inbox import Inbox
from device.roster import Roster
from device.sighting import Demand, Level, Outcome, Sighting
from device.store.keeper import JournalKeeper
from device.store.records import NewEntry

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
                 vigilance: Vigilance | None = None,
                 claim_of: Callable[[CredentialShown, Now], Claim] | None = None,
                 latch: Callable[[bool], None] | None = None) -> None:
        """claim_of  who a credential says somebody is; None where the terminal reads none
        latch     keeps whether fire has freed the door, over a restart"""
        self._inbox, self._roster, self._person = inbox, roster, person
        self._lock, self._signal, self._journal = lock, signal, journal
        self._timing, self._clock, self._clock_quality = timing, clock, clock_quality
        self._observers = observers
        self._vigilance = vigilance or Vigilance()
        self._claim_of, self._latch = claim_of, latch
        self._vigilant_until = float("-inf")
        self._asked = Demand()
        self._memory = Memory()
        self.state = DoorState()
        self.turned_mono = clock.mono()

    @property
    def demand(self) -> Demand:
        """What the door asks of vision now; read by the vision thread."""
        level = self._vigilance.level
        if level is not Level.NONE and self._clock.mono() < self._vigilant_until:
            level = Level.HIGH
        return replace(self._asked, level=level)

    def turn(self, timeout_s: float = TICK_S) -> None:
        """Handle one arrival, or let time pass when none comes."""
        self.turned_mono = self._clock.mono()
        arrival = self._inbox.take(timeout_s)
        if arrival is None:
            self.handle(Tick(self._clock.mono()))
        elif isinstance(arrival, Sighting):
            self._sighted(arrival)
        elif isinstance(arrival, CredentialShown):
            self._shown(arrival)
        elif isinstance(arrival, NewEntry):
            self._journal.append(arrival)
        else:
            self.handle(arrival)

    def handle(self, event: DoorInput) -> None:
        """Step the machine and carry out what it says.

        Where the journal must come first and cannot be written, nothing has happened: the old state stands, or a
        renewal would carry out later what was refused now.
        """
        before = self.state
        self.state, effects = step(before, event, self._timing)
        is_noted = True
        for effect in effects:
            if isinstance(effect, Release) and effect.only_if_noted and not is_noted:
                self.state = before
                return
            is_noted = self._perform(effect) and is_noted
        if self._latch is not None and self.state.is_fire is not before.is_fire:
            self._latch(self.state.is_fire)

    def _sighted(self, sighting: Sighting) -> None:
        claim = claim_from(sighting)
        if claim is None:
            for observer in self._observers:
                observer.awaited(sighting)
            return
        decision = self._decide(claim, self._now())
        if sighting.outcome in (Outcome.ATTACK, Outcome.UNPROVED) and decision.alarms:
            self._vigilant_until = self._clock.mono() + self._vigilance.high_s

    def _shown(self, shown: CredentialShown) -> None:
        if self._claim_of is None:
            log.warning("a %s was shown; this terminal reads none", shown.method.value)
            return
        now = self._now()
        self._decide(self._claim_of(shown, now), now)

    def _now(self) -> Now:
        return Now(self._clock.now(), self._clock.mono(), self._clock_quality())

    def _decide(self, claim: Claim, now: Now) -> Decision:
        """Ask the policy about a claim, and act on the answer."""
        person = None if claim.person_id is None else self._person(claim.person_id)
        decision, self._memory = decide(claim, person, self._roster().rules, self._memory, now)
        self._asked = decision.demand or Demand()
        self.handle(Decided(decision, now.mono))
        if not decision.is_repeat:
            for observer in self._observers:
                observer.decided(decision, now)
        return decision

    def _perform(self, effect: Effect) -> bool:
        """Carry out one effect; false where it had to be written and could not be."""
        if isinstance(effect, Release):
            self._lock.release(effect.seconds)
        elif isinstance(effect, Secure):
            self._lock.secure()
        elif isinstance(effect, Note):
            return self._journal.append(effect.entry) is not None
        elif isinstance(effect, Signal):
            self._signal(effect.reason)
            for observer in self._observers:
                observer.signalled(effect.reason)
        return True
