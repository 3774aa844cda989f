"""Liveness and recognition together: rendered people are let in, rendered attacks never, whoever stands beside."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pad_scenes import LiveDoor, seeded

from device.face.card import Card
from device.rehearsal.attacks import INSTRUMENTS, Kind
from device.rehearsal.light import DARK, DAY, LIGHTS, Light
from device.rehearsal.people import SITTER, STRANGERS
from device.rehearsal.pose import Pose
from device.rehearsal.scenes import (
    SCENES,
    STRANGER,
    Scene,
    every_attack,
    held_up,
    lowered,
    one_after_another,
    performs,
    replayed,
    stands,
    together,
    walks_up,
)
from device.rehearsal.stage import View
from device.sighting import Demand, Hint, Level, Outcome, Sighting

SCREENS = [name for name, one in INSTRUMENTS.items() if one.kind is Kind.SCREEN]


def outcomes(sightings: list[Sighting]) -> set[Outcome]:
    return {sighting.outcome for sighting in sightings}


def released(sightings: list[Sighting]) -> Sighting | None:
    return next((sighting for sighting in sightings if sighting.outcome is Outcome.KNOWN), None)


def moved(scene: Scene, x: float, name: str = "moved") -> Scene:
    """The scene with its people and attacks so many metres to the right."""
    def at(t: float) -> View:
        view = scene.at(t)
        people = tuple(replace(person, pose=replace(person.pose, x=person.pose.x + x)) for person in view.people)
        attacks = tuple(replace(attack, pose=replace(attack.pose, x=attack.pose.x + x)) for attack in view.attacks)
        return View(people, attacks, view.light)

    return Scene(name, scene.seconds, at)


@pytest.fixture(scope="module")
def without(liveness_pack: Card) -> Card:
    """The pack, had its liveness networks not been found."""
    return replace(liveness_pack, passive=None)


@pytest.mark.parametrize("light", [DAY, DARK], ids=["day", "dark"])
def test_a_head_that_moves_is_released_within_a_second(liveness_pack: Card, light: Light) -> None:
    known = released(list(LiveDoor(liveness_pack).play(performs("turn_left", light=light), 2.2)))
    assert known is not None
    assert known.mono - known.since_mono <= 1.2  # it begins to turn after .7 s
    assert {judgement.judge for judgement in known.judgements} >= {"passive", "plane"}


@pytest.mark.slow
@pytest.mark.parametrize("light", LIGHTS.values(), ids=LIGHTS)
def test_whoever_walks_up_is_released_at_level_normal(liveness_pack: Card, light: Light) -> None:
    assert released(list(LiveDoor(liveness_pack).play(walks_up(light=light), 5.5))) is not None


@pytest.mark.slow
@pytest.mark.parametrize("who", STRANGERS[:4])
def test_others_who_are_enrolled_are_released_too(liveness_pack: Card, who: str) -> None:
    assert released(list(LiveDoor(liveness_pack, who).play(walks_up(who), 5.5))) is not None


@pytest.mark.parametrize("name", ["print_attack", "print_waved", "phone_attack", "screen_waved"])
def test_a_bordered_picture_is_an_attack(liveness_pack: Card, name: str) -> None:
    door = LiveDoor(liveness_pack)
    door.fps = 20.0
    seen = list(door.play(SCENES[name], 2.2))
    assert released(seen) is None
    assert seen[-1].outcome is Outcome.ATTACK


@pytest.mark.slow
@pytest.mark.parametrize("level", [Level.NORMAL, Level.HIGH], ids=["normal", "high"])
@pytest.mark.parametrize("number", range(len(every_attack())), ids=[scene.name for scene in every_attack()])
def test_no_attack_is_released(liveness_pack: Card, number: int, level: Level) -> None:
    scene = every_attack()[number]
    door = LiveDoor(liveness_pack, demand=Demand(level), size=(1280, 720))
    door.fps = 20.0
    seen = list(door.play(scene, 5.0))
    assert seen
    assert released(seen) is None


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(every_attack())), ids=[scene.name for scene in every_attack()])
def test_no_attack_is_released_without_the_passive_networks(without: Card, number: int) -> None:
    door = LiveDoor(without)
    door.fps = 20.0
    assert released(list(door.play(every_attack()[number], 5.0))) is None


@pytest.mark.slow
@pytest.mark.parametrize("waved", [False, True], ids=["still", "waved"])
@pytest.mark.parametrize("name", SCREENS)
def test_no_video_of_a_turning_head_is_released(liveness_pack: Card, without: Card, name: str, waved: bool) -> None:
    """Parallax takes such a video for a head; the networks, or a challenge where there are none, do not."""
    door = LiveDoor(liveness_pack, size=(1280, 720))
    door.fps = 15.0
    seen = list(door.play(replayed(name, waved), 4.0))
    assert released(seen) is None
    assert seen[-1].outcome is Outcome.ATTACK
    blind = LiveDoor(without, size=(1280, 720))
    blind.fps = 15.0
    assert released(list(blind.play(replayed(name, waved), 4.0))) is None


@pytest.mark.parametrize("name", ["print_full_frame", "screen_full_frame"])
def test_a_picture_that_fills_the_frame_is_never_released(without: Card, liveness_pack: Card, name: str) -> None:
    for card in (without, liveness_pack):
        door = LiveDoor(card)
        door.fps = 10.0
        seen = list(door.play(SCENES[name], 4.5))
        assert seen
        assert Outcome.KNOWN not in outcomes(seen)


def test_a_stranger_is_one_without_any_proof_of_life(liveness_pack: Card) -> None:
    seen = list(LiveDoor(liveness_pack).play(stands(STRANGER, Pose(z=0.85)), 0.5))
    assert Outcome.UNKNOWN in outcomes(seen)


def obeying(door: LiveDoor, seconds: float) -> Sighting | None:
    """The sitter stands before the door and does what it asks; the release, or None."""
    scene, began, doing = stands(SITTER, Pose(z=0.85)), 0.0, ""
    for step in range(int(seconds * door.fps)):
        for sighting in door.look(scene, step / door.fps - began):
            if sighting.outcome is Outcome.KNOWN:
                return sighting
            if sighting.hint is Hint.DO_CHALLENGE and sighting.action != doing:
                doing, began = sighting.action, step / door.fps
                scene = performs(doing)
    return None


@pytest.mark.parametrize("seed", range(3))
def test_at_level_high_whoever_does_what_is_asked_is_released(liveness_pack: Card, seed: int) -> None:
    known = obeying(LiveDoor(liveness_pack, chance=seeded(seed), demand=Demand(Level.HIGH)), 9.0)
    assert known is not None
    assert any(one.judge == "challenge" and one.score == 1.0 for one in known.judgements)


def test_at_level_high_nobody_is_released_for_standing_there(liveness_pack: Card) -> None:
    door = LiveDoor(liveness_pack, demand=Demand(Level.HIGH))
    door.fps = 15.0
    seen = list(door.play(stands(SITTER, Pose(z=0.85)), 4.0))
    assert outcomes(seen) == {Outcome.PENDING}
    assert Hint.DO_CHALLENGE in {sighting.hint for sighting in seen}


def test_without_the_passive_networks_a_challenge_releases_at_level_normal(without: Card) -> None:
    assert obeying(LiveDoor(without, chance=seeded(4)), 9.0) is not None


# --- one track, one face, one life -----------------------------------------------------------------------


def test_a_live_stranger_beside_a_picture_lends_it_no_life(liveness_pack: Card) -> None:
    both = together(moved(held_up("print-a4"), 0.17), moved(performs("turn_left", STRANGER), -0.17), name="beside")
    door = LiveDoor(liveness_pack, size=(1280, 720))
    door.fps = 15.0
    seen = list(door.play(both, 2.6))
    assert len({sighting.track_id for sighting in seen}) >= 2
    assert released(seen) is None


def test_a_picture_raised_before_a_live_face_is_not_that_face(liveness_pack: Card) -> None:
    live = performs("turn_left", STRANGER)
    raised = together(stands(STRANGER, Pose(z=0.95)), held_up("print-a4", waved=True), name="raised")
    door = LiveDoor(liveness_pack)
    door.fps = 20.0
    seen = list(door.play(one_after_another(Scene("live", 2.0, live.at), raised, name="both"), 4.0))
    assert released(seen) is None


@pytest.mark.parametrize("instrument", ["print-a4", "print-a3", "screen-tablet"])
def test_a_live_face_behind_a_lowered_picture_is_not_the_pictures(liveness_pack: Card, instrument: str) -> None:
    door = LiveDoor(liveness_pack)
    door.fps = 20.0
    seen = list(door.play(lowered(instrument, 0.8), 2.6))
    assert released(seen) is None
    assert Outcome.UNKNOWN in outcomes(seen)


def test_a_picture_of_the_enrolled_that_comes_after_the_enrolled_is_not_released(liveness_pack: Card) -> None:
    door = LiveDoor(liveness_pack)
    assert released(list(door.play(performs("turn_left"), 2.2))) is not None
    list(door.play(SCENES["empty"], 0.6))
    assert released(list(door.play(held_up("print-a4", waved=True), 2.5))) is None


def test_a_face_that_is_swapped_from_one_frame_to_the_next_starts_anew(without: Card) -> None:
    """Without the passive networks, so that nothing but the plane test has seen the stranger alive."""
    door = LiveDoor(without)
    stranger = list(door.play(performs("turn_left", STRANGER), 2.0))
    sitter = list(door.play(performs("look_ahead"), 0.4))
    assert Outcome.KNOWN not in outcomes(stranger + sitter)
    assert not {sighting.track_id for sighting in stranger} & {sighting.track_id for sighting in sitter[2:]}
