"""`doorctl kiosk-pin`: the installer's page gets its PIN from whoever may write the terminal's state, nobody else."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from device.cli import main
from device.clock import HandClock
from device.kiosk.setup.pin import SetupPin, Verdict
from device.store.places import Places, places


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.setenv("DOOR_STATE", str(tmp_path / "state"))
    return places()


def given(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_a_pin_from_standard_input_opens_the_page_and_is_not_shown(
        state: Places, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    given(monkeypatch, "314159\n")
    assert main(["kiosk-pin"]) == 0
    assert "314159" not in "".join(capsys.readouterr())
    assert SetupPin(state, HandClock()).check("314159") is Verdict.RIGHT


@pytest.mark.parametrize("text", ["12345\n", "000000\n", "abcdef\n", "", "1" * 10_000])
def test_a_pin_that_is_too_short_guessed_first_or_none_is_refused(
        state: Places, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str) -> None:
    given(monkeypatch, text)
    assert main(["kiosk-pin"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not SetupPin(state, HandClock()).is_set


def test_a_fresh_one_is_shown_once(state: Places, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kiosk-pin", "--fresh", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)["pin"]
    assert SetupPin(state, HandClock()).check(made) is Verdict.RIGHT
    assert main(["kiosk-pin", "--fresh"]) == 2
    assert "set already" in capsys.readouterr().err
