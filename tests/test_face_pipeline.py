"""From frames to sightings: the whole pipeline with the real networks, on pictures pasted into a room."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
from face_scenes import Pixels, frame, gallery_of, head, pasted, person, room, threshold_of

from device.clock import HandClock, SystemClock
from device.config import FaceConfig
from device.errors import ModelMismatch
from device.face.card import Card
from device.face.gallery import Gallery
from device.face.liveness import Liveness
from device.face.models import Models
from device.face.photo import read_photo
from device.face.pipeline import Pipeline, same_face_score
from device.face.portrait import Examiner
from device.face.quality import DOOR, ENROLMENT
from device.face.types import Face, Floats, Quality
from device.frame import Frame
from device.sighting import Demand, Hint, Judgement, Outcome, Sighting

DEMAND = Demand()


@pytest.fixture(scope="module")
def models(pack: Card) -> Models:
    return Models.load(pack)


@pytest.fixture(scope="module")
def vector(models: Models, portrait: Pixels) -> Floats:
    return Examiner(models, ENROLMENT).one(portrait, "portrait").vector


def stranger(seed: int) -> Floats:
    value = np.random.default_rng(seed).standard_normal(192).astype(np.float32)
    return np.asarray(value / np.linalg.norm(value), np.float32)


class Door:
    """A pipeline and what it compares with; frames are counted as a camera does."""

    def __init__(self, models: Models, gallery: Gallery, config: FaceConfig | None = None,
                 panel: object = None) -> None:
        self.models, self.gallery = models, gallery
        self.pipeline = Pipeline(models, config or FaceConfig(), HandClock(), panel)  # type: ignore[arg-type]
        self.seq = 0

    def look(self, pixels: Pixels, demand: Demand = DEMAND) -> list[Sighting]:
        self.seq += 1
        threshold = threshold_of(self.models, max(len(self.gallery), 1))
        return self.pipeline.look(frame(self.seq, pixels), self.gallery, threshold, demand)

    def watch(self, scenes: Iterable[Pixels], demand: Demand = DEMAND) -> list[list[Sighting]]:
        return [self.look(scene, demand) for scene in scenes]


@pytest.fixture
def door(models: Models, vector: Floats) -> Door:
    return Door(models, gallery_of(models, [vector, stranger(1), stranger(2)]))


@pytest.fixture(scope="module")
def visitor(portrait: Pixels) -> list[Pixels]:
    """Somebody who walks slowly to the right, a little nearer with every frame."""
    return [pasted(room(), head(portrait), 400 + 3 * step, 200 + step, 1.2 + 0.004 * step) for step in range(24)]


def test_an_enrolled_person_is_known_within_five_frames(door: Door, visitor: list[Pixels]) -> None:
    sightings = [only for only, in door.watch(visitor[:8])]
    first_known = next(place for place, sighting in enumerate(sightings) if sighting.outcome is Outcome.KNOWN)
    assert first_known <= 4
    assert {sighting.outcome for sighting in sightings[:first_known]} == {Outcome.PENDING}
    known = sightings[first_known]
    assert known.person_id == person(1)
    assert known.score is not None
    assert known.threshold is not None
    assert known.margin is not None
    assert 0.8 < known.score <= 1.0
    assert known.threshold < known.score
    assert known.margin > 0.3
    assert (known.since_seq, known.frame_seq, known.frames) == (1, first_known + 1, 3)
    assert known.mono - known.since_mono == pytest.approx(first_known / 30)


def test_one_face_is_one_track_through_all_frames(door: Door, visitor: list[Pixels]) -> None:
    rounds = door.watch(visitor)
    assert [len(sightings) for sightings in rounds] == [1] * len(visitor)
    assert {sightings[0].track_id for sightings in rounds} == {1}
    assert {sightings[0].outcome for sightings in rounds[4:]} == {Outcome.KNOWN}


def test_a_person_who_is_not_enrolled_is_unknown_and_named_nobody(models: Models, visitor: list[Pixels]) -> None:
    door = Door(models, gallery_of(models, [stranger(1), stranger(2)]))
    sightings = [only for only, in door.watch(visitor[:10])]
    assert sightings[-1].outcome is Outcome.UNKNOWN
    assert {sighting.person_id for sighting in sightings} == {None}


def test_with_an_empty_gallery_everybody_is_unknown(models: Models, visitor: list[Pixels]) -> None:
    door = Door(models, Gallery.empty(models.model_id, 192))
    assert door.watch(visitor[:8])[-1][0].outcome is Outcome.UNKNOWN


def test_two_people_are_two_sightings(door: Door, portrait: Pixels) -> None:
    scenes = [pasted(pasted(room(), head(portrait), 150 + step, 200, 1.5), head(portrait), 850 - step, 150, 1.3)
              for step in range(6)]
    rounds = door.watch(scenes)
    assert [len(sightings) for sightings in rounds] == [2] * 6
    assert len({sighting.track_id for sightings in rounds for sighting in sightings}) == 2


def test_a_known_face_is_not_recognised_on_every_frame(door: Door, visitor: list[Pixels]) -> None:
    times = door.pipeline.measure()
    door.watch(visitor)
    assert times.runs["quality"] == len(visitor)
    assert 3 <= times.runs["extract"] <= 7
    assert times.runs["detect"] <= 6


def test_an_empty_scene_is_hardly_looked_at(door: Door) -> None:
    times = door.pipeline.measure()
    rng = np.random.default_rng(3)
    scenes = [np.clip(room() + rng.normal(0, 4, (720, 1280, 3)), 0, 255).astype(np.uint8) for _ in range(2)]
    door.watch(scenes[step % 2] for step in range(50))
    assert not door.pipeline.is_idle
    door.watch(scenes[step % 2] for step in range(15))
    detections = times.runs["detect"]
    assert not any(door.watch(scenes[step % 2] for step in range(150)))
    assert door.pipeline.is_idle
    assert times.runs["detect"] - detections <= 12
    assert "extract" not in times.runs


def test_somebody_who_stood_still_from_the_start_is_seen_within_half_a_second(door: Door,
                                                                              visitor: list[Pixels]) -> None:
    door.watch([room()] * 90)
    assert door.pipeline.is_idle
    assert any(door.look(visitor[0]) for _ in range(16))


@pytest.mark.parametrize(("hint", "spoil"), [
    (Hint.COME_CLOSER, lambda p: pasted(room(), head(p), 500, 250, 0.7)),
    (Hint.STEP_BACK, lambda p: pasted(room(), head(p), 400, 0, 3.5)),
    (Hint.HOLD_STILL, lambda p: cv2.GaussianBlur(pasted(room(), head(p), 500, 200, 1.5), (0, 0), 5)),
    (Hint.MORE_LIGHT, lambda p: (pasted(room(), head(p), 400, 100, 2.2) * 0.1).astype(np.uint8)),
])
def test_a_poor_picture_is_answered_with_a_hint(models: Models, vector: Floats, portrait: Pixels, hint: Hint,
                                                spoil: object) -> None:
    door = Door(models, gallery_of(models, [vector]), FaceConfig(max_interocular_px=120.0))
    rounds = door.watch([spoil(portrait)] * 6)  # type: ignore[operator]
    sighting = rounds[-1][0]
    assert (sighting.outcome, sighting.hint) == (Outcome.POOR, hint)
    assert (sighting.person_id, sighting.score) == (None, None)


def test_the_clock_of_a_track_starts_at_its_first_usable_frame(door: Door, visitor: list[Pixels]) -> None:
    door.watch([cv2.GaussianBlur(scene, (0, 0), 5) for scene in visitor[:4]])
    known = door.watch(visitor[4:10])[-1][0]
    assert known.outcome is Outcome.KNOWN
    assert known.since_seq == 5


def test_a_face_outside_the_zone_is_left_out(models: Models, vector: Floats, visitor: list[Pixels]) -> None:
    door = Door(models, gallery_of(models, [vector]), FaceConfig(zone=(0.6, 0.0, 1.0, 1.0)))
    assert door.watch(visitor[:6]) == [[]] * 6


def test_a_removed_person_is_not_known_on_the_next_frame(door: Door, visitor: list[Pixels]) -> None:
    assert door.watch(visitor[:6])[-1][0].outcome is Outcome.KNOWN
    door.gallery = door.gallery.next(drop=[person(1)])
    assert door.look(visitor[6])[0].outcome is not Outcome.KNOWN
    assert door.watch(visitor[7:12])[-1][0].outcome is Outcome.UNKNOWN


def test_somebody_who_is_enrolled_while_he_stands_there_is_known_at_once(models: Models, vector: Floats,
                                                                        visitor: list[Pixels]) -> None:
    door = Door(models, gallery_of(models, [stranger(1)]))
    assert door.watch(visitor[:8])[-1][0].outcome is Outcome.UNKNOWN
    door.gallery = gallery_of(models, [vector, stranger(1)], generation=2)
    assert door.watch(visitor[8:11])[-1][0].outcome is Outcome.KNOWN


def test_a_gallery_that_changes_with_every_frame_keeps_nobody_waiting(door: Door, visitor: list[Pixels]) -> None:
    for pixels in visitor[:5]:
        door.gallery = door.gallery.next(drop=[person(99)])
        sightings = door.look(pixels)
    assert sightings[0].outcome is Outcome.KNOWN


def test_a_cards_holder_is_compared_with_his_own_templates_only(door: Door, visitor: list[Pixels]) -> None:
    his_own, another = Demand(expect_person_id=person(1)), Demand(expect_person_id=person(2))
    assert door.watch(visitor[:6], his_own)[-1][0].person_id == person(1)
    rounds = door.watch(visitor[6:14], another)
    assert {sightings[0].person_id for sightings in rounds} == {None}
    assert rounds[-1][0].outcome is Outcome.UNKNOWN
    assert {sightings[0].person_id for sightings in door.watch(visitor[14:], his_own)[3:]} == {person(1)}


def test_templates_of_another_recogniser_are_never_compared(door: Door, visitor: list[Pixels]) -> None:
    door.gallery = Gallery.empty("another-model", 192)
    with pytest.raises(ModelMismatch, match="another-model"):
        door.look(visitor[0])


def test_a_doubt_is_settled_by_the_cards_score(pack: Card) -> None:
    stated = [point.score for population in pack.populations for point in population.points if point.fmr == 1e-3]
    assert len(stated) == len(pack.populations) > 1
    assert same_face_score(pack) == max(stated)


def test_it_works_with_the_other_pack(dlib_pack: Card, portrait: Pixels, visitor: list[Pixels]) -> None:
    models = Models.load(dlib_pack)
    own = Examiner(models, ENROLMENT).one(portrait, "portrait").vector
    door = Door(models, gallery_of(models, [own]))
    assert door.watch(visitor[:6])[-1][0].person_id == person(1)


def test_times_are_kept_only_where_asked_for(models: Models, vector: Floats, visitor: list[Pixels]) -> None:
    pipeline = Pipeline(models, FaceConfig(), SystemClock())
    times = pipeline.measure()
    gallery, threshold = gallery_of(models, [vector]), threshold_of(models, 1)
    for seq in range(4):
        pipeline.look(frame(seq, visitor[seq]), gallery, threshold, DEMAND)
    assert {"motion", "follow", "detect", "quality", "extract", "match"} <= set(times.seconds)
    assert all(seconds > 0 for seconds in times.seconds.values())


class Judges:
    """A panel that says what the test wants, and notes which tracks it was shown."""

    def __init__(self, outcome: Outcome | None, needs: int = 0) -> None:
        self.outcome, self.needs = outcome, needs
        self.shown: dict[int, int] = {}
        self.forgotten: list[int] = []

    def judge(self, frame: Frame, face: Face, quality: Quality, demand: Demand) -> Liveness:
        assert quality.is_usable
        count = self.shown[face.track_id] = self.shown.get(face.track_id, 0) + 1
        if count < self.needs:
            return Liveness(Outcome.PENDING, (Judgement("test", None),), Hint.TURN_A_LITTLE)
        return Liveness(self.outcome, (Judgement("test", 0.5),))

    def forget(self, track_id: int) -> None:
        self.forgotten.append(track_id)


def test_an_attack_is_an_attack_whoever_it_shows(models: Models, vector: Floats, visitor: list[Pixels]) -> None:
    door = Door(models, gallery_of(models, [vector]), panel=Judges(Outcome.ATTACK))
    rounds = door.watch(visitor[:6])
    assert {sightings[0].outcome for sightings in rounds} == {Outcome.ATTACK}
    assert {sightings[0].person_id for sightings in rounds} == {None}
    assert rounds[0][0].judgements == (Judgement("test", 0.5),)


def test_nobody_is_known_before_the_judges_are_done(models: Models, vector: Floats, visitor: list[Pixels]) -> None:
    door = Door(models, gallery_of(models, [vector]), panel=Judges(None, needs=7))
    sightings = [only for only, in door.watch(visitor[:10])]
    assert [sighting.outcome for sighting in sightings] == [Outcome.PENDING] * 6 + [Outcome.KNOWN] * 4
    assert sightings[3].hint is Hint.TURN_A_LITTLE
    assert sightings[3].person_id is None


def test_judges_who_are_content_rest_until_the_face_looks_otherwise(
        models: Models, vector: Floats, visitor: list[Pixels], monkeypatch: pytest.MonkeyPatch) -> None:
    judges = Judges(None)
    door = Door(models, gallery_of(models, [vector]), panel=judges)
    assert {only.outcome for only, in door.watch([visitor[0]] * 40)[5:]} == {Outcome.KNOWN}
    looks = judges.shown[1]
    assert 16 <= looks <= 26
    with monkeypatch.context() as patch:
        patch.setattr("device.face.pipeline.likeness", lambda *_: 0.0)
        door.look(visitor[0])
    door.watch([visitor[0]] * 5)
    assert judges.shown == {1: looks + 6}


def test_a_track_that_ends_is_forgotten_by_the_judges(models: Models, vector: Floats, visitor: list[Pixels]) -> None:
    judges = Judges(None)
    door = Door(models, gallery_of(models, [vector]), panel=judges)
    door.watch(visitor[:3])
    door.watch([room()] * 15)
    assert judges.forgotten == [1]
    again = [sighting.track_id for sightings in door.watch(visitor[3:8]) for sighting in sightings]
    assert set(again) == {2}


def test_a_face_that_leaves_and_comes_back_is_another_track(door: Door, visitor: list[Pixels]) -> None:
    assert door.watch(visitor[:5])[-1][0].track_id == 1
    assert door.watch([room()] * 12)[-1] == []
    assert {sightings[0].track_id for sightings in door.watch(visitor[5:12]) if sightings} == {2}


def people(data_dir: Path, models: Models, count: int) -> list[Pixels]:
    """Heads of so many people, each usable at the door, cut so that their eyes lie at one place."""
    photos = sorted(data_dir.glob("lfw/*/*_0001.jpg"))
    random.Random(11).shuffle(photos)
    examiner, heads = Examiner(models, DOOR), []
    for photo in photos:
        picture = read_photo(photo)
        findings = examiner.survey(picture)
        if len(findings) != 1 or not findings[0].quality.is_usable or findings[0].quality.interocular_px < 34:
            continue
        eyes = findings[0].face.keypoints[:2].mean(axis=0)
        scale = 60.0 / findings[0].quality.interocular_px
        matrix = np.array([[scale, 0, 150 - scale * eyes[0]], [0, scale, 130 - scale * eyes[1]]])
        heads.append(cv2.warpAffine(picture, matrix, (300, 330), borderMode=cv2.BORDER_REPLICATE))
        if len(heads) == count:
            break
    return heads


@pytest.mark.data
def test_a_face_swapped_for_another_in_the_same_place_is_another_track(models: Models, data_dir: Path) -> None:
    heads = people(data_dir, models, 12)
    examiner = Examiner(models, DOOR)
    vectors = [examiner.examine(pasted(room(), one, 500, 200))[0].probe for one in heads]
    gallery = gallery_of(models, [probe.vector for probe in vectors if probe is not None])
    for place in range(0, 12, 2):
        judges = Judges(None, needs=5)
        door = Door(models, gallery, FaceConfig(agree=1, of=1), panel=judges)
        first = [pasted(room(), heads[place], 500 + 2 * step, 200) for step in range(8)]
        second = [pasted(room(), heads[place + 1], 516 + 2 * step, 200) for step in range(8)]
        before, after = door.watch(first), door.watch(second)
        assert before[-1][0].person_id == person(place + 1)
        assert before[-1][0].outcome is Outcome.KNOWN
        ids = {sighting.track_id for sightings in before for sighting in sightings}
        assert not ids & {sighting.track_id for sightings in after for sighting in sightings}
        # Neither the first one's name nor the first one's liveness outlives the swap by a frame.
        assert person(place + 1) not in {sighting.person_id for sightings in after for sighting in sightings}
        assert all(sighting.outcome is Outcome.PENDING for sightings in after[:4] for sighting in sightings)
        assert after[-1][0].person_id == person(place + 2)


@pytest.mark.data
def test_people_who_cross_never_take_each_others_name(models: Models, data_dir: Path) -> None:
    heads = people(data_dir, models, 4)
    examiner = Examiner(models, DOOR)
    probes = [examiner.examine(pasted(room(), one, 500, 200))[0].probe for one in heads]
    gallery = gallery_of(models, [probe.vector for probe in probes if probe is not None])
    for one, other in ((0, 1), (2, 3)):
        door = Door(models, gallery)
        names: dict[int, set[str]] = {}
        for step in range(45):
            scene = pasted(pasted(room(), heads[one], 950 - 20 * step, 150), heads[other], 50 + 20 * step, 190)
            for sighting in door.look(scene):
                if sighting.person_id:
                    names.setdefault(sighting.track_id, set()).add(sighting.person_id)
        assert all(len(known) == 1 for known in names.values())
        assert {name for known in names.values() for name in known} == {person(one + 1), person(other + 1)}
