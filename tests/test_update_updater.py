"""An update from its bundle to its end: installed beside, switched in one step, on trial, good or gone back from."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from update_samples import HERE, Bench, QuickInstaller, at, tiny_bundle

from device.clock import ClockQuality, HandClock
from device.errors import TerminalError
from device.update import stage as staging
from device.update.bundle import BundleRefused
from device.update.disk import UpdateFailed
from device.update.outcome import Result
from device.update.trial import BOOTS, read_trial
from device.update.updater import STEPS
from device.update.version import Version


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(os, "sync", lambda: None)  # what becomes durable is for test_update_cuts to show
    return Bench(tmp_path / "terminal")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path, "1.1.0")


# --- the straight way ----------------------------------------------------------------------------------------


def test_an_update_is_installed_beside_switched_to_and_good_after_a_minute(bench: Bench, bundle: Path) -> None:
    bench.updater().update(bundle)
    assert bench.runs == "1.1.0"
    assert os.readlink(bench.layout.current) == "releases/1.1.0"
    assert os.readlink(bench.layout.previous) == "releases/1.0.0"
    assert bench.outcome.result is Result.TRYING
    begun = bench.clock.mono()
    assert bench.updater().judge() is Result.UPDATED
    assert bench.clock.mono() - begun == 60
    assert (bench.runs, bench.outcome.result, bench.outcome.version) == ("1.1.0", Result.UPDATED, "1.1.0")
    assert not bench.layout.trial.exists()
    assert not bench.layout.staging.exists()
    assert bench.services.restarts == 1
    assert bench.steps == [step for step in STEPS if step not in ("back", "went_back")]
    assert bench.updater().judge() is None


def test_at_most_three_releases_are_kept(bench: Bench, tmp_path: Path) -> None:
    for number in range(1, 5):
        bench.updater().update(tiny_bundle(tmp_path, f"1.{number}.0", at(number / 10)))
        assert bench.updater().judge() is Result.UPDATED
        assert len(list(bench.layout.releases.iterdir())) <= 3
    assert sorted(path.name for path in bench.layout.releases.iterdir()) == ["1.2.0", "1.3.0", "1.4.0"]
    assert os.readlink(bench.layout.previous) == "releases/1.3.0"


# --- what is refused, and nothing changed --------------------------------------------------------------------


@pytest.mark.parametrize(("changes", "line"), [
    ({"arch": "aarch64" if HERE.arch == "x86_64" else "x86_64"}, "this machine is"),
    ({"python": "3.10" if HERE.python != "3.10" else "3.12"}, "this machine has"),
    ({"version": Version(0, 9, 0)}, "never installed"), ({"version": Version(1, 0, 0)}, "runs already"),
    ({"min_version": Version(1, 0, 5)}, "update to 1.0.5 first")])
def test_a_bundle_for_another_machine_or_release_is_refused_before_it_is_unpacked(
        bench: Bench, tmp_path: Path, changes: dict[str, Any], line: str) -> None:
    path = tiny_bundle(tmp_path, "1.1.0", name="odd.bundle", **changes)
    assert line in bench.refusal(path)
    assert bench.steps[-1] == "fit"


def test_a_bundle_that_is_still_being_copied_or_was_cut_short_is_refused(bench: Bench, bundle: Path) -> None:
    os.truncate(bundle, bundle.stat().st_size - 1)
    assert "is cut short" in bench.refusal(bundle)
    assert "No such file" in bench.refusal(bundle.with_name("absent"))


class PulledOut(io.BytesIO):
    """A stick that is gone after some bytes."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() > 1000:
            raise OSError(errno.EIO, "Input/output error")
        return super().read(min(size or 1, 500))


def test_a_stick_that_is_pulled_out_in_the_middle_is_one_line(bench: Bench, bundle: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    with bundle.open("rb") as held:
        class File(PulledOut):
            def fileno(self) -> int:
                return held.fileno()

        monkeypatch.setattr(staging, "open_regular", lambda path: File(bundle.read_bytes()))
        assert "was the stick pulled out" in bench.refusal(bundle)


def test_a_bundle_that_grows_or_shrinks_while_it_is_copied_is_refused(bench: Bench, bundle: Path,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    data = bundle.read_bytes()
    with bundle.open("rb") as held:
        class File(io.BytesIO):
            def fileno(self) -> int:
                return held.fileno()

        for other in (data + b"more", data[:-10]):
            monkeypatch.setattr(staging, "open_regular", lambda path, other=other: File(other))
            assert "is it still being copied?" in bench.refusal(bundle)


def test_a_card_without_room_is_one_line_before_anything_is_written(bench: Bench, bundle: Path) -> None:
    bench.spare_bytes = 1 << 50
    line = bench.refusal(bundle)
    assert "MiB are free and" in line
    assert "free some space" in line


def test_a_release_that_would_not_fit_is_refused_before_it_is_unpacked(bench: Bench, tmp_path: Path,
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "free_bytes", lambda path: 500 << 20)
    path = tiny_bundle(tmp_path, "1.1.0", installed_bytes=600 << 20)
    assert "500 MiB are free and 601 are needed" in bench.refusal(path)
    assert bench.steps[-1] == "room"


def test_a_clock_at_1970_changes_nothing_about_a_good_bundle(bench: Bench, bundle: Path) -> None:
    bench.clock = HandClock(bench.clock.now().replace(year=1970))
    bench.start()
    bench.updater().update(bundle)
    assert bench.updater().judge() is Result.UPDATED


@pytest.mark.parametrize("fault", ["install", "rehearse"])
def test_a_release_that_cannot_be_installed_or_does_not_decide_is_never_switched_to(bench: Bench, bundle: Path,
                                                                                   fault: str) -> None:
    installer = QuickInstaller()
    setattr(installer, "fault" if fault == "install" else "rehearsal_fault", "it does not")
    bench.installer = installer
    assert bench.refusal(bundle) == "it does not"
    assert bench.steps[-1] == fault


def test_what_is_left_of_an_update_that_was_cut_off_goes(bench: Bench, bundle: Path) -> None:
    (bench.layout.staging / "parts" / "wheels").mkdir(parents=True)
    (bench.layout.releases / "1.1.0" / "lib").mkdir(parents=True)
    (bench.layout.releases / "1.1.0" / "lib" / "half").touch()
    (bench.layout.state / "metadata-7").mkdir()
    bench.updater().update(bundle)
    assert bench.runs == "1.1.0"
    assert not (bench.layout.current / "lib" / "half").exists()
    assert [path.name for path in bench.layout.state.glob("metadata-*")] == ["metadata-1"]


# --- on trial ------------------------------------------------------------------------------------------------


def begun(bench: Bench, bundle: Path, health: Callable[[float], dict[str, Any] | None]) -> None:
    """A release is on trial whose doord is as `health` says, from its start on."""
    bench.health = lambda age_s: health(age_s) if bench.runs == "1.1.0" else {}
    bench.updater().update(bundle)


@pytest.mark.parametrize(("health", "why"), [
    (lambda age_s: None, "doord_silent"),
    (lambda age_s: {"camera_state": "camera_lost"}, "camera_lost"),
    (lambda age_s: {"degraded": ["gallery_unreadable"]}, "gallery_unreadable"),
    (lambda age_s: {"relay_alive": age_s < 40}, "relay_lost"),
    (lambda age_s: {} if age_s % 50 < 45 else None, "doord_silent"),
], ids=["silent", "blind", "without gallery", "dies later", "flickers"])
def test_a_release_that_is_not_well_is_gone_back_from_within_five_minutes_and_says_why(
        bench: Bench, bundle: Path, health: Callable[[float], dict[str, Any] | None], why: str) -> None:
    begun(bench, bundle, health)
    switched = bench.clock.mono()
    assert bench.updater().judge() is Result.ROLLED_BACK
    assert bench.clock.mono() - switched <= 300
    assert bench.runs == "1.0.0"
    assert bench.services.restarts == 2
    assert (bench.outcome.result, bench.outcome.version, bench.outcome.runs) == (Result.ROLLED_BACK, "1.1.0", "1.0.0")
    assert why in bench.outcome.why
    assert not bench.layout.trial.exists()


def test_a_release_that_does_not_start_again_with_its_services_is_gone_back_from(bench: Bench, bundle: Path) -> None:
    bench.clock.advance(10)
    bench._write_status()
    bench.services._started = lambda: None
    bench.updater().update(bundle)
    assert bench.updater().judge() is Result.ROLLED_BACK
    assert "doord_not_restarted" in bench.outcome.why


def test_a_release_that_does_not_decide_once_it_runs_is_gone_back_from(bench: Bench, bundle: Path) -> None:
    bench.updater().update(bundle)
    installer = QuickInstaller()
    installer.rehearsal_fault = "in rehearsal nobody was let in"
    bench.installer = installer
    assert bench.updater().judge() is Result.ROLLED_BACK
    assert bench.outcome.why == "in rehearsal nobody was let in"
    assert installer.rehearsed == ["1.1.0"]


def test_what_was_broken_before_the_update_is_not_held_against_it(bench: Bench, bundle: Path) -> None:
    bench.layout.link.touch()
    bench.health = lambda age_s: {"camera_state": "camera_lost", "degraded": ["camera_lost"]}
    bench.start()
    bench.updater().update(bundle)
    trial = read_trial(bench.layout.trial)
    assert trial is not None
    assert trial.tolerated == ("camera_lost", "sync_silent")
    assert bench.updater().judge() is Result.UPDATED


def test_a_release_that_replaces_a_dead_doord_must_still_start_itself(bench: Bench, bundle: Path) -> None:
    bench.health = lambda age_s: None
    bench.start()
    bench.updater().update(bundle)
    assert bench.updater().judge() is Result.ROLLED_BACK


def test_another_update_waits_until_the_trial_is_over(bench: Bench, bundle: Path, tmp_path: Path) -> None:
    bench.updater().update(bundle)
    newer = tiny_bundle(tmp_path, "1.2.0", at(1))
    with pytest.raises(UpdateFailed, match=r"1\.1\.0 is on trial"):
        bench.updater().update(newer)
    assert bench.outcome.result is Result.TRYING
    assert bench.updater().judge() is Result.UPDATED
    bench.updater().update(newer)
    assert bench.runs == "1.2.0"


def test_a_release_that_was_gone_back_from_may_be_tried_again_but_nothing_older(bench: Bench, bundle: Path,
                                                                               tmp_path: Path) -> None:
    begun(bench, bundle, lambda age_s: None)
    bench.updater().judge()
    with pytest.raises(BundleRefused, match="older than one that this terminal has taken"):
        bench.updater().update(tiny_bundle(tmp_path, "1.0.5", at(-1), name="older.bundle"))
    begun(bench, bundle, lambda age_s: {})
    assert bench.updater().judge() is Result.UPDATED


def test_mark_good_ends_a_trial_only_where_the_terminal_is_well(bench: Bench, bundle: Path) -> None:
    assert bench.updater().mark_good() is None
    begun(bench, bundle, lambda age_s: {"relay_alive": age_s > 10})
    with pytest.raises(UpdateFailed, match=r"1\.1\.0 is not well: relay_lost"):
        bench.updater().mark_good()
    bench._wait(20)
    assert bench.updater().mark_good() is Result.UPDATED
    assert not bench.layout.trial.exists()


def test_somebody_can_go_back_by_hand_with_or_without_a_trial(bench: Bench, bundle: Path) -> None:
    with pytest.raises(UpdateFailed, match="no release to go back to"):
        bench.updater().go_back()
    bench.updater().update(bundle)
    assert bench.updater().go_back() is Result.ROLLED_BACK
    assert (bench.runs, bench.outcome.why) == ("1.0.0", "asked for by hand")
    bench.updater().update(bundle)
    bench.updater().judge()
    assert bench.updater().go_back() is Result.ROLLED_BACK
    assert bench.runs == "1.0.0"
    assert not bench.layout.trial.exists()


# --- boots ---------------------------------------------------------------------------------------------------


def test_a_release_that_nobody_marks_good_is_gone_back_from_at_the_third_boot(bench: Bench, bundle: Path) -> None:
    bench.updater().update(bundle)
    for left in range(BOOTS - 1, 0, -1):
        bench.reboot()
        trial = read_trial(bench.layout.trial)
        assert trial is not None
        assert (trial.boots_left, bench.runs) == (left, "1.1.0")
    bench.reboot()
    assert bench.runs == "1.0.0"
    assert (bench.outcome.result, bench.outcome.why) == (Result.ROLLED_BACK, "nobody marked it good in 3 boots")
    bench.reboot()
    assert bench.runs == "1.0.0"


def test_after_a_boot_the_gate_goes_on_with_a_deadline_of_its_own(bench: Bench, bundle: Path) -> None:
    begun(bench, bundle, lambda age_s: {"relay_alive": age_s > 100})
    bench.clock.advance(140)
    bench.reboot()
    booted = bench.clock.mono()
    assert bench.updater().judge() is Result.UPDATED
    assert 160 <= bench.clock.mono() - booted < 165


def test_a_boot_is_counted_once_however_often_it_is_asked(bench: Bench, bundle: Path) -> None:
    bench.updater().update(bundle)
    bench.updater().boot()
    bench.reboot()
    for _ in range(5):
        bench.updater().boot()
    trial = read_trial(bench.layout.trial)
    assert trial is not None
    assert trial.boots_left == BOOTS - 1


def test_a_trial_whose_file_is_damaged_ends_at_the_next_boot_with_the_release_before(bench: Bench,
                                                                                     bundle: Path) -> None:
    bench.updater().update(bundle)
    bench.layout.trial.write_bytes(b"\0" * 40)
    bench.reboot()
    assert bench.runs == "1.0.0"
    assert not bench.layout.trial.exists()


def test_a_boot_without_a_trial_changes_nothing(bench: Bench) -> None:
    before = bench.tree()
    bench.reboot()
    assert bench.tree() == before


# --- the spool -----------------------------------------------------------------------------------------------


def test_a_bundle_from_the_spool_has_had_its_turn_once_it_was_switched_to(bench: Bench, bundle: Path) -> None:
    bundle.rename(bench.layout.incoming)
    bench.updater().update(bench.layout.incoming, is_incoming=True)
    assert bench.runs == "1.1.0"
    assert not bench.layout.incoming.exists()


def test_a_link_in_the_spool_is_not_followed(bench: Bench, bundle: Path) -> None:
    bench.layout.incoming.symlink_to(bundle)
    assert bench.refusal(bench.layout.incoming, is_incoming=True)


def test_a_floor_of_time_is_kept_with_what_was_taken(bench: Bench, tmp_path: Path) -> None:
    bench.updater().update(tiny_bundle(tmp_path, "1.1.0", at(3)))
    assert bench.layout.floor.read_text() == "2026-01-04T12:00:00Z\n"
    bench.quality = ClockQuality.SYNCED
    bench.clock.step_wall(86400 * 10)
    bench.updater().judge()
    assert bench.layout.floor.read_text().startswith("2026-01-15")


# --- what nobody thought of --------------------------------------------------------------------------------------


def test_a_failure_nobody_thought_of_is_still_one_that_the_next_start_recovers_from(bench: Bench,
                                                                                    bundle: Path) -> None:
    def fail(step: str) -> None:
        if step == "keep":
            raise MemoryError

    bench.hook = fail
    with pytest.raises(MemoryError):
        bench.updater().update(bundle)
    bench.hook = bench.steps.append
    bench.reboot()
    assert bench.runs == "1.0.0"
    with pytest.raises(TerminalError):
        bench.updater().go_back()
    bench.updater().update(bundle)
    assert bench.updater().judge() is Result.UPDATED
