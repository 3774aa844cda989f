"""The clock of a terminal that neither NTP nor a hub vouches for, and the word of somebody who stands before it."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_app_fire import CLOCK, NoCamera

from device.app import obey_signals
from device.cli import main
from device.config import parse_config
from device.store.places import places
from device.terminal import Terminal

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: object) -> Iterator[Terminal]:
    monkeypatch.setenv("DOOR_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("DOOR_LINK", str(tmp_path / "link.toml"))
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    before = {number: signal.getsignal(number) for number in SIGNALS}
    config = parse_config({"door": {"lock": "strike"}, "face": {"liveness": "none"}})
    with Terminal(config, places(), CLOCK, camera=NoCamera, is_ntp=lambda: False) as terminal:
        obey_signals(terminal)
        terminal.start()
        terminal.turn(0.0)
        yield terminal
    for number, handler in before.items():
        signal.signal(number, handler)


def test_it_is_untrusted_until_somebody_at_the_terminal_says_that_it_is_right(
        terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    assert terminal.status().clock == "untrusted"
    deadline = CLOCK.mono() + 30
    while "clock_lost" not in terminal.gatekeeper.state.degraded:
        assert CLOCK.mono() < deadline, "nobody says that the clock is not trusted"
        terminal.turn(0.01)
    assert main(["clock", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["quality"] == "untrusted"
    assert main(["clock", "--is-right"]) == 0
    assert "is told that it is" in capsys.readouterr().out
    terminal.turn(0.0)
    assert terminal.status().clock == "holdover"
    assert terminal.journal.journal is not None
    assert "clock_set" in [one.reason for one in terminal.journal.journal.last(5)]


def test_without_doord_nobody_can_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DOOR_STATE", str(tmp_path / "none"))
    assert main(["clock"]) == 1
    assert "doord does not run" in capsys.readouterr().err
