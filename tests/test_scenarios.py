"""Scripted days at a door, each played through the real terminal and compared line by line.

`doorctl scenario tests/scenarios/*.toml --update` takes over what is played now as what is expected.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from device.commands.scenario import expected_path, played_text
from device.door.reasons import REASONS, Severity
from device.face.card import Card

FILES = sorted((Path(__file__).parent / "scenarios").glob("*.toml"))

# What no scripted day can bring about: faults of vision, of files and of the terminal itself have tests of their own.
# A schedule that is not there cannot be in a policy file either; only a hub's half-sent policy lacks one.
ELSEWHERE = frozenset({"poor_picture", "not_recorded", "schedule_missing", "setup_locked"})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_day_at_the_door_goes_as_expected(path: Path, pack: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOOR_LINK", raising=False)
    assert played_text(path) == expected_path(path).read_text(encoding="utf-8")


def test_every_refusal_alarm_and_mode_occurs_in_some_scenario() -> None:
    told = "\n".join(expected_path(path).read_text(encoding="utf-8") for path in FILES)
    about_people = (Severity.GRANT, Severity.REFUSAL, Severity.ALARM)
    wanted = {code for code, row in REASONS.items()
              if row.severity in about_people or row.kind in ("mode", "passage")}
    assert sorted(code for code in wanted - ELSEWHERE if f"  {code}" not in told) == []


def test_there_are_at_least_forty() -> None:
    assert len(FILES) >= 40
