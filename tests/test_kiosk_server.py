"""The kiosk's server over a real socket: who may speak to it, what it streams, what it takes from a visitor."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from browser_door import Door, configuration, picture, within

from device.clock import SystemClock
from device.door.decision import Decision
from device.door.types import Bell, DoorState, Mode
from device.errors import HardwareMissing
from device.face.types import Box
from device.frame import Frame
from device.kiosk.desk import masked
from device.kiosk.server import STATIC
from device.kiosk.visitor.stream import MOST_LISTENERS
from device.status import memory_mb
from device.store.cache_writer import CacheWriter
from device.store.records import Method, Person

CLOCK = SystemClock()
PAGES = ("", "enrol", "own", "setup")


@pytest.fixture(scope="module")
def one_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    found = Door(tmp_path_factory.mktemp("door") / "state")
    within(lambda: found.get("").status_code == 200)
    yield found
    found.close()


@pytest.fixture
def door(one_door: Door) -> Door:
    one_door.rest()
    return one_door


def events(door: Door, seconds: float = 30.0) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, data) as they come."""
    with httpx.stream("GET", f"{door.address}/events", timeout=seconds) as answer:
        name = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield name, json.loads(line.removeprefix("data: "))


def test_a_decision_is_streamed_with_its_words(door: Door) -> None:
    writer = CacheWriter.open(door.where.gallery_db, door.key, CLOCK)
    writer.put_person(Person("a" * 32, "Zoë 张伟 O'Neill"))
    writer.close()
    stream = events(door)
    assert next(stream)[1]["title"] == "screen.ready"
    door.decided(Decision(True, "face_granted", "a" * 32, 5.0))
    view = next(data for name, data in stream if name == "view")
    assert (view["shape"], view["title"], view["name"]) == ("granted", "screen.welcome", "Z* 张* O*")


def test_beats_stop_with_the_door_thread(door: Door) -> None:
    stream = events(door)
    next(data for name, data in stream if name == "beat")
    door.is_alive = False
    door.state = replace(door.state, mode=Mode.FREE)
    names = []
    for name, _ in stream:
        names.append(name)
        if name == "view":
            break
    assert names.count("beat") <= 1
    door.state = DoorState()
    assert next(stream)[0] == "view"  # no beat came between the two


@pytest.mark.parametrize(("number", "secret"), [("1001", b"1001*2718"), ("", b"*2718")])
def test_number_and_pin_reach_the_credential_desk(door: Door, number: str, secret: bytes) -> None:
    assert door.post("pin", {"number": number, "pin": "2718"}).status_code == 204
    (shown,) = door.shown
    assert (shown.method, shown.secret, shown.reader) == (Method.PIN, secret, "kiosk")


def test_taps_faster_than_answers_are_told_to_wait(door: Door) -> None:
    codes = [door.post("pin", {"number": "", "pin": "2718"}).status_code for _ in range(5)]
    assert codes[0] == 204
    assert set(codes[1:]) <= {204, 429}
    assert 429 in codes


def test_a_door_that_is_busy_says_so(door: Door) -> None:
    door.is_busy = True
    answers = [door.post("pin", {"number": "", "pin": "2718"}), door.post("bell", {})]
    assert [answer.status_code for answer in answers] == [503, 503]
    assert {answer.json()["word"] for answer in answers} == {"page.busy"}


def test_a_ring_reaches_the_door_once_however_often_the_button_is_hit(door: Door) -> None:
    codes = [door.post("bell", {}).status_code for _ in range(5)]
    assert codes[0] == 204
    assert len([one for one in door.put if isinstance(one, Bell)]) == codes.count(204)
    assert 429 in codes


@pytest.mark.parametrize("body", [
    {}, [], {"number": "", "pin": ""}, {"number": "", "pin": 2718}, {"number": "1" * 11, "pin": "2718"},
    {"number": "", "pin": "27181828459045"}, {"number": "１２", "pin": "2718"}, {"number": "1*", "pin": "2718"},
    {"number": "12; DROP TABLE", "pin": "2718"}, {"number": "", "pin": "\u202e2718"},
    {"number": "", "pin": "<script>"}, {"number": "😀", "pin": "2718"}, {"number": "", "pin": None},
    {"number": "", "pin": "2718", "more": 1}, {"number": "1" * 10_000, "pin": "2718"}])
def test_what_is_no_number_is_refused_in_one_line(door: Door, body: Any) -> None:
    answer = door.post("pin", body)
    assert answer.status_code == 400
    said = answer.json()["said"]
    assert said
    assert "\n" not in said
    assert "script" not in said
    assert not door.shown


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b"[" * 400, b"9" * 10_000_000])
def test_bytes_that_are_no_json_are_refused_however_long(door: Door, raw: bytes) -> None:
    try:
        answer = door.client.post("/pin", content=raw, headers={"origin": door.address})
    except httpx.WriteError:  # it had heard enough
        return
    assert answer.status_code == 400


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8730", "127.0.0.1.evil.example", "", "[::1"])
def test_another_hosts_name_is_refused(door: Door, host: str) -> None:
    for page in PAGES:
        assert door.get(page, host=host).status_code in (400, 403)


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "http://127.0.0.1:1", "https://localhost"])
def test_another_pages_post_is_refused(door: Door, origin: str | None) -> None:
    headers = {} if origin is None else {"origin": origin}
    for path in ("pin", "bell", "clock", "lamp", "setup/enter", "enrol/begin", "own/begin"):
        assert door.client.post(f"/{path}", json={}, headers=headers).status_code == 403, path
    assert not door.shown
    assert not door.put


def test_every_answer_carries_the_protecting_headers(door: Door) -> None:
    files = [f"static/{path.name}" for path in STATIC.iterdir()]
    for path in (*PAGES, "words", "nowhere", "setup/live", "enrol/state", "own/state", *files):
        answer = door.get(path)
        assert "default-src 'none'" in answer.headers["content-security-policy"], path
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert answer.headers["cache-control"] == "no-store", path


def test_the_pages_name_no_outside_address(door: Door) -> None:
    for path in STATIC.iterdir():
        text = door.get(f"static/{path.name}").text
        assert "//" not in text.replace("// ", "").replace("http://www.w3.org/2000/svg", ""), path


def test_files_beside_the_page_cannot_be_had(door: Door) -> None:
    for path in ("static/../server.py", "static/%2e%2e/server.py", "static//etc/passwd", "static/"):
        assert door.get(path).status_code == 404, path


def test_a_page_that_the_site_does_not_want_is_not_there(tmp_path: Path) -> None:
    shut = {"own": False, "setup": False, "pin": False, "bell": False, "attendance": False}
    door = Door(tmp_path / "state", configuration(kiosk=shut))
    try:
        within(lambda: door.get("").status_code == 200)
        for path in ("own", "own/state", "setup", "setup/state", "pin", "bell", "clock"):
            assert door.get(path).status_code == 404, path
    finally:
        door.close()


def test_the_picture_is_mirrored_and_frames_the_face(door: Door) -> None:
    pixels = np.zeros((720, 1280, 3), np.uint8)
    pixels[:, :640] = (0, 0, 200)  # red on the left
    frame = Frame(0, CLOCK.mono(), pixels)
    stop = threading.Event()

    def film() -> None:
        while not stop.wait(0.03):
            door.look(frame, Box(100.0, 200.0, 200.0, 200.0))

    thread = threading.Thread(target=film, daemon=True)
    thread.start()
    shown = picture(f"{door.address}/preview")
    stop.set()
    thread.join()
    assert shown.shape == (360, 640, 3)
    assert shown[300, 600, 2] > 150
    assert shown[300, 20].max() < 30
    corner = shown[100:104, 640 - 150:640 - 50]
    assert corner.max() > 200


def test_a_thousand_reconnections_leave_nothing_behind(door: Door) -> None:
    def reconnect(times: int) -> None:
        with httpx.Client(timeout=30.0) as client:
            for _ in range(times):
                with client.stream("GET", f"{door.address}/events") as answer:
                    if answer.status_code == 200:
                        next(answer.iter_lines())

    reconnect(200)  # whatever is made once has been made
    before = memory_mb()
    reconnect(1000)
    within(lambda: door.desk.stream.listeners == 0)
    assert memory_mb() - before < 8.0  # a listener that stayed would keep a stream, a task and its buffers


def test_too_many_screens_are_told_so(door: Door) -> None:
    streams = [events(door) for _ in range(MOST_LISTENERS)]
    for stream in streams:
        next(stream)
    assert door.get("events").status_code == 503
    for stream in streams:
        stream.close()
    within(lambda: door.desk.stream.listeners == 0)


def test_it_listens_on_loopback_only(door: Door) -> None:
    port = f"{int(door.address.rsplit(':', 1)[1]):04X}"
    lines = [line.split() for table in ("tcp", "tcp6")
             for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    assert {line[1].partition(":")[0] for line in lines if line[1].endswith(f":{port}") and line[3] == "0A"} == {
        "0100007F"}


def test_a_port_that_is_taken_is_one_clear_line(door: Door, tmp_path: Path) -> None:
    port = int(door.address.rsplit(":", 1)[1])
    with pytest.raises(HardwareMissing, match=r"set kiosk\.port"):
        Door(tmp_path / "other", configuration(kiosk={"port": port}))


@pytest.mark.parametrize(("label", "shown"), [
    ("Ada Lovelace", "A* L*"), ("张伟", "张*"), ("", ""), ("  x  ", "x*"), ("a b c d e f", "a* b* c* d*")])
def test_a_masked_name_keeps_first_letters_only(label: str, shown: str) -> None:
    assert masked(label) == shown
