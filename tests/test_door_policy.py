"""Who may pass, when, how; what counts as a try."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from device.clock import ClockQuality
from device.door.claim import FaceClaim, claim_from
from device.door.decision import Claim, Decision, Memory, Now
from device.door.policy import decide
from device.door.rules import Rules, Site
from device.sighting import Outcome, Sighting
from device.store.records import ALWAYS, AccessRule, Method, Period, Person, PersonClass, Schedule

ANNA, BORIS = "a" * 32, "b" * 32
FACE, CARD, PIN = Method.FACE, Method.CARD, Method.PIN
MONDAY_TEN = datetime(2026, 1, 5, 10, 0, tzinfo=timezone.utc)
OFFICE = Schedule("office", ((Period(540, 1020),),) * 5 + ((), ()))
EVERYONE = AccessRule("r1", "everyone")


class Door:
    """A policy with its memory and a clock, asked one claim after the other."""

    def __init__(self, *rules: AccessRule, people: tuple[Person, ...] = (), site: Site | None = None,
                 quality: ClockQuality = ClockQuality.SYNCED) -> None:
        self.rules = Rules(rules or (EVERYONE,), (OFFICE,), site or Site())
        people = people or (Person(ANNA, "Anna"), Person(BORIS, "Boris"))
        self.people = {person.person_id: person for person in people}
        self.memory, self.mono, self.at, self.quality = Memory(), 1000.0, MONDAY_TEN, quality

    def ask(self, claim: Claim) -> Decision:
        person = self.people.get(claim.person_id) if claim.person_id else None
        now = Now(self.at, self.mono, self.quality)
        decision, self.memory = decide(claim, person, self.rules, self.memory, now)
        return decision

    def later(self, seconds: float) -> Door:
        self.mono += seconds
        self.at += timedelta(seconds=seconds)
        return self


def face(person_id: str | None, track: int = 1, **more: Any) -> Claim:
    return Claim(person_id, frozenset({FACE}), track_id=track, **more)


def shown(method: Method, person_id: str | None = ANNA, **more: Any) -> Claim:
    return Claim(person_id, frozenset({method}), **more)


def sighting(outcome: Outcome, **more: Any) -> Sighting:
    return Sighting(7, 1.0, outcome, "m", **more)


# --- claims ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [Outcome.POOR, Outcome.PENDING])
def test_a_poor_or_pending_sighting_claims_nothing(outcome: Outcome) -> None:
    assert claim_from(sighting(outcome, person_id=ANNA)) is None


def test_a_known_sighting_claims_its_person_with_the_scores() -> None:
    claim = claim_from(sighting(Outcome.KNOWN, person_id=ANNA, score=0.7, threshold=0.4, margin=0.3, frames=3,
                                since_mono=0.9))
    assert claim == FaceClaim(ANNA, frozenset({FACE}), track_id=7, score=0.7, threshold=0.4, margin=0.3, model_id="m",
                              frames=3, since_mono=0.9)


def test_an_unknown_or_attacking_sighting_never_claims_a_person() -> None:
    for outcome, reason in ((Outcome.UNKNOWN, "unknown_face"), (Outcome.ATTACK, "attack")):
        claim = claim_from(sighting(outcome, person_id=ANNA, score=0.9))
        assert claim is not None
        assert claim.person_id is None
        assert claim.reason_if_none == reason


# --- who, when, how --------------------------------------------------------------------------------------


def test_an_enrolled_face_is_granted_by_the_rule_of_its_group() -> None:
    decision = Door().ask(face(ANNA))
    assert decision.granted
    assert (decision.reason, decision.rule_id, decision.release_s) == ("face_granted", "r1", 5)


def test_an_unknown_face_is_refused() -> None:
    decision = Door().ask(face(None))
    assert (decision.granted, decision.reason, decision.person_id) == (False, "unknown_face", None)


def test_a_person_who_was_removed_is_refused() -> None:
    assert Door(people=(Person(BORIS, "Boris"),)).ask(face(ANNA)).reason == "no_person"


def test_the_record_of_somebody_else_grants_nothing() -> None:
    now = Now(MONDAY_TEN, 1.0)
    decision, _ = decide(face(ANNA), Person(BORIS, "Boris"), Rules((EVERYONE,)), Memory(), now)
    assert decision.reason == "no_person"


@pytest.mark.parametrize(("starts", "ends", "reason"), [
    (timedelta(seconds=1), None, "not_yet_valid"),
    (timedelta(0), None, "face_granted"),
    (None, timedelta(0), "expired"),
    (None, timedelta(seconds=1), "face_granted"),
    (timedelta(days=-1), timedelta(days=-1), "expired"),
])
def test_validity_begins_with_its_first_second_and_ends_before_its_last(
        starts: timedelta | None, ends: timedelta | None, reason: str) -> None:
    person = Person(ANNA, "Anna", valid_from=MONDAY_TEN + starts if starts is not None else None,
                    valid_until=MONDAY_TEN + ends if ends is not None else None)
    assert Door(people=(person,)).ask(face(ANNA)).reason == reason


def test_a_blocked_person_is_refused_whatever_the_rules_say_and_seen_once() -> None:
    door = Door(people=(Person(ANNA, "Anna", person_class=PersonClass.BLOCKED),))
    assert door.ask(face(ANNA)).alarms == ("blocked_seen",)
    again = door.later(0.03).ask(face(ANNA))
    assert (again.reason, again.alarms, again.is_repeat) == ("blocked", (), True)


@pytest.mark.parametrize(("rule", "reason"), [
    (AccessRule("r", "staff"), "no_rule"),
    (AccessRule("r", "everyone", doors=("back",)), "no_rule"),
    (AccessRule("r", "everyone", doors=("back", "door")), "face_granted"),
    (AccessRule("r", "everyone", schedule_id="office"), "face_granted"),
    (AccessRule("r", "everyone", schedule_id="gone"), "schedule_missing"),
    (AccessRule("r", "everyone", methods=((CARD,), (PIN,))), "method_not_allowed"),
    (AccessRule("r", "everyone", methods=()), "method_not_allowed"),
    (AccessRule("r", "everyone", methods=((),)), "method_not_allowed"),
    (AccessRule("r", "everyone", methods=((CARD, FACE),)), "more_needed"),
])
def test_group_door_schedule_and_method_must_all_agree(rule: AccessRule, reason: str) -> None:
    assert Door(rule).ask(face(ANNA)).reason == reason


def test_a_schedule_refuses_outside_its_hours_in_the_sites_zone() -> None:
    rule = AccessRule("r", "everyone", schedule_id="office")
    assert Door(rule).later(8 * 3600).ask(face(ANNA)).reason == "outside_schedule"
    in_shanghai = Door(rule, site=Site(time_zone="Asia/Shanghai"))  # where it is 18:00
    assert in_shanghai.ask(face(ANNA)).reason == "outside_schedule"


def test_one_admitting_rule_among_many_is_enough_and_named() -> None:
    rules = (AccessRule("r1", "everyone", methods=((CARD,),)), AccessRule("r2", "everyone", schedule_id="gone"),
             AccessRule("r3", "staff"))
    door = Door(*rules, people=(Person(ANNA, "Anna", groups=("everyone", "staff")),))
    assert door.ask(face(ANNA)).rule_id == "r3"


def test_the_most_telling_refusal_wins() -> None:
    door = Door(AccessRule("r1", "everyone", methods=((CARD,),)), AccessRule("r2", "everyone", schedule_id="gone"))
    assert door.ask(face(ANNA)).reason == "method_not_allowed"


def test_an_unknown_zone_refuses_timed_rules_and_keeps_the_others() -> None:
    site = Site(time_zone="Mars/Olympus")
    assert not Door(AccessRule("r", "everyone", schedule_id="office"), site=site).ask(face(ANNA)).granted
    assert Door(site=site).ask(face(ANNA)).granted


def test_release_seconds_are_the_rules_or_the_sites_and_longer_for_the_accessible_class() -> None:
    slow = Person(ANNA, "Anna", person_class=PersonClass.ACCESSIBLE)
    assert Door(people=(slow,)).ask(face(ANNA)).release_s == 10
    assert Door(AccessRule("r", "everyone", release_s=3.0), people=(slow,)).ask(face(ANNA)).release_s == 10
    assert Door(AccessRule("r", "everyone", release_s=20.0), people=(slow,)).ask(face(ANNA)).release_s == 20
    assert Door(AccessRule("r", "everyone", release_s=3.0)).ask(face(ANNA)).release_s == 3
    assert Door(AccessRule("r", "everyone", release_s=float("nan"))).ask(face(ANNA)).release_s == 5


# --- clock -----------------------------------------------------------------------------------------------


def test_an_untrusted_clock_refuses_what_depends_on_time_and_nothing_else() -> None:
    untrusted = ClockQuality.UNTRUSTED
    assert Door(quality=untrusted).ask(face(ANNA)).granted
    timed = AccessRule("r", "everyone", schedule_id="office")
    assert Door(timed, quality=untrusted).ask(face(ANNA)).reason == "clock_untrusted"
    dated = Person(ANNA, "Anna", valid_until=MONDAY_TEN + timedelta(days=999))
    assert Door(people=(dated,), quality=untrusted).ask(face(ANNA)).reason == "clock_untrusted"
    assert Door(timed, quality=ClockQuality.HOLDOVER).ask(face(ANNA)).granted


def test_a_full_week_without_exceptions_needs_no_clock() -> None:
    full = Schedule("full", ALWAYS.week)
    rules = Rules((AccessRule("r", "everyone", schedule_id="full"),), (full,))
    now = Now(datetime(1970, 1, 1, tzinfo=timezone.utc), 5.0, ClockQuality.UNTRUSTED)
    assert decide(face(ANNA), Person(ANNA, "Anna"), rules, Memory(), now)[0].granted


def test_a_schedule_that_calls_itself_always_cannot_replace_the_built_in_one() -> None:
    rules = Rules((EVERYONE,), (Schedule("always", ((),) * 7),))
    assert decide(face(ANNA), Person(ANNA, "Anna"), rules, Memory(), Now(MONDAY_TEN, 5.0))[0].granted


# --- combinations ----------------------------------------------------------------------------------------


def test_card_then_face_grants_and_asks_vision_for_that_person_in_between() -> None:
    door = Door(AccessRule("r", "everyone", methods=((CARD, FACE),)))
    first = door.ask(shown(CARD))
    assert (first.granted, first.reason, first.needs) == (False, "more_needed", frozenset({FACE}))
    assert first.demand is not None
    assert first.demand.expect_person_id == ANNA
    second = door.later(3).ask(face(ANNA))
    assert (second.granted, second.reason) == (True, "combined_granted")
    assert door.memory.shown == ()


def test_the_first_half_of_a_combination_runs_out_and_belongs_to_its_person() -> None:
    door = Door(AccessRule("r", "everyone", methods=((CARD, FACE),)))
    door.ask(shown(CARD))
    assert door.ask(face(BORIS, track=2)).reason == "more_needed"
    assert door.later(15).ask(face(ANNA)).reason == "more_needed"


def test_duress_shown_in_either_half_grants_and_alarms_silently() -> None:
    door = Door(AccessRule("r", "everyone", methods=((PIN, FACE),)))
    door.ask(shown(PIN, is_duress=True))
    decision = door.ask(face(ANNA))
    assert (decision.granted, decision.reason, decision.alarms) == (True, "combined_granted", ("duress",))


# --- tries, repeats, lock-out ----------------------------------------------------------------------------


def test_a_stranger_standing_there_is_one_try_however_many_frames() -> None:
    door = Door()
    first = door.ask(face(None))
    rest = [door.later(0.03).ask(face(None)) for _ in range(500)]
    assert not first.is_repeat
    assert all(one.is_repeat and one.reason == "unknown_face" and not one.alarms for one in rest)
    assert len(door.memory.tries) == 1


def test_the_fifth_stranger_within_a_minute_raises_the_alarm_and_the_next_must_wait() -> None:
    door = Door()
    answers = [door.later(5).ask(face(None, track)) for track in range(1, 6)]
    assert [one.alarms for one in answers] == [()] * 4 + [("lockout_alarm",)]
    assert door.later(5).ask(face(None, 6)).reason == "locked_out"
    assert door.later(0.1).ask(face(None, 6)).is_repeat
    assert door.later(61).ask(face(None, 7)).reason == "unknown_face"


def test_strangers_spread_over_time_are_no_alarm() -> None:
    door = Door()
    assert all(not door.later(16).ask(face(None, track)).alarms for track in range(1, 60))


def test_a_locked_out_stranger_does_not_keep_enrolled_people_out() -> None:
    door = Door()
    for track in range(1, 8):
        door.ask(face(None, track))
    assert door.ask(face(ANNA, 9)).granted


def test_repeated_attacks_lock_out_the_face_alone_but_not_the_card() -> None:
    door = Door(AccessRule("r", "everyone", methods=((FACE,), (CARD,), (CARD, FACE))))
    attacks = [door.ask(face(None, track, reason_if_none="attack")) for track in range(1, 6)]
    assert attacks[-1].alarms == ("lockout_alarm",)
    assert door.ask(face(ANNA, 8)).reason == "locked_out"
    assert door.ask(shown(CARD)).granted
    assert door.later(61).ask(face(ANNA, 9)).granted


def test_a_card_with_the_face_still_works_while_the_face_alone_is_locked_out() -> None:
    door = Door(AccessRule("r", "everyone", methods=((CARD, FACE),)))
    for track in range(1, 6):
        door.ask(face(None, track, reason_if_none="attack"))
    door.ask(shown(CARD))
    assert door.ask(face(ANNA, 8)).granted


def test_wrong_pins_lock_out_the_right_one_too_even_as_second_proof() -> None:
    door = Door(AccessRule("r", "everyone", methods=((PIN,), (FACE, PIN))))
    for _ in range(5):
        last = door.ask(shown(PIN, None, reason_if_none="wrong_pin", tried_person_id=ANNA))
    assert last.alarms == ("lockout_alarm",)
    assert last.person_id == ANNA
    assert door.ask(shown(PIN)).reason == "locked_out"
    door.ask(face(ANNA, 4))
    assert door.ask(shown(PIN)).reason == "locked_out"
    assert door.later(61).ask(shown(PIN)).granted


def test_every_wrong_pin_is_a_try_of_its_own() -> None:
    door = Door()
    answers = [door.ask(shown(PIN, None, reason_if_none="wrong_pin")) for _ in range(4)]
    assert not any(one.is_repeat for one in answers)
    assert len(door.memory.tries) == 4


def test_an_alarm_after_fewer_tries_can_be_asked_for() -> None:
    door = Door(site=Site(lockout_after=2))
    door.ask(face(None, 1))
    assert door.ask(face(None, 2)).alarms == ("lockout_alarm",)


def test_a_granted_person_who_stays_in_view_is_answered_afresh_only_after_the_interval() -> None:
    door = Door()
    assert not door.ask(face(ANNA)).is_repeat
    assert all(door.later(0.5).ask(face(ANNA)).is_repeat for _ in range(19))
    assert not door.later(0.5).ask(face(ANNA)).is_repeat


def test_a_new_track_of_the_same_person_is_still_the_same_person() -> None:
    door = Door()
    door.ask(face(ANNA, 1))
    assert door.later(1).ask(face(ANNA, 2)).is_repeat
    assert not door.ask(face(BORIS, 3)).is_repeat


def test_a_card_is_always_answered() -> None:
    door = Door(AccessRule("r", "everyone", methods=((CARD,),)))
    assert not door.ask(shown(CARD)).is_repeat
    assert not door.later(1).ask(shown(CARD)).is_repeat


def test_a_refused_person_is_told_once_per_track_and_let_in_once_the_rule_allows() -> None:
    door = Door(AccessRule("r", "everyone", schedule_id="office"))
    door.at = MONDAY_TEN.replace(hour=8, minute=59, second=59)
    assert not door.ask(face(ANNA)).is_repeat
    assert door.later(0.5).ask(face(ANNA)).is_repeat
    admitted = door.later(0.5).ask(face(ANNA))
    assert (admitted.granted, admitted.is_repeat) == (True, False)


def test_memory_stays_bounded() -> None:
    door = Door(site=Site(lockout_after=5))
    for track in range(3000):
        door.later(0.01).ask(face(None, track, reason_if_none="attack" if track % 2 else "unknown_face"))
        door.ask(shown(PIN, None, reason_if_none="wrong_pin"))
    lists = (door.memory.tries, door.memory.answers, door.memory.lockouts, door.memory.shown)
    assert all(len(kept) <= 64 for kept in lists)


def test_wall_clock_steps_do_not_end_a_lockout() -> None:
    door = Door()
    for track in range(1, 6):
        door.ask(face(None, track, reason_if_none="attack"))
    door.at += timedelta(days=400)
    assert door.ask(face(ANNA, 8)).reason == "locked_out"


def test_decisions_do_not_change_what_they_were_given() -> None:
    memory = Memory()
    decide(face(None), None, Rules((EVERYONE,)), memory, Now(MONDAY_TEN, 1.0))
    assert memory == Memory()
    assert replace(memory) == memory
