"""A fire frees the door until somebody at the door resets it, whatever becomes of doord meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.cli import main
from device.clock import SystemClock
from device.config import parse_config
from device.door.types import Command, Fire, Verb
from device.errors import CameraLost
from device.store.journal import JournalReader
from device.store.latch import FireLatch
from device.store.places import Places, places
from device.terminal import Terminal

CLOCK = SystemClock()


class NoCamera:
    description = "none"

    def read(self, timeout_s: float) -> object:
        time.sleep(min(timeout_s, 0.05))
        raise CameraLost("none: for the test")

    def close(self) -> None:
        """Nothing to give back."""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: object) -> Places:
    monkeypatch.setenv("DOOR_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("DOOR_LINK", str(tmp_path / "link.toml"))
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    return places()


def opened(state: Places, **door: object) -> Terminal:
    config = parse_config({"door": {"lock": "strike", **door}, "face": {"liveness": "none"}})
    return Terminal(config, state, CLOCK, camera=NoCamera)


@pytest.fixture
def burning(state: Places) -> Iterator[Places]:
    """A terminal that saw a fire, whose wire is quiet again, and went away."""
    with opened(state) as terminal:
        terminal.start()
        terminal.gatekeeper.handle(Fire(CLOCK.mono(), True))
        assert state.fire.exists()
    return state


def reasons(state: Places) -> list[str]:
    reader = JournalReader.open(state.journal_db)
    try:
        return [entry.reason for entry in reader.last(50)]
    finally:
        reader.close()


def test_the_door_is_free_again_after_a_restart_until_it_is_reset_here(burning: Places) -> None:
    with opened(burning) as terminal:
        terminal.start()
        assert terminal.gatekeeper.state.is_free
        terminal.gatekeeper.handle(Command(CLOCK.mono(), "c1", Verb.RESET))
        assert terminal.gatekeeper.state.is_free  # the hub's reset does not end a fire
        terminal.requests.reset()
        terminal.turn()
        assert not terminal.gatekeeper.state.is_free
    assert not burning.fire.exists()
    assert reasons(burning).count("fire_free") == 2
    assert reasons(burning)[-2:] == ["fire_ended", "stopped"]


def test_where_the_site_wants_it_the_door_locks_by_itself_once_the_wire_is_quiet(burning: Places) -> None:
    with opened(burning, fire_auto_reset=True) as terminal:
        terminal.start()
        assert not terminal.gatekeeper.state.is_free
    assert not burning.fire.exists()


def test_without_a_fire_nothing_is_restored(state: Places) -> None:
    with opened(state) as terminal:
        terminal.start()
        assert not terminal.gatekeeper.state.is_free


def test_a_latch_that_cannot_be_written_costs_nothing_but_a_line(tmp_path: Path,
                                                                  caplog: pytest.LogCaptureFixture) -> None:
    latch = FireLatch(tmp_path / "missing" / "fire")
    latch.set(True)
    assert not latch.is_set
    assert "cannot be written" in caplog.text


DOOR = """
import sys
sys.path.insert(0, sys.argv[1])
from test_app_fire import CLOCK, opened
from device.app import obey_signals
from device.door.types import Fire
from device.store.places import places
with opened(places()) as terminal:
    obey_signals(terminal)
    terminal.start()
    if sys.argv[2] == "burn":
        terminal.gatekeeper.handle(Fire(CLOCK.mono(), True))
    print("free" if terminal.gatekeeper.state.is_free else "locked", flush=True)
    terminal.run(until=lambda: sys.argv[2] != "burn" and not terminal.gatekeeper.state.is_free)
    print("locked", flush=True)
"""


def door(what: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", DOOR, str(Path(__file__).parent), what], stdout=subprocess.PIPE,
                            text=True, env=os.environ)


def test_a_doord_that_is_killed_in_a_fire_frees_the_door_again_and_doorctl_resets_it(
        state: Places, capsys: pytest.CaptureFixture[str]) -> None:
    burns = door("burn")
    assert burns.stdout is not None
    assert burns.stdout.readline() == "free\n"
    burns.send_signal(signal.SIGKILL)
    burns.wait()
    burns.stdout.close()
    again = door("again")
    try:
        assert again.stdout is not None
        assert again.stdout.readline() == "free\n"
        status = state.root / "status.json"
        deadline = time.monotonic() + 30
        while not status.exists() or json.loads(status.read_text())["pid"] != again.pid:
            assert time.monotonic() < deadline, "no status"
            time.sleep(0.05)
        assert main(["reset"]) == 0
        assert again.stdout.readline() == "locked\n"
        assert again.wait(30) == 0
    finally:
        again.kill()
        again.wait()
        again.stdout.close()
    assert "fire_ended" in reasons(state)
    assert main(["reset"]) == 1
    assert "does not run" in capsys.readouterr().err
