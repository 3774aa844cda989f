"""The time that an expiry is compared with, whatever becomes of the clock."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from update_samples import at

from device.clock import ClockQuality, HandClock, quality_of
from device.update.time_floor import TimeFloor

START = datetime(1970, 1, 1, tzinfo=timezone.utc)


def floor_of(path: Path, now: datetime, is_synced: bool = False) -> TimeFloor:
    mark = path.with_name("synchronized")
    if is_synced:
        mark.touch()
    return TimeFloor(path, at(0), HandClock(now), lambda now, floor: quality_of(now, floor, mark))


def test_a_clock_before_the_floor_counts_for_nothing(tmp_path: Path) -> None:
    floor = floor_of(tmp_path / "floor", START)
    assert floor.reference == at(0)
    assert floor.quality is ClockQuality.UNTRUSTED
    floor.rise(at(10))
    assert floor_of(tmp_path / "floor", START).reference == at(10)
    assert "whatever the clock says" in floor.words()
    assert str(tmp_path / "floor") in floor.words()


def test_a_clock_after_the_floor_counts(tmp_path: Path) -> None:
    floor = floor_of(tmp_path / "floor", at(50))
    assert floor.reference == at(50)
    assert "set it if it is wrong" in floor.words()


def test_the_floor_never_takes_the_word_of_a_clock_that_no_network_has_set(tmp_path: Path) -> None:
    floor = floor_of(tmp_path / "floor", at(40_000))
    floor.rise(at(5))
    assert floor_of(tmp_path / "floor", START).at == at(5)


def test_the_floor_rises_with_a_clock_that_a_network_has_set(tmp_path: Path) -> None:
    floor_of(tmp_path / "floor", at(50), is_synced=True).rise(at(5))
    assert floor_of(tmp_path / "floor", START).at == at(50)


def test_the_floor_never_falls(tmp_path: Path) -> None:
    floor_of(tmp_path / "floor", at(1)).rise(at(20))
    floor_of(tmp_path / "floor", at(1)).rise(at(10))
    assert floor_of(tmp_path / "floor", at(1)).at == at(20)


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"tomorrow", b"2026-13-01T00:00:00Z"])
def test_a_lost_or_damaged_floor_is_that_of_the_release_that_runs(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "floor").write_bytes(damage)
    floor = floor_of(tmp_path / "floor", START)
    assert floor.at == at(0)
    floor.rise(floor.at + timedelta(days=1))
    assert floor_of(tmp_path / "floor", START).at == at(1)
