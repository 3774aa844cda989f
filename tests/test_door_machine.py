"""What the door does with every input."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from door_samples import ANNA, BORIS, PASS, TIMING, Door, granted

from device.door.decision import Claim, Decision
from device.door.reasons import REASONS
from device.door.transitions import TABLE, TRANSITIONS, Event, diagram, transition
from device.door.types import (
    Bell,
    Cause,
    ContactOpened,
    Decided,
    Degraded,
    DoorState,
    Fire,
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
from device.store.records import Direction, Method

# --- release ---------------------------------------------------------------------------------------------


def test_a_grant_releases_first_and_writes_after() -> None:
    door = Door().grant()
    assert door.state.phase is Phase.RELEASED
    assert door.effects[0] == Release(5.0)
    assert door.noted == ["face_granted"]
    assert door.shown == ["face_granted"]


def test_the_note_of_a_grant_says_how_and_how_sure_but_not_who_by_name() -> None:
    claim = Claim(ANNA, frozenset({Method.FACE}), track_id=4, score=0.71234, threshold=0.4, margin=0.3, model_id="m",
                  frames=3)
    door = Door().do(Decided(replace(granted(), claim=claim), 100.0))
    note = next(effect.entry for effect in door.effects if isinstance(effect, Note))
    assert note.kind == "release"
    assert note.person_id == ANNA
    assert dict(note.detail) == {"methods": "face", "rule": "r1", "score": 0.7123, "threshold": 0.4, "margin": 0.3,
                                 "model": "m", "frames": 3, "track": 4}


def test_a_refusal_moves_nothing() -> None:
    door = Door().do(Decided(Decision(False, "unknown_face"), 100.0))
    assert door.state == DoorState()
    assert (door.orders, door.noted, door.shown) == ([], ["unknown_face"], ["unknown_face"])


def test_repeats_do_nothing_at_all() -> None:
    door = Door().do(Decided(replace(granted(), is_repeat=True), 100.0))
    assert (door.state, door.effects) == (DoorState(), ())


def test_the_release_ends_and_access_not_taken_is_written() -> None:
    door = Door().grant().tick(4.99)
    assert door.state.phase is Phase.RELEASED
    door.tick(0.01)
    assert door.state.phase is Phase.SECURE
    assert door.orders == [Secure()]
    assert door.noted == ["access_not_taken"]


def test_without_a_contact_nothing_is_said_of_access_not_taken() -> None:
    door = Door(Timing(has_contact=False)).grant().tick(5)
    assert (door.orders, door.noted) == ([Secure()], [])


def test_opening_relocks_and_is_the_granted_persons() -> None:
    door = Door().grant().opens(1)
    assert door.state.phase is Phase.OPEN
    assert door.orders == [Secure()]
    note = next(effect.entry for effect in door.effects if isinstance(effect, Note))
    assert (note.reason, note.person_id) == ("door_opened", ANNA)
    assert door.closes(2).state.phase is Phase.SECURE


def test_a_door_that_does_not_relock_on_opening_stays_released_until_its_time() -> None:
    door = Door(replace(TIMING, relock_on_open=False)).grant().opens(1)
    assert door.orders == []
    assert door.closes(1).state.phase is Phase.RELEASED
    assert door.tick(3).orders == [Secure()]
    assert door.state.phase is Phase.SECURE


def test_the_same_person_while_released_merges_into_one_release() -> None:
    door = Door().grant()
    door.mono += 2
    door.grant()
    assert (door.orders, door.noted) == ([], [])
    assert door.tick(3).orders == [Secure()]


def test_another_person_while_released_lengthens_it_and_is_written_as_merged() -> None:
    door = Door().grant()
    door.mono += 2
    door.grant(BORIS)
    assert door.orders == [Release(5.0)]
    note = next(effect.entry for effect in door.effects if isinstance(effect, Note))
    assert (note.person_id, dict(note.detail)["merged"]) == (BORIS, True)
    assert door.tick(4.9).state.phase is Phase.RELEASED
    assert door.tick(0.1).state.phase is Phase.SECURE


def test_a_shorter_release_never_shortens_a_longer_one() -> None:
    door = Door().grant(release_s=10).grant(BORIS, 3)
    assert door.orders == []
    assert door.tick(9).state.phase is Phase.RELEASED


def test_a_grant_at_an_open_door_keeps_the_lock_released_for_its_time() -> None:
    door = Door().grant().opens(1)
    door.grant(BORIS)
    assert (door.state.phase, door.orders) == (Phase.OPEN, [Release(5.0)])
    assert door.closes(1).state.phase is Phase.RELEASED
    assert door.tick(4).state.phase is Phase.SECURE


def test_no_release_lasts_longer_than_the_most() -> None:
    door = Door().order(Verb.RELEASE, seconds=1e9)
    for _ in range(31):
        door.tick(10)
    assert door.state.phase is Phase.SECURE
    assert Door().grant(release_s=math.inf).state.release_until == 100 + TIMING.max_release_s


def test_a_long_release_is_ordered_in_short_pieces() -> None:
    door = Door().order(Verb.RELEASE, seconds=40)
    assert door.orders == [Release(30.0, only_if_noted=True)]
    assert door.tick(14).orders == []
    assert door.tick(2).orders == [Release(24.0)]
    assert door.tick(24).orders == [Secure()]


def test_a_release_that_must_be_written_first_comes_after_its_note() -> None:
    first = Door(replace(TIMING, journal_first=True)).grant()
    assert [type(effect) for effect in first.effects] == [Note, Release, Signal]
    assert first.orders == [Release(5.0, only_if_noted=True)]
    command = Door().order(Verb.RELEASE)
    assert [type(effect) for effect in command.effects] == [Note, Release, Signal]


def test_fire_and_exit_never_wait_for_the_journal() -> None:
    timing = replace(TIMING, journal_first=True)
    assert Door(timing).do(Rex(100.0)).effects[0] == Release(5.0)
    assert Door(timing).do(Fire(100.0, True)).effects[0] == Release(30.0)


def test_securing_never_waits_for_the_journal() -> None:
    door = Door(replace(TIMING, journal_first=True)).grant()
    assert door.order(Verb.MODE, mode=Mode.LOCKDOWN).effects[0] == Secure()


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan])
def test_a_command_to_release_for_no_time_is_refused(seconds: float) -> None:
    door = Door().order(Verb.RELEASE, seconds=seconds)
    assert (door.state, door.noted) == (DoorState(), ["command_refused"])


def test_duress_opens_and_alarms_without_a_sign() -> None:
    door = Door().do(Decided(replace(granted(), alarms=("duress",)), 100.0))
    assert door.orders == [Release(5.0)]
    assert door.noted == ["face_granted", "duress"]
    assert door.shown == ["face_granted"]


def test_a_pass_is_used_up_in_the_journal_before_the_relay_moves() -> None:
    door = Door().do(Decided(replace(granted(), claim=Claim(ANNA, frozenset({Method.QR}), qr_pass=PASS)), 100.0))
    assert [type(effect) for effect in door.effects] == [Note, Release, Signal]
    assert door.orders == [Release(5.0, only_if_noted=True)]
    note = next(effect for effect in door.effects if isinstance(effect, Note))
    assert note.uses is not None
    assert note.uses.pass_id == PASS.pass_id
    refused = Door().do(Decided(Decision(False, "pass_used", ANNA, claim=Claim(ANNA, frozenset({Method.QR}),
                                                                                qr_pass=PASS)), 100.0))
    assert [effect.uses for effect in refused.effects if isinstance(effect, Note)] == [None]


def test_a_pass_that_admits_often_is_not_used_up() -> None:
    claim = Claim(ANNA, frozenset({Method.QR}), qr_pass=replace(PASS, is_once=False))
    assert Door().do(Decided(replace(granted(), claim=claim), 100.0)).effects[0] == Release(5.0)


# --- passages --------------------------------------------------------------------------------------------


def passages(door: Door) -> list[tuple[str, str | None, str | None]]:
    return [(effect.entry.reason, effect.entry.person_id, dict(effect.entry.detail).get("area"))  # type: ignore[misc]
            for effect in door.effects if isinstance(effect, Note) and effect.entry.kind == "passage"]


def test_granted_is_not_entered_until_the_door_opens() -> None:
    door = Door().do(Decided(replace(granted(), area="lab"), 100.0))
    assert passages(door) == []
    assert passages(door.opens(1)) == [("entered", ANNA, "lab")]
    assert passages(door.closes(1)) == []


def test_without_a_contact_whoever_is_granted_has_entered() -> None:
    door = Door(Timing(has_contact=False)).do(Decided(replace(granted(), area="lab"), 100.0))
    assert passages(door) == [("entered", ANNA, "lab")]


def test_all_who_pass_together_enter_when_it_opens() -> None:
    door = Door().do(Decided(replace(granted(), companions=(BORIS,)), 100.0)).opens(1)
    assert [one[1] for one in passages(door)] == [BORIS, ANNA]
    assert door.state.person_id == ANNA


def test_a_grant_at_an_open_door_enters_at_once_and_merged_grants_enter_together() -> None:
    door = Door().grant().grant(BORIS).opens(1)
    assert [one[1] for one in passages(door)] == [ANNA, BORIS]
    late = Door().grant().opens(1).grant(BORIS)
    assert [one[1] for one in passages(late)] == [BORIS]
    assert passages(late.closes(1)) == []


def test_whoever_leaves_is_written_as_having_left() -> None:
    claim = Claim(ANNA, frozenset({Method.CARD}), direction=Direction.EXIT)
    door = Door().do(Decided(replace(granted(), claim=claim), 100.0)).opens(1)
    assert passages(door) == [("left", ANNA, None)]


def test_somebody_who_leaves_after_a_grant_was_over_is_not_taken_for_whoever_did_not_use_it() -> None:
    door = Door()
    door.do(Rex(door.mono))
    door.grant()
    door.tick(5.0)  # the exit's release, which the grant had joined, is over; the button is held
    late = Door(state=door.state)
    late.mono = door.mono
    late.opens(TIMING.shunt_grace_s - 0.1)
    assert passages(late) == [("entered", ANNA, None)]
    door.opens(TIMING.shunt_grace_s + 0.1)
    assert passages(door) == []
    assert "door_opened" in door.noted
    assert all(effect.entry.person_id is None for effect in door.effects if isinstance(effect, Note))


def test_access_that_was_taken_is_not_called_unused_when_the_release_ends_later() -> None:
    door = Door(replace(TIMING, relock_on_open=False)).grant().opens(1).closes(1)
    assert door.state.phase is Phase.RELEASED
    assert door.tick(3).noted == []


# --- interlock and bell ----------------------------------------------------------------------------------


def test_while_the_other_door_is_open_nobody_is_released_but_by_exit_and_fire() -> None:
    door = Door().do(OtherDoor(100.0, True)).grant()
    assert (door.orders, door.noted, door.shown) == ([], ["interlock"], ["interlock"])
    assert door.order(Verb.RELEASE).noted == ["command_refused"]
    assert door.do(Rex(100.0)).orders == [Release(5.0)]
    assert Door().do(OtherDoor(100.0, True)).do(Fire(100.0, True)).orders == [Release(30.0)]
    assert Door().do(OtherDoor(100.0, True)).do(OtherDoor(101.0, False)).grant().orders == [Release(5.0)]


def test_a_bell_is_written_and_moves_nothing() -> None:
    door = Door().do(Bell(100.0))
    assert (door.noted, door.shown, door.orders, door.state) == (["bell"], ["bell"], [], DoorState())


# --- contact ---------------------------------------------------------------------------------------------


def test_opening_unasked_is_forced_until_it_closes() -> None:
    door = Door().opens()
    assert door.state.phase is Phase.FORCED
    assert (door.noted, door.shown, door.orders) == (["forced_open"], ["forced_open"], [])
    door.closes(3)
    assert (door.state.phase, door.noted, door.shown) == (Phase.SECURE, ["forced_cleared"], ["ready"])


def test_rex_shunts_forced_open() -> None:
    door = Door().do(Rex(100.0)).do(Rex(100.2, is_active=False))
    assert door.opens(1).state.phase is Phase.OPEN
    door.closes(1)
    assert door.opens(1).state.phase is Phase.OPEN  # within the exit's seconds a second person may follow
    door.closes(1)
    assert door.opens(2).state.phase is Phase.FORCED


def test_a_door_opened_just_as_the_lock_falls_is_not_forced() -> None:
    door = Door().grant().tick(5)
    assert door.opens(0.4).state.phase is Phase.OPEN
    assert Door().grant().tick(5).opens(0.6).state.phase is Phase.FORCED


def test_an_opening_before_the_late_tick_of_its_deadline_is_judged_by_its_own_time() -> None:
    door = Door().grant()
    assert door.opens(4.9).state.phase is Phase.OPEN
    late = Door().grant()
    assert late.opens(9).state.phase is Phase.FORCED


def test_held_open_warns_then_alarms_then_clears_on_closing() -> None:
    door = Door().grant().opens(1)
    assert door.tick(19.9).effects == ()
    door.tick(0.1)
    assert (door.noted, door.shown, door.state.phase) == (["held_warning"], ["held_warning"], Phase.OPEN)
    door.tick(10)
    assert (door.noted, door.shown, door.state.phase) == (["held_open"], ["held_open"], Phase.HELD)
    assert door.tick(100).effects == ()
    door.closes(1)
    assert (door.noted, door.shown, door.state.phase) == (["held_cleared"], ["ready"], Phase.SECURE)


def test_closing_in_time_silences_the_warning() -> None:
    door = Door().grant().opens(1).tick(25).closes(1)
    assert door.shown == ["ready"]
    assert door.tick(100).effects == ()


def test_a_door_open_at_the_start_is_open_not_forced() -> None:
    door = Door().do(ContactOpened(100.0, is_initial=True))
    assert (door.state.phase, door.noted) == (Phase.OPEN, ["open_at_start"])


def test_a_reset_ends_the_forced_alarm_though_the_door_is_open() -> None:
    door = Door().opens().order(Verb.RESET)
    assert door.state.phase is Phase.OPEN
    assert door.noted == ["reset", "forced_cleared"]
    assert door.tick(30).state.phase is Phase.HELD


# --- exit, tamper, fire ----------------------------------------------------------------------------------


def test_the_exit_button_releases_and_nobody_is_named() -> None:
    door = Door().do(Rex(100.0))
    assert (door.orders, door.noted) == ([Release(5.0)], ["rex_release"])
    door.opens(1)
    note = next(effect.entry for effect in door.effects if isinstance(effect, Note))
    assert (note.reason, note.person_id) == ("door_opened", None)


def test_an_unused_exit_is_no_access_not_taken() -> None:
    assert Door().do(Rex(100.0)).do(Rex(100.3, is_active=False)).tick(5).noted == []


def test_a_stuck_exit_button_releases_once_is_reported_and_stops_shunting() -> None:
    door = Door().do(Rex(100.0)).tick(5)
    assert door.state.phase is Phase.SECURE
    assert door.tick(54).noted == []
    assert door.tick(1).noted == ["rex_stuck"]
    assert door.tick(100).effects == ()
    assert door.opens(1).state.phase is Phase.FORCED
    door.closes(1).do(Rex(door.mono, is_active=False))
    assert door.noted == ["restored"]


def test_tamper_is_told_once_and_cleared_once() -> None:
    door = Door().do(Tamper(100.0, True))
    assert (door.noted, door.shown, door.state.phase) == (["tamper"], ["tamper"], Phase.SECURE)
    assert door.do(Tamper(101.0, True)).effects == ()
    assert door.do(Tamper(102.0, False)).noted == ["tamper_cleared"]
    assert door.shown == ["ready"]


@pytest.mark.parametrize("before", [
    DoorState(), DoorState(mode=Mode.LOCKDOWN), DoorState(phase=Phase.FORCED), DoorState(phase=Phase.HELD),
    DoorState(phase=Phase.RELEASED, release_until=104.0, cause=Cause.GRANT, ordered_until=104.0),
    DoorState(degraded=frozenset({"journal_failed", "vision_silent"})), DoorState(is_tampered=True),
])
def test_fire_frees_the_door_whatever_else_is_true(before: DoorState) -> None:
    door = Door(state=before).do(Fire(100.0, True))
    assert door.orders == [Release(30.0)]
    assert door.state.phase in (Phase.RELEASED, Phase.OPEN)
    assert "fire_free" in door.noted
    assert door.shown[-1] == "fire_free"


def test_the_door_stays_free_after_fire_until_a_reset_at_the_door() -> None:
    door = Door().do(Fire(100.0, True))
    assert door.order(Verb.RESET, is_local=True).noted == ["command_refused"]  # the alarm is still on
    door.do(Fire(101.0, False))
    assert door.order(Verb.RESET).noted == ["command_refused"]  # not from afar
    for _ in range(100):
        door.tick(10)
        assert door.state.phase is Phase.RELEASED
    door.order(Verb.RESET, is_local=True)
    assert door.state.phase is Phase.SECURE
    assert door.orders == [Secure()]
    assert door.noted == ["reset", "fire_ended"]


def test_fire_may_be_set_to_end_by_itself_and_returns_to_the_mode() -> None:
    timing = replace(TIMING, fire_auto_reset=True)
    lockdown = Door(timing, DoorState(mode=Mode.LOCKDOWN)).do(Fire(100.0, True)).do(Fire(101.0, False))
    assert (lockdown.state.phase, lockdown.orders, lockdown.shown) == (Phase.SECURE, [Secure()], ["mode_lockdown"])
    free = Door(timing).order(Verb.MODE, mode=Mode.FREE).do(Fire(100.0, True)).do(Fire(101.0, False))
    assert (free.state.phase, free.orders) == (Phase.RELEASED, [])


def test_while_free_the_order_to_the_relay_is_renewed_before_it_runs_out() -> None:
    door = Door().do(Fire(100.0, True))
    until = 130.0
    for _ in range(2000):
        door.tick(0.5)
        if door.orders:
            assert door.orders == [Release(30.0)]
            until = door.mono + 30
        assert until > door.mono + 10


# --- modes and commands ----------------------------------------------------------------------------------


def test_lockdown_refuses_faces_and_commands_but_not_the_exit() -> None:
    door = Door().order(Verb.MODE, mode=Mode.LOCKDOWN)
    assert door.shown == ["mode_lockdown"]
    door.grant()
    assert (door.orders, door.noted, door.shown) == ([], ["lockdown"], ["lockdown"])
    door.order(Verb.RELEASE)
    assert (door.orders, door.noted) == ([], ["command_refused"])
    door.do(Rex(100.0))
    assert door.orders == [Release(5.0)]


def test_lockdown_ends_a_release_that_runs_unless_somebody_is_leaving() -> None:
    assert Door().grant().order(Verb.MODE, mode=Mode.LOCKDOWN).orders == [Secure()]
    assert Door().do(Rex(100.0)).order(Verb.MODE, mode=Mode.LOCKDOWN).orders == []


def test_a_mode_with_an_end_returns_to_normal_by_itself() -> None:
    door = Door().order(Verb.MODE, mode=Mode.FREE, until_mono=160.0)
    assert door.state.phase is Phase.RELEASED
    door.tick(60)
    assert (door.state.mode, door.state.phase, door.orders) == (Mode.NORMAL, Phase.SECURE, [Secure()])
    assert door.noted == ["mode_normal"]


def test_in_free_mode_openings_are_neither_forced_nor_held() -> None:
    door = Door().order(Verb.MODE, mode=Mode.FREE).opens(1)
    assert (door.state.phase, door.effects) == (Phase.OPEN, ())
    assert door.tick(10).noted == []
    assert door.closes(100).state.phase is Phase.RELEASED


def test_a_door_left_open_when_free_mode_ends_is_held_in_the_end() -> None:
    door = Door().order(Verb.MODE, mode=Mode.FREE).opens(1).order(Verb.MODE, mode=Mode.NORMAL)
    assert door.orders == [Secure()]
    assert door.tick(30).state.phase is Phase.HELD


def test_the_calendars_mode_yields_to_one_that_was_ordered_and_returns_after_it() -> None:
    door = Door().order(Verb.MODE, mode=Mode.FREE, source="schedule")
    assert (door.state.phase, door.noted) == (Phase.RELEASED, ["mode_free"])
    door.order(Verb.MODE, mode=Mode.LOCKDOWN, until_mono=160.0)
    assert (door.state.phase, door.state.mode) == (Phase.SECURE, Mode.LOCKDOWN)
    assert door.order(Verb.MODE, mode=Mode.NORMAL, source="schedule").state.mode is Mode.LOCKDOWN
    door.order(Verb.MODE, mode=Mode.FREE, source="schedule")
    assert door.tick(60).state.mode is Mode.FREE
    assert door.order(Verb.MODE, mode=Mode.NORMAL, source="schedule").state.phase is Phase.SECURE


def test_every_command_is_written_with_its_id() -> None:
    for door in (Door().order(Verb.RELEASE), Door().order(Verb.RESET), Door().order(Verb.MODE, mode=Mode.NORMAL)):
        note = next(effect.entry for effect in door.effects if isinstance(effect, Note))
        assert ("command", "c1") in note.detail


# --- faults ----------------------------------------------------------------------------------------------


def test_faults_are_told_once_and_move_nothing() -> None:
    for reason in (row.code for row in REASONS.values() if row.severity.value == "fault"):
        door = Door().do(Degraded(100.0, reason, True))
        assert (door.noted, door.orders, door.state.phase) == ([reason], [], Phase.SECURE)
        assert door.do(Degraded(101.0, reason, True)).effects == ()
        assert door.do(Degraded(102.0, reason, False)).noted == ["restored"]
        assert (door.orders, door.state) == ([], DoorState())


def test_a_relay_that_comes_back_is_told_again_what_still_holds() -> None:
    door = Door().do(Fire(100.0, True)).do(Degraded(101.0, "relay_lost", True))
    assert door.do(Degraded(102.0, "relay_lost", False)).orders == [Release(30.0)]
    short = Door().grant().do(Degraded(101.0, "relay_lost", True)).do(Degraded(103.0, "relay_lost", False))
    assert short.orders == [Release(2.0)]
    over = Door().grant().do(Degraded(101.0, "relay_lost", True)).tick(5).do(Degraded(109.0, "relay_lost", False))
    assert over.orders == []


# --- the table -------------------------------------------------------------------------------------------


def test_the_table_names_each_pair_once_and_the_diagram_shows_every_row() -> None:
    assert len(TRANSITIONS) == len(TABLE)
    drawn = diagram()
    assert drawn.startswith("stateDiagram-v2")
    for row in TABLE:
        assert f"{row.phase.name} --> {row.to.name}: {row.event.value}" in drawn


def test_only_a_closed_door_is_secure_or_released() -> None:
    closed = {Phase.SECURE, Phase.RELEASED}
    for row in TABLE:
        if row.event in (Event.OPENED, Event.OPENED_UNASKED):
            assert row.to not in closed
        elif row.event in (Event.CLOSED, Event.CLOSED_RELEASED):
            assert row.to in closed
        else:
            assert (row.phase in closed) == (row.to in closed)
    assert transition(Phase.SECURE, Event.CLOSED).to is Phase.SECURE
