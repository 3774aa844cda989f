"""Where a visitor of this door stands: zone, distance and the guard against the next lane."""

from __future__ import annotations

import math

import pytest

from device.config import FaceConfig
from device.face.zone import EYES_M, GUARDS, Zone, aside_m
from device.sighting import Hint

WIDTH, HEIGHT = 1280, 720
FOCAL_PX = 985.0  # 66° across, as the usual camera modules have


def seen(aside: float, away: float) -> tuple[tuple[float, float], float]:
    """Midpoint and distance of the eyes of somebody `aside` metres to the side at `away` metres."""
    return (WIDTH / 2 + FOCAL_PX * aside / away, 300.0), FOCAL_PX * EYES_M / away


def judged(config: FaceConfig, aside: float, away: float, yaw: float = 0.0, growth: float = 0.0) -> Hint | None:
    eyes, interocular_px = seen(aside, away)
    return Zone(config).judge(eyes, interocular_px, WIDTH, HEIGHT, yaw=yaw, growth=growth)


def test_a_face_in_front_of_the_door_counts() -> None:
    for guard in ("off", "low", "medium", "high"):
        assert judged(FaceConfig(lane_guard=guard), 0.0, 0.8) is None


def test_a_face_beyond_the_zone_is_left_out_without_a_word() -> None:
    zone = Zone(FaceConfig(zone=(0.25, 0.1, 0.75, 0.9)))
    assert zone.judge((640, 360), 80.0, WIDTH, HEIGHT) is None
    for eyes in ((310, 360), (970, 360), (640, 60), (640, 660)):
        assert zone.judge(eyes, 80.0, WIDTH, HEIGHT) is Hint.NONE


def test_a_far_visitor_is_called_and_a_near_one_sent_back() -> None:
    config = FaceConfig(min_interocular_px=40.0, max_interocular_px=300.0)
    assert judged(config, 0.0, 2.0) is Hint.COME_CLOSER
    assert judged(config, 0.0, 1.0) is None
    assert judged(config, 0.0, 0.2) is Hint.STEP_BACK


@pytest.mark.parametrize("guard", ["low", "medium", "high"])
@pytest.mark.parametrize("away", [0.5, 0.8, 1.2, 1.9])
def test_the_next_lane_is_left_out_at_every_distance(guard: str, away: float) -> None:
    config = FaceConfig(lane_guard=guard)
    for aside in (-0.9, 0.9):
        assert judged(config, aside, away) is Hint.NONE
    for aside in (-0.25, 0.25):
        assert judged(config, aside, away) is None


def test_the_guards_grow_stricter() -> None:
    farthest = [max(aside for aside in range(100) if judged(FaceConfig(lane_guard=name), aside / 100, 1.0) is None)
                for name in ("low", "medium", "high")]
    assert farthest == [60, 45, 33]
    yaws = [GUARDS[name].max_yaw for name in ("low", "medium", "high")]
    assert yaws == sorted(yaws, reverse=True)


def test_the_guard_demands_a_look_at_this_camera() -> None:
    assert judged(FaceConfig(lane_guard="off"), 0.0, 1.0, yaw=38.0) is None
    for name, guard in GUARDS.items():
        config = FaceConfig(lane_guard=name)
        assert judged(config, 0.0, 1.0, yaw=guard.max_yaw - 1) is None
        for yaw in (guard.max_yaw + 1, -guard.max_yaw - 1):
            assert judged(config, 0.0, 1.0, yaw=yaw) is Hint.LOOK_AT_CAMERA


def test_somebody_who_walks_away_is_left_out_by_the_high_guard_alone() -> None:
    assert judged(FaceConfig(lane_guard="medium"), 0.0, 1.0, growth=-0.5) is None
    assert judged(FaceConfig(lane_guard="high"), 0.0, 1.0, growth=-0.5) is Hint.NONE
    assert judged(FaceConfig(lane_guard="high"), 0.0, 1.0, growth=-0.05) is None
    assert judged(FaceConfig(lane_guard="high"), 0.0, 1.0, growth=0.5) is None


def test_the_guard_is_centred_on_the_zone() -> None:
    zone = Zone(FaceConfig(zone=(0.0, 0.0, 0.5, 1.0), lane_guard="high"))
    assert zone.judge((320, 360), 62.0, WIDTH, HEIGHT) is None
    assert zone.judge((639, 360), 40.0, WIDTH, HEIGHT) is Hint.NONE


def test_a_turned_head_is_measured_as_if_it_were_frontal() -> None:
    frontal = aside_m(300.0, 62.0, 0.0)
    for yaw in (-40.0, 20.0, 40.0):
        assert aside_m(300.0, 62.0 * math.cos(math.radians(yaw)), yaw) == pytest.approx(frontal)


def test_a_face_without_size_is_called_closer_and_breaks_nothing() -> None:
    assert Zone(FaceConfig(lane_guard="high")).judge((640.0, 360.0), 0.0, WIDTH, HEIGHT) is Hint.COME_CLOSER
    assert Zone(FaceConfig(lane_guard="high")).judge((900.0, 360.0), 0.0, WIDTH, HEIGHT) is Hint.NONE
