"""The show that `make run` plays: it ends well, and it cannot end well where a stranger gets in."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from device.config import Config, parse_config
from device.door.decision import Claim, Decision, Memory, Now
from device.door.policy import decide
from device.door.rules import Rules, Site
from device.face.card import Card
from device.face.threshold import Threshold
from device.rehearsal.pace import ATTACK, STRANGER, Pace
from device.rehearsal.show import rehearse
from device.store.records import Method

UTC = timezone.utc


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
def test_a_show_of_several_minutes_locks_nobody_out(config: Config) -> None:
    lines: list[str] = []
    assert rehearse(config, 150, lines.append) == 0, "\n".join(lines)
    assert not [line for line in lines if "locked_out" in line or "no answer" in line]
    assert len([line for line in lines if line.startswith("RELEASED")]) >= 3
    assert [line for line in lines if line.startswith("-- nobody for")]


def played(pace: Pace, site: Site, visitors: list[tuple[str | None, Decision]]) -> tuple[list[float], Memory]:
    """How long the show waits for each visitor, and what the policy remembers at the end."""
    mono, waits, memory = 1000.0, [], Memory()
    for track, (key, decision) in enumerate(visitors):
        waits.append(pace.wait_s(key, site, mono))
        mono += waits[-1]
        claim = Claim(None, frozenset({Method.FACE}), decision.reason, track)
        said, memory = decide(claim, None, Rules((), (), site), memory, Now(datetime(2026, 1, 5, tzinfo=UTC), mono))
        assert said.reason == decision.reason, track
        pace = pace.after(said, site, mono)
        mono += 4.0
    return waits, memory


@pytest.mark.parametrize("lockout_s", [60.0, 200.0])
@pytest.mark.parametrize("after", [1, 2, 5])
def test_refused_visitors_are_spaced_so_that_the_policy_never_locks_them_out(after: int, lockout_s: float) -> None:
    lap = [(STRANGER, Decision(False, "unknown_face"))] * 3 + [(ATTACK, Decision(False, "attack"))] * 2
    waits, _ = played(Pace(), Site(lockout_after=after, lockout_s=lockout_s), lap * 20)
    assert waits[0] == 0.0
    assert max(waits) <= lockout_s + 1.0
    assert sum(waits) + 4.0 * len(waits) > 60.0 * 20 * 2 / max(after - 1, 1) - 120.0


def test_whoever_is_to_be_let_in_waits_only_while_the_face_is_locked_out() -> None:
    pace, site = Pace(), Site(lockout_after=1)
    for _ in range(5):
        pace = pace.after(Decision(False, "unknown_face", alarms=("lockout_alarm",)), site, 10.0)
    assert pace.wait_s(None, site, 11.0) == 0.0
    pace = pace.after(Decision(False, "attack", alarms=("lockout_alarm",)), site, 10.0)
    assert site.lockout_s - 1.0 < pace.wait_s(None, site, 10.0) < site.lockout_s + 1.0
    assert pace.wait_s(None, site, 10.0 + site.lockout_s + 1.0) == 0.0
    assert pace.after(Decision(True, "face_granted"), site, 12.0) == pace


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
