"""Two persons, escorts, anti-passback, occupancy, passes and first persons, as the policy decides them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from device.clock import ClockQuality
from device.door.decision import Claim, Decision, Memory, Now, PassFacts, Scene
from device.door.modes import Planned, planned
from device.door.policy import decide
from device.door.rules import Rules, Site
from device.door.types import Mode
from device.store.records import (
    AccessRule,
    Area,
    Direction,
    DoorSides,
    Holiday,
    Method,
    ModePlan,
    Passback,
    Period,
    Person,
    PersonClass,
    Position,
    Schedule,
)

ANNA, BORIS, CLEO, DORA = "a" * 32, "b" * 32, "c" * 32, "d" * 32
MONDAY_TEN = datetime(2026, 1, 5, 10, 0, tzinfo=timezone.utc)
PEOPLE = {ANNA: Person(ANNA, "Anna", ("staff",)), BORIS: Person(BORIS, "Boris", ("staff",)),
          CLEO: Person(CLEO, "Cleo", ("visitors",), PersonClass.VISITOR), DORA: Person(DORA, "Dora", ("hosts",))}
VAULT = AccessRule("vault", "staff", persons=2)
GUEST, HOST = AccessRule("guest", "visitors", escort="hosts"), AccessRule("host", "hosts")
LAB = DoorSides("door", "", "lab")
OFFICE = Schedule("office", ((Period(540, 1020),),) * 5 + ((), ()))


class Door:
    """A policy with its memory and a clock."""

    def __init__(self, *rules: AccessRule, **more: object) -> None:
        self.rules = Rules(rules, (OFFICE,), Site(), **more)  # type: ignore[arg-type]
        self.memory, self.mono, self.at, self.quality = Memory(), 1000.0, MONDAY_TEN, ClockQuality.SYNCED
        self.track = 0

    def shows(self, person_id: str, method: Method = Method.FACE, scene: Scene | None = None,
              **more: object) -> Decision:
        self.track += 1
        track = self.track if method is Method.FACE else None
        claim = Claim(person_id, frozenset({method}), track_id=track, **more)  # type: ignore[arg-type]
        now = Now(self.at, self.mono, self.quality)
        decision, self.memory = decide(claim, PEOPLE.get(person_id), self.rules, self.memory, now, scene or Scene())
        return decision

    def later(self, seconds: float) -> Door:
        self.mono += seconds
        self.at += timedelta(seconds=seconds)
        return self


# --- two persons -----------------------------------------------------------------------------------------


def test_one_of_two_waits_and_both_pass_with_the_second() -> None:
    door = Door(VAULT)
    assert door.shows(ANNA).reason == "company_needed"
    decision = door.later(5).shows(BORIS)
    assert (decision.granted, decision.companions) == (True, (ANNA,))


def test_the_same_person_twice_is_one() -> None:
    door = Door(VAULT)
    for _ in range(3):
        assert door.shows(ANNA).reason == "company_needed"


def test_the_first_of_two_waits_only_so_long() -> None:
    door = Door(VAULT)
    door.shows(ANNA)
    assert door.later(15).shows(BORIS).reason == "company_needed"


def test_whoever_has_just_passed_is_no_company_for_a_third() -> None:
    door = Door(VAULT)
    PEOPLE["e" * 32] = Person("e" * 32, "Eva", ("staff",))
    door.shows(ANNA)
    assert door.shows(BORIS).granted
    door.later(1).shows(ANNA)  # still before the camera
    assert door.later(1).shows("e" * 32).reason == "company_needed"


def test_somebody_who_may_not_is_no_company() -> None:
    door = Door(VAULT, HOST)
    assert door.shows(DORA).granted
    assert door.shows(ANNA).reason == "company_needed"


def test_duress_of_either_of_two_is_told_when_they_pass() -> None:
    door = Door(replace(VAULT, methods=((Method.PIN,),)))
    door.shows(ANNA, Method.PIN, is_duress=True)
    assert door.shows(BORIS, Method.PIN).alarms == ("duress",)


# --- escort ----------------------------------------------------------------------------------------------


def test_a_visitor_waits_for_an_escort_who_takes_them_along() -> None:
    door = Door(GUEST, HOST)
    assert door.shows(CLEO).reason == "escort_needed"
    decision = door.later(3).shows(DORA)
    assert (decision.granted, decision.companions) == (True, (CLEO,))


def test_a_visitor_follows_an_escort_who_went_first() -> None:
    door = Door(GUEST, HOST)
    assert door.shows(DORA).companions == ()
    assert door.later(5).shows(CLEO).granted
    assert door.later(20).shows(CLEO).reason == "escort_needed"


def test_another_visitor_is_no_escort() -> None:
    PEOPLE["f" * 32] = Person("f" * 32, "Finn", ("visitors",))
    door = Door(GUEST, HOST)
    door.shows(CLEO)
    assert door.shows("f" * 32).reason == "escort_needed"


# --- anti-passback and occupancy -------------------------------------------------------------------------


def scene(area: str | None, age_s: float = 60.0, is_certain: bool = True, occupants: int = 0) -> Scene:
    position = None if area is None else Position(ANNA, area, MONDAY_TEN - timedelta(seconds=age_s))
    return Scene(position, is_certain, occupants)


@pytest.mark.parametrize(("mode", "seen", "reason", "alarms"), [
    (Passback.OFF, scene("lab"), "face_granted", ()),
    (Passback.SOFT, scene("lab"), "face_granted", ("passback_violated",)),
    (Passback.HARD, scene("lab"), "passback", ()),
    (Passback.HARD, scene("lab", is_certain=False), "face_granted", ("passback_violated",)),
    (Passback.HARD, scene(""), "face_granted", ()),
    (Passback.HARD, scene(None), "face_granted", ()),
    (Passback.HARD, scene("lab", 17 * 3600), "face_granted", ()),
    (Passback.TIMED, scene("lab", 299), "passback", ()),
    (Passback.TIMED, scene("lab", 301), "face_granted", ()),
])
def test_anti_passback_at_the_entry(mode: Passback, seen: Scene, reason: str, alarms: tuple[str, ...]) -> None:
    door = Door(AccessRule("r", "staff", passback=mode), areas=(Area("lab"),), doors=(LAB,))
    decision = door.shows(ANNA, scene=seen)
    assert (decision.reason, decision.alarms) == (reason, alarms)


def test_leaving_without_having_entered_is_a_violation_and_hours_do_not_keep_anybody_in() -> None:
    door = Door(AccessRule("r", "staff", passback=Passback.HARD, schedule_id="gone", methods=((Method.PIN,),)),
                doors=(LAB,), areas=(Area("lab"),))
    leaving = {"direction": Direction.EXIT}
    assert door.shows(ANNA, Method.CARD, scene(""), **leaving).reason == "passback"
    decision = door.shows(ANNA, Method.CARD, scene("lab"), **leaving)
    assert (decision.reason, decision.area) == ("exit_granted", "")
    assert door.shows(CLEO, Method.CARD, scene("lab"), **leaving).reason == "no_rule"


def test_an_inner_area_is_entered_only_from_the_outer_one() -> None:
    door = Door(AccessRule("r", "staff", passback=Passback.HARD), doors=(DoorSides("door", "hall", "lab"),),
                areas=(Area("hall"), Area("lab")))
    assert door.shows(ANNA, scene=scene("")).reason == "passback"
    assert door.shows(ANNA, scene=scene("hall")).area == "lab"


def test_a_door_without_sides_has_an_inside_of_its_own() -> None:
    door = Door(AccessRule("r", "staff", passback=Passback.HARD))
    assert door.shows(ANNA).area == "door"
    assert door.later(60).shows(ANNA, scene=scene("door")).reason == "passback"


def test_an_untrusted_clock_keeps_hard_anti_passback_and_gives_up_the_timed_one() -> None:
    for mode, reason in ((Passback.HARD, "passback"), (Passback.TIMED, "face_granted")):
        door = Door(AccessRule("r", "staff", passback=mode), areas=(Area("lab"),), doors=(LAB,))
        door.quality = ClockQuality.UNTRUSTED
        assert door.shows(ANNA, scene=scene("lab")).reason == reason


def test_a_full_area_takes_nobody_in_but_whoever_counts_already_and_lets_everybody_out() -> None:
    door = Door(AccessRule("r", "staff"), areas=(Area("lab", limit=2),), doors=(LAB,))
    assert door.shows(ANNA, scene=scene(None, occupants=2)).reason == "area_full"
    assert door.shows(ANNA, scene=scene("lab", occupants=2)).granted
    assert door.shows(BORIS, Method.CARD, scene(None, occupants=9), direction=Direction.EXIT).granted
    assert door.shows(BORIS, scene=scene(None, occupants=1)).granted


# --- passes ----------------------------------------------------------------------------------------------


def a_pass(**more: object) -> PassFacts:
    facts = {"pass_id": "e" * 32, "door_id": "door", "group": "visitors", "valid_from": MONDAY_TEN,
             "valid_until": MONDAY_TEN + timedelta(hours=1), **more}
    return PassFacts(**facts)  # type: ignore[arg-type]


PASSES = AccessRule("passes", "visitors", methods=((Method.QR,),))


@pytest.mark.parametrize(("shown", "seen", "quality", "reason"), [
    (a_pass(), Scene(), ClockQuality.SYNCED, "pass_granted"),
    (a_pass(door_id="back"), Scene(), ClockQuality.SYNCED, "pass_elsewhere"),
    (a_pass(), Scene(is_pass_used=True), ClockQuality.SYNCED, "pass_used"),
    (a_pass(is_once=False), Scene(is_pass_used=True), ClockQuality.SYNCED, "pass_granted"),
    (a_pass(pass_id="0" * 32), Scene(), ClockQuality.SYNCED, "pass_revoked"),
    (a_pass(valid_from=MONDAY_TEN + timedelta(seconds=1)), Scene(), ClockQuality.SYNCED, "not_yet_valid"),
    (a_pass(valid_until=MONDAY_TEN), Scene(), ClockQuality.SYNCED, "expired"),
    (a_pass(), Scene(), ClockQuality.UNTRUSTED, "clock_untrusted"),
    (a_pass(group="nobody"), Scene(), ClockQuality.SYNCED, "no_rule"),
])
def test_a_pass_admits_at_its_door_in_its_time_once(shown: PassFacts, seen: Scene, quality: ClockQuality,
                                                    reason: str) -> None:
    door = Door(PASSES, revoked=frozenset({"0" * 32}))
    door.quality = quality
    assert door.shows("9" * 32, Method.QR, seen, qr_pass=shown).reason == reason


def test_a_pass_gives_a_known_person_its_groups_share_and_no_longer_time_than_they_have() -> None:
    door = Door(PASSES)
    assert door.shows(ANNA, Method.QR, qr_pass=a_pass()).granted
    PEOPLE["8" * 32] = Person("8" * 32, "Hugo", (), valid_until=MONDAY_TEN)
    assert door.shows("8" * 32, Method.QR, qr_pass=a_pass()).reason == "expired"


def test_a_pass_does_not_help_somebody_who_is_blocked() -> None:
    PEOPLE["7" * 32] = Person("7" * 32, "Ida", (), PersonClass.BLOCKED)
    assert Door(PASSES).shows("7" * 32, Method.QR, qr_pass=a_pass()).reason == "blocked"


# --- modes by the calendar -------------------------------------------------------------------------------


def now(hours: float = 0.0, quality: ClockQuality = ClockQuality.SYNCED) -> Now:
    return Now(MONDAY_TEN + timedelta(hours=hours), 5.0, quality)


def test_a_plan_holds_while_its_schedule_does_at_its_doors() -> None:
    rules = Rules((), (OFFICE,), plans=(ModePlan("p", "free", "office"), ModePlan("q", "lockdown", "office", ("x",))))
    assert planned(rules, frozenset(), now()) == Planned(Mode.FREE, "p")
    assert planned(rules, frozenset(), now(8)) == Planned()
    assert planned(rules, frozenset(), now(0, ClockQuality.UNTRUSTED)) == Planned()


def test_lockdown_outranks_free() -> None:
    rules = Rules((), (OFFICE,), plans=(ModePlan("p", "free", "always"), ModePlan("q", "lockdown", "office")))
    assert planned(rules, frozenset(), now()).mode is Mode.LOCKDOWN
    assert planned(rules, frozenset(), now(9)).mode is Mode.FREE


def test_free_waits_for_its_first_person_in_each_period() -> None:
    rules = Rules((AccessRule("r", "staff"),), (OFFICE,), plans=(ModePlan("p", "free", "office", (), "staff"),))
    assert planned(rules, frozenset(), now()) == Planned()
    door = Door(AccessRule("r", "staff"), plans=(ModePlan("p", "free", "office", (), "staff"),))
    assert door.shows(ANNA).opens == ("p",)
    assert planned(rules, frozenset({"p"}), now()) == Planned(Mode.FREE, "p", frozenset({"p"}))
    assert planned(rules, frozenset({"p"}), now(8)) == Planned()  # and is forgotten
    assert door.later(8 * 3600).shows(BORIS).opens == ()


def test_holidays_have_periods_of_their_own() -> None:
    closed = replace(OFFICE, on_holiday=())
    rules = Rules((AccessRule("r", "staff", schedule_id="office"),), (closed,), holidays=(
        Holiday("h", "2026-01-04", "2026-01-05"),))
    decision, _ = decide(Claim(ANNA, frozenset({Method.FACE})), PEOPLE[ANNA], rules, Memory(), now())
    assert decision.reason == "outside_schedule"
    decision, _ = decide(Claim(ANNA, frozenset({Method.FACE})), PEOPLE[ANNA], rules, Memory(), now(24))
    assert decision.granted


@pytest.mark.parametrize(("first", "last"), [("2026-01-05", "2026-01-04"), ("soon", "later"),
                                             ("9999-12-31", "10000-1-1")])
def test_a_holiday_that_is_none_changes_nothing(first: str, last: str) -> None:
    rules = Rules((), (OFFICE,), holidays=(Holiday("h", first, last),))
    assert "2026-01-05" not in rules.holiday_days
