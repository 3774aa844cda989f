"""The screen's light as a challenge: who is flashed at, how often, and what comes of it at the door."""

from __future__ import annotations

import numpy as np
import pytest
from pad_scenes import LiveDoor, lit, seeded
from test_pad_fusion import QUALITY

from device.face.card import Card
from device.face.pad.fusion import open_panel
from device.face.pad.judge import View
from device.face.pad.light_challenge import AGE_S, LEAD_S, REST_S, ROUNDS, LightChallenge, Shining, Standing
from device.face.pad.screenlight import FLASH_S, LONGEST_LAG_S, Flashes
from device.face.types import Box, Face
from device.frame import Frame
from device.rehearsal.pose import Pose
from device.rehearsal.scenes import Scene, performs, stands
from device.sighting import Demand, Hint, Level, Outcome, Sighting

WHOLE_S = AGE_S + LEAD_S + 8 * FLASH_S + LONGEST_LAG_S + 0.1
MESH = np.tile(np.array([[8.0, 8.0, 0.0]], np.float32), (468, 1))


class Glass:
    """A screen that shows what it is told, unless it is away, busy, or late."""

    def __init__(self) -> None:
        self.is_there, self.is_busy, self.is_late = True, False, False
        self.asked: list[Flashes] = []

    def shine(self, flashes: Flashes) -> int | None:
        if self.is_busy:
            return None
        self.asked.append(flashes)
        return len(self.asked)

    def shining(self, number: int) -> Shining:
        return Shining.MISSED if self.is_late else Shining.SHOWN

    def colour_at(self, mono: float) -> tuple[int, int, int]:
        return (self.asked[-1].colour_at(mono) if self.asked else None) or (0, 0, 0)


class Visitor:
    """A face without features that reflects what `of` shows, a tenth of a second late, at such a strength."""

    def __init__(self, strength: float = 0.05) -> None:
        self.glass, self.of, self.strength, self.mono = Glass(), Glass(), strength, 100.0
        self.challenge = LightChallenge(self.glass, seeded(7))
        self.of = self.glass

    def frames(self, seconds: float, track_id: int = 1) -> Standing:
        for _ in range(round(seconds * 30)):
            self.mono += 1 / 30
            colour = 1.0 + self.strength * np.array(self.of.colour_at(self.mono - 0.1))
            pixels = np.full((32, 32, 3), 120.0 * colour).round().astype(np.uint8)
            face = Face(Box(0, 0, 32, 32), np.zeros((6, 2), np.float32), 1.0, MESH, 1.0, track_id)
            self.said = self.challenge.judge(View(Frame(0, self.mono, pixels), face, QUALITY))
        return self.challenge.standing(track_id)


def test_who_reflects_the_colours_follows_after_one_round() -> None:
    visitor = Visitor()
    assert visitor.frames(WHOLE_S - 0.3) is Standing.OPEN
    assert visitor.frames(0.3) is Standing.FOLLOWS
    assert visitor.said.score is not None
    assert visitor.frames(10.0) is Standing.FOLLOWS
    assert len(visitor.glass.asked) == 1


def test_who_reflects_other_colours_has_failed_after_two_rounds_and_may_try_again_after_a_rest() -> None:
    visitor = Visitor()
    visitor.of = Glass()
    visitor.of.asked = [Flashes.at_random(seeded(99), 100.0, count=40)]
    assert visitor.frames(WHOLE_S) is Standing.OPEN
    assert visitor.frames(WHOLE_S) is Standing.FAILED
    assert visitor.said.reason == "screen"
    assert len(visitor.glass.asked) == ROUNDS
    visitor.of = visitor.glass
    assert visitor.frames(REST_S - 0.5) is Standing.FAILED
    assert visitor.frames(WHOLE_S + 0.5) is Standing.FOLLOWS


def test_where_the_light_is_lost_nothing_is_known_after_one_round() -> None:
    visitor = Visitor(strength=0.0)
    assert visitor.frames(WHOLE_S) is Standing.UNKNOWN
    assert (visitor.said.score, visitor.said.reason) == (None, "too_bright_here")


def test_a_page_that_is_late_twice_proves_nothing_and_convicts_nobody() -> None:
    visitor = Visitor()
    visitor.glass.is_late = True
    assert visitor.frames(2.0) is Standing.UNKNOWN
    assert visitor.said.reason == "not_shown"
    assert len(visitor.glass.asked) == ROUNDS


def test_without_a_page_nobody_waits() -> None:
    visitor = Visitor()
    visitor.glass.is_there = False
    assert visitor.frames(0.1) is Standing.UNKNOWN
    assert visitor.said.reason == "no_screen"


def test_while_the_screen_shines_for_somebody_else_the_next_one_waits() -> None:
    visitor = Visitor()
    visitor.glass.is_busy = True
    assert visitor.frames(5.0) is Standing.OPEN
    visitor.glass.is_busy = False
    assert visitor.frames(WHOLE_S) is Standing.FOLLOWS


def test_one_visitors_light_is_not_the_next_ones() -> None:
    visitor = Visitor()
    assert visitor.frames(WHOLE_S) is Standing.FOLLOWS
    assert visitor.frames(0.1, track_id=2) is Standing.OPEN
    visitor.challenge.forget(1)
    assert visitor.frames(0.1) is Standing.OPEN


# --- at the door -----------------------------------------------------------------------------------------


class LitDoor(LiveDoor):
    """A door with a screen whose light falls on whoever stands before it; another screen's where it is `shown`."""

    def __init__(self, card: Card, seed: int, level: Level = Level.HIGH) -> None:
        self.glass, self.shown = Glass(), None
        super().__init__(card, demand=Demand(level), panel=open_panel(card, seeded(seed), screen=self.glass))

    def look(self, scene: Scene, t: float) -> list[Sighting]:
        source: Glass = self.shown or self.glass
        mono = 100.0 + (self.number + 1) / self.fps
        return super().look(lit(scene, lambda _: source.colour_at(mono - 0.08)), t)

    def obeyed(self, seconds: float) -> list[Sighting]:
        """The sitter stands there and does what is asked."""
        scene, began, doing, seen = stands(pose=Pose(z=0.85)), 0.0, "", []
        for step in range(int(seconds * self.fps)):
            for sighting in self.look(scene, step / self.fps - began):
                seen.append(sighting)
                if sighting.hint is Hint.DO_CHALLENGE and sighting.action != doing:
                    doing, began = sighting.action, step / self.fps
                    scene = performs(doing)
            if seen and seen[-1].outcome in (Outcome.KNOWN, Outcome.UNPROVED):
                break
        return seen


def test_at_level_high_the_light_comes_first_and_the_challenge_after_it(liveness_pack: Card) -> None:
    seen = LitDoor(liveness_pack, seed=1).obeyed(12.0)
    hints = [sighting.hint for sighting in seen]
    assert seen[-1].outcome is Outcome.KNOWN
    assert hints.index(Hint.HOLD_STILL) < hints.index(Hint.DO_CHALLENGE)
    said = {one.judge: one for one in seen[-1].judgements}
    assert said["screen_light"].reason == "follows"
    assert said["challenge"].score == 1.0


def test_a_live_looking_head_under_another_screens_colours_is_refused(liveness_pack: Card) -> None:
    door = LitDoor(liveness_pack, seed=1)
    door.shown = Glass()
    door.shown.asked = [Flashes.at_random(seeded(98), 100.0, count=60)]
    last = door.obeyed(9.0)[-1]
    assert last.outcome is Outcome.UNPROVED
    assert any(one.judge == "screen_light" and one.reason == "screen" for one in last.judgements)


@pytest.mark.parametrize("level", [Level.LOW, Level.NORMAL])
def test_below_level_high_nobody_is_flashed_at(liveness_pack: Card, level: Level) -> None:
    door = LitDoor(liveness_pack, seed=1, level=level)
    assert door.obeyed(4.0)
    assert not door.glass.asked
