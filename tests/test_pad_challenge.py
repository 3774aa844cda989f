"""The active challenge before rendered people and pictures, and its rules by hand-written signs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pad_scenes import always, seeded, views

from device.face.pad.action import FACE_ACTIONS, LOOK_AHEAD, POSE_ACTIONS, PROMPTS, Action
from device.face.pad.challenge import MOST_PAUSE_S, REST_S, WHOLE_S, Asked, Challenge
from device.face.pad.gesture import Gesture, Observer, Progress, Signs
from device.rehearsal.light import DARK
from device.rehearsal.people import SITTER, STRANGERS
from device.rehearsal.scenes import Scene, held_up, performs
from device.sighting import Judgement

QUIET = Signs(0.0, 1.0, -6.0, 60.0, 0.32, 0.22, 0.05, 0.05, 0.05)


def shown(action: Action, scene: Scene, seconds: float = 2.6) -> Progress:
    """What comes of an action that is asked half a second after the scene began."""
    observer, rest, gesture, progress = Observer(), [], None, Progress.WAITING
    for view in views(scene, seconds):
        signs = observer.read(view)
        if view.mono < 100.5:
            rest.append(signs)
            continue
        gesture = gesture or Gesture(action, tuple(rest))
        progress = gesture.feed(signs)
        if progress is not Progress.WAITING:
            break
    return progress


@pytest.mark.parametrize("action", list(Action), ids=lambda action: action.value)
def test_a_head_that_does_what_is_asked_has_done_it(action: Action) -> None:
    assert shown(action, performs(action.value)) is Progress.DONE


def test_it_sees_a_blink_and_an_open_mouth_in_the_dark() -> None:
    for action in FACE_ACTIONS:
        assert shown(action, performs(action.value, light=DARK)) is Progress.DONE


def test_the_wrong_side_is_wrong() -> None:
    assert shown(Action.TURN_LEFT, performs("turn_right")) is Progress.WRONG
    assert shown(Action.LOOK_UP, performs("look_down")) is Progress.WRONG


@pytest.mark.parametrize("action", [Action.BLINK, Action.OPEN_MOUTH, Action.SHAKE, Action.NOD],
                         ids=lambda action: action.value)
def test_looking_ahead_is_nothing(action: Action) -> None:
    assert shown(action, performs("look_ahead", STRANGERS[0], seed=1), 1.6) is Progress.WAITING


@pytest.mark.parametrize("instrument", ["print-a4", "print-photo", "screen-tablet"])
def test_a_picture_neither_blinks_nor_opens_its_mouth_however_it_is_waved(instrument: str) -> None:
    waved = held_up(instrument, waved=True)
    later = Scene("waved", 5.0, lambda t: waved.at(t + 1.0))
    for action in FACE_ACTIONS:
        assert shown(action, later, 3.0) is Progress.WAITING, action


def test_closed_eyes_are_no_blink() -> None:
    gesture = Gesture(Action.BLINK, (QUIET,))
    closed = replace(QUIET, eyes=0.2, eye_change=0.8)
    assert gesture.feed(replace(closed, mono=1.0)) is Progress.WAITING
    assert gesture.feed(replace(closed, mono=2.5)) is Progress.WAITING
    assert gesture.feed(replace(QUIET, mono=2.6)) is Progress.WAITING


def test_landmarks_that_close_where_no_pixel_changes_are_no_blink() -> None:
    gesture = Gesture(Action.BLINK, (QUIET,))
    assert gesture.feed(replace(QUIET, mono=1.0, eyes=0.2)) is Progress.WAITING
    assert gesture.feed(replace(QUIET, mono=1.2)) is Progress.WAITING


def asked(*actions: Action) -> Asked:
    return Asked(actions, (0.4,) * len(actions), 0.0)


def rest(challenge: Asked, start: float, seconds: float = 0.6) -> float:
    """Somebody looks ahead for so long; the time at the end."""
    for step in range(int(seconds * 30)):
        challenge.take(replace(QUIET, mono=start + step / 30), may_turn=True)
    return start + seconds


def test_a_turn_counts_only_where_the_plane_test_has_seen_a_head() -> None:
    for may_turn in (False, True):
        challenge = asked(Action.TURN_LEFT)
        now = rest(challenge, 0.0)
        for step in range(30):
            challenge.take(replace(QUIET, mono=now + step / 30, yaw=20.0), may_turn)
        assert challenge.is_done is may_turn


def test_what_was_begun_before_it_was_asked_does_not_count() -> None:
    challenge = asked(Action.TURN_LEFT)
    for step in range(90):
        challenge.take(replace(QUIET, mono=step / 30, yaw=20.0), may_turn=True)
    assert challenge.prompt is None
    assert not challenge.is_done


def test_who_is_late_has_failed() -> None:
    challenge = asked(Action.NOD)
    rest(challenge, 0.0, 0.6 + PROMPTS[Action.NOD].limit_s)
    assert challenge.has_failed
    assert not challenge.is_done


def test_who_does_the_opposite_has_failed() -> None:
    challenge = asked(Action.TURN_LEFT)
    now = rest(challenge, 0.0)
    for step in range(3):
        challenge.take(replace(QUIET, mono=now + step / 30, yaw=-20.0), may_turn=True)
    assert challenge.has_failed


def test_a_challenge_that_never_comes_to_its_question_ends() -> None:
    challenge = asked(Action.BLINK)
    for step in range(int(WHOLE_S * 10) + 5):
        challenge.take(replace(QUIET, mono=step / 10, yaw=10.0 * (step % 2)), may_turn=True)
    assert challenge.has_failed


def test_order_and_kind_are_random_and_always_ask_for_the_face_and_for_the_head() -> None:
    seen = {Challenge(seeded(seed)).choose() for seed in range(200)}
    assert len(seen) == 2 * len(FACE_ACTIONS) * len(POSE_ACTIONS)
    for actions in seen:
        assert len(set(actions) & set(FACE_ACTIONS)) == len(set(actions) & set(POSE_ACTIONS)) == 1


def test_the_action_that_the_door_insists_on_is_among_them() -> None:
    for wanted in Action:
        assert wanted in Challenge(seeded(3)).choose(wanted)


def test_a_longer_challenge_repeats_nothing() -> None:
    for seed in range(20):
        assert len(set(Challenge(seeded(seed), length=5).choose())) == 5


def test_the_pauses_are_random_within_their_bounds() -> None:
    pauses = [Challenge(seeded(seed))._pause() for seed in range(50)]
    assert len(set(pauses)) > 25
    assert max(pauses) <= MOST_PAUSE_S


def test_a_failed_challenge_is_not_asked_again_at_once() -> None:
    challenge = Challenge(always(0))
    view = next(views(performs("look_ahead"), 0.2))
    challenge.ask(view.track_id, view.mono)
    first = challenge._tracks.of(view.track_id).asked
    assert first is not None
    first.has_failed, first.ended_mono = True, view.mono
    assert challenge.judge(view) == Judgement("challenge", None, "failed")
    challenge.ask(view.track_id, view.mono + REST_S / 2)
    assert challenge._tracks.of(view.track_id).asked is first
    challenge.ask(view.track_id, view.mono + REST_S)
    assert challenge._tracks.of(view.track_id).asked is not first


def test_nobody_has_met_a_challenge_that_was_not_set() -> None:
    challenge = Challenge(always(0))
    said = [challenge.judge(view) for view in views(performs("blink", SITTER), 1.2)]
    assert {(one.score, one.reason) for one in said} == {(None, "not_asked")}


def test_every_action_has_words_in_both_languages() -> None:
    assert set(PROMPTS) == set(Action)
    for prompt in PROMPTS.values():
        assert prompt.text("en").isascii()
        assert not prompt.text("zh").isascii()
        assert 2.0 <= prompt.limit_s <= 10.0
    assert set(LOOK_AHEAD) == {"en", "zh"}
