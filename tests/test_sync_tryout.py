"""`fleethub try`, which `make run` plays: the whole in one, with a real broker."""

from __future__ import annotations

import re

import pytest

from device.config import parse_config
from device.face.card import Card
from sync.tryout import try_out


def test_people_enrolled_and_removed_at_the_hub_are_known_and_forgotten_at_the_door(
        pack: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    config = parse_config({"door": {"lock": "strike"}, "camera": {"width": 640, "height": 480}})
    lines: list[str] = []
    assert try_out(config, 10, lines.append) == 0, "\n".join(lines)
    told = "\n".join(lines)
    assert re.search(r"enrolled [0-9a-f]{32}; known at the door \d+ ms later", told)
    assert re.search(r"removed [0-9a-f]{32}; forgotten at the door \d+ ms later", told)
    assert "RELEASED" in told
