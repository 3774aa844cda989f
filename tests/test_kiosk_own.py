"""A person's own page: two proofs of the same person, what is held, and what may be done with it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser_door import Door, within

from device.consent import record_consent
from device.credentials.pin import pin_secret
from device.door.decision import Claim, Decision
from device.door.reasons import entry
from device.kiosk.own.proof import FACE_S
from device.kiosk.own.room import IDLE_S, SHUT_S, TRIES
from device.store.cache_writer import CacheWriter
from device.store.records import Credential, Method, Person, Template

EILEEN, OTHER = "ab" * 16, "cd" * 16
PIN, DURESS = "2718", "8172"
SECRETS = {pin: pin_secret(number, pin) for number, pin in (("1001", PIN), ("1001", DURESS), ("1002", "3141"))}
LABEL = "Eileen Collins"
ACTS = ("correct", "withdraw", "delete")


@pytest.fixture(scope="module")
def one_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    found = Door(tmp_path_factory.mktemp("door") / "state")
    within(lambda: found.get("").status_code == 200)
    yield found
    found.close()


@pytest.fixture
def door(one_door: Door) -> Door:
    one_door.rest()
    door = one_door
    writer = CacheWriter.open(door.where.gallery_db, door.key, door.clock)
    writer.drop_person(EILEEN)
    for person_id, label in ((EILEEN, LABEL), (OTHER, "Somebody else")):
        writer.put_person(Person(person_id, label, consent=record_consent(door.clock, "paper")))
    writer.put_credential(Credential("1" * 32, EILEEN, Method.PIN, SECRETS[PIN]))
    writer.put_credential(Credential("2" * 32, EILEEN, Method.PIN, SECRETS[DURESS], is_duress=True))
    writer.put_credential(Credential("3" * 32, EILEEN, Method.CARD, b"24:8190777"))
    writer.put_credential(Credential("4" * 32, OTHER, Method.PIN, SECRETS["3141"]))
    vector = np.zeros(door.card.recogniser.dimensions, np.int8)
    vector[0] = 100
    writer.put_template(Template("5" * 32, EILEEN, door.card.model_id, vector.tobytes(), 0.01, 0.9, door.clock.now()))
    writer.close()
    return door


def begin(door: Door) -> str:
    return str(door.post("own/begin", {}).json()["token"])


def opened(door: Door) -> str:
    """The page of EILEEN; its token."""
    token = begin(door)
    door.recognised(EILEEN)
    answer = door.post("own/prove", {"pin": PIN}, token)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["token"])


def stage(door: Door) -> str:
    return str(door.get("own/state").json()["stage"])


def test_nothing_is_shown_before_both_proofs(door: Door) -> None:
    assert stage(door) == "closed"
    assert door.get("own/all").status_code == 401
    for act in ACTS:
        assert door.post(f"own/{act}", {"is_sure": True}).status_code == 401
    begin(door)
    assert stage(door) == "face"
    door.recognised(EILEEN)
    assert stage(door) == "proof"
    assert door.get("own/all").status_code == 401


def test_face_and_pin_open_the_page_of_that_person(door: Door) -> None:
    for reason in ("face_granted", "outside_schedule", "lockdown"):
        door.journal.append(entry(reason, EILEEN))
    door.journal.append(entry("face_granted", OTHER))
    opened(door)
    assert stage(door) == "open"
    found = door.get("own/all").json()
    assert (found["label"], found["templates"], found["cards"], found["numbers"]) == (LABEL, 1, 1, ["1001"])
    assert found["consent"]["means"] == "paper"
    assert [one["reason"] for one in found["passes"][:3]] == ["lockdown", "outside_schedule", "face_granted"]
    assert PIN not in door.get("own/all").text


def test_face_and_card_open_it_too_but_only_a_card_shown_since(door: Door) -> None:
    door.recognised(EILEEN, Method.CARD, "card_granted")
    door.clock.skip(1.0)
    begin(door)
    door.recognised(EILEEN)
    assert stage(door) == "proof"
    door.recognised(OTHER, Method.CARD, "card_granted")
    assert stage(door) == "proof"
    door.recognised(EILEEN, Method.CARD, "card_granted")
    assert stage(door) == "open"


def test_whoever_is_refused_at_this_hour_has_the_same_right(door: Door) -> None:
    token = begin(door)
    door.recognised(EILEEN, reason="outside_schedule")
    assert door.post("own/prove", {"pin": PIN}, token).status_code == 200


@pytest.mark.parametrize("reason", ["attack", "not_proved", "unknown_face"])
def test_a_picture_of_a_person_is_no_proof(door: Door, reason: str) -> None:
    begin(door)
    claim = Claim(None, frozenset({Method.FACE}), reason, track_id=1, tried_person_id=EILEEN)
    door.decided(Decision(False, reason, EILEEN, claim=claim))
    assert stage(door) == "face"


def test_a_face_of_a_while_ago_is_no_proof(door: Door) -> None:
    token = begin(door)
    door.recognised(EILEEN)
    door.clock.skip(FACE_S + 1)
    assert stage(door) == "face"
    assert door.post("own/prove", {"pin": PIN}, token).status_code == 409


def test_another_persons_pin_is_no_proof(door: Door) -> None:
    token = begin(door)
    door.recognised(EILEEN)
    answer = door.post("own/prove", {"pin": "3141"}, token)
    assert (answer.status_code, answer.json()["word"]) == (403, "own.wrong")
    assert len(door.entries("own_page_refused")) == 1


def test_guessing_shuts_the_page_for_that_person(door: Door) -> None:
    token = begin(door)
    door.recognised(EILEEN)
    codes = [door.post("own/prove", {"pin": "9999"}, token).status_code for _ in range(TRIES)]
    assert codes == [403] * TRIES
    assert door.post("own/prove", {"pin": PIN}, token).status_code == 429
    door.clock.skip(SHUT_S + 1)
    opened(door)


def test_a_duress_pin_opens_and_alarms_silently(door: Door) -> None:
    token = begin(door)
    door.recognised(EILEEN)
    assert door.post("own/prove", {"pin": DURESS}, token).status_code == 200
    assert len(door.entries("duress")) == 1


def test_the_page_closes_after_a_minute_in_which_nothing_is_touched(door: Door) -> None:
    token = opened(door)
    door.clock.skip(IDLE_S - 5)
    assert stage(door) == "open"
    assert door.post("own/stay", {}, token).status_code == 204
    door.clock.skip(IDLE_S - 5)
    assert door.get("own/all").status_code == 200
    door.clock.skip(10)
    assert door.get("own/all").status_code == 401
    assert stage(door) == "closed"


def test_a_new_visitor_ends_the_page_of_the_one_before(door: Door) -> None:
    opened(door)
    kept = dict(door.client.cookies)
    door.client.cookies.clear()
    begin(door)
    door.client.cookies.clear()
    door.client.cookies.update(kept)
    assert door.get("own/all").status_code == 401


def test_another_pages_script_can_do_nothing_in_its_name(door: Door) -> None:
    opened(door)
    for act in ACTS:
        assert door.post(f"own/{act}", {"is_sure": True}, "guessed").status_code == 403
    assert door._person(EILEEN) is not None


def test_a_name_is_corrected_at_once_and_never_journalled(door: Door) -> None:
    token = opened(door)
    answer = door.post("own/correct", {"label": "  Eileen  M. Collins "}, token)
    assert answer.json()["is_done"] is True
    assert door._person(EILEEN).label == "Eileen M. Collins"
    (kept,) = door.entries("corrected")
    assert kept.person_id == EILEEN
    assert "Collins" not in repr(kept)


@pytest.mark.parametrize("label", ["", "x" * 101, "x" * 10_000, "\u202eabc", "a\0b", None, 5])
def test_what_is_no_name_is_refused(door: Door, label: Any) -> None:
    token = opened(door)
    answer = door.post("own/correct", {"label": label}, token)
    assert answer.status_code in (400, 422)
    assert door._person(EILEEN).label == LABEL


def test_a_withdrawn_consent_takes_every_face_and_leaves_card_and_pin(door: Door) -> None:
    token = opened(door)
    assert door.post("own/withdraw", {"is_sure": False}, token).status_code == 422
    receipt = door.post("own/withdraw", {"is_sure": True}, token).json()
    assert (receipt["is_done"], receipt["templates"]) == (True, 1)
    assert receipt["is_gone"]
    assert receipt["is_erased"]
    found = door.get("own/all").json()
    assert (found["templates"], found["consent"], found["cards"]) == (0, None, 1)
    assert len(door.entries("consent_withdrawn")) == 1


def test_everything_is_deleted_at_once_and_the_receipt_says_what(door: Door) -> None:
    token = opened(door)
    receipt = door.post("own/delete", {"is_sure": True}, token).json()
    assert (receipt["kind"], receipt["templates"], receipt["credentials"]) == ("delete", 1, 3)
    assert receipt["is_gone"]
    assert receipt["is_erased"]
    assert door._person(EILEEN) is None
    assert not door._roster().gallery.has_person(EILEEN)
    assert door.get("own/all").status_code == 410
    assert stage(door) == "closed"
    (kept,) = door.entries("removed")
    assert kept.person_id == EILEEN


@pytest.mark.parametrize("kind", ACTS)
def test_on_a_linked_terminal_a_request_goes_to_the_hub_and_its_state_is_shown(
        door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    link = tmp_path / "link.toml"
    link.write_text("")
    monkeypatch.setenv("DOOR_LINK", str(link))
    token = opened(door)
    body = {"label": "Another"} if kind == "correct" else {"is_sure": True}
    assert door.post(f"own/{kind}", body, token).json()["is_done"] is False
    assert door._person(EILEEN).label == LABEL
    (asked,) = door.entries("person_request")
    assert dict(asked.detail) == {"what": kind, "source": "kiosk"}
    seq = door.journal.append(asked).seq
    requests = door.get("own/all").json()["requests"]
    assert (requests[0]["kind"], requests[0]["state"]) == (kind, "recorded")
    writer = CacheWriter.open(door.where.gallery_db, door.key, door.clock)
    writer.set_acked(door.journal.journal_id, seq)
    writer.close()
    assert door.get("own/all").json()["requests"][0]["state"] == "sent"


def test_a_request_that_the_door_cannot_take_is_said_to_be_lost(door: Door, tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    link = tmp_path / "link.toml"
    link.write_text("")
    monkeypatch.setenv("DOOR_LINK", str(link))
    token = opened(door)
    door.is_busy = True
    assert door.post("own/delete", {"is_sure": True}, token).json()["word"] == "page.busy"


def test_nothing_of_it_is_cached_or_logged(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        opened(door)
        answer = door.get("own/all")
    assert answer.headers["cache-control"] == "no-store"
    assert LABEL not in caplog.text
    assert "1001" not in caplog.text


def test_an_answer_without_a_face_takes_no_pin(door: Door) -> None:
    token = begin(door)
    assert door.post("own/prove", {"pin": PIN}, token).json()["word"] == "own.no_face"
    for pin in ("", "27", "2" * 13, "１２３４", "<b>", None, "2" * 10_000):
        assert door.post("own/prove", {"pin": pin}, token).status_code == 400
