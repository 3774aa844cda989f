"""`fleethub try`, which `make run` plays: the whole in one, with a real broker."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from browser_door import Door, configuration, within
from hub_samples import open_hub
from test_kiosk_enrolment import keep, review

from device.clock import SystemClock
from device.config import parse_config
from device.face.card import Card
from sync.tryout import GROUP, HubRegistrar, try_out


def test_people_enrolled_and_removed_at_the_hub_are_known_and_forgotten_at_the_door(
        pack: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    monkeypatch.setenv("FLEETHUB_DATABASE", "postgresql://127.0.0.1:1/in-use")  # a hub in use is not touched
    config = parse_config({"door": {"lock": "strike"}, "camera": {"width": 640, "height": 480}})
    lines: list[str] = []
    assert try_out(config, 10, lines.append) == 0, "\n".join(lines)
    told = "\n".join(lines)
    assert re.search(r"enrolled [0-9a-f]{32}; known at the door \d+ ms later", told)
    assert re.search(r"removed [0-9a-f]{32}; forgotten at the door \d+ ms later", told)
    assert "RELEASED" in told


def test_whoever_enrols_on_the_screen_of_a_tried_door_is_taken_in_by_its_hub(
        pack: Card, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory,
        monkeypatch: pytest.MonkeyPatch) -> None:
    hub = open_hub(tmp_path / "hub", tmp_path_factory, SystemClock())
    hub.groups.add(GROUP, "hq")
    link = tmp_path / "link.toml"
    link.touch()
    monkeypatch.setenv("DOOR_LINK", str(link))
    door = Door(tmp_path / "state", configuration(), registrar=HubRegistrar(hub))
    try:
        within(lambda: door.get("").status_code == 200)
        done = keep(door, review(door), "Eileen", "1001", "2718")
        assert done.status_code == 200, done.text
        person = hub.people.get(done.json()["person_id"])
        assert (person.person.label, len(person.template_ids)) == ("Eileen", 3)
        assert person.person.consent is not None
        assert person.person.consent.means == "screen"
        again = keep(door, review(door), "Somebody else")
        assert (again.status_code, again.json()["word"]) == (422, "enrol.not_fit")
        assert "Eileen" not in again.text
    finally:
        door.close()
        hub.close()
