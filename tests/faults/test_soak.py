"""Days at a door in accelerated time: visitors all day long, and every minute something goes wrong.

The real terminal with its real stores and mock pins; only the clock is held by hand. DOOR_HOURS sets for how long.
"""

from __future__ import annotations

import gc
import os
import random
import tracemalloc
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from fault_figures import Figure

from device.face.card import Card
from device.rehearsal.player import Day
from device.rehearsal.scenario import scenario_of

HOURS = float(os.environ.get("DOOR_HOURS", "0.25"))
PASSES_PER_DAY = 2000
FAULT_S = 60.0
WARM_UP = 0.2
"""Share of the time after which memory is compared: what is kept for a while has filled by then."""

TABLE: dict[str, Any] = {
    "about": "a long day", "start": datetime(2026, 3, 28, tzinfo=timezone(timedelta(hours=1))),
    "terminal": {"door": {"lock": "strike", "time_zone": "Europe/Berlin"},
                 "pins": {"contact": 22, "rex": 27, "tamper": 25, "fire": 26}},
    "person": [{"id": name, "card": str(1000 + number)} for number, name in enumerate(("anna", "bo", "chen"))],
    "policy": {"rule": [{"id": "all", "group": "everyone", "methods": ["face", "card"]}]},
}


def deeds(chance: random.Random) -> Iterator[tuple[float, str, Any, dict[str, Any]]]:
    """(seconds, what, value, detail): visits spread over the day, and a fault a minute that ends again."""
    found: list[tuple[float, str, Any, dict[str, Any]]] = []
    end = HOURS * 3600.0
    for _ in range(round(PASSES_PER_DAY * HOURS / 24)):
        at = chance.uniform(5.0, end)
        who = chance.choice([one["id"] for one in TABLE["person"]])
        found.append((at, "face", who, {}))
        if chance.random() < 0.8:
            shut = at + 1.0 + chance.uniform(0.5, 8.0)
            found += [(at + 1.0, "contact", "open", {}), (shut, "contact", "closed", {})]
    at = FAULT_S
    while at < end:
        found += [(at + after, *deed) for after, *deed in chance.choice(FAULTS)]
        at += FAULT_S
    yield from sorted(found, key=lambda one: one[0])


FAULTS: list[list[tuple[float, str, Any, dict[str, Any]]]] = [
    [(0.0, "bounce", "contact", {"times": 5, "every": 0.004})],
    [(0.0, "fault", "camera_lost", {}), (7.0, "well", "camera_lost", {})],
    [(0.0, "fault", "hub_silent", {}), (20.0, "well", "hub_silent", {})],
    [(0.0, "clock", "untrusted", {}), (15.0, "clock", "synced", {})],
    [(0.0, "step_wall", -3600.0, {}), (9.0, "step_wall", 3600.0, {})],
    [(0.0, "stranger", True, {})],
    [(0.0, "attack", "print", {})],
    [(0.0, "rex", "pressed", {}), (0.6, "rex", "let_go", {})],
    [(0.0, "tamper", "on", {}), (5.0, "tamper", "off", {})],
    [(0.0, "fire", "on", {}), (6.0, "fire", "off", {}), (7.0, "reset", "local", {})],
    [(0.0, "mode", "lockdown", {"until": 12.0})],
    [(0.0, "restart", True, {})],
]


def scripted(seed: int) -> dict[str, Any]:
    steps, before = [], 0.0
    for at, what, value, detail in deeds(random.Random(seed)):
        steps.append({"after": round(at - before, 3), what: value, **detail})
        before += steps[-1]["after"]
    return TABLE | {"step": steps}


@pytest.mark.timeout(120 + 120 * HOURS)
def test_a_long_day_with_a_fault_a_minute_leaks_nothing_and_ends_each_release(
        pack: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Figure) -> None:
    monkeypatch.setenv("DOOR_LINK", str(tmp_path / "none.toml"))
    scenario = scenario_of(scripted(20261128), "the soak")
    day = Day(scenario, tmp_path / "state")
    samples: list[tuple[float, float, int]] = []
    tracemalloc.start()
    try:
        for number, deed in enumerate(scenario.deeds):
            day._pass_time(deed.at)
            day._do(deed)
            day._settle()
            if number % max(len(scenario.deeds) // 50, 1) == 0:
                day._lines[:-50] = []
                gc.collect()
                samples.append((deed.at / 3600, tracemalloc.get_traced_memory()[0] / 2**20, _descriptors()))
        day._pass_time(scenario.deeds[-1].at + 120.0)
        assert not day._relay.is_on
        journal = day._terminal.journal.journal
        assert journal is not None
        assert journal.verify() == journal.head
        entries = journal.entries(0, 1_000_000)
        restarts = sum(one.what == "restart" for one in scenario.deeds)
        assert sum(one.reason == "started" for one in entries) == 1 + restarts
        granted = sum(one.reason == "face_granted" for one in entries)
        assert granted > 0
    finally:
        tracemalloc.stop()
        day.close()
    late = [one for one in samples if one[0] >= HOURS * WARM_UP]
    slope = _slope([(hours, mb) for hours, mb, _ in late])
    assert max(count for *_, count in late) - min(count for *_, count in late) <= 4
    assert HOURS < 12 or slope <= 1.0
    figure("F61", f"{HOURS:g} h of accelerated time, {granted} passes, a fault a minute: {slope:+.2f} MB/h, "
                  f"descriptors {late[0][2]} to {late[-1][2]}, every release ended, the journal whole")


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _slope(points: list[tuple[float, float]]) -> float:
    """Least squares, per hour."""
    count = len(points)
    x, y = sum(one for one, _ in points) / count, sum(one for _, one in points) / count
    spread = sum((one - x) ** 2 for one, _ in points)
    return sum((one - x) * (other - y) for one, other in points) / spread if spread else 0.0
