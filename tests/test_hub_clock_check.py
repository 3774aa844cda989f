"""What is deleted because its time has run out is deleted only while the hub's clock can be believed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hub_samples import agreed, open_hub
from store_samples import template

from device.clock import HandClock
from sync.hub.people import Newcomer
from sync.hub.times import milliseconds
from sync.wire.messages import HealthBody, Report

DAY, YEARS = 86400.0, 73 * 366 * 86400.0


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def hub(tmp_path, tmp_path_factory, clock):
    made = open_hub(tmp_path / "hub", tmp_path_factory, clock)
    made.fleet.add("door-1", "hq", ["staff"])
    with made.storage.write() as tx:
        made.people.add(Newcomer("Visitor", ("staff",)), tx, f"{1:032x}")
        until = clock.now() + timedelta(days=10)
        made.people.add_faces(f"{1:032x}", [template(1)], agreed(clock, until), None, tx)
    made.tidy()
    yield made
    made.close()


def faces(hub):
    return hub.people.get(f"{1:032x}").template_ids


def hear(hub, clock, quality="synced", off_s=0.0):
    hub.fleet.reported(Report(
        terminal_id="door-1", boot_id=str(milliseconds(clock.now())), issued_ms=milliseconds(clock.now()) + round(
            1000 * off_s), cursors=(), journal_id="j", journal_seq=0, acked_seq=0, model_ids=(), desired_version=0,
        key_ids=()), HealthBody(clock_quality=quality))


def test_a_clock_that_leaps_by_decades_deletes_no_face_and_one_that_is_put_right_goes_on(hub, clock, caplog):
    clock.step_wall(YEARS)
    for _ in range(3):
        hub.tidy()
        clock.advance(600)
    assert len(faces(hub)) == 1
    assert len([one for one in caplog.records if "nothing is deleted by time" in one.message]) == 1
    assert "tidy --clock-is-right" in hub.clock_check.doubt()
    clock.step_wall(-YEARS)
    hub.tidy()
    assert hub.clock_check.doubt() == ""
    for _ in range(10):
        clock.advance(DAY)
        hub.tidy()
    assert faces(hub) == ()


def test_a_hub_that_was_off_for_weeks_waits_until_a_synced_terminal_says_the_same(hub, clock):
    clock.advance(30 * DAY)
    hub.tidy()
    assert len(faces(hub)) == 1
    hear(hub, clock, quality="holdover")
    hub.tidy()
    assert len(faces(hub)) == 1
    hear(hub, clock, off_s=-7200)
    hub.tidy()
    assert len(faces(hub)) == 1
    hear(hub, clock, off_s=-600)
    clock.advance(1200)
    hub.tidy()
    assert len(faces(hub)) == 1
    hear(hub, clock, off_s=-600)
    hub.tidy()
    assert faces(hub) == ()


def test_somebody_may_vouch_for_the_clock(hub, clock):
    clock.advance(30 * DAY)
    hub.tidy()
    assert len(faces(hub)) == 1
    hub.tidy(is_clock_right=True)
    assert faces(hub) == ()
    assert hub.clock_check.doubt() == ""


def test_a_clock_that_was_set_back_is_not_believed_until_it_has_caught_up(hub, clock):
    clock.step_wall(-5 * DAY)
    assert "last known to be right" in hub.clock_check.doubt()
    clock.advance(5 * DAY)
    assert hub.clock_check.doubt() == ""


def test_a_hub_that_has_never_looked_goes_by_its_first_token(tmp_path, tmp_path_factory):
    clock = HandClock()
    hub = open_hub(tmp_path / "fresh", tmp_path_factory, clock)
    hub.tokens.make("admin")
    clock.advance(30 * DAY)
    assert hub.clock_check.doubt()
    hub.close()
