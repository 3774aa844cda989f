"""Video liveness: recorded clips against codes, sessions, and the command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
from pad_scenes import seeded, vector_of_person
from rehearsal_samples import models, people, stage

from device.cli import main
from device.clock import HandClock
from device.errors import UsageError
from device.face.card import Card
from device.face.pad.action import Action
from device.face.pad.clip import LONGEST_S, ClipJudge, Expected, parse_code
from device.face.pad.session import Session, SessionRefused, Sessions
from device.frame import Frame
from device.rehearsal.people import SITTER, STRANGERS
from device.rehearsal.scenes import Scene, held_up, one_after_another, performs
from device.rehearsal.stage import enrolment_photo

FPS = 15.0
CODE = (Action.TURN_LEFT, Action.OPEN_MOUTH)


def acting(*actions: Action, who: str = SITTER) -> Scene:
    return one_after_another(*(performs(action.value, who) for action in actions), name="acting")


def frames(scene: Scene, seconds: float | None = None) -> Iterator[Frame]:
    lens = stage(640, 480)
    for number in range(int((seconds or scene.seconds) * FPS)):
        yield Frame(number, number / FPS, lens.render(scene.at(number / FPS), number))


@pytest.fixture(scope="module")
def judge(liveness_pack: Card) -> ClipJudge:
    return ClipJudge(replace(models(), card=liveness_pack))


def test_a_person_who_does_what_the_code_asks_is_live(judge: ClipJudge) -> None:
    verdict = judge.judge(frames(acting(*CODE)), CODE)
    assert (verdict.is_live, verdict.reason, verdict.done) == (True, "live", CODE)
    assert {one.judge for one in verdict.judgements} == {"plane", "passive", "border", "frozen", "still", "grid"}


def test_without_the_passive_networks_both_kinds_of_action_are_the_proof(pack: Card) -> None:
    judge = ClipJudge(replace(models(), card=replace(pack, passive=None)))
    assert judge.judge(frames(acting(*CODE)), CODE).is_live
    assert judge.judge(frames(acting(Action.TURN_LEFT)), (Action.TURN_LEFT,)).reason == "no_proof"


def test_the_same_actions_in_another_order_do_not_pass(judge: ClipJudge) -> None:
    verdict = judge.judge(frames(acting(*CODE)), CODE[::-1])
    assert not verdict.is_live
    assert verdict.reason == "wrong_action"


def test_a_clip_that_goes_through_everything_passes_for_no_code(judge: ClipJudge) -> None:
    everything = acting(Action.OPEN_MOUTH, Action.NOD, Action.TURN_LEFT, Action.TURN_RIGHT)
    assert judge.judge(frames(everything), CODE).reason == "wrong_action"


def test_what_is_done_after_the_code_does_not_pass_unless_the_clip_ends_with_it(judge: ClipJudge) -> None:
    more = acting(CODE[0], Action.LOOK_UP)
    assert judge.judge(frames(one_after_another(more, performs("look_ahead"), name="more"), 6.5),
                       CODE[:1]).reason == "wrong_action"
    assert judge.judge(frames(more, more.seconds - 0.6), CODE[:1]).done == CODE[:1]


def test_what_is_done_before_the_code_does_not_pass(judge: ClipJudge) -> None:
    assert judge.judge(frames(acting(Action.NOD, *CODE)), CODE).reason == "wrong_action"


def test_a_clip_that_ends_too_soon_does_not_pass(judge: ClipJudge) -> None:
    verdict = judge.judge(frames(acting(CODE[0])), CODE)
    assert (verdict.reason, verdict.done) == ("not_done", CODE[:1])


def test_a_print_does_not_pass(judge: ClipJudge) -> None:
    waved = held_up("print-a4", waved=True)
    assert judge.judge(frames(Scene("later", 3.0, lambda t: waved.at(t + 1.0))), CODE).reason == "attack"


def test_a_print_that_is_raised_into_view_is_an_attack(judge: ClipJudge) -> None:
    assert judge.judge(frames(held_up("print-a4", waved=True), 3.0), CODE).reason == "attack"
    both = one_after_another(acting(*CODE), held_up("print-a4", waved=True), name="both")
    assert judge.judge(frames(both, acting(*CODE).seconds + 2.5), CODE).reason == "attack"


def test_a_clip_must_show_whom_it_is_to_show(judge: ClipJudge) -> None:
    clip = list(frames(acting(*CODE)))
    for who, reason in ((SITTER, "live"), (STRANGERS[0], "not_the_person")):
        verdict = judge.judge(iter(clip), CODE, Expected((vector_of_person(who),), 0.5))
        assert verdict.reason == reason
        assert verdict.likeness is not None
        assert (verdict.likeness >= 0.5) is verdict.is_live


def test_two_people_do_not_make_one(judge: ClipJudge) -> None:
    both = one_after_another(acting(CODE[0]), acting(CODE[1], who=STRANGERS[3]), name="both")
    assert not judge.judge(frames(both), CODE).is_live


def test_nobody_and_too_long_are_told(judge: ClipJudge) -> None:
    empty = stage(640, 480).render(Scene("empty", 1.0, held_up("print-a4").at).at(0.0), 0) * 0
    assert judge.judge(iter([Frame(0, 0.0, empty)]), CODE).reason == "no_face"
    late = [Frame(0, 0.0, empty), Frame(1, LONGEST_S + 1.0, empty)]
    assert judge.judge(iter(late), CODE).reason == "too_long"


@pytest.mark.parametrize(("text", "reason"), [("blink,wink", "wink"), ("", "1 to 5"), ("nod," * 6, "1 to 5")])
def test_a_code_that_cannot_be_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        parse_code(text)


def test_a_code_is_written_with_commas_or_dashes() -> None:
    assert parse_code("turn_left, open_mouth") == parse_code("turn_left-open_mouth") == CODE


# --- sessions ----------------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def sessions(tmp_path: Path, clock: HandClock) -> Sessions:
    ids = iter(f"{number:032x}" for number in range(100))
    return Sessions(tmp_path / "liveness", clock, seeded(1), lambda: next(ids))


def test_a_session_is_used_once(sessions: Sessions) -> None:
    opened = sessions.open()
    assert sessions.take(opened.session_id) == opened
    with pytest.raises(SessionRefused, match="used"):
        sessions.take(opened.session_id)


def test_a_session_runs_out_after_five_minutes(sessions: Sessions, clock: HandClock) -> None:
    first, second = sessions.open(), sessions.open()
    clock.advance(299.0)
    assert isinstance(sessions.take(first.session_id), Session)
    clock.advance(2.0)
    with pytest.raises(SessionRefused, match="five minutes"):
        sessions.take(second.session_id)


def test_a_clock_that_is_put_back_makes_no_session_younger(sessions: Sessions, clock: HandClock) -> None:
    opened = sessions.open()
    clock.step_wall(-3600.0)
    with pytest.raises(SessionRefused, match="five minutes"):
        sessions.take(opened.session_id)


@pytest.mark.parametrize("session_id", ["", "../../etc/passwd", "0" * 31, "G" * 32, "0" * 32])
def test_an_id_that_is_none_is_refused(sessions: Sessions, session_id: str) -> None:
    with pytest.raises(SessionRefused):
        sessions.take(session_id)


def test_a_damaged_session_is_refused(sessions: Sessions, tmp_path: Path) -> None:
    opened = sessions.open()
    (tmp_path / "liveness" / f"{opened.session_id}.session").write_text("{}")
    with pytest.raises(SessionRefused, match="damaged"):
        sessions.take(opened.session_id)


def test_codes_differ(sessions: Sessions) -> None:
    codes = {sessions.open().code for _ in range(30)}
    assert len(codes) > 20
    assert all(len(code) == 3 for code in codes)


# --- the command -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), FPS, (640, 480))
    for frame in frames(acting(*CODE)):
        writer.write(frame.pixels)
    writer.release()
    return path


def test_the_command_judges_a_clip(clip: Path, pack: Card, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["liveness", str(clip), "--code", "turn_left,open_mouth", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["live"] is True
    assert told["done"] == ["turn_left", "open_mouth"]
    assert main(["liveness", str(clip), "--code", "open_mouth,turn_left"]) == 1
    assert capsys.readouterr().out.startswith("REFUSED  wrong_action")


def test_the_command_opens_a_session_and_spends_it(clip: Path, pack: Card, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DOOR_STATE", str(tmp_path))
    monkeypatch.setattr("device.face.pad.session.Challenge.choose", lambda *_: CODE)
    assert main(["liveness", "--new", "--json"]) == 0
    session = json.loads(capsys.readouterr().out)["session"]
    assert main(["liveness", str(clip), "--session", session]) == 0
    assert main(["liveness", str(clip), "--session", session]) == 1
    assert "used" in capsys.readouterr().err


@pytest.mark.parametrize(("who", "told"), [(SITTER, "LIVE  live"), (STRANGERS[0], "REFUSED  not_the_person")])
def test_the_command_asks_that_a_clip_shows_whom_a_picture_shows(clip: Path, pack: Card, tmp_path: Path, who: str,
                                                                 told: str,
                                                                 capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), enrolment_photo(people(), who))
    options = ["--code", "turn_left,open_mouth", "--expect", str(photo)]
    assert main(["liveness", str(clip), *options]) == int(who != SITTER)
    assert capsys.readouterr().out.startswith(told)
    assert main(["liveness", str(clip), *options, "--json"]) == int(who != SITTER)
    assert -1.0 <= json.loads(capsys.readouterr().out)["likeness"] <= 1.0


def test_wrong_usage_is_told_in_one_line(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["liveness", "--code", "blink"]) == 2
    assert main(["liveness", str(clip), "--code", "wink"]) == 2
    assert main(["liveness", str(clip), "--new"]) == 2
    assert capsys.readouterr().err.count("\n") == 3
