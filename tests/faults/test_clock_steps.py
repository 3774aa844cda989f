"""The wall clock at 1970, at 2099, hours ahead and behind, while the door runs: nobody passes by an hour that is not,
and whatever is timed at the door is not moved by it.

The real terminal with its real stores and its real judgement of the clock; DOOR_STEPS sets how often the clock is
stepped.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from fault_figures import Figure

from device.face.card import Card
from device.rehearsal.player import Day
from device.rehearsal.scenario import Deed, scenario_of
from device.timekeeper import TimeKeeper

STEPS = int(os.environ.get("DOOR_STEPS", "40"))
RELEASE_S = 5.0
FAR = (datetime(1970, 1, 1, tzinfo=timezone.utc), datetime(2099, 12, 31, 23, 59, tzinfo=timezone.utc))
HOURS = (-25, -10, -3, -1, 1, 3, 10, 25)
OPENS, SHUTS = 8, 18  # o'clock

TABLE: dict[str, Any] = {
    "about": "a clock that is stepped", "start": datetime(2026, 3, 2, 9, tzinfo=timezone.utc),
    "terminal": {"door": {"lock": "strike", "time_zone": "UTC", "release_s": RELEASE_S}},
    "person": [{"id": "office", "groups": ["a"]}, {"id": "always", "groups": ["b"]}],
    "policy": {"rule": [{"id": "office", "group": "a", "schedule": "office"}, {"id": "always", "group": "b"}],
               "schedule": [{"id": "office", "every_day": [f"{OPENS:02}:00-{SHUTS}:00"]}]},
    "step": [{"face": "always"}],
}


class SteppedDay(Day):
    """A day whose clock's quality the terminal judges itself, as it does at a door."""

    def __init__(self, folder: Path) -> None:
        super().__init__(scenario_of(TABLE, "stepped"), folder)
        self.is_ntp = True
        self._begun_at = self._clock.now()
        self.keeper = TimeKeeper(lambda: self.is_ntp)
        by_hand = self._terminal._by_hand
        assert by_hand is not None
        self._terminal._by_hand = replace(
            by_hand, quality=lambda: self.keeper.quality(self._clock.now(), self._clock.mono()))
        self._settle()
        self.is_ntp = False

    @property
    def right(self) -> datetime:
        return self._begun_at + timedelta(seconds=self._elapsed())

    @property
    def is_right(self) -> bool:
        return self._clock.now() == self.right

    def set_clock(self, to: datetime) -> None:
        self._clock.step_wall((to - self._clock.now()).total_seconds())
        self._settle()

    def wait(self, seconds: float) -> None:
        self._pass_time(self._elapsed() + seconds)

    def is_let_in(self, who: str) -> bool:
        """Whether a face opens the door; it is locked again afterwards, after as long as it should be."""
        self._do(Deed(0.0, "face", who))
        self._settle()
        if not self._relay.is_on:
            return False
        self.is_ntp = False
        self.set_clock(self._clock.now() + timedelta(hours=7))
        self.wait(RELEASE_S - 0.5)
        assert self._relay.is_on
        self.set_clock(self._clock.now() - timedelta(hours=7))
        self.wait(1.0)
        assert not self._relay.is_on
        return True

    def qualities(self) -> set[str]:
        journal = self._terminal.journal.journal
        assert journal is not None
        assert journal.verify() == journal.head
        entries = journal.entries(0, 10_000_000)
        assert [one.mono for one in entries] == sorted(one.mono for one in entries)
        return {one.clock_quality for one in entries}


@pytest.mark.timeout(120 + STEPS)
def test_no_step_of_the_clock_lets_anybody_in_by_the_wrong_hour_or_moves_a_timer(
        pack: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Figure) -> None:
    monkeypatch.setenv("DOOR_LINK", str(tmp_path / "none.toml"))
    chance, day = random.Random(20261128), SteppedDay(tmp_path / "state")
    counts = {"granted": 0, "wrong": 0}
    try:
        for _ in range(STEPS):
            day.is_ntp = False
            day.wait(chance.uniform(60.0, 5 * 3600.0))
            to = chance.choice([*[day.right] * 5, *FAR, *(day.right + timedelta(hours=one) for one in HOURS)])
            day.set_clock(to)
            day.is_ntp = day.is_right and chance.random() < 0.5
            is_due = OPENS <= day.right.hour < SHUTS and day.is_right
            counts["wrong"] += not day.is_right
            counts["granted"] += is_due
            assert day.is_let_in("office") is is_due, (day.right, to)
            day.wait(30.0)
            assert day.is_let_in("always"), (day.right, to)
        assert day.qualities() == {"synced", "holdover", "untrusted"}
    finally:
        day.close()
    assert all(counts.values())
    figure("F38", f"{STEPS} steps of the clock at a running door, {counts['wrong']} to a wrong time: 0 grants by the "
                  f"wrong hour, {counts['granted']} by the right one, every release as long as it should be")
