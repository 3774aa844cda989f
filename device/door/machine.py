"""What the door does: `step(state, input, timing)` gives the next state and the effects. Pure.

Called by the door thread for every decision, contact, button, command, fault and tick. The phases move as
`transitions` says. What the relay must do is not said by any handler: it follows from the state, by comparing until
when the lock shall be released with until when the relay has been told so (`_lock_orders`). Likewise the standing
lamp and sound follow from the state (`notes.standing`). So a release can neither be forgotten nor outlive its reason.
"""

from __future__ import annotations

import math
from dataclasses import replace

from device.door.decision import Claim, Decision
from device.door.notes import decision_note, entries, note, standing, used_pass
from device.door.reasons import Plain
from device.door.transitions import Event, transition
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
    Effect,
    Fire,
    Grantee,
    Mode,
    Note,
    OtherDoor,
    Phase,
    Release,
    Rex,
    Secure,
    Signal,
    Tamper,
    Timing,
    Verb,
)

Effects = tuple[Effect, ...]
Outcome = tuple[DoorState, Effects]

LONGEST_DETAIL = 160
_MODE_REASONS = {Mode.NORMAL: "mode_normal", Mode.FREE: "mode_free", Mode.LOCKDOWN: "mode_lockdown"}


def step(state: DoorState, event: DoorInput, timing: Timing) -> Outcome:
    """The state after `event`, and what must be done, in this order.

    Orders from outside and passes that admit once, and with `timing.journal_first` every admission, are written
    before the relay moves: such a Release is `only_if_noted`. Where that Note cannot be written, nothing further is
    done and the old state kept. Fire and exit never wait for the journal.
    """
    mono = event.mono
    timed, effects = _time_passes(state, mono, timing)
    after, more = _handle(timed, event, timing)
    after, orders = _lock_orders(after, mono, timing)
    effects += more
    shown = standing(after)
    if shown != standing(state):
        effects += (Signal(shown),)
    return after, _ordered(orders, effects, _is_noted_first(event, timing))


def _is_noted_first(event: DoorInput, timing: Timing) -> bool:
    if isinstance(event, Decided):
        return timing.journal_first or used_pass(event.decision) is not None
    return isinstance(event, Command)


def _ordered(orders: Effects, effects: Effects, is_noted_first: bool) -> Effects:
    """Orders to the relay come first; a release that must be noted first follows its notes."""
    if not is_noted_first or not any(isinstance(order, Release) for order in orders):
        return orders + effects
    notes = tuple(effect for effect in effects if isinstance(effect, Note))
    rest = tuple(effect for effect in effects if not isinstance(effect, Note))
    held = tuple(replace(order, only_if_noted=True) if isinstance(order, Release) else order for order in orders)
    return notes + held + rest


# --- the lock --------------------------------------------------------------------------------------------


def _wanted_until(state: DoorState) -> float | None:
    """Until when the lock shall be released: for ever while free, None while secure."""
    return math.inf if state.is_free else state.release_until


def _lock_orders(state: DoorState, mono: float, timing: Timing) -> Outcome:
    """What the relay must be told. Orders are short and renewed at half their time, so that a doord which stops
    thinking releases nothing for longer than `order_s`."""
    wanted, ordered = _wanted_until(state), state.ordered_until
    if wanted is None:
        return (state, ()) if ordered is None else (replace(state, ordered_until=None), (Secure(),))
    if ordered is not None and ordered >= min(wanted, mono + timing.order_s / 2):
        return state, ()
    until = min(wanted, mono + timing.order_s)
    return replace(state, ordered_until=until), (Release(min(until - mono, timing.order_s)),)


def _release(state: DoorState, mono: float, seconds: float, cause: Cause, timing: Timing) -> DoorState:
    """Released for `seconds` at least; a release that runs already is lengthened, never shortened."""
    if state.is_free:
        return state
    bounded = min(seconds, timing.max_release_s)
    if state.release_until is not None and state.release_until >= mono + bounded:
        return state
    phase = transition(state.phase, Event.RELEASED).to
    is_taken = state.is_contact_open or (state.is_taken and state.release_until is not None)
    return replace(state, phase=phase, release_until=mono + bounded, cause=cause, is_taken=is_taken)


def _end_release(state: DoorState, late_until: float) -> DoorState:
    """Who opens by then is a little late: the opening is theirs yet, and not forced."""
    return replace(state, phase=transition(state.phase, Event.ENDED).to, release_until=None, cause=None,
                   grantees_until=late_until, shunt_until=max(state.shunt_until or 0.0, late_until))


# --- time ------------------------------------------------------------------------------------------------


def _time_passes(state: DoorState, mono: float, timing: Timing) -> Outcome:
    """Everything whose deadline has come; also called for inputs that arrive before the next tick."""
    effects: Effects = ()
    for deadline in (_mode_ends, _release_ends, _grantees_go, _held, _rex_sticks):
        state, more = deadline(state, mono, timing)
        effects += more
    return state, effects


def _mode_ends(state: DoorState, mono: float, timing: Timing) -> Outcome:
    if state.mode_until is None or mono < state.mode_until:
        return state, ()
    return _set_mode(replace(state, desired=Mode.NORMAL, mode_until=None), mono, timing, source="until")


def _release_ends(state: DoorState, mono: float, timing: Timing) -> Outcome:
    if state.release_until is None or mono < state.release_until:
        return state, ()
    is_unused = not state.is_taken and timing.has_contact and state.cause is not Cause.REX
    notes: Effects = (note("access_not_taken", state.person_id),) if is_unused else ()
    return _end_release(state, state.release_until + timing.shunt_grace_s), notes


def _grantees_go(state: DoorState, mono: float, _timing: Timing) -> Outcome:
    if state.grantees_until is None or mono < state.grantees_until or state.is_contact_open:
        return state, ()
    return replace(state, grantees=(), grantees_until=None), ()


def _held(state: DoorState, mono: float, _timing: Timing) -> Outcome:
    effects: Effects = ()
    if state.held_warning_at is not None and mono >= state.held_warning_at:
        state = replace(state, held_warning_at=None, is_held_warned=True)
        effects += (note("held_warning", state.person_id),)
    if state.held_alarm_at is not None and mono >= state.held_alarm_at:
        row = transition(state.phase, Event.HELD)
        state = replace(state, phase=row.to, held_alarm_at=None)
        effects += (note(row.reason, state.person_id),)
    return state, effects


def _rex_sticks(state: DoorState, mono: float, timing: Timing) -> Outcome:
    is_stuck = state.rex_since is not None and mono >= state.rex_since + timing.rex_stuck_s
    if not is_stuck or "rex_stuck" in state.degraded:
        return state, ()
    return replace(state, degraded=state.degraded | {"rex_stuck"}), (note("rex_stuck"), Signal("rex_stuck"))


# --- inputs ----------------------------------------------------------------------------------------------


def _handle(state: DoorState, event: DoorInput, timing: Timing) -> Outcome:  # noqa: PLR0911 (one return per input)
    if isinstance(event, Decided):
        return _decided(state, event.decision, event.mono, timing)
    if isinstance(event, ContactOpened):
        return _opened(state, event, timing)
    if isinstance(event, ContactClosed):
        return _closed(state)
    if isinstance(event, Rex):
        return _rex(state, event, timing)
    if isinstance(event, Tamper):
        return _tampered(state, event)
    if isinstance(event, Fire):
        return _fire(state, event, timing)
    if isinstance(event, OtherDoor):
        return replace(state, is_other_open=event.is_open), ()
    if isinstance(event, Bell):
        return state, (Signal("bell"), note("bell"))
    if isinstance(event, Command):
        return _commanded(state, event, timing)
    if isinstance(event, Degraded):
        return _degraded(state, event)
    return state, ()


def _decided(state: DoorState, decision: Decision, mono: float, timing: Timing) -> Outcome:
    if decision.is_repeat:
        return state, ()
    alarms = tuple(note(code, decision.person_id) for code in decision.alarms)
    reason = decision.reason if not decision.granted else _barred(state)
    if reason:
        return state, (Signal(reason, decision.person_id), decision_note(decision, reason), *alarms)
    if state.phase is Phase.RELEASED and state.cause is Cause.GRANT and state.person_id == decision.person_id:
        return state, alarms
    is_merged = state.release_until is not None
    grantees = _grantees(decision)
    after = _release(state, mono, decision.release_s, Cause.GRANT, timing)
    after = replace(after, grantees=(*state.grantees, *grantees) if is_merged else grantees, grantees_until=None)
    written = decision_note(decision, decision.reason, is_merged=is_merged or None)
    effects: Effects = (Signal(decision.reason, decision.person_id), written, *alarms)
    if timing.has_contact and not state.is_contact_open:
        return after, effects
    # The door stands open, or nobody sees whether it opens: whoever is granted passes.
    return replace(after, grantees=grantees[-1:]), effects + entries(grantees)


def _barred(state: DoorState) -> str:
    """Why this door admits nobody now, whoever they are; "" where it does."""
    if state.is_fire:
        return ""
    if state.mode is Mode.LOCKDOWN:
        return "lockdown"
    return "interlock" if state.is_other_open and state.mode is not Mode.FREE else ""


def _grantees(decision: Decision) -> tuple[Grantee, ...]:
    """Whoever passes together, the one decided on last."""
    direction = (decision.claim or Claim(None, frozenset())).direction
    ids = (*decision.companions, *([decision.person_id] if decision.person_id is not None else []))
    return tuple(Grantee(person_id, direction, decision.area) for person_id in ids)


def _opened(state: DoorState, event: ContactOpened, timing: Timing) -> Outcome:
    mono = event.mono
    if state.is_contact_open:
        return state, ()
    is_shunted = state.shunt_until is not None and mono < state.shunt_until
    is_exit = state.rex_since is not None and "rex_stuck" not in state.degraded
    is_asked = event.is_initial or is_shunted or is_exit or _wanted_until(state) is not None
    row = transition(state.phase, Event.OPENED if is_asked else Event.OPENED_UNASKED)
    opened = replace(state, phase=row.to)
    if row.to is Phase.FORCED:
        return replace(opened, grantees=()), (note(row.reason),)
    if state.is_free:
        return opened, ()
    if timing.relock_on_open:
        opened = replace(opened, release_until=None, cause=None)
    # Whoever opened it may be named while it stands open; those who came with them have passed.
    opened = replace(opened, grantees=state.grantees[-1:], is_taken=True)
    reason = "open_at_start" if event.is_initial else row.reason
    effects: Effects = (note(reason, state.person_id), *entries(state.grantees), Signal(reason, state.person_id))
    return _start_held(opened, mono, timing), effects


def _start_held(state: DoorState, mono: float, timing: Timing) -> DoorState:
    return replace(state, held_warning_at=mono + timing.held_warning_s, held_alarm_at=mono + timing.held_alarm_s,
                   is_held_warned=False)


def _stop_held(state: DoorState) -> DoorState:
    return replace(state, held_warning_at=None, held_alarm_at=None, is_held_warned=False)


def _closed(state: DoorState) -> Outcome:
    is_released = _wanted_until(state) is not None
    row = transition(state.phase, Event.CLOSED_RELEASED if is_released else Event.CLOSED)
    closed = _stop_held(replace(state, phase=row.to, grantees=()))
    return closed, (note(row.reason),) if row.reason else ()


def _rex(state: DoorState, event: Rex, timing: Timing) -> Outcome:
    mono = event.mono
    if not event.is_active:
        return _rex_let_go(state, mono, timing)
    if state.rex_since is not None:
        return state, ()
    # The grantees of a release that runs stay its own; an exit belongs to nobody.
    grantees = state.grantees if state.release_until is not None else ()
    shunt_until = max(state.shunt_until or 0.0, mono + timing.rex_release_s)
    after = replace(state, rex_since=mono, shunt_until=shunt_until, grantees=grantees)
    after = _release(after, mono, timing.rex_release_s, Cause.REX, timing)
    return after, (Signal("rex_release"), note("rex_release"))


def _rex_let_go(state: DoorState, mono: float, timing: Timing) -> Outcome:
    if state.rex_since is None:
        return state, ()
    is_stuck = "rex_stuck" in state.degraded
    shunt_until = state.shunt_until if is_stuck else max(state.shunt_until or 0.0, mono + timing.shunt_grace_s)
    after = replace(state, rex_since=None, shunt_until=shunt_until, degraded=state.degraded - {"rex_stuck"})
    return after, (note("restored", what="rex_stuck"),) if is_stuck else ()


def _tampered(state: DoorState, event: Tamper) -> Outcome:
    if event.is_active == state.is_tampered:
        return state, ()
    return replace(state, is_tampered=event.is_active), (note("tamper" if event.is_active else "tamper_cleared"),)


def _fire(state: DoorState, event: Fire, timing: Timing) -> Outcome:
    state = replace(state, is_fire_input=event.is_active)
    if event.is_active and not state.is_fire:
        return _free(replace(state, is_fire=True), "fire_free")
    if not event.is_active and state.is_fire and timing.fire_auto_reset:
        return _fire_ends(state, event.mono, timing)
    return state, ()


def _fire_ends(state: DoorState, mono: float, timing: Timing) -> Outcome:
    after, effects = _not_free(replace(state, is_fire=False), mono, timing)
    return after, (note("fire_ended"), *effects)


def _free(state: DoorState, reason: str, **detail: Plain) -> Outcome:
    row = transition(state.phase, Event.FREED)
    cleared = (note(row.reason),) if row.reason else ()
    freed = _stop_held(replace(state, phase=row.to, release_until=None, cause=None))
    return freed, (note(reason, **detail), *cleared)


def _not_free(state: DoorState, mono: float, timing: Timing) -> Outcome:
    """After a cause of being free has ended: secure again, unless another cause stands."""
    if state.is_free:
        return state, ()
    ended = replace(_end_release(state, mono + timing.shunt_grace_s), grantees=())
    return (_start_held(ended, mono, timing) if ended.phase is Phase.OPEN else ended), ()


def _commanded(state: DoorState, command: Command, timing: Timing) -> Outcome:
    if command.verb is Verb.RELEASE:
        return _command_release(state, command, timing)
    if command.verb is Verb.RESET:
        return _command_reset(state, command, timing)
    mode, detail = command.mode or Mode.NORMAL, {"command": command.command_id, "source": command.source}
    if command.source == "schedule":
        return _set_mode(replace(state, planned=mode), command.mono, timing, **detail)
    until = None if mode is Mode.NORMAL else command.until_mono
    return _set_mode(replace(state, desired=mode, mode_until=until), command.mono, timing, **detail)


def _command_release(state: DoorState, command: Command, timing: Timing) -> Outcome:
    detail: dict[str, Plain] = {"command": command.command_id, "source": command.source}
    if reason := _barred(state):
        return state, (note("command_refused", **detail, why=reason), Signal(reason))
    seconds = timing.command_release_s if command.seconds is None else command.seconds
    if not seconds > 0:
        return state, (note("command_refused", **detail, why="seconds"), Signal("command_refused"))
    grantees = state.grantees if state.release_until is not None else ()
    after = _release(replace(state, grantees=grantees), command.mono, seconds, Cause.COMMAND, timing)
    return after, (note("command_release", **detail, seconds=seconds), Signal("command_release"))


def _command_reset(state: DoorState, command: Command, timing: Timing) -> Outcome:
    detail: dict[str, Plain] = {"command": command.command_id, "source": command.source}
    if state.is_fire and (state.is_fire_input or not command.is_local):
        why = "fire input still active" if state.is_fire_input else "not given at the door"
        return state, (note("command_refused", **detail, why=why),)
    effects: Effects = (note("reset", **detail),)
    if state.is_fire:
        state, more = _fire_ends(state, command.mono, timing)
        effects += more
    row = transition(state.phase, Event.RESET)
    if row.to is not state.phase:
        state = _start_held(replace(state, phase=row.to), command.mono, timing)
        effects += (note(row.reason),)
    return state, effects


def _set_mode(state: DoorState, mono: float, timing: Timing, **detail: Plain) -> Outcome:
    """After `desired` or `planned` has changed: the mode that holds now, where that is another one."""
    was_free, before = state.is_free, state.mode
    mode = state.desired if state.desired is not Mode.NORMAL else state.planned
    state = replace(state, mode=mode)
    reason = _MODE_REASONS[mode]
    if mode is before:
        return state, (note(reason, **detail),)
    if mode is Mode.FREE and not was_free:
        return _free(state, reason, **detail)
    effects: Effects = (note(reason, **detail),)
    if was_free:
        state, more = _not_free(state, mono, timing)
        return state, effects + more
    if mode is Mode.LOCKDOWN and state.cause is not Cause.REX and state.release_until is not None:
        state = _end_release(state, mono + timing.shunt_grace_s)
    return state, effects


def _degraded(state: DoorState, event: Degraded) -> Outcome:
    if event.is_active == (event.reason in state.degraded):
        return state, ()
    if event.is_active:
        after = replace(state, degraded=state.degraded | {event.reason})
        return after, (note(event.reason, why=event.detail[:LONGEST_DETAIL] or None), Signal(event.reason))
    # A relay that comes back knows nothing of what it was told; whatever still holds is ordered afresh.
    ordered_until = None if event.reason == "relay_lost" else state.ordered_until
    after = replace(state, degraded=state.degraded - {event.reason}, ordered_until=ordered_until)
    return after, (note("restored", what=event.reason), Signal("restored"))
