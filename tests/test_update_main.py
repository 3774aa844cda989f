"""The updater's command line: one line for whatever is wrong, and the spool never starts it for ever."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from update_samples import HERE, Bench, tiny_bundle

from device.clock import HandClock, SystemClock, boot_id
from device.update.disk import UpdateFailed
from device.update.main import main
from device.update.outcome import Result, read_outcome
from device.update.trial import BOOTS, Trial, read_trial, write_trial
from device.update.turn import turn
from device.update.version import Version


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A terminal whose services nothing starts: there is no systemctl."""
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    return Bench(tmp_path / "terminal")


def called(bench: Bench, *words: str | Path) -> int:
    return main([*map(str, words), "--root", str(bench.layout.opt.parent.parent)])


def on_trial(bench: Bench, boot: str = "b" * 32) -> None:
    bench.put_release("1.1.0")
    bench.layout.current.unlink()
    bench.layout.current.symlink_to("releases/1.1.0")
    bench.layout.previous.symlink_to("releases/1.0.0")
    write_trial(bench.layout.trial, Trial(Version(1, 1, 0), Version(1, 0, 0), BOOTS, boot, 1e12))


def test_the_status_says_what_runs_what_is_on_trial_and_what_came_of_the_last_update(
        bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(bench, "--status", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"current": "1.0.0", "previous": None, "installed": ["1.0.0"],
                                                   "trial": None, "last": None}
    assert called(bench, tiny_bundle(tmp_path, "0.9.0", SystemClock().now())) == 1
    on_trial(bench)
    assert called(bench, "--status") == 0
    said = capsys.readouterr().out
    assert "release 1.1.0 of 2026-01-01; before it 1.0.0" in said
    assert "on trial; 3 boots are left" in said
    assert "refused: the bundle is of release 0.9.0, older" in said


def test_of_a_folder_the_newest_bundle_for_this_machine_is_taken(bench: Bench, tmp_path: Path,
                                                                 capsys: pytest.CaptureFixture[str]) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / "holiday.jpg").touch()
    assert called(bench, stick) == 2
    assert f"holds no open-door-*-{HERE.arch}-py{HERE.python}.bundle" in capsys.readouterr().err
    (stick / "open-door-9.0.0-riscv64-py3.11.bundle").touch()
    for release in ("0.9.0", "0.10.0", "0.1.0"):
        tiny_bundle(stick, release, SystemClock().now())
    assert called(bench, stick) == 1
    assert "of release 0.10.0, older than 1.0.0" in capsys.readouterr().err


def test_a_bundle_in_the_spool_that_is_refused_is_gone(bench: Bench, tmp_path: Path,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    assert called(bench, "--incoming") == 0
    tiny_bundle(tmp_path, "0.9.0").rename(bench.layout.incoming)
    assert called(bench, "--incoming") == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not bench.layout.incoming.exists()
    bench.layout.incoming.write_bytes(b"junk")
    assert called(bench, "--incoming") == 1
    assert "is not an update bundle" in capsys.readouterr().err
    assert list(bench.layout.spool.iterdir()) == []


@pytest.mark.parametrize("what", ["link", "pipe"])
def test_what_is_no_file_in_the_spool_is_neither_followed_nor_waited_for(bench: Bench, tmp_path: Path,
                                                                         what: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    if what == "link":
        bench.layout.incoming.symlink_to(secret)
    else:
        os.mkfifo(bench.layout.incoming)
    assert called(bench, "--incoming") == 1
    assert not os.path.lexists(bench.layout.incoming)
    assert secret.read_text() == "secret"


def test_a_folder_in_the_spool_is_one_line_and_goes(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.layout.incoming.mkdir()
    (bench.layout.incoming / "more").touch()
    assert called(bench, "--incoming") == 1
    assert "incoming.bundle is not a plain file" in capsys.readouterr().err
    assert list(bench.layout.spool.iterdir()) == []


def test_each_boot_counts_down_and_the_last_goes_back(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(bench, "--boot") == 0
    for left in range(BOOTS - 1, 0, -1):
        shutil.rmtree(bench.layout.releases / "1.1.0", ignore_errors=True)
        if left == BOOTS - 1:
            on_trial(bench)
        else:
            bench.put_release("1.1.0")
        assert called(bench, "--boot") == 0
        trial = read_trial(bench.layout.trial)
        assert trial is not None
        assert (trial.boots_left, trial.boot_id) == (left, boot_id())
        write_trial(bench.layout.trial, Trial(trial.version, trial.previous, left, "c" * 32, 0.0))
    assert called(bench, "--boot") == 1
    assert bench.runs == "1.0.0"
    assert "the release before runs again" in capsys.readouterr().out


def test_going_back_by_hand_needs_no_services_manager(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(bench, "--back") == 1
    on_trial(bench)
    assert called(bench, "--back") == 1
    assert bench.runs == "1.0.0"
    outcome = read_outcome(bench.layout.outcome)
    assert outcome is not None
    assert outcome.result is Result.ROLLED_BACK
    assert called(bench, "--status") == 0
    assert "release 1.0.0 of 2026-01-01; before it none" in capsys.readouterr().out


def test_a_damaged_trial_is_said(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.layout.trial.write_bytes(b"{")
    assert called(bench, "--status") == 1
    assert "goes back to the release before" in capsys.readouterr().err


def test_a_trial_is_not_marked_good_while_doord_is_silent(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(bench, "--mark-good") == 0
    on_trial(bench)
    (bench.layout.runtime / "status.json").unlink()
    assert called(bench, "--mark-good") == 1
    assert "release 1.1.0 is not well: doord_silent; its trial goes on" in capsys.readouterr().err


def test_the_time_is_kept_only_where_a_network_told_it(bench: Bench) -> None:
    assert called(bench, "--keep-time") == 0
    assert bench.layout.floor.exists()


@pytest.mark.parametrize("words", [[], ["--boot", "--judge"], ["a", "--back"], ["--nothing"]])
def test_wrong_usage_ends_with_2(bench: Bench, words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        called(bench, *words)
    assert ended.value.code == 2


def test_where_nothing_is_installed_it_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--status", "--root", str(tmp_path)]) == 1
    assert "no release is installed here; run firmware_scripts/install" in capsys.readouterr().err
    assert main(["--boot", "--root", str(tmp_path)]) == 2
    assert "run as root, on an installed terminal" in capsys.readouterr().err


def test_a_status_that_cannot_be_looked_into_is_said(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(bench.layout.state)
    assert called(bench, "--status") == 2
    assert "cannot be looked into: run as root" in capsys.readouterr().err


def test_only_one_process_at_a_time_has_its_turn(tmp_path: Path) -> None:
    clock, path = HandClock(), tmp_path / "lock"
    with open(path, "wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UpdateFailed, match="another update is under way"), turn(path, clock, clock.advance, 5):
            pass
        assert clock.mono() == 1005
    with turn(path, clock, clock.advance, 0):
        pass


def test_a_killed_updater_leaves_the_lock_open(tmp_path: Path) -> None:
    code = ("import fcntl, os, sys\n"
            "fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)\n"
            "fcntl.flock(fd, fcntl.LOCK_EX)\n"
            "print('held', flush=True)\n"
            "sys.stdin.read()\n")
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "lock")], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        child.kill()
        child.wait()
    clock = HandClock()
    with turn(tmp_path / "lock", clock, clock.advance, 0):
        pass
