"""Commissioning a door: rendered people and pictures before its camera, the card, and the proposal."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from rehearsal_samples import stage

from device.cli import main
from device.clock import HandClock
from device.commands import commission as command
from device.commands.commission import Door, InputEnded
from device.config import Config, parse_config
from device.errors import CameraLost, ConfigError
from device.evaluate.site import LEAST_TRIES, Try, card_of, proposal
from device.evaluate.tries import Step, Tries, partial_path, plan, read_tries
from device.face.card import Card
from device.face.pad.action import PROMPTS
from device.face.pad.sitecard import LEAST_RECENT, STALE, SiteCard, changed, drift, is_stale, read_card
from device.frame import Frame
from device.rehearsal.camera import RehearsalCamera
from device.rehearsal.light import BRIGHT, DARK
from device.rehearsal.people import SITTER
from device.rehearsal.pose import Pose
from device.rehearsal.scenes import SCENES, held_up, performs, stands
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


def made() -> SiteCard:
    return card_of([*LIVE, *ATTACKS], camera="test", model_id="m", level=Level.NORMAL, threshold=0.4, at=NOW)


def test_what_differs_between_two_cards_is_told() -> None:
    card = made()
    assert changed(card, card) == ""
    assert "-0.30" in changed(card, replace(card, live_scores=tuple(score - 0.3 for score in card.live_scores)))
    assert "camera" in changed(card, replace(card, camera="another"))


def test_visitors_who_score_otherwise_than_at_commissioning_are_told() -> None:
    card = made()
    assert card.live_median == pytest.approx(0.85)
    usual = np.random.default_rng(1).normal(0.85, 0.05, 60).tolist()
    assert drift(card, usual) == ""
    lower = [score - 0.2 for score in usual]
    assert drift(card, lower).startswith("live scores have moved by -0.")
    assert drift(card, lower).endswith("commission again")
    assert drift(card, lower[: LEAST_RECENT - 1]) == ""
    assert drift(replace(card, live_scores=()), lower) == ""


def test_light_beyond_what_was_commissioned_is_told_once_most_visitors_stand_in_it() -> None:
    card, usual = made(), [0.45] * 20
    assert drift(card, (), [*usual, *[0.8] * 15]) == ""
    assert "light" in drift(card, (), [*usual, *[0.8] * 25])
    assert drift(card, (), [0.8] * 10) == ""


def test_the_plan_has_enough_of_everything() -> None:
    for people in (1, 2, 6):
        steps = plan(people)
        assert sum(step.species == "live" for step in steps) >= LEAST_TRIES
        assert sum(step.species != "live" for step in steps) >= LEAST_TRIES
        assert {step.light for step in steps} == {"dark", "bright"}
        assert {step.species for step in steps} == {"live", "print", "phone"}


CONFIG = {"door": {"lock": "strike"}, "camera": {"infrared_place": [0.9, 0.9, 0.1, 0.0]}}
LIGHTS = {"dark": DARK, "bright": BRIGHT}
STEPS = [Step("live", light, f"live {light}") for light in LIGHTS for _ in range(2)]
STEPS += [Step(species, light, f"{species} {light}") for light in LIGHTS for species in ("print", "phone")]


class Hall:
    """What stands before the door's camera: whoever the installer was told to bring; `answer` presses Enter."""

    def __init__(self, steps: list[Step]) -> None:
        self.clock, self.asked, self.steps = HandClock(), list[str](), steps
        self.camera = RehearsalCamera(stage(640, 480), SCENES["empty"], 15.0, self.clock, paced=False)

    def ask(self, text: str) -> str:
        step = next(one for one in self.steps if f"  {one.text}. " in text)
        self.asked.append(step.text)
        light = LIGHTS[step.light]
        self.camera.show(performs("turn_left", light=light) if step.species == "live" else
                         held_up("print-a4" if step.species == "print" else "screen-phone", waved=True, light=light))
        return "\n"


@pytest.fixture
def hall(monkeypatch: pytest.MonkeyPatch) -> Hall:
    monkeypatch.setattr(command, "TRY_S", 1.8)
    monkeypatch.setattr("device.evaluate.site.SETTLE_S", 0.1)
    return Hall(STEPS)


def door_of(hall: Hall, card: Card, config: Config | None = None) -> Door:
    return Door(config or parse_config(CONFIG), card, hall.clock, hall.ask)


def test_an_installer_is_led_through_it(hall: Hall, liveness_pack: Card, tmp_path: Path,
                                        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    opened = []
    real = command.open_panel
    monkeypatch.setattr(command, "open_panel", lambda *words: opened.append(words) or real(*words))
    door = door_of(hall, liveness_pack)
    tries = door.go_through(hall.camera, STEPS, door.begin(2), tmp_path / "tries.json")
    assert read_tries(tmp_path / "tries.json") == tries
    card = door.card_of(tries, "test")
    assert hall.asked == [step.text for step in STEPS]
    assert (card.live_tries, card.bpcer, card.apcer_worst) == (4, 0.0, 0.0)
    assert card.apcer.keys() == {"print", "phone"}
    assert card.proposed is not None
    assert card.latency_median_s is not None
    assert len(card.live_scores) == 4
    assert 0.0 < card.exposure_least < card.exposure_most
    assert {words[3] for words in opened} == {(0.9, 0.9, 0.1, 0.0)}
    told = capsys.readouterr()
    assert "not passed" in told.err
    assert told.out == ""


def test_at_level_high_the_visitor_is_told_what_to_do_and_passes(hall: Hall, liveness_pack: Card, tmp_path: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    words = {prompt.text("en"): action.value for action, prompt in PROMPTS.items()}

    def tell(text: str) -> None:
        told.append(text)
        if text.strip().startswith("ask: ") and text.split("ask: ")[1] in words:
            hall.camera.show(performs(words[text.split("ask: ")[1]]))

    monkeypatch.setattr(command, "TRY_S", 12.0)
    monkeypatch.setattr(command, "_tell", tell)
    monkeypatch.setattr(hall, "ask", lambda text: hall.camera.show(stands(SITTER, Pose(z=0.85))) or "")
    door = door_of(hall, liveness_pack, parse_config({**CONFIG, "face": {"liveness": "high"}}))
    tries = door.go_through(hall.camera, [STEPS[0]], door.begin(1), tmp_path / "tries.json")
    assert [one.is_passed for one in tries.made] == [True]
    assert len([line for line in told if "ask: " in line]) >= 2


def glance(frames: Iterable[Frame], *words: object) -> Try:
    """One frame instead of a whole try; what was shown is taken for what it is."""
    next(iter(frames))
    species, light = str(words[4]), str(words[5])
    return tried(species, 0.9 if species == "live" else 0.1, species == "live", light)


def test_a_lost_camera_loses_no_try(hall: Hall, liveness_pack: Card, tmp_path: Path,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "watch", glance)
    door, kept = door_of(hall, liveness_pack), tmp_path / "tries.json"
    read, steps = hall.camera.read, STEPS[:3]

    def lost(timeout_s: float) -> Frame:
        if len(hall.asked) == 3:
            raise CameraLost("the camera is gone")
        return read(timeout_s)

    monkeypatch.setattr(hall.camera, "read", lost)
    with pytest.raises(CameraLost, match="the camera is gone; 2 tries are kept: call it again"):
        door.go_through(hall.camera, steps, door.begin(2), kept)
    monkeypatch.setattr(hall.camera, "read", read)
    tries = command._begin(door, kept, 2, is_afresh=False)
    assert len(tries.seen) == 2
    assert len(door.go_through(hall.camera, steps, tries, kept).made) == 3
    assert hall.asked == [step.text for step in (*steps[:3], steps[2])]


def test_tries_of_another_day_level_pack_or_plan_are_begun_anew(tmp_path: Path) -> None:
    fresh = Tries(NOW.isoformat(), "m", "normal", 2)
    kept = fresh.after(LIVE[0]).after(None)
    assert kept.can_go_on(fresh)
    assert kept.made == [LIVE[0]]
    for other in (replace(fresh, people=3), replace(fresh, level="high"), replace(fresh, model_id="n"),
                  replace(fresh, begun_at=(NOW + timedelta(days=2)).isoformat()),
                  replace(fresh, begun_at=(NOW - timedelta(hours=1)).isoformat())):
        assert not kept.can_go_on(other)
    assert not replace(kept, seen=(None,) * len(plan(2))).can_go_on(fresh)


BEGUN = '"model_id": "m", "level": "low", "people": 1'


@pytest.mark.parametrize("text", ["", "{}", "[]", f'{{"begun_at": "never", {BEGUN}, "seen": []}}',
                                  f'{{"begun_at": "2026-03-01", {BEGUN}, "seen": [{{"species": "live"}}]}}'])
def test_damaged_tries_are_told_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tries.json"
    assert read_tries(path) is None
    path.write_text(text)
    with pytest.raises(ConfigError, match="damaged; delete it"):
        read_tries(path)


class Keyboard(io.StringIO):
    """Somebody who consents, and then does what the hall is told."""

    hall: Hall

    def readline(self, size: int | None = -1, /) -> str:
        asked = sys.stderr.getvalue().splitlines()[-1]  # type: ignore[attr-defined]
        return "y\n" if asked.endswith("[y/N] ") else self.hall.ask(asked)


def test_the_command_prints_one_json_document_and_forgets_the_tries(
        hall: Hall, liveness_pack: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keyboard, told, card = Keyboard(), io.StringIO(), tmp_path / "liveness.json"
    keyboard.hall = hall
    for name, value in (("open_camera", lambda *_: hall.camera), ("pack", lambda _: liveness_pack),
                        ("plan", lambda _: STEPS), ("watch", glance)):
        monkeypatch.setattr(command, name, value)
    monkeypatch.setattr(sys, "stdin", keyboard)
    monkeypatch.setattr(sys, "stderr", told)
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())
    assert main(["commission", "--card", str(card), "--json"]) == 0
    assert json.loads(out.getvalue())["apcer_worst"] == 0.0
    assert "stored in" in told.getvalue()
    assert read_card(card) is not None
    assert not partial_path(card).exists()


def test_where_the_input_ends_it_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    with pytest.raises(InputEnded):
        command.ask("Go on? ")
    capsys.readouterr()
    assert main(["commission", "--card", str(tmp_path / "liveness.json")]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[-1].startswith("doorctl: the input has ended")
    assert "Traceback" not in said.err


def test_a_door_that_was_never_commissioned_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "liveness.json"
    assert main(["commission", "--show", "--card", str(path)]) == 1
    assert "not been commissioned" in capsys.readouterr().err
    card_of([*LIVE, *ATTACKS], camera="test", model_id="m", level=Level.NORMAL, threshold=0.4,
            at=datetime.now(timezone.utc)).write(path)
    assert main(["commission", "--show", "--card", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bpcer"] == 0.0
