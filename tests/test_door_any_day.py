"""The door through any day at all: inputs in any order, and what must hold whatever they were.

`make faults` makes a thousand days of sixty inputs, by chance (DOOR_DAYS).
"""

from __future__ import annotations

import os
from dataclasses import replace

from door_samples import ANNA, BORIS, PASS, granted
from fault_figures import Figure
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from device.door.decision import Claim, Decision
from device.door.machine import step
from device.door.reasons import REASONS
from device.door.types import (
    Bell,
    Cause,
    Command,
    ContactClosed,
    ContactOpened,
    Decided,
    Degraded,
    DoorInput,
    DoorState,
    Fire,
    Mode,
    Note,
    OtherDoor,
    Phase,
    Release,
    Rex,
    Secure,
    Tamper,
    Tick,
    Timing,
    Verb,
)
from device.store.records import Direction, Method

DAYS = int(os.environ.get("DOOR_DAYS", "60"))
THINGS = 60
waits = st.sampled_from([0.0, 0.01, 0.3, 1.0, 4.0, 6.0, 25.0])


class AnyDay(RuleBasedStateMachine):
    """Inputs in any order; a model beside it that knows only for what reasons the lock may be released."""

    @initialize(relock=st.booleans(), auto=st.booleans(), first=st.booleans(), contact=st.booleans())
    def begin(self, relock: bool, auto: bool, first: bool, contact: bool) -> None:
        self.timing = Timing(relock_on_open=relock, fire_auto_reset=auto, journal_first=first, has_contact=contact)
        self.state, self.mono = DoorState(), 100.0
        self.licensed_until = 0.0  # by the grants, exits and commands that were given
        self.exit_until = 0.0  # by exits alone: all that lockdown leaves
        self.relay_until = 0.0  # what the relay would do on its own
        self.is_contact_open = False

    def do(self, event: DoorInput) -> None:
        self.state, effects = step(self.state, event, self.timing)
        for effect in effects:
            if isinstance(effect, Release):
                assert 0 < effect.seconds <= self.timing.order_s
                self.relay_until = self.mono + effect.seconds
            elif isinstance(effect, Secure):
                self.relay_until = 0.0
            elif isinstance(effect, Note):
                assert effect.entry.reason in REASONS
        self.passed = [effect for effect in effects if isinstance(effect, Note) and effect.entry.kind == "passage"]

    @rule(wait=waits)
    def time_passes(self, wait: float) -> None:
        self.mono += wait
        self.do(Tick(self.mono))

    @rule(person=st.sampled_from([ANNA, BORIS]), seconds=st.sampled_from([3.0, 5.0, 10.0]), repeat=st.booleans())
    def a_face_is_granted(self, person: str, seconds: float, repeat: bool) -> None:
        if not repeat and not self.is_barred():
            self.licensed_until = max(self.licensed_until, self.mono + seconds)
        self.do(Decided(replace(granted(person, seconds), is_repeat=repeat), self.mono))

    @rule(person=st.sampled_from([ANNA, BORIS]), direction=st.sampled_from(Direction), is_pass=st.booleans())
    def somebody_passes_with_another(self, person: str, direction: Direction, is_pass: bool) -> None:
        claim = Claim(person, frozenset({Method.QR}), direction=direction, qr_pass=PASS if is_pass else None)
        if not self.is_barred():
            self.licensed_until = max(self.licensed_until, self.mono + 5)
        self.do(Decided(replace(granted(person), claim=claim, companions=("c" * 32,)), self.mono))

    @rule(is_open=st.booleans())
    def other_door(self, is_open: bool) -> None:
        was_released = self.is_released()
        self.do(OtherDoor(self.mono, is_open))
        assert was_released or not self.is_released()

    @rule()
    def bell(self) -> None:
        self.do(Bell(self.mono))

    def is_barred(self) -> bool:
        """Lockdown, or the other door of an interlock: neither counts against fire."""
        is_shut = self.state.is_other_open and self.state.mode is not Mode.FREE
        return not self.state.is_fire and (self.state.mode is Mode.LOCKDOWN or is_shut)

    @rule(reason=st.sampled_from(["unknown_face", "attack", "expired", "locked_out"]))
    def a_face_is_refused(self, reason: str) -> None:
        self.do(Decided(Decision(False, reason, alarms=("lockout_alarm",)), self.mono))

    @rule(active=st.booleans())
    def exit_button(self, active: bool) -> None:
        if active and self.state.rex_since is None:
            self.exit_until = self.mono + self.timing.rex_release_s
            self.licensed_until = max(self.licensed_until, self.exit_until)
        self.do(Rex(self.mono, active))

    @rule(is_open=st.booleans())
    def contact(self, is_open: bool) -> None:
        self.is_contact_open = is_open
        self.do(ContactOpened(self.mono) if is_open else ContactClosed(self.mono))
        if self.passed:  # nobody is said to have passed on a grant that was over
            assert is_open
            assert self.mono < self.licensed_until + self.timing.shunt_grace_s

    @rule(active=st.booleans())
    def tamper(self, active: bool) -> None:
        self.do(Tamper(self.mono, active))

    @rule(active=st.booleans())
    def fire(self, active: bool) -> None:
        was_fire = self.state.is_fire
        self.do(Fire(self.mono, active))
        assert not active or self.state.is_fire
        assert active or not was_fire or self.timing.fire_auto_reset or self.state.is_fire

    @rule(seconds=st.sampled_from([None, 2.0, 50.0, 1e6]))
    def released_from_afar(self, seconds: float | None) -> None:
        if not self.is_barred():
            length = min(seconds or self.timing.command_release_s, self.timing.max_release_s)
            self.licensed_until = max(self.licensed_until, self.mono + length)
        self.do(Command(self.mono, "c", Verb.RELEASE, seconds=seconds))

    @rule(mode=st.sampled_from(Mode), ends=st.none() | st.sampled_from([5.0, 100.0]),
          source=st.sampled_from(["hub", "schedule"]))
    def mode_is_set(self, mode: Mode, ends: float | None, source: str) -> None:
        self.do(Command(self.mono, "c", Verb.MODE, mode=mode, until_mono=None if ends is None else self.mono + ends,
                        source=source))
        ordered, planned = self.state.desired, self.state.planned
        assert self.state.mode is (planned if ordered is Mode.NORMAL else ordered)

    @rule(local=st.booleans())
    def reset(self, local: bool) -> None:
        self.do(Command(self.mono, "c", Verb.RESET, is_local=local))

    @rule(reason=st.sampled_from(["vision_silent", "relay_lost", "journal_failed", "camera_lost"]), on=st.booleans())
    def a_part_fails_or_returns(self, reason: str, on: bool) -> None:
        was_released = self.is_released()
        self.do(Degraded(self.mono, reason, on))
        assert was_released or not self.is_released()

    def is_released(self) -> bool:
        return self.relay_until > self.mono

    @invariant()
    def never_released_without_a_reason(self) -> None:
        if hasattr(self, "state") and self.is_released() and not self.state.is_free:
            assert self.relay_until <= self.licensed_until + 1e-9

    @invariant()
    def lockdown_leaves_only_fire_and_exit(self) -> None:
        if hasattr(self, "state") and self.state.mode is Mode.LOCKDOWN and not self.state.is_fire:
            assert self.state.cause in (None, Cause.REX)
            assert not self.is_released() or self.state.cause is Cause.REX

    @invariant()
    def while_free_the_relay_never_falls(self) -> None:
        if hasattr(self, "state") and self.state.is_free:
            assert self.is_released()
            assert self.state.phase in (Phase.RELEASED, Phase.OPEN)

    @invariant()
    def phase_contact_and_lock_agree(self) -> None:
        if not hasattr(self, "state"):
            return
        assert self.state.is_contact_open == self.is_contact_open
        if self.state.phase is Phase.SECURE:
            assert not self.is_released()
        if self.state.phase is Phase.RELEASED:
            assert self.state.is_free or self.state.release_until is not None
        assert (self.state.release_until is None) == (self.state.cause is None)

    def teardown(self) -> None:
        """Every release ends: left alone, a door that is not free is secure within the longest release."""
        if hasattr(self, "state") and not self.state.is_free:
            for _ in range(40):
                self.mono += 10
                self.do(Tick(self.mono))
            assert self.state.is_free or not self.is_released()


def test_no_invariant_breaks_on_any_day(figure: Figure) -> None:
    run_state_machine_as_test(AnyDay, settings=settings(max_examples=DAYS, stateful_step_count=THINGS, deadline=None))
    figure("F31", f"{DAYS} random days of {THINGS} things each: 0 invariants of the door broken")
