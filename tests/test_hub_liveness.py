"""Video liveness at the hub: a session's code, the clip that answers it, and what is refused."""

from __future__ import annotations

import json
from datetime import timedelta

import cv2
import pytest
from hub_samples import Client, agreed, open_hub
from rehearsal_samples import people, stage

from device.clock import SystemClock
from device.face.pad.action import Action
from device.rehearsal.people import SITTER, STRANGERS
from device.rehearsal.scenes import one_after_another, performs
from device.rehearsal.stage import enrolment_photo
from sync.hub.api import application

API = "/api/v1/liveness/sessions"
CODE = (Action.TURN_LEFT, Action.OPEN_MOUTH)
FPS = 15.0


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("clips") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), FPS, (640, 480))
    lens, scene = stage(640, 480), one_after_another(*(performs(action.value) for action in CODE), name="acting")
    for number in range(int(scene.seconds * FPS)):
        writer.write(lens.render(scene.at(number / FPS), number))
    writer.release()
    return path.read_bytes()


@pytest.fixture
def hub(tmp_path, tmp_path_factory, pack):
    made = open_hub(tmp_path / "hub", tmp_path_factory, SystemClock())
    yield made
    made.close()


@pytest.fixture
def client(hub):
    return Client(application(hub), hub.tokens.make("write")[0])


def send(client, session_id, data, name="clip.avi", photo=None):
    files = {"clip": (name, data, "video/x-msvideo")} | ({"photo": ("p.png", photo, "image/png")} if photo else {})
    return client.post(f"{API}/{session_id}/clip", files=files)


def problem(answer):
    (found,) = answer.json()["problems"]
    return found["field"], found["reason"]


def test_a_clip_that_answers_its_session_is_live_once_and_not_kept(client, hub, clip, monkeypatch):
    monkeypatch.setattr("device.face.pad.session.Challenge.choose", lambda *_: CODE)
    session = client.post(API).json()
    assert session["code"] == ["turn_left", "open_mouth"]
    assert len(session["say"]["zh"]) == 2
    told = send(client, session["session_id"], clip).json()
    assert (told["is_live"], told["reason"], told["done"]) == (True, "live", ["turn_left", "open_mouth"])
    again = send(client, session["session_id"], clip)
    assert again.status_code == 422
    assert problem(again)[0] == "session_id"
    assert not [path for path in hub.where.run.rglob("*.avi")]


def test_a_clip_that_answers_another_code_is_not_live(client, clip, monkeypatch):
    monkeypatch.setattr("device.face.pad.session.Challenge.choose", lambda *_: CODE[::-1])
    told = send(client, client.post(API).json()["session_id"], clip).json()
    assert (told["is_live"], told["reason"]) == (False, "wrong_action")


@pytest.mark.parametrize(("who", "reason"), [(SITTER, "live"), (STRANGERS[0], "not_the_person")])
def test_a_clip_is_compared_with_the_photo_that_is_sent_along(client, hub, clip, monkeypatch, who, reason):
    monkeypatch.setattr("device.face.pad.session.Challenge.choose", lambda *_: CODE)
    photo = cv2.imencode(".png", enrolment_photo(people(), who))[1].tobytes()
    told = send(client, client.post(API).json()["session_id"], clip, photo=photo).json()
    assert (told["is_live"], told["reason"]) == (who == SITTER, reason)
    assert -1.0 <= told["likeness"] <= 1.0
    assert not list((hub.where.run / "video").glob("*-*"))


def test_a_photo_that_is_none_is_refused_by_its_field(client, clip):
    answer = send(client, client.post(API).json()["session_id"], clip, photo=b"no picture")
    assert answer.status_code == 422
    assert problem(answer)[0] == "photo"
    assert "/" not in problem(answer)[1]


@pytest.mark.parametrize("data", [b"", b"no video", b"RIFF\x00\x00\x00\x00AVI LIST" * 20])
def test_a_file_that_is_no_video_is_refused_and_the_session_stays(client, data):
    session_id = client.post(API).json()["session_id"]
    answer = send(client, session_id, data)
    assert answer.status_code == 422
    field, reason = problem(answer)
    assert field == "clip"
    assert reason
    assert "/" not in reason


def test_a_hub_without_a_pack_says_that_it_cannot_judge_and_keeps_its_paths(client, clip, tmp_path, monkeypatch,
                                                                             caplog):
    monkeypatch.setenv("DOOR_CACHE", str(tmp_path / "nothing"))
    answer = send(client, client.post(API).json()["session_id"], clip)
    assert answer.status_code == 503
    assert problem(answer) == ("", "this hub cannot judge clips now; its log says why")
    assert "doorctl models" in caplog.text


def test_another_kind_of_file_is_refused_by_its_name(client):
    answer = send(client, "0" * 32, b"x", name="clip.exe")
    assert problem(answer)[0] == "clip"


def test_a_session_runs_out_after_five_minutes(client, hub, clip):
    session = hub.liveness.open()
    assert timedelta(minutes=4) < session.until - hub.clock.now() <= timedelta(minutes=5)
    answer = send(client, "f" * 32, clip)
    assert problem(answer)[0] == "session_id"


def test_reading_rights_are_not_enough(hub):
    assert Client(application(hub), hub.tokens.make("read")[0]).post(API).status_code == 403


def test_codes_are_not_all_the_same(client):
    assert len({tuple(client.post(API).json()["code"]) for _ in range(12)}) > 3


def enrol(client, clip, who=SITTER, **changes):
    """An enrolment with a clip that answers a session."""
    photo = cv2.imencode(".png", enrolment_photo(people(), who))[1].tobytes()
    given = agreed(SystemClock())
    told = {"consent_id": given.consent_id, "text_version": "t", "kinds": list(given.kinds),
            "purposes": list(given.purposes), "given_at": given.given_at.isoformat(), "means": "screen"}
    data = {"person": json.dumps({"label": "Eileen", "groups": ["staff"]}), "consent": json.dumps(told),
            "liveness_session": client.post(API).json()["session_id"], **changes}
    files = [("photos", ("p.png", photo, "image/png")), ("clip", ("clip.avi", clip, "video/x-msvideo"))]
    return client.post("/api/v1/enrolments", data=data, files=files if clip else files[:1])


def test_an_enrolment_with_a_clip_takes_in_a_live_person_alone(client, hub, clip, monkeypatch):
    monkeypatch.setattr("device.face.pad.session.Challenge.choose", lambda *_: CODE)
    stranger = enrol(client, clip, STRANGERS[0])
    assert (stranger.status_code, problem(stranger)) == (422, ("clip", "not_the_person"))
    assert hub.people.count() == 0
    done = enrol(client, clip)
    assert done.status_code == 201, done.text
    assert hub.people.count() == 1
    monkeypatch.setattr("device.face.pad.session.Challenge.choose", lambda *_: CODE[::-1])
    assert problem(enrol(client, clip)) == ("clip", "wrong_action")


def test_a_clip_without_a_session_and_a_session_without_a_clip_are_refused(client, hub, clip):
    answers = {"liveness_session": enrol(client, clip, liveness_session=""), "clip": enrol(client, b"")}
    for field, answer in answers.items():
        assert problem(answer) == (field, "clip and session are sent together")
    assert problem(enrol(client, clip, liveness_session="../x"))[0] == "liveness_session"
    assert hub.people.count() == 0
