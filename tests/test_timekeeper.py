"""How far the clock is trusted, and that no network that plays an old time makes it young again."""

from __future__ import annotations

import ctypes
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device import clock
from device.clock import ClockQuality, HandClock
from device.store.journal import Journal
from device.store.records import NewEntry
from device.timekeeper import FIRST, FLOOR, HUB_LIFE_S, Anchor, Evidence, TimeKeeper, quality_of, recalled_floor

SYNCED, HOLDOVER, UNTRUSTED = ClockQuality.SYNCED, ClockQuality.HOLDOVER, ClockQuality.UNTRUSTED
NOW = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)
DAY = timedelta(days=1)
YEARS = timedelta(days=20 * 365)


def milliseconds(at):
    return int(at.timestamp() * 1000)


class Keeper(TimeKeeper):
    """With a clock and NTP moved by hand."""

    def __init__(self, floor=NOW - DAY):
        self.clock, self.is_ntp, self.notes = HandClock(NOW), False, []
        super().__init__(lambda: self.is_ntp, floor, self.notes.append)

    def now(self):
        return self.quality(self.clock.now(), self.clock.mono())

    def says(self, offset=timedelta()):
        """The hub says that it is so much later than this clock does."""
        self.heard(milliseconds(self.clock.now() + offset), self.clock.mono())
        return self.now()


# --- the three qualities -----------------------------------------------------------------------------------------


def test_a_clock_that_was_never_set_in_this_boot_is_not_trusted():
    assert Keeper().now() is UNTRUSTED


@pytest.mark.parametrize("step", [YEARS, -YEARS])
def test_a_clock_that_was_lost_is_not_trusted_without_ntp_and_does_not_move_the_floor(step):
    keeper = Keeper()
    keeper.clock.step_wall(step.total_seconds())
    assert keeper.now() is UNTRUSTED
    assert keeper.floor == NOW - DAY


def test_ntp_makes_it_synced_and_its_loss_holdover_for_as_long_as_the_clock_runs_on_evenly():
    keeper = Keeper()
    keeper.is_ntp = True
    assert keeper.now() is SYNCED
    keeper.is_ntp = False
    keeper.clock.advance(5 * 86400)
    assert keeper.now() is HOLDOVER
    assert keeper.floor == NOW
    keeper.clock.step_wall(3600)
    assert keeper.now() is UNTRUSTED
    assert keeper.floor == NOW
    keeper.clock.step_wall(-3600)
    assert keeper.now() is HOLDOVER
    keeper.clock.step_wall(-3600)
    assert keeper.now() is UNTRUSTED


def test_the_hubs_word_makes_it_synced_for_a_day():
    keeper = Keeper()
    assert keeper.says() is SYNCED
    keeper.clock.advance(HUB_LIFE_S - 1)
    assert keeper.now() is SYNCED
    keeper.clock.advance(2)
    assert keeper.now() is HOLDOVER


@pytest.mark.parametrize("offset", [timedelta(minutes=2), -timedelta(minutes=2), YEARS, -YEARS])
def test_a_clock_that_the_hub_contradicts_is_not_made_synced_by_it(offset):
    keeper = Keeper()
    assert keeper.says(offset) is UNTRUSTED
    assert keeper.floor == NOW - DAY


def test_a_clock_before_what_the_hub_has_signed_is_not_trusted_even_with_ntp():
    keeper = Keeper()
    keeper.is_ntp = True
    assert keeper.says(timedelta(minutes=5)) is UNTRUSTED


def test_a_hub_whose_word_comes_late_does_not_make_a_right_clock_untrusted():
    keeper = Keeper()
    keeper.is_ntp = True
    assert keeper.says(-timedelta(hours=3)) is SYNCED
    assert keeper.says() is SYNCED
    keeper.clock.advance(3 * 3600)
    assert keeper.says(-timedelta(hours=2)) is SYNCED
    keeper.is_ntp = False
    assert keeper.now() is SYNCED  # the late word was passed over for the one before it


def test_a_hub_whose_clock_is_put_right_is_followed():
    keeper = Keeper()
    assert keeper.says(YEARS) is UNTRUSTED
    assert keeper.says() is SYNCED


# --- the floor -----------------------------------------------------------------------------------------------------


def test_a_network_that_plays_an_old_time_does_not_bring_it_back():
    keeper = Keeper()
    keeper.is_ntp = True
    keeper.now()
    for step_s in (-3600.0, 30.0, -40.0, -86400.0, -30 * 86400.0):
        keeper.clock.step_wall(step_s)
        assert keeper.now() is UNTRUSTED
        assert keeper.floor == NOW


def test_ntp_may_step_back_a_little_but_not_again_and_again():
    keeper = Keeper()
    keeper.is_ntp = True
    keeper.now()
    keeper.clock.step_wall(-30)
    assert keeper.now() is SYNCED
    keeper.clock.step_wall(-29)
    assert keeper.now() is SYNCED
    keeper.clock.step_wall(-29)
    assert keeper.now() is UNTRUSTED


def test_a_floor_from_a_wrong_time_comes_down_by_the_hubs_word_and_that_is_noted():
    keeper = Keeper(NOW + YEARS)
    keeper.is_ntp = True
    assert keeper.now() is UNTRUSTED
    assert keeper.says() is SYNCED
    assert keeper.floor == NOW
    assert keeper.notes == [NOW]


def test_a_floor_from_a_wrong_time_comes_down_by_the_word_of_somebody_at_the_terminal():
    keeper = Keeper(NOW + YEARS)
    keeper.is_ntp = True
    keeper.confirm(keeper.clock.now(), keeper.clock.mono())
    assert keeper.now() is SYNCED
    assert keeper.notes == [NOW]
    keeper.is_ntp = False
    assert keeper.now() is HOLDOVER


@given(st.lists(st.tuples(st.sampled_from(["ntp", "step", "pass"]), st.integers(-10**7, 10**7)), max_size=30))
def test_whatever_ntp_does_no_time_before_the_latest_that_was_synced_is_trusted(steps):
    keeper, latest = Keeper(), NOW - DAY
    for step, number in steps:
        if step == "ntp":
            keeper.is_ntp = number % 2 == 0
        elif step == "step":
            keeper.clock.step_wall(number)
        else:
            keeper.clock.advance(abs(number) % 100_000)
        quality = keeper.now()
        assert quality is UNTRUSTED or keeper.clock.now() >= latest - timedelta(seconds=120)
        if quality is SYNCED:
            latest = max(latest, keeper.clock.now())
        assert keeper.floor == latest


def test_the_judgement_is_pure():
    known = Evidence(False, NOW - DAY, Anchor(NOW, 100.0))
    assert [quality_of(NOW + timedelta(seconds=50), 150.0, known) for _ in range(3)] == [SYNCED] * 3
    assert quality_of(NOW, 150.0, Evidence(True, NOW)) is SYNCED
    assert quality_of(NOW, 150.0, Evidence(False, NOW)) is UNTRUSTED


# --- over restarts -------------------------------------------------------------------------------------------------


@pytest.fixture
def journal(tmp_path):
    journal = Journal.open(tmp_path / "journal.db", HandClock(NOW), "b" * 32)
    yield journal
    journal.close()


def write(journal, quality, at, count=1, **detail):
    journal.clock_quality = quality
    journal.append_all([(NewEntry("note", "x", None, tuple(detail.items())), at, None)] * count)


def test_a_new_journal_knows_no_floor(journal):
    assert recalled_floor(journal) == FIRST


def test_only_what_was_written_under_synced_is_a_floor(journal):
    write(journal, SYNCED, NOW)
    write(journal, UNTRUSTED, NOW + YEARS, 3)
    write(journal, HOLDOVER, NOW + YEARS)
    assert recalled_floor(journal) == NOW


def test_the_floor_is_found_however_many_entries_came_since(journal):
    write(journal, SYNCED, NOW)
    write(journal, UNTRUSTED, NOW - DAY, 6000)
    assert recalled_floor(journal) == NOW


def test_an_entry_that_names_the_floor_ends_what_was_before_it(journal):
    write(journal, SYNCED, NOW + YEARS)
    write(journal, SYNCED, NOW, **{FLOOR: NOW.isoformat()})
    assert recalled_floor(journal) == NOW
    write(journal, SYNCED, NOW + DAY)
    write(journal, UNTRUSTED, NOW, **{FLOOR: "no time"})
    assert recalled_floor(journal) == NOW + DAY


def test_a_floor_that_a_start_names_is_kept_where_nothing_was_synced_since(journal):
    write(journal, UNTRUSTED, FIRST, **{FLOOR: NOW.isoformat()})
    write(journal, UNTRUSTED, FIRST, 10)
    assert recalled_floor(journal) == NOW


def test_the_kernel_is_asked_and_timesyncds_mark_where_it_says_nothing(tmp_path, monkeypatch):
    missing, mark = tmp_path / "missing", tmp_path / "mark"
    mark.touch()
    said = {"status": 0x40}

    def adjtimex(timex):
        ctypes.memmove(ctypes.addressof(timex) + clock._STATUS_AT, ctypes.byref(ctypes.c_int(said["status"])), 4)
        return said.get("code", 0)

    monkeypatch.setattr(clock.ctypes, "CDLL", lambda *_, **__: SimpleNamespace(adjtimex=adjtimex))
    assert not clock.is_ntp_synced(missing)
    assert clock.is_ntp_synced(mark)
    said["status"] = 0x2001
    assert clock.is_ntp_synced(missing)
    said["code"] = -1  # a sandbox forbids it
    assert not clock.is_ntp_synced(missing)
