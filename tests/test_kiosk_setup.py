"""The installer's page over a real socket: who gets in, what it shows, what it moves and changes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser_door import Door, picture, within

from device.config import read_config
from device.door.reasons import entry
from device.door.types import DoorState, Phase, Verb
from device.face.types import Box
from device.frame import Frame
from device.kiosk.setup.pin import LOCKED_S, set_pin
from device.kiosk.setup.room import IDLE_S

PIN = "314159"
READS = ("live", "past", "claim", "label", "settings", "tries", "picture")
ACTS = ("stay", "leave", "focus", "relay", "restart", "change", "begin", "watch", "card")


@pytest.fixture(scope="module")
def one_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("door")
    path = folder / "terminal.toml"
    restarts: list[bool] = []
    path.write_text("")
    found = Door(folder / "state", config_path=path, restart=lambda: restarts.append(True))
    found.restarts = restarts  # type: ignore[attr-defined]
    within(lambda: found.get("").status_code == 200)
    yield found
    found.close()


@pytest.fixture
def door(one_door: Door) -> Door:
    one_door.rest()
    set_pin(one_door.where, PIN)
    assert one_door.config_path is not None
    one_door.config_path.write_text('[door]\nlock = "strike"\n')
    return one_door


def enter(door: Door) -> str:
    answer = door.post("setup/enter", {"pin": PIN})
    assert answer.status_code == 200
    return str(answer.json()["token"])


def ask_twice(door: Door, path: str, token: str) -> int:
    sure = door.post(path, {"sure": ""}, token).json()["sure"]
    return door.post(path, {"sure": sure}, token).status_code


def test_nothing_is_shown_or_moved_without_the_pin(door: Door) -> None:
    for path in READS:
        assert door.get(f"setup/{path}").status_code == 401, path
    for path in ACTS:
        assert door.post(f"setup/{path}", {}).status_code == 401, path
    assert not door.put


def test_the_right_pin_opens_and_the_entry_is_journalled(door: Door) -> None:
    answer = door.post("setup/enter", {"pin": PIN})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert door.get("setup/live").status_code == 200
    assert len(door.entries("setup_entered")) == 1


def test_an_act_without_the_pages_token_is_refused(door: Door) -> None:
    enter(door)
    for path in ACTS:
        assert door.post(f"setup/{path}", {}, "guessed").status_code == 403, path
    assert not door.commands()


def test_the_session_is_another_one_at_each_entry(door: Door) -> None:
    first = enter(door)
    kept = dict(door.client.cookies)
    second = enter(door)
    assert first != second
    assert kept != dict(door.client.cookies)
    door.client.cookies.clear()
    door.client.cookies.update(kept)
    assert door.get("setup/live").status_code == 401


def test_what_the_page_asks_by_itself_keeps_no_session_open(door: Door) -> None:
    token = enter(door)
    door.clock.skip(IDLE_S - 5)
    assert door.get("setup/live").status_code == 200
    assert door.post("setup/stay", {}, token).status_code == 204
    door.clock.skip(IDLE_S - 5)
    assert door.get("setup/live").status_code == 200
    door.clock.skip(10)
    assert door.get("setup/live").status_code == 401


def test_whoever_leaves_is_out(door: Door) -> None:
    token = enter(door)
    assert door.post("setup/leave", {}, token).status_code == 204
    assert door.get("setup/live").status_code == 401


def test_guessing_shuts_the_page_and_every_try_is_journalled(door: Door) -> None:
    answers = [door.post("setup/enter", {"pin": "271828"}) for _ in range(7)]
    assert [answer.status_code for answer in answers] == [403] * 4 + [429] * 3
    assert answers[-1].json()["word"] == "setup.pin_locked"
    assert len(door.entries("setup_locked")) == 1
    assert len(door.entries("setup_refused")) == 6
    assert door.post("setup/enter", {"pin": PIN}).status_code == 429
    assert 0 < door.get("setup/state").json()["locked_s"] <= LOCKED_S
    door.clock.skip(LOCKED_S)
    assert door.post("setup/enter", {"pin": PIN}).status_code == 200


def test_guesses_at_the_same_time_are_counted_one_by_one(door: Door) -> None:
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda _: door.post("setup/enter", {"pin": "271828"}).status_code, range(8)))
    assert sorted(codes) == [403] * 4 + [429] * 4


@pytest.mark.parametrize("pin", ["", "x" * 10_000, "１２３４５６", "<b>", None, 314159, "3" * 13])
def test_what_is_no_pin_is_not_even_tried(door: Door, pin: Any) -> None:
    assert door.post("setup/enter", {"pin": pin}).status_code == 400
    assert not door.put


def test_the_live_view_tells_meters_wires_and_state(door: Door) -> None:
    enter(door)
    scene = np.random.default_rng(1).integers(60, 180, (180, 320, 3)).astype(np.uint8)
    door.look(Frame(1, door.clock.mono(), scene), Box(10.0, 10.0, 50.0, 50.0))
    door.state = replace(DoorState(), phase=Phase.OPEN, degraded=frozenset({"hub_silent"}))
    for observer in door.desk.observers:
        observer.signalled("bell")
    live = door.get("setup/live").json()
    assert live["focus"]["value"] > 100
    assert live["light"]["word"] == "setup.light_good"
    active = {wire["name"]: wire["is_active"] for wire in live["wires"]}
    assert active == {"contact": True, "rex": False, "tamper": False, "fire": False, "bell": True}
    assert live["faults"] == ["hub_silent"]
    assert live["tie"]["is_linked"] is False
    assert live["clock"]["zone"] == "Europe/London"


def test_the_picture_is_what_the_camera_sees_and_no_mirror(door: Door) -> None:
    enter(door)
    pixels = np.zeros((180, 320, 3), np.uint8)
    pixels[:, :160] = (0, 0, 200)
    door.look(Frame(1, door.clock.mono(), pixels))
    cookie = "; ".join(f"{name}={value}" for name, value in door.client.cookies.items())
    stop, thread = _film(door, pixels)
    shown = picture(f"{door.address}/setup/picture", {"cookie": cookie})
    stop.set()
    thread.join()
    assert shown[90, 40, 2] > 150
    assert shown[90, 280].max() < 30


def _film(door: Door, pixels: Any) -> tuple[Any, Any]:
    import threading

    stop = threading.Event()

    def film() -> None:
        while not stop.wait(0.03):
            door.look(Frame(1, door.clock.mono(), pixels))

    thread = threading.Thread(target=film, daemon=True)
    thread.start()
    return stop, thread


def test_the_relay_is_tried_by_the_doors_own_machine_and_only_when_asked_twice(door: Door) -> None:
    token = enter(door)
    assert "sure" in door.post("setup/relay", {"sure": ""}, token).json()
    assert not door.commands()
    assert ask_twice(door, "setup/relay", token) == 204
    (command,) = door.commands()
    assert (command.verb, command.source, command.seconds) == (Verb.RELEASE, "installer", 1.0)


def test_a_word_is_good_once_for_one_thing_and_not_for_long(door: Door) -> None:
    token = enter(door)
    sure = door.post("setup/relay", {"sure": ""}, token).json()["sure"]
    assert door.post("setup/restart", {"sure": sure}, token).status_code == 409
    assert door.post("setup/relay", {"sure": sure}, token).status_code == 409
    sure = door.post("setup/relay", {"sure": ""}, token).json()["sure"]
    door.clock.skip(11)
    assert door.post("setup/relay", {"sure": sure}, token).status_code == 409
    assert not door.commands()
    sure = door.post("setup/relay", {"sure": ""}, token).json()["sure"]
    assert door.post("setup/relay", {"sure": sure}, token).status_code == 204
    assert door.post("setup/relay", {"sure": sure}, token).status_code == 409
    assert len(door.commands()) == 1


def test_the_terminal_restarts_when_asked_twice(door: Door) -> None:
    token = enter(door)
    assert ask_twice(door, "setup/restart", token) == 204
    assert door.restarts == [True]  # type: ignore[attr-defined]


def test_a_change_is_kept_in_the_file_and_journalled_by_its_key(door: Door) -> None:
    token = enter(door)
    changes = {"screen.language": "zh", "kiosk.purpose": "<b>\"doors\"</b> 门"}
    assert door.post("setup/change", {"changes": changes}, token).status_code == 200
    assert door.config_path is not None
    config = read_config(door.config_path)
    assert (config.screen.language, config.kiosk.purpose) == ("zh", changes["kiosk.purpose"])
    (kept,) = door.entries("config_changed")
    assert dict(kept.detail) == {"source": "installer", "keys": "kiosk.purpose screen.language"}
    assert door.get("setup/settings").json()["values"]["screen.language"] == "zh"


@pytest.mark.parametrize("changes", [
    {}, [], None, "x", {"pins.lock": 4}, {"door.lock": "velcro"}, {"kiosk.purpose": "x" * 10_000},
    {"screen.volume": 1e400}, {"kiosk.purpose": "a\nb"}])
def test_a_wrong_change_is_refused_and_the_file_stays(door: Door, changes: Any) -> None:
    token = enter(door)
    assert door.config_path is not None
    before = door.config_path.read_text()
    answer = door.client.post("/setup/change", content=_json({"changes": changes}), headers={
        "origin": door.address, "x-door-token": token})
    assert answer.status_code in (400, 422)
    assert "\n" not in answer.json()["said"]
    assert door.config_path.read_text() == before
    assert not door.entries("config_changed")


def _json(value: Any) -> str:
    import json

    return json.dumps(value)


def test_the_last_events_are_told_newest_first_and_name_nobody(door: Door) -> None:
    door.journal.append(entry("face_granted", "ab" * 16))
    door.journal.append(entry("disk_full"))
    enter(door)
    past = door.get("setup/past").json()
    assert [one["reason"] for one in past[:2]] == ["disk_full", "face_granted"]
    assert past[1]["person"] == "ababab"


def test_serial_and_code_are_shown_as_words_and_as_a_label(door: Door) -> None:
    enter(door)
    claim = door.get("setup/claim").json()
    assert len(claim["code"]) == 23
    assert door.get("setup/claim").json() == claim
    assert door.get("setup/label").content.startswith(b"<svg")


def test_a_linked_terminal_shows_no_code(door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = tmp_path / "link.toml"
    link.write_text("")
    monkeypatch.setenv("DOOR_LINK", str(link))
    enter(door)
    assert door.get("setup/claim").json()["code"] == ""
    assert door.get("setup/label").status_code == 404


def test_commissioning_refuses_what_it_cannot_do_in_one_line(door: Door) -> None:
    token = enter(door)
    assert door.post("setup/watch", {}, token).status_code == 409
    assert door.post("setup/card", {}, token).status_code == 409
    assert door.post("setup/begin", {"people": 7}, token).status_code == 400
    begun = door.post("setup/begin", {"people": 1}, token).json()
    assert begun["steps"][0][0] == "live"
    assert {step[0] for step in begun["steps"]} == {"live", "print", "phone"}
