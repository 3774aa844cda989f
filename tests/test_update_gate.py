"""Whether a release has shown that it works: 150 s to be well, 60 s to stay so; and what it is blamed for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from update_samples import Bench

from device.update.gate import Gate, Verdict
from device.update.health import NEVER_TOLERATED, Watch
from device.update.trial import START_S, STAY_S, Trial, read_trial, write_trial
from device.update.version import Version

WELL: frozenset[str] = frozenset()
ILL = frozenset({"camera_lost"})
DEADLINE = 1000.0 + START_S


def judged(moments: list[tuple[float, int, frozenset[str]]]) -> tuple[Verdict, float, str]:
    """The first verdict that is not to wait, when it fell, and why; moments are seconds after the switch."""
    gate = Gate(DEADLINE)
    for after, pid, faults in moments:
        verdict = gate.see(1000.0 + after, pid, faults)
        if verdict is not Verdict.WAIT:
            return verdict, after, gate.why
    return Verdict.WAIT, moments[-1][0], gate.why


def every_second(until: float, well_from: float, *, well_to: float = 1e9, pid_after: float = 1e9
                 ) -> list[tuple[float, int, frozenset[str]]]:
    return [(float(after), 2 if after > pid_after else 1, WELL if well_from <= after < well_to else ILL)
            for after in range(int(until) + 1)]


def test_a_release_that_is_well_and_stays_so_is_good_after_a_minute() -> None:
    assert judged(every_second(300, 10)) == (Verdict.GOOD, 10 + STAY_S, "")


def test_a_release_that_is_well_at_the_last_moment_has_its_minute() -> None:
    assert judged(every_second(300, START_S)) == (Verdict.GOOD, START_S + STAY_S, "")


def test_a_release_that_is_never_well_is_bad_after_150_seconds() -> None:
    assert judged(every_second(300, 999)) == (Verdict.BAD, START_S, "camera_lost")


def test_a_release_that_is_unwell_once_begins_its_minute_anew() -> None:
    assert judged(every_second(50, 10, well_to=50) + [(51.0 + n, 1, WELL) for n in range(200)])[:2] == (
        Verdict.GOOD, 51 + STAY_S)


def test_a_release_that_is_unwell_after_the_deadline_is_bad_at_once() -> None:
    assert judged(every_second(300, 140, well_to=170)) == (Verdict.BAD, 170, "camera_lost")


def test_a_doord_that_starts_again_and_again_is_bad_although_it_is_always_well() -> None:
    restarts = [(float(after), after // 30, WELL) for after in range(400)]
    verdict, after, why = judged(restarts)
    assert (verdict, why) == (Verdict.BAD, "doord has started again")
    assert START_S < after <= START_S + STAY_S


def test_each_verdict_falls_within_five_minutes() -> None:
    for well_from in range(0, 400, 7):
        for well_to in range(well_from, 400, 31):
            assert judged(every_second(300, well_from, well_to=well_to))[0] is not Verdict.WAIT


# --- health ------------------------------------------------------------------------------------------------


def look(bench: Bench, since_mono: float = 0.0, **more: Any) -> frozenset[str]:
    bench.health = lambda age_s: more
    bench.start()
    return Watch(bench.layout, bench.clock).look(since_mono).faults


def test_a_terminal_that_sees_and_keeps_its_journal_is_well(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert look(bench) == WELL
    assert Watch(bench.layout, bench.clock).look().pid == bench.pid


@pytest.mark.parametrize(("status", "fault"), [
    ({"camera_state": "camera_lost"}, "camera_lost"), ({"camera_state": "none"}, "camera_lost"),
    ({"camera_state": "camera_opening"}, "camera_lost"), ({"relay_alive": False}, "relay_lost"),
    ({"journal_entries": 0}, "journal_failed"), ({"degraded": ["gallery_unreadable"]}, "gallery_unreadable"),
    ({"degraded": ["model_mismatch", "hub_silent"]}, "model_mismatch")])
def test_what_a_release_can_be_blamed_for_is_a_fault(tmp_path: Path, status: dict[str, Any], fault: str) -> None:
    assert look(Bench(tmp_path), **status) == {fault}


@pytest.mark.parametrize("status", [
    {"camera_state": "camera_dark", "degraded": ["camera_dark"]}, {"degraded": ["gallery_empty", "rex_stuck"]},
    {"degraded": ["hub_silent", "clock_lost", "disk_full"]}, {"degraded": ["something_that_is_not_known_yet"]}])
def test_a_dark_hall_or_a_silent_hub_is_not_the_releases_fault(tmp_path: Path, status: dict[str, Any]) -> None:
    assert look(Bench(tmp_path), **status) == WELL


def test_a_doord_that_is_silent_or_still_the_old_one_is_a_fault_that_is_never_tolerated(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert look(bench, bench.clock.mono() + 1) == {"doord_not_restarted"}
    bench.clock.advance(5.0)
    watch = Watch(bench.layout, bench.clock)
    assert watch.look().faults == {"doord_silent"}
    for junk in ("{", "[]", "[" * 100_000):
        (bench.layout.runtime / "status.json").write_text(junk)
        assert watch.look().faults == {"doord_silent"}
    (bench.layout.runtime / "status.json").unlink()
    assert watch.look().faults == {"doord_silent"}
    assert {"doord_silent", "doord_not_restarted"} == NEVER_TOLERATED


@pytest.mark.parametrize(("key", "value"), [
    ("pid", "x"), ("pid", None), ("pid", 1e999), ("started_mono", []), ("degraded", 7), ("camera_state", {})])
def test_a_doord_whose_words_nobody_understands_counts_as_silent(tmp_path: Path, key: str, value: object) -> None:
    assert look(Bench(tmp_path), **{key: value}) == {"doord_silent"}


@pytest.mark.parametrize("key", ["started_mono", "degraded", "camera_state", "relay_alive", "journal_entries"])
def test_a_doord_that_leaves_out_what_it_is_judged_by_counts_as_silent(tmp_path: Path, key: str) -> None:
    bench = Bench(tmp_path)
    path = bench.layout.runtime / "status.json"
    path.write_text(json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != key}))
    assert Watch(bench.layout, bench.clock).look().faults == {"doord_silent"}


def test_where_there_is_a_hub_door_syncd_must_be_connected(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.layout.link.touch()
    assert look(bench) == {"sync_silent"}
    for is_up, faults in ((True, WELL), (False, {"sync_not_connected"})):
        (bench.layout.runtime / "sync.json").write_text(json.dumps({"mono": bench.clock.mono(), "is_up": is_up}))
        assert look(bench) == faults
    (bench.layout.runtime / "sync.json").write_text(json.dumps({"mono": bench.clock.mono() - 10, "is_up": True}))
    assert look(bench) == {"sync_silent"}


# --- the trial's file --------------------------------------------------------------------------------------


def test_a_trial_is_read_as_it_was_written(tmp_path: Path) -> None:
    trial = Trial(Version(1, 1, 0), Version(1, 0, 0), 2, "b" * 32, 123.5, ("camera_lost",), True)
    write_trial(tmp_path / "trial.json", trial)
    assert read_trial(tmp_path / "trial.json") == trial
    assert trial.since_mono == 123.5 - START_S
    assert read_trial(tmp_path / "absent") is None


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b"\xff", b'{"version": "1.1.0"}'])
def test_a_damaged_trial_is_not_taken_for_none(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "trial.json").write_bytes(damage)
    with pytest.raises(ValueError, match="damaged"):
        read_trial(tmp_path / "trial.json")
