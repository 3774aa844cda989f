"""The show that `make run` plays: it ends well, and it cannot end well where a stranger gets in."""

from __future__ import annotations

import pytest

from device.config import Config, parse_config
from device.face.card import Card
from device.face.threshold import Threshold
from device.rehearsal.show import rehearse


@pytest.fixture
def config(pack: Card, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    return parse_config({"door": {"lock": "strike"}, "camera": {"width": 640, "height": 480}})


def test_the_door_opens_for_the_enrolled_person_and_for_nobody_else(config: Config) -> None:
    lines: list[str] = []
    assert rehearse(config, 10, lines.append) == 0, "\n".join(lines)
    released = [line for line in lines if line.startswith("RELEASED")]
    refused = [line for line in lines if line.startswith("REFUSED")]
    assert released
    assert all("the sitter" in line and "first usable frame to the relay" in line for line in released)
    assert len([line for line in refused if "(attack)" in line or "(unknown_face)" in line]) >= 2
    assert lines.index(refused[0]) < lines.index(released[0])


@pytest.mark.slow
def test_a_door_that_knows_nobody_apart_fails_the_show(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("device.roster.threshold_for",
                        lambda *_: Threshold(-0.99, 1.0, 1.0, False, "a threshold that everybody passes"))
    monkeypatch.setattr("device.rehearsal.show.PATIENCE_S", 8.0)
    lines: list[str] = []
    assert rehearse(config, 30, lines.append) == 1
    assert "rehearsal: FAILED: the door opened for the wrong face" in lines


def test_a_door_that_answers_nobody_fails_the_show(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("device.rehearsal.show.PATIENCE_S", 1.0)
    monkeypatch.setattr("device.sight.Pipeline.look", lambda *_: [])
    lines: list[str] = []
    assert rehearse(config, 10, lines.append) == 1
    assert any(line.startswith("rehearsal: FAILED") for line in lines)
