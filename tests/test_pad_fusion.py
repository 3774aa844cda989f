"""How the judges' words are weighed: judges that say what the test wants, and no picture."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from pad_scenes import seeded

from device.face.liveness import Liveness
from device.face.pad.challenge import REST_S, Challenge
from device.face.pad.fusion import OUT_OF_VIEW, LivenessPanel, Patience
from device.face.pad.judge import MOST_TRACKS, Judge, Memories, View
from device.face.pad.plane import LITTLE_MOTION, NO_MOTION, PlaneTest
from device.face.types import Box, Face, Quality
from device.frame import Frame
from device.sighting import Demand, Hint, Judgement, Level, Outcome

QUALITY = Quality(is_usable=True, interocular_px=60.0, sharpness=50.0, yaw=0.0, pitch=0.0, roll=0.0, exposure=0.5,
                  contrast=0.2, occlusion={}, completeness=1.0, value=1.0)
PIXELS = np.zeros((4, 4, 3), np.uint8)


@dataclass
class Says:
    """A judge that says one thing until told otherwise."""

    name: str
    score: float | None = None
    reason: str = ""
    threshold: float = 0.5
    forgotten: list[int] = field(default_factory=list)

    def judge(self, view: View) -> Judgement:
        return Judgement(self.name, self.score, self.reason)

    def forget(self, track_id: int) -> None:
        self.forgotten.append(track_id)


class Plane(PlaneTest):
    said: float | None = None
    reason = LITTLE_MOTION

    def judge(self, view: View) -> Judgement:
        return Judgement(self.name, self.said, self.reason if self.said is None else "")


class Asks(Challenge):
    is_met = False

    def judge(self, view: View, may_turn: bool = True) -> Judgement:
        return Judgement(self.name, 1.0 if self.is_met else None)


class Bench:
    """A panel, its judges, and a visitor who stands before it."""

    def __init__(self, *judges: Judge, level: Level = Level.NORMAL, with_passive: bool = True) -> None:
        self.passive, self.plane, self.challenge = Says("passive"), Plane(), Asks(seeded(1))
        watching = (self.passive, *judges) if with_passive else judges
        self.panel = LivenessPanel(watching, self.plane, self.challenge)
        self.demand = Demand(level)
        self.mono = 0.0

    def frames(self, seconds: float, track_id: int = 1) -> list[Liveness]:
        return [self.frame(track_id) for _ in range(round(seconds * 30))]

    def frame(self, track_id: int = 1) -> Liveness:
        self.mono += 1 / 30
        face = Face(Box(0, 0, 1, 1), np.zeros((6, 2), np.float32), 1.0, np.zeros((468, 3), np.float32), 1.0, track_id)
        return self.panel.judge(Frame(0, self.mono, PIXELS), face, QUALITY, self.demand)


def test_at_level_none_everybody_passes() -> None:
    bench = Bench(level=Level.NONE)
    bench.passive.score = 0.0
    assert bench.frame().outcome is None


def test_level_low_rests_on_the_passive_networks_alone() -> None:
    bench = Bench(level=Level.LOW)
    assert bench.frame().outcome is Outcome.PENDING
    bench.passive.score = 0.9
    assert bench.frame().outcome is None


def test_level_normal_needs_the_plane_test_too() -> None:
    bench = Bench()
    bench.passive.score = 0.9
    assert bench.frame().outcome is Outcome.PENDING
    bench.plane.said = 1.0
    assert bench.frame() == Liveness(None, (Judgement("passive", 0.9), Judgement("plane", 1.0)))


def test_the_plane_test_alone_lets_nobody_pass() -> None:
    bench = Bench()
    bench.plane.said = 1.0
    assert {live.outcome for live in bench.frames(30)} == {Outcome.PENDING}


@pytest.mark.parametrize("level", [Level.LOW, Level.NORMAL, Level.HIGH])
@pytest.mark.parametrize("with_passive", [True, False])
def test_judges_that_abstain_never_let_anybody_pass(level: Level, with_passive: bool) -> None:
    bench = Bench(level=level, with_passive=with_passive)
    assert {live.outcome for live in bench.frames(60)} == {Outcome.PENDING}


def test_who_stands_still_is_asked_to_turn_for_three_seconds_and_then_gets_a_challenge() -> None:
    bench = Bench()
    bench.passive.score = 0.9
    patience = Patience()
    hints = [live.hint for live in bench.frames(6)]
    assert hints.count(Hint.NONE) == pytest.approx(patience.watch_s * 30, abs=2)
    assert hints.count(Hint.TURN_A_LITTLE) == pytest.approx(patience.turn_s * 30, abs=2)
    assert bench.challenge.is_asked(1)
    bench.challenge.is_met = True
    assert bench.frame().outcome is None


def test_where_nothing_speaks_for_a_head_the_visitor_is_asked_sooner() -> None:
    bench = Bench()
    bench.passive.score, bench.plane.reason = 0.9, NO_MOTION
    hints = [live.hint for live in bench.frames(2)]
    assert hints.count(Hint.NONE) == pytest.approx(Patience().soon_s * 30, abs=2)
    assert Patience().soon_s < Patience().watch_s


def test_who_never_does_what_is_asked_is_refused_and_may_try_again_after_a_rest() -> None:
    bench = Bench(with_passive=False)
    outcomes = []
    for _ in range(Patience().rounds):
        bench.frames(0.2)
        asked = bench.challenge._tracks.of(1).asked
        assert asked is not None and not asked.has_failed
        asked._fail(asked.begun_mono + 1.0)
        outcomes.append(bench.frame().outcome)
        bench.frames(REST_S + 2.0)
    assert outcomes == [Outcome.PENDING, Outcome.UNPROVED]
    assert bench.frame().outcome is Outcome.PENDING
    bench.challenge.is_met = True
    assert bench.frames(0.2)[-1].outcome is None


def test_without_the_passive_networks_there_is_a_challenge_at_every_level() -> None:
    for level in (Level.LOW, Level.NORMAL, Level.HIGH):
        bench = Bench(level=level, with_passive=False)
        bench.plane.said = 1.0
        assert bench.frame().outcome is Outcome.PENDING
        assert bench.challenge.is_asked(1)
        bench.challenge.is_met = True
        assert bench.frame().outcome is None


def test_level_high_asks_for_an_action_whatever_the_others_say() -> None:
    bench = Bench(level=Level.HIGH)
    bench.passive.score, bench.plane.said = 1.0, 1.0
    assert bench.frame().outcome is Outcome.PENDING
    bench.challenge.is_met = True
    assert bench.frame().outcome is None


def test_an_action_that_the_door_insists_on_is_asked_for_at_level_normal_too() -> None:
    bench = Bench()
    bench.demand = Demand(challenge="nod")
    bench.passive.score, bench.plane.said = 1.0, 1.0
    assert bench.frame().outcome is Outcome.PENDING
    asked = bench.challenge._tracks.of(1).asked
    assert asked is not None
    assert "nod" in {action.value for action in asked.actions}


def test_a_met_challenge_does_not_make_up_for_the_passive_networks_doubt() -> None:
    bench = Bench(level=Level.HIGH)
    bench.passive.score, bench.plane.said = 0.45, 1.0
    bench.frame()
    bench.challenge.is_met = True
    assert bench.frame().outcome is Outcome.PENDING


def test_an_attack_is_called_one_after_three_frames_and_stays_one() -> None:
    bench = Bench()
    bench.passive.score = 0.01
    assert [live.outcome for live in bench.frames(0.1)] == [Outcome.PENDING, Outcome.PENDING, Outcome.ATTACK]
    bench.passive.score, bench.plane.said, bench.challenge.is_met = 1.0, 1.0, True
    assert {live.outcome for live in bench.frames(5)} == {Outcome.ATTACK}


def test_a_score_a_little_too_low_is_given_time() -> None:
    bench = Bench()
    bench.plane.said, bench.passive.score = 1.0, 0.4
    assert {live.outcome for live in bench.frames(0.5)} == {Outcome.PENDING}
    bench.passive.score = 0.8
    assert bench.frame().outcome is None
    bench.passive.score = 0.4
    assert bench.frames(0.8)[-1].outcome is Outcome.ATTACK


def test_one_bad_frame_is_no_attack() -> None:
    bench = Bench()
    bench.plane.said = 1.0
    for _ in range(20):
        bench.passive.score = 0.0
        assert bench.frame().outcome is Outcome.PENDING
        bench.passive.score = 0.9
        assert bench.frame().outcome is None


def test_any_judge_can_end_it() -> None:
    border = Says("border", 0.0, "border")
    bench = Bench(border)
    bench.passive.score, bench.plane.said = 1.0, 1.0
    assert bench.frames(0.2)[-1].outcome is Outcome.ATTACK


def test_a_flat_face_is_an_attack_whatever_the_networks_say() -> None:
    bench = Bench()
    bench.passive.score, bench.plane.said = 1.0, 0.0
    assert bench.frames(0.2)[-1].outcome is Outcome.ATTACK


def test_who_is_too_near_for_the_networks_is_asked_to_step_back() -> None:
    bench = Bench()
    bench.passive.reason = OUT_OF_VIEW
    live = bench.frame()
    assert (live.outcome, live.hint) == (Outcome.PENDING, Hint.STEP_BACK)


def test_one_visitors_liveness_is_not_the_next_ones() -> None:
    bench = Bench(level=Level.HIGH)
    bench.passive.score, bench.plane.said, bench.challenge.is_met = 1.0, 1.0, True
    bench.frames(0.1, track_id=1)
    assert bench.frame(track_id=1).outcome is None
    bench.challenge.is_met = False
    assert bench.frame(track_id=2).outcome is Outcome.PENDING


def test_a_track_that_ends_is_forgotten_by_every_judge() -> None:
    border = Says("border")
    bench = Bench(border)
    bench.passive.score = 0.0
    assert bench.frames(0.2)[-1].outcome is Outcome.ATTACK
    bench.panel.forget(1)
    assert bench.passive.forgotten == border.forgotten == [1]
    assert bench.frame().outcome is Outcome.PENDING


def test_a_judge_remembers_only_so_many_tracks() -> None:
    memories = Memories(list)
    for track_id in range(100):
        memories.of(track_id).append(track_id)
    assert len(memories) == MOST_TRACKS
    assert memories.of(99) == [99]
    assert memories.known(0) is None
