"""Stages of a roll-out, and how far its members are."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.hub.errors import FieldRefused
from sync.hub.members import PATIENCE, Member, Said, State, Wanted, is_through, judged, unfit
from sync.hub.overview import SILENT_AFTER
from sync.hub.stages import USUAL, sizes

NOW = datetime(2026, 1, 5, 8, 0, tzinfo=timezone.utc)
WANTED = Wanted("r1", "1.2.0", "aarch64 py3.11")
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(("text", "count", "wanted"), [
    (USUAL, 30, (1, 3, 30)), (USUAL, 3, (1, 3)), (USUAL, 1, (1,)), ("1, 5, 50%", 8, (1, 5)), ("100%", 7, (7,)),
    ("2,4,100%", 3, (2, 3)), ("10%", 1, (1,)), ("33%,66%,100%", 1000, (330, 660, 1000))])
def test_stages_are_so_many_terminals(text: str, count: int, wanted: tuple[int, ...]) -> None:
    assert sizes(text, count) == wanted


@pytest.mark.parametrize("text", ["", "0", "1,1", "2,1", "50%,50%", "0%", "101%", "-1", "1.5", "one", "1,,2", "1;2",
                                  ",".join(map(str, range(1, 30)))])
def test_what_are_no_stages_is_refused(text: str) -> None:
    with pytest.raises(FieldRefused):
        sizes(text, 10)


@given(st.lists(st.integers(1, 100), min_size=1, max_size=6, unique=True), st.integers(1, 5000))
def test_stages_rise_and_never_reach_past_the_last_terminal(shares: list[int], count: int) -> None:
    found = sizes(",".join(f"{share}%" for share in sorted(shares)), count)
    assert list(found) == sorted(set(found))
    assert found[0] >= 1 and found[-1] <= count
    assert (max(shares) == 100) <= (found[-1] == count)


def said(word: str = "", release: str = "1.0.0", **more) -> Said:
    update = {"rollout_id": "r1", "release": "1.2.0", "state": word, "done": 3, "total": 21,
              "why": more.pop("why", "")}
    found = Said(NOW - SECOND, True, release, WANTED.machine, frozenset(), update if word else {})
    return dataclasses.replace(found, **more)


def member(state: State = State.WAITING, **more) -> Member:
    return Member("t1", 0, state, NOW - 2 * SECOND, **more)


@pytest.mark.parametrize(("report", "state", "why"), [
    (said(), State.WAITING, ""), (said(reported=None, release="", machine=""), State.WAITING, "not heard of"),
    (said("downloading"), State.DOWNLOADING, "3 of 21"), (said("waiting"), State.INSTALLING, ""),
    (said("trying", "1.2.0"), State.INSTALLING, ""), (said("applied", "1.2.0"), State.UPDATED, ""),
    (said("failed", why="no room"), State.FAILED, "no room"), (said("applied"), State.FAILED, "runs 1.0.0 again"),
    (said(machine="x86_64 py3.11"), State.PASSED_OVER, "is x86_64 py3.11; the bundle is for aarch64 py3.11"),
    (said(release="1.3.0"), State.PASSED_OVER, "runs 1.3.0, which is newer"),
    (said(release=""), State.PASSED_OVER, "runs no installed release"),
    (said("applied", "1.2.0", faults=frozenset({"relay_lost"})), State.UPDATED, "relay_lost"),
    (said("applied", "1.2.0", reported=NOW - SILENT_AFTER - SECOND), State.UPDATED, "not heard of"),
    (said("something new"), State.WAITING, "")])
def test_a_member_is_what_its_terminal_says(report: Said, state: State, why: str) -> None:
    found = judged(member(), report, WANTED, NOW)
    assert (found.state, found.why) == (state, why)
    assert (found.well_since == NOW) is (state is State.UPDATED and not why)


def test_what_a_terminal_says_moves_nothing_in_a_shell() -> None:
    assert judged(member(), said("failed", why="\x1b[2Jall\nis well"), WANTED, NOW).why == "?[2Jall?is well"


def test_what_is_said_of_another_roll_out_counts_for_nothing() -> None:
    report = said("failed")
    other = dataclasses.replace(report, update={**report.update, "rollout_id": "r0"})
    assert judged(member(), other, WANTED, NOW).state is State.WAITING


def test_who_has_failed_or_was_passed_over_stays_so() -> None:
    for state in (State.FAILED, State.PASSED_OVER):
        assert judged(member(state), said("applied", "1.2.0"), WANTED, NOW) == member(state)


def test_a_fault_from_before_the_update_is_not_the_releases() -> None:
    before = judged(member(), said(faults=frozenset({"camera_lost"})), WANTED, NOW)
    after = judged(before, said("applied", "1.2.0", faults=frozenset({"camera_lost"})), WANTED, NOW)
    assert after.well_since == NOW
    worse = judged(before, said("applied", "1.2.0", faults=frozenset({"camera_lost", "relay_lost"})), WANTED, NOW)
    assert (worse.well_since, worse.why) == (None, "relay_lost")


def test_a_moment_of_illness_begins_the_soak_time_anew() -> None:
    well = judged(member(), said("applied", "1.2.0"), WANTED, NOW)
    later = NOW + timedelta(hours=2)
    ill = judged(well, said("applied", "1.2.0", reported=later, faults=frozenset({"relay_lost"})), WANTED, later)
    again = judged(ill, said("applied", "1.2.0", reported=later), WANTED, later)
    assert (well.well_since, ill.well_since, again.well_since) == (NOW, None, later)
    assert not is_through([again], timedelta(hours=1), later)
    assert is_through([again], timedelta(hours=1), later + timedelta(hours=1))


@pytest.mark.parametrize("report", [said("waiting"), said("trying", "1.2.0"),
                                    said("applied", "1.2.0", faults=frozenset({"relay_lost"}))])
def test_who_is_stuck_after_the_hand_over_has_failed_in_the_end(report: Said) -> None:
    first = judged(member(), report, WANTED, NOW)
    fresh = dataclasses.replace(report, reported=NOW + PATIENCE)
    assert judged(first, fresh, WANTED, NOW + PATIENCE).state is not State.FAILED
    late = NOW + PATIENCE + SECOND
    last = judged(first, dataclasses.replace(report, reported=late), WANTED, late)
    assert last.state is State.FAILED
    assert last.why.endswith("for over an hour")


def test_a_terminal_that_is_away_before_it_has_the_bundle_never_fails() -> None:
    away = said(reported=NOW - timedelta(days=30))
    assert judged(member(), away, WANTED, NOW + timedelta(days=60)).state is State.WAITING


def test_a_clock_that_was_set_back_does_not_hold_a_stage_for_ever() -> None:
    ahead = member(State.UPDATED, well_since=NOW + timedelta(days=400))
    assert judged(ahead, said("applied", "1.2.0"), WANTED, NOW).well_since == NOW


def test_the_release_that_runs_already_is_fit_and_a_version_that_is_none_is_not_compared() -> None:
    assert unfit(said(release="1.2.0"), WANTED) == ""
    assert unfit(said(release="nightly"), WANTED) == ""


def test_a_report_with_nonsense_in_it_is_read_as_nothing() -> None:
    assert Said.of({}, None, False) == Said(None, False, "", "", frozenset(), {})
    assert Said.of({"versions": None, "update": None, "degraded": ["relay_lost", "stale x"]}, NOW, True).faults == {
        "relay_lost"}
