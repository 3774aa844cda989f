"""Commissioning a door: rendered people and pictures before its camera, the card, and the proposal."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from rehearsal_samples import stage

from device.cli import main
from device.clock import HandClock
from device.commands import commission as command
from device.commands.commission import Step, commission, plan
from device.config import parse_config
from device.errors import ConfigError
from device.evaluate.site import LEAST_TRIES, STALE, Try, card_of, drift, is_stale, proposal, read_card
from device.face.card import Card
from device.rehearsal.camera import RehearsalCamera
from device.rehearsal.light import BRIGHT, DARK
from device.rehearsal.scenes import SCENES, held_up, performs
from device.sighting import Level

NOW = datetime(2026, 3, 1, tzinfo=timezone.utc)


def tried(species: str, score: float | None, is_passed: bool, light: str = "bright") -> Try:
    return Try(species, light, score, is_passed, 0.5 if is_passed else None, 0.45)


LIVE = [tried("live", score, True) for score in (0.7, 0.8, 0.9, 0.95)]
ATTACKS = [tried(species, score, False) for species in ("print", "phone") for score in (0.02, 0.1)]


def carded(tries: list[Try]) -> object:
    return card_of(tries, camera="test", model_id="m", level=Level.NORMAL, threshold=0.4, at=NOW)


def test_the_card_gives_the_rates_of_each_species_and_the_worst(pack: Card) -> None:
    card = card_of([*LIVE, tried("live", 0.6, False, "dark"), *ATTACKS, tried("phone", 0.2, True)], camera="test",
                   model_id="m", level=Level.NORMAL, threshold=0.4, at=NOW)
    assert (card.live_tries, card.bpcer) == (5, 0.2)
    assert card.apcer == {"phone": pytest.approx(1 / 3), "print": 0.0}
    assert card.apcer_worst == pytest.approx(1 / 3)
    low, high = card.apcer_interval
    assert low < 1 / 3 < high
    assert any("an attack passed" in warning for warning in card.warnings)
    assert any("dark" in warning for warning in card.warnings)


def test_too_few_tries_make_no_card() -> None:
    with pytest.raises(ConfigError, match="commission again"):
        carded([*LIVE[: LEAST_TRIES - 1], *ATTACKS])


def test_the_proposed_threshold_lies_between_pictures_and_people() -> None:
    assert proposal([0.7, 0.9], [0.02, 0.2]) == pytest.approx(0.38, abs=0.02)
    assert proposal([0.3, 0.9], [0.02, 0.25]) is None
    assert proposal([], [0.1]) is None


def test_a_camera_that_does_not_suit_the_networks_is_told() -> None:
    card = card_of([*LIVE, tried("live", 0.1, False), *ATTACKS], camera="test", model_id="m", level=Level.NORMAL,
                   threshold=0.4, at=NOW)
    assert card.proposed is None
    assert any("does not suit" in warning for warning in card.warnings)


def test_a_card_is_read_back_as_it_was_and_grows_stale(tmp_path: Path) -> None:
    path = tmp_path / "liveness.json"
    assert read_card(path) is None
    card = card_of([*LIVE, *ATTACKS], camera="test", model_id="m", level=Level.NORMAL, threshold=0.4, at=NOW)
    card.write(path)
    assert read_card(path) == card
    assert not is_stale(card, NOW + STALE)
    assert is_stale(card, NOW + STALE + timedelta(days=1))
    path.write_text("{}")
    with pytest.raises(ConfigError, match="damaged"):
        read_card(path)


def test_drift_is_told() -> None:
    card = card_of([*LIVE, *ATTACKS], camera="test", model_id="m", level=Level.NORMAL, threshold=0.4, at=NOW)
    assert card.live_median is not None
    assert drift(card, card) == ""
    assert "-0.30" in drift(card, replace(card, live_median=card.live_median - 0.3))
    assert "camera" in drift(card, replace(card, camera="another"))


def test_the_plan_has_enough_of_everything() -> None:
    for people in (1, 2, 6):
        steps = plan(people)
        assert sum(step.species == "live" for step in steps) >= LEAST_TRIES
        assert sum(step.species != "live" for step in steps) >= LEAST_TRIES
        assert {step.light for step in steps} == {"dark", "bright"}
        assert {step.species for step in steps} == {"live", "print", "phone"}


def test_an_installer_is_led_through_it(liveness_pack: Card, monkeypatch: pytest.MonkeyPatch,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "TRY_S", 2.2)
    clock = HandClock()
    camera = RehearsalCamera(stage(640, 480), SCENES["empty"], 20.0, clock, paced=False)
    lights = {"dark": DARK, "bright": BRIGHT}
    steps = [Step("live", light, f"live {light}") for light in lights for _ in range(2)]
    steps += [Step(species, light, f"{species} {light}") for light in lights for species in ("print", "phone")]
    asked: list[str] = []

    def ask(text: str) -> str:
        asked.append(text)
        step = steps[len(asked) - 1]
        instrument = "print-a4" if step.species == "print" else "screen-phone"
        light = lights[step.light]
        camera.show(performs("turn_left", light=light) if step.species == "live" else
                    held_up(instrument, waved=True, light=light))
        return ""

    config = parse_config({"door": {"lock": "strike"}})
    card = commission(camera, liveness_pack, config, steps, clock, ask)
    assert len(asked) == len(steps)
    assert (card.live_tries, card.bpcer, card.apcer_worst) == (4, 0.0, 0.0)
    assert card.apcer.keys() == {"print", "phone"}
    assert card.proposed is not None
    assert card.latency_median_s is not None
    assert 0.0 < card.exposure_least < card.exposure_most
    assert "not passed" in capsys.readouterr().out


def test_a_door_that_was_never_commissioned_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "liveness.json"
    assert main(["commission", "--show", "--card", str(path)]) == 1
    assert "not been commissioned" in capsys.readouterr().err
    card_of([*LIVE, *ATTACKS], camera="test", model_id="m", level=Level.NORMAL, threshold=0.4,
            at=datetime.now(timezone.utc)).write(path)
    assert main(["commission", "--show", "--card", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bpcer"] == 0.0
