"""The passive judge: what its networks are fed, how frames are fused, when it abstains; and what it reaches."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest

from device.face.card import Card
from device.face.models import Models
from device.face.pad.judge import View
from device.face.pad.passive import (
    CONVICTING,
    FULL_REACH,
    LEAST_FRAMES,
    PassiveJudge,
    PassiveNetworks,
    Sense,
    reach,
    species,
    surroundings,
    verdict,
)
from device.face.photo import read_photo
from device.face.portrait import Examiner
from device.face.quality import DOOR
from device.face.types import Box, Face, Quality
from device.frame import Frame, Pixels
from device.sighting import Judgement

Floats = npt.NDArray[np.float32]


def ramp(width: int = 640, height: int = 480) -> Pixels:
    """Blue tells the column and green the row, a quarter of each."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 0] = np.arange(width)[None] // 4
    picture[..., 1] = np.arange(height)[:, None] // 4
    return picture


def corners(chip: Pixels) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what the chip shows, to within a few pixels."""
    return int(chip[40, 0, 0]) * 4, int(chip[0, 40, 1]) * 4, int(chip[40, -1, 0]) * 4, int(chip[-1, 40, 1]) * 4


def test_the_surroundings_lie_evenly_about_the_box() -> None:
    chip = surroundings(ramp(), Box(300, 200, 60, 60), 2.7)
    assert chip.shape == (80, 80, 3)
    assert np.allclose(corners(chip), (249, 149, 411, 311), atol=6)


def test_surroundings_beyond_an_edge_are_shifted_and_not_clipped() -> None:
    assert np.allclose(corners(surroundings(ramp(), Box(0, 0, 60, 60), 2.7)), (0, 0, 162, 162), atol=6)
    assert np.allclose(corners(surroundings(ramp(), Box(580, 420, 60, 60), 2.7)), (478, 318, 639, 479), atol=6)


def test_surroundings_that_do_not_fit_shrink_on_both_sides_alike() -> None:
    left, top, right, bottom = corners(surroundings(ramp(), Box(200, 100, 200, 240), 4.0))
    assert (top, bottom) == pytest.approx((0, 479), abs=6)
    assert right - left == pytest.approx(200 * 479 / 240, abs=8)


@pytest.mark.parametrize("box", [Box(-500, -500, 60, 60), Box(5000, 5000, 60, 60), Box(-100, -100, 3000, 3000),
                                 Box(10, 10, 0, 0), Box(10, 10, -5, -5)])
def test_an_impossible_box_gives_some_chip(box: Box) -> None:
    assert surroundings(ramp(), box, 4.0).shape == (80, 80, 3)


class Scripted:
    """A network that gives the scores it was told, in turn; what is not live is a print."""

    def __init__(self, scores: list[float]) -> None:
        self.scores, self.runs = scores, 0

    def classes(self, pixels: Pixels, box: Box) -> Floats:
        self.runs += 1
        live = self.scores[min(self.runs - 1, len(self.scores) - 1)]
        return np.array([1.0 - live, live, 0.0])


class Pair:
    """Two scripted networks in the place of a pack's."""

    threshold = 0.4

    def __init__(self, first: list[float], second: list[float]) -> None:
        self.scripted = (Scripted(first), Scripted(second))
        self.senses = cast(tuple[Sense, Sense], self.scripted)


def judge_of(first: list[float], second: list[float] | None = None) -> tuple[PassiveJudge, Pair]:
    pair = Pair(first, second or first)
    return PassiveJudge(cast(PassiveNetworks, pair)), pair


def view(track_id: int = 1, side: float = 100.0) -> View:
    face = Face(Box(200, 150, side, side), np.zeros((6, 2), np.float32), 0.9,
                np.full((468, 3), 250, np.float32), 1.0, track_id)
    return View(Frame(0, 0.0, ramp()), face, cast(Quality, None))


def test_it_abstains_before_five_frames_whatever_it_sees() -> None:
    for score in (0.0, 1.0):
        judge, _ = judge_of([score])
        said = [judge.judge(view()) for _ in range(LEAST_FRAMES)]
        assert [one.score for one in said] == [None] * (LEAST_FRAMES - 1) + [score]
        assert said[0].reason == "too_few_frames"


def test_two_bad_frames_of_a_live_face_and_two_good_ones_of_a_print_change_nothing() -> None:
    live, _ = judge_of([0.9, 0.0, 0.9, 0.0, 0.9])
    fake, _ = judge_of([0.1, 1.0, 0.1, 1.0, 0.1])
    for _ in range(LEAST_FRAMES - 1):
        live.judge(view())
        fake.judge(view())
    assert live.judge(view()).score == 0.9
    assert fake.judge(view()) == fake.judge(view())
    assert fake.score_of(1) == pytest.approx(0.1)


def test_a_print_raised_before_a_live_face_is_noticed_within_three_looks_of_each_network() -> None:
    judge, pair = judge_of([0.99] * 15 + [0.0] * 100)
    looks = 0
    while (said := judge.judge(view())).score is None or said.score >= judge.threshold:
        looks += 1
        assert looks < 100
    assert max(scripted.runs for scripted in pair.scripted) <= 15 + 3


def test_after_the_first_frames_the_networks_take_turns() -> None:
    judge, pair = judge_of([0.9])
    for _ in range(LEAST_FRAMES + 10):
        judge.judge(view())
    assert [scripted.runs for scripted in pair.scripted] == [LEAST_FRAMES + 5, LEAST_FRAMES + 5]


def test_tracks_are_judged_apart_and_forgotten() -> None:
    judge, _ = judge_of([0.9] * LEAST_FRAMES + [0.0])
    for _ in range(LEAST_FRAMES):
        assert judge.judge(view(1)) is not None
    for _ in range(LEAST_FRAMES):
        said = judge.judge(view(2))
    assert (judge.score_of(1), said.score, said.reason) == (pytest.approx(0.9), 0.0, "print")
    judge.forget(1)
    assert judge.score_of(1) is None
    assert judge.judge(view(1)).score is None


def test_a_face_too_near_for_its_surroundings_is_convicted_only_by_a_clear_score() -> None:
    assert reach(ramp(), view(side=400.0).face.box) < FULL_REACH <= reach(ramp(), view().face.box)
    for score, near in ((0.9, 0.9), (0.2, None), (CONVICTING / 2, CONVICTING / 2)):
        assert verdict(score, False, 0.4).score == near
        assert verdict(score, True, 0.4).score == score
    judge, _ = judge_of([0.2])
    for _ in range(LEAST_FRAMES):
        said = judge.judge(view(side=400.0))
    assert (said.score, said.reason) == (None, "surroundings_out_of_view")


@pytest.mark.parametrize(("classes", "name"), [
    ((0.97, 0.02, 0.01), "print"), ((0.02, 0.3, 0.68), "screen"), ((0.2, 0.1, 0.7), "texture"),
    ((0.0, 1.0, 0.0), "texture")])
def test_a_species_is_named_only_where_the_networks_are_clear(classes: tuple[float, ...], name: str) -> None:
    assert species(np.array(classes, np.float32)) == name


def test_a_threshold_measured_at_the_door_takes_the_cards_place(liveness_pack: Card) -> None:
    networks = PassiveNetworks(liveness_pack)
    assert liveness_pack.passive is not None
    assert PassiveJudge(networks).threshold == liveness_pack.passive.threshold
    assert PassiveJudge(networks, 0.7).threshold == 0.7


def looks(card: Card, folder: Path, step: int) -> dict[str, list[Judgement]]:
    """What the networks say of the best face of each picture, by label."""
    examiner, networks = Examiner(Models.load(card), DOOR, mirror=False), PassiveNetworks(card)
    found: dict[str, list[Judgement]] = {}
    with (folder / "labels.csv").open(newline="") as file:
        for row in list(csv.DictReader(file))[::step]:
            pixels = read_photo(folder / row["image"])
            face = examiner.survey(pixels)[0].face
            found.setdefault(row["label"], []).append(networks.look(pixels, face))
    return found


@pytest.mark.data
def test_prints_are_refused_as_prints_and_live_faces_accepted(liveness_pack: Card, data_dir: Path) -> None:
    """Every twentieth frame; all of them with `doorctl evaluate pad`."""
    found = looks(liveness_pack, data_dir / "nuaa", 20)
    assert liveness_pack.passive is not None
    threshold = liveness_pack.passive.threshold
    assert len(found["live"]) >= 23
    assert all(said.score is not None and said.score >= threshold for said in found["live"])
    assert all(said.score is not None and said.score < threshold for said in found["print"])
    assert {said.reason for said in found["print"]} == {"print"}


@pytest.mark.data
def test_of_the_few_stills_every_live_face_is_accepted_and_one_screen_that_fills_the_picture_is_missed(
        liveness_pack: Card, data_dir: Path) -> None:
    """That one is the grid judge's."""
    found = looks(liveness_pack, data_dir / "stills", 1)
    assert liveness_pack.passive is not None
    threshold = liveness_pack.passive.threshold
    assert [said.score is not None and said.score >= threshold for said in found["live"]] == [True] * 4
    assert sum(said.score is not None and said.score < threshold for said in found["unknown_attack"]) >= 4
