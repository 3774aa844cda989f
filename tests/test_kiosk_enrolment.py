"""Enrolment at the terminal: poses, the booth before the rehearsal's head, the page's routes up to the gallery."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser_door import Door, configuration, within
from rehearsal_samples import models, stage

from device.clock import HandClock
from device.config import Config
from device.consent import TEXT_VERSION
from device.credentials.pin import is_right
from device.face.card import Card
from device.face.types import Quality
from device.frame import Frame
from device.kiosk.enrolment.booth import Booth, Progress, Stage
from device.kiosk.enrolment.pose import POSES, advice
from device.kiosk.enrolment.room import IDLE_S
from device.kiosk.setup.pin import set_pin
from device.kiosk.words import catalogue
from device.rehearsal.camera import RehearsalCamera
from device.rehearsal.people import SITTER, STRANGERS
from device.rehearsal.pose import Pose
from device.rehearsal.scenes import Scene, empty, held_up, performs, stands, together
from device.store.cache_writer import CacheWriter
from device.store.records import AccessRule, Credential, Method, Person

FRONT, LEFT, RIGHT = POSES
FIT = Quality(True, 80.0, 50.0, 0.0, 0.0, 0.0, 0.5, 0.2, {}, 1.0, 0.9)
CONSENT = {"has_agreed": True, "version": TEXT_VERSION}


# --- poses ---


@pytest.mark.parametrize(("pose", "yaw", "wanted"), [
    (FRONT, 0.0, ""), (FRONT, 6.9, ""), (FRONT, 12.0, "enrol.turn_to_camera"), (FRONT, -12.0, "enrol.turn_to_camera"),
    (LEFT, 0.0, "enrol.turn_left"), (LEFT, -15.0, "enrol.turn_left"), (LEFT, 14.0, ""),
    (LEFT, 24.0, "enrol.turn_back"),
    (RIGHT, 0.0, "enrol.turn_right"), (RIGHT, -14.0, ""), (RIGHT, -24.0, "enrol.turn_back")])
def test_a_pose_says_which_way_to_turn(pose: Any, yaw: float, wanted: str) -> None:
    assert advice(pose, replace(FIT, yaw=yaw)) == wanted


def test_a_poor_picture_is_told_before_the_pose() -> None:
    assert advice(LEFT, replace(FIT, reasons=("too_dark", "blurred"))) == "enrol.why_too_dark"
    assert advice(LEFT, replace(FIT, yaw=30.0, reasons=("turned_aside",))) == "enrol.turn_back"
    assert advice(FRONT, replace(FIT, yaw=30.0, reasons=("turned_aside",))) == "enrol.why_turned_aside"


# --- the booth ---


def turned(yaw: float, who: str = SITTER) -> Scene:
    return stands(who, Pose(z=0.75, yaw=yaw))


def obeys(key: str, who: str = SITTER) -> Scene | None:
    """What a willing person does when the screen says this."""
    part, _, word = key.partition(".")
    if part == "action" or key == "hint.turn_a_little":
        return performs(word if part == "action" else "turn_left", who)
    return {"enrol.turn_left": turned(14.0, who), "enrol.turn_right": turned(-14.0, who),
            "enrol.turn_to_camera": turned(0.0, who), "hint.look_at_camera": turned(0.0, who)}.get(key)


def stand_before(booth: Booth, camera: RehearsalCamera, who: str = SITTER, most: int = 900) -> Progress:
    """Let somebody do what is said until the booth has ended, or gives up on them."""
    said = ""
    for _ in range(most):
        progress = booth.look(camera.read(1.0))
        if progress.stage in (Stage.REVIEW, Stage.REFUSED):
            break
        if progress.advice != said and (scene := obeys(progress.advice, who)) is not None:
            camera.show(scene)
        said = progress.advice
    return booth.progress


def booth_of(card: Card, liveness: str = "none") -> Booth:
    return Booth(models(), card, configuration(face={"liveness": liveness}))


def camera_of(scene: Scene) -> RehearsalCamera:
    """Fifteen frames a second are enough for every judge, and half the work."""
    return RehearsalCamera(stage(), scene, 15.0, HandClock(), paced=False)


def test_somebody_who_does_what_is_said_is_taken_from_three_sides(pack: Card) -> None:
    booth = booth_of(pack)
    assert stand_before(booth, camera_of(turned(0.0))).stage is Stage.REVIEW
    assert [photo.name for photo in booth.photos] == ["front", "left", "right"]


def test_a_face_must_prove_to_be_alive_before_any_picture_is_taken(pack: Card) -> None:
    booth, camera = booth_of(pack, "high"), camera_of(performs(""))
    for _ in range(20):
        assert booth.look(camera.read(1.0)).stage is Stage.PROVING
    assert not booth.photos
    assert stand_before(booth, camera).stage is Stage.REVIEW
    assert len(booth.photos) == 3


def test_a_printed_photo_is_never_taken(pack: Card) -> None:
    booth, camera = booth_of(pack, "high"), camera_of(held_up("print-a4", waved=True))
    for _ in range(100):
        assert booth.look(camera.read(1.0)).stage in (Stage.PROVING, Stage.REFUSED)
    assert not booth.photos


def test_nobody_and_two_people_are_told_so(pack: Card) -> None:
    booth, camera = booth_of(pack), camera_of(empty())
    assert booth.look(camera.read(1.0)).advice == "enrol.nobody"
    camera.show(together(stands(SITTER, Pose(x=-0.2, z=0.8)), stands(STRANGERS[0], Pose(x=0.2, z=0.8)), name="two"))
    told = {booth.look(camera.read(1.0)).advice for _ in range(20)}
    assert "enrol.one_alone" in told
    assert not booth.photos


def test_another_face_begins_anew(pack: Card) -> None:
    booth, camera = booth_of(pack), camera_of(turned(0.0))
    while not booth.photos:
        booth.look(camera.read(1.0))
    camera.show(empty())
    for _ in range(60):
        booth.look(camera.read(1.0))
    camera.show(turned(14.0, STRANGERS[0]))
    for _ in range(10):
        booth.look(camera.read(1.0))
    assert not booth.photos


def test_every_word_of_advice_is_in_the_catalogue(pack: Card) -> None:
    assert booth_of(pack).progress.advice in catalogue()
    assert {f"enrol.{outcome}" for outcome in ("attack", "unproved", "taken", "review")} <= set(catalogue())


# --- the page ---


@contextmanager
def opened(folder: Path, config: Config | None = None) -> Iterator[Door]:
    door = Door(folder / "state", config or configuration())
    try:
        within(lambda: door.get("").status_code == 200)
        yield door
    finally:
        door.close()


@contextmanager
def standing(door: Door, who: str = SITTER) -> Iterator[None]:
    """Somebody before the camera who does what the page says."""
    camera, stop = RehearsalCamera(stage(), turned(0.0, who), 15.0, door.clock), threading.Event()

    def film() -> None:
        said = ""
        while not stop.is_set():
            door.look(camera.read(5.0))
            booth = door.desk.enrolment._booth
            key = booth.progress.advice if booth is not None else ""
            if key != said and (scene := obeys(key, who)) is not None:
                camera.show(scene)
            said = key

    thread = threading.Thread(target=film, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def begin(door: Door) -> str:
    answer = door.post("enrol/begin", CONSENT)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["token"])


def review(door: Door) -> str:
    """Go through the poses; the token of the session."""
    token = begin(door)
    with standing(door):
        within(lambda: door.get("enrol/state").json()["stage"] == "review", 60.0)
    return token


def keep(door: Door, token: str, label: str = "Eileen", number: str = "", pin: str = "", card: str = "") -> Any:
    return door.post("enrol/keep", {"label": label, "number": number, "pin": pin, "card": card}, token)


def test_a_person_is_enrolled_with_consent_and_a_pin_and_nothing_is_left_behind(tmp_path: Path) -> None:
    with opened(tmp_path) as door:
        token = review(door)
        assert door.get("enrol/shot/2").headers["content-type"] == "image/jpeg"
        assert door.get("enrol/shot/3").status_code == 404
        answer = keep(door, token, "Zoë 张伟", "1001", "2718")
        assert answer.status_code == 200, answer.text
        person_id = answer.json()["person_id"]
        person = door._person(person_id)
        assert person.label == "Zoë 张伟"
        assert (person.consent.means, person.consent.text_version) == ("screen", TEXT_VERSION)
        assert door._roster().gallery.has_person(person_id)
        (pin,) = [one for one in _credentials(door, person_id) if one.method is Method.PIN]
        assert is_right(pin.secret, "2718")
        (kept,) = door.entries("enrolled")
        assert (kept.person_id, dict(kept.detail)["templates"]) == (person_id, 3)
        assert door.desk.enrolment._booth is None
        assert door.get("enrol/shot/0").status_code == 401

        token = review(door)  # the same face again
        refused = keep(door, token, "Somebody else")
        assert (refused.status_code, refused.json()["word"]) == (409, "enrol.known")
        assert "Zoë" not in refused.text
        assert len(door._roster().gallery) == 3


def test_the_installer_alone_is_told_whose_face_it_is(tmp_path: Path) -> None:
    with opened(tmp_path, configuration(kiosk={"enrol": "supervised"})) as door:
        assert door.get("enrol/state").json()["stage"] == "supervised"
        assert door.post("enrol/begin", CONSENT).status_code == 403
        set_pin(door.where, "314159")
        assert door.post("setup/enter", {"pin": "314159"}).status_code == 200
        token = review(door)
        assert keep(door, token, "Eileen", card="124,64377").status_code == 200
        token = review(door)
        refused = keep(door, token, "Somebody else", card="1")
        assert refused.json()["said"] == "this face is enrolled already, as Eileen"


@pytest.mark.parametrize(("wish", "word"), [
    ({"number": "1", "pin": "1234"}, "enrol.bad_pin"), ({"number": "", "pin": "2718"}, "enrol.bad_pin"),
    ({"number": "1", "pin": ""}, "enrol.bad_pin"), ({"number": "77", "pin": "2718"}, "enrol.pin_taken"),
    ({"card": "124,64377"}, "enrol.bad_card"), ({"label": " "}, "page.bad_text"),
    ({"label": "x" * 10_000}, "page.refused"), ({"label": "\u202eabc"}, "page.bad_text"),
    ({"number": "x"}, "page.bad_digits")])
def test_a_wrong_wish_is_told_and_the_pictures_stay(reviewed: tuple[Door, str], wish: dict[str, str],
                                                    word: str) -> None:
    door, token = reviewed
    answer = keep(door, token, **wish)
    assert answer.json()["word"] == word, answer.text
    assert door.get("enrol/state").json()["stage"] == "review"
    assert not door.entries("enrolled")


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Door, str]]:
    """A door with somebody's pictures taken, and another person's number given out."""
    with opened(tmp_path_factory.mktemp("reviewed")) as door:
        writer = CacheWriter.open(door.where.gallery_db, door.key, door.clock)
        writer.put_rule(AccessRule("everyone", "everyone"))
        writer.put_person(Person("b" * 32, "Somebody"))
        writer.put_credential(Credential("c" * 32, "b" * 32, Method.PIN, b"77\0x"))
        writer.close()
        yield door, review(door)


def _credentials(door: Door, person_id: str) -> list[Credential]:
    writer = CacheWriter.open(door.where.gallery_db, door.key, door.clock)
    try:
        return writer.credentials(person_id)
    finally:
        writer.close()


def test_without_consent_no_picture_is_taken(tmp_path: Path) -> None:
    with opened(tmp_path) as door:
        state = door.get("enrol/state").json()
        assert state["stage"] == "consent"
        assert set(state["consent"]["text"]) == {"en", "zh"}
        assert state["retention"] == "As long as you work here"
        for body in ({**CONSENT, "has_agreed": False}, {**CONSENT, "version": "another"}, {"has_agreed": True}, {}):
            assert door.post("enrol/begin", body).status_code in (400, 422)
        assert door.desk.enrolment._booth is None


def test_a_second_browser_waits_and_sees_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as door:
        begin(door)
        door.client.cookies.clear()
        assert door.get("enrol/state").json()["stage"] == "taken"
        assert door.post("enrol/begin", CONSENT).status_code == 403
        assert door.get("enrol/shot/0").status_code == 401
        assert keep(door, "").status_code == 401


def test_pictures_go_when_nobody_does_anything(tmp_path: Path) -> None:
    with opened(tmp_path) as door:
        begin(door)
        door.look(next(_frames()))
        assert door.desk.enrolment._booth is not None
        door.clock.skip(IDLE_S + 1)
        door.look(next(_frames()))
        within(lambda: door.desk.enrolment._booth is None)
        assert door.get("enrol/state").json()["stage"] == "consent"


def _frames() -> Iterator[Frame]:
    camera = RehearsalCamera(stage(), empty(), 30.0, HandClock(), paced=False)
    while True:
        yield camera.read(1.0)


def test_a_linked_terminal_says_where_faces_are_enrolled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = tmp_path / "link.toml"
    link.write_text("")
    monkeypatch.setenv("DOOR_LINK", str(link))
    with opened(tmp_path) as door:
        assert door.get("enrol/state").json()["stage"] == "hub"
        answer = door.post("enrol/begin", CONSENT)
        assert (answer.status_code, answer.json()["word"]) == (403, "enrol.closed_hub")


def test_a_door_where_nobody_is_enrolled_says_so(tmp_path: Path) -> None:
    with opened(tmp_path, configuration(kiosk={"enrol": "off"})) as door:
        assert door.get("enrol/state").json()["stage"] == "off"
        assert door.post("enrol/begin", CONSENT).json()["word"] == "enrol.closed_off"


def test_the_booths_thread_ends_with_the_kiosk(tmp_path: Path) -> None:
    with opened(tmp_path) as door:
        begin(door)
        worker = door.desk.enrolment._worker
        assert worker is not None
        assert worker.is_alive()
    worker.join(30.0)
    assert not worker.is_alive()
