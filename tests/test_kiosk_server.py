"""The kiosk's server over a real socket: who may speak to it, what it streams, what it takes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from device.clock import SystemClock
from device.config import Config, parse_config
from device.door.decision import Decision, Now
from device.door.types import CredentialShown, DoorState, Mode
from device.errors import HardwareMissing
from device.face.types import Box
from device.frame import Frame
from device.kiosk.desk import KioskDesk, masked
from device.kiosk.server import MOST_LISTENERS
from device.store.records import Method, Person

CLOCK = SystemClock()
CONFIG = parse_config({"door": {"lock": "strike"}, "kiosk": {"enabled": True, "port": 0, "purpose": "Doors"},
                       "screen": {"names": "masked"}})


class Door:
    """What the kiosk sees of a terminal."""

    def __init__(self, config: Config = CONFIG) -> None:
        self.state = DoorState()
        self.is_alive = True
        self.is_busy = False
        self.shown: list[CredentialShown] = []
        self.desk = KioskDesk(config, CLOCK, lambda: self.state, lambda: CLOCK.mono() if self.is_alive else 0.0,
                              self.offer, lambda person_id: Person(person_id, "Zoë 张伟 O'Neill"))
        self.desk.start()

    def offer(self, shown: CredentialShown) -> bool:
        if not self.is_busy:
            self.shown.append(shown)
        return not self.is_busy


@pytest.fixture
def door() -> Iterator[Door]:
    found = Door()
    within(lambda: httpx.get(found.desk.address).status_code == 200)
    yield found
    found.desk.close()


def within(is_so: Callable[[], Any], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if is_so():
                return
        except httpx.ConnectError:
            pass
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def events(door: Door, seconds: float = 20.0) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, data) as they come."""
    with httpx.stream("GET", door.desk.address + "events", timeout=seconds) as answer:
        name = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield name, json.loads(line.removeprefix("data: "))


def test_a_decision_is_streamed_with_its_words(door: Door) -> None:
    stream = events(door)
    assert next(stream)[1]["title"] == "screen.ready"
    door.desk.screen.decided(Decision(True, "face_granted", "a" * 32, 5.0), Now(CLOCK.now(), CLOCK.mono()))
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


def test_digits_reach_the_door_as_a_credential(door: Door) -> None:
    assert type_in(door, {"digits": "0042#"[:4]}).status_code == 204
    (shown,) = door.shown
    assert (shown.method, shown.secret) == (Method.PIN, b"0042")


def test_taps_faster_than_answers_are_told_to_wait(door: Door) -> None:
    codes = [type_in(door, {"digits": "1"}).status_code for _ in range(5)]
    assert codes[0] == 204
    assert set(codes[1:]) <= {204, 429}
    assert 429 in codes


def test_a_door_that_is_busy_says_so(door: Door) -> None:
    door.is_busy = True
    assert type_in(door, {"digits": "1"}).status_code == 503


@pytest.mark.parametrize("body", [
    {}, [], {"digits": ""}, {"digits": 5}, {"digits": "1" * 25}, {"digits": "１２"}, {"digits": "12; DROP TABLE"},
    {"digits": "\u202e12"}, {"digits": "<script>"}, {"digits": "😀"}, {"digits": None}])
def test_what_is_no_number_is_refused_in_one_line(door: Door, body: Any) -> None:
    answer = type_in(door, body)
    assert answer.status_code == 400
    assert answer.text.count("\n") == 1
    assert not door.shown


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b"[" * 400, b"9" * 10_000_000])
def test_bytes_that_are_no_json_are_refused_however_long(door: Door, raw: bytes) -> None:
    try:
        answer = httpx.post(door.desk.address + "pin", content=raw, headers=own(door))
    except httpx.WriteError:  # it had heard enough
        return
    assert answer.status_code == 400


def type_in(door: Door, body: Any) -> httpx.Response:
    return httpx.post(door.desk.address + "pin", json=body, headers=own(door))


def own(door: Door) -> dict[str, str]:
    return {"origin": door.desk.address.rstrip("/")}


@pytest.mark.parametrize("headers", [
    {"host": "evil.example"}, {"host": "evil.example:8730"}, {"host": "127.0.0.1.evil.example"}, {"host": ""},
    {"host": "[::1"}])
def test_another_hosts_name_is_refused(door: Door, headers: dict[str, str]) -> None:
    assert httpx.get(door.desk.address, headers=headers).status_code in (400, 403)


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "http://127.0.0.1:1", "https://localhost"])
def test_another_pages_post_is_refused(door: Door, origin: str | None) -> None:
    headers = {} if origin is None else {"origin": origin}
    assert httpx.post(door.desk.address + "pin", json={"digits": "1"}, headers=headers).status_code == 403
    assert not door.shown


def test_every_answer_carries_the_protecting_headers(door: Door) -> None:
    for path in ("", "words", "static/kiosk.js", "static/kiosk.css", "static/signs.svg", "nowhere"):
        answer = httpx.get(door.desk.address + path)
        assert "default-src 'none'" in answer.headers["content-security-policy"], path
        assert answer.headers["x-content-type-options"] == "nosniff", path


def test_the_page_names_no_outside_address(door: Door) -> None:
    for path in ("", "static/kiosk.js", "static/kiosk.css"):
        text = httpx.get(door.desk.address + path).text
        assert "//" not in text.replace("// ", "").replace("http://www.w3.org/2000/svg", ""), path


def test_files_beside_the_page_cannot_be_had(door: Door) -> None:
    for path in ("static/../server.py", "static/%2e%2e/server.py", "static//etc/passwd", "static/"):
        assert httpx.get(door.desk.address + path).status_code == 404, path


def test_the_picture_is_mirrored_and_frames_the_face(door: Door) -> None:
    pixels = np.zeros((720, 1280, 3), np.uint8)
    pixels[:, :640] = (0, 0, 200)  # red on the left
    frame = Frame(0, CLOCK.mono(), pixels)
    stop = threading.Event()

    def film() -> None:
        while not stop.wait(0.03):
            door.desk.look(frame, [Box(100.0, 200.0, 200.0, 200.0)])

    thread = threading.Thread(target=film, daemon=True)
    thread.start()
    with httpx.stream("GET", door.desk.address + "preview", timeout=20.0) as answer:
        data = b""
        for part in answer.iter_bytes():
            data += part
            if data.count(b"--frame") >= 3:
                break
    stop.set()
    thread.join()
    image = data.split(b"\r\n\r\n", 1)[1].split(b"\r\n--frame", 1)[0]
    shown = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (360, 640, 3)
    assert shown[300, 600, 2] > 150
    assert shown[300, 20].max() < 30
    corner = shown[100:104, 640 - 150:640 - 50]
    assert corner.max() > 200


def test_a_thousand_reconnections_leave_no_listener_behind(door: Door) -> None:
    with httpx.Client(timeout=20.0) as client:
        for _ in range(1000):
            with client.stream("GET", door.desk.address + "events") as answer:
                if answer.status_code == 200:
                    next(answer.iter_lines())
    within(lambda: door.desk._kiosk.listeners == 0)


def test_too_many_screens_are_told_so(door: Door) -> None:
    streams = [events(door) for _ in range(MOST_LISTENERS)]
    for stream in streams:
        next(stream)
    assert httpx.get(door.desk.address + "events").status_code == 503
    for stream in streams:
        stream.close()
    within(lambda: door.desk._kiosk.listeners == 0)


def test_it_listens_on_loopback_only(door: Door) -> None:
    port = f"{door.desk._service.port:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    assert {line[1].partition(":")[0] for line in lines if line[1].endswith(f":{port}") and line[3] == "0A"} == {
        "0100007F"}


def test_a_port_that_is_taken_is_one_clear_line(door: Door) -> None:
    taken = replace(CONFIG, kiosk=replace(CONFIG.kiosk, port=door.desk._service.port))
    with pytest.raises(HardwareMissing, match=r"set kiosk\.port"):
        Door(taken)


@pytest.mark.parametrize(("label", "shown"), [
    ("Ada Lovelace", "A* L*"), ("张伟", "张*"), ("", ""), ("  x  ", "x*"), ("a b c d e f", "a* b* c* d*")])
def test_a_masked_name_keeps_first_letters_only(label: str, shown: str) -> None:
    assert masked(label) == shown
