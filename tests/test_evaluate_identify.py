"""Open-set search and pairs: rates from vectors whose answers are known."""

import numpy as np
import pytest

from device.errors import UsageError
from device.evaluate.faces import Acquired, choose
from device.evaluate.identify import enrol, identify
from device.evaluate.inputs import Labelled, Pair, Remarks
from device.evaluate.metrics import eer, tmr_at
from device.evaluate.verify import stored, vectors_of, verify_all, verify_pairs
from device.face.match import identify as search
from device.face.portrait import Finding
from device.face.types import Box, Face

AXES = np.eye(16, dtype=np.float32)


def towards(axis, other, cosine):
    return (cosine * AXES[axis] + np.sqrt(1 - cosine**2) * AXES[other]).astype(np.float32)


def acquired_of(vectors, failed=()):
    names = tuple(vectors)
    is_acquired = np.array([name not in failed for name in names])
    probes = np.array([vectors[name] if name not in failed else np.zeros(16) for name in names], np.float32)
    return Acquired(names, probes, probes, is_acquired, len(failed), {})


def test_stored_templates_are_unit_vectors_of_what_int8_leaves():
    chance = np.random.default_rng(1)
    probes = chance.standard_normal((5, 192)).astype(np.float32)
    probes /= np.linalg.norm(probes, axis=1, keepdims=True)
    probes[4] = 0
    templates = stored(probes)
    assert np.allclose(np.linalg.norm(templates[:4], axis=1), 1, atol=1e-6)
    assert np.allclose(templates[:4], probes[:4], atol=2e-3)
    assert (templates[:4] != probes[:4]).any()
    assert not templates[4].any()


def test_open_set_rates_with_misses_of_every_kind():
    vectors = {
        "g/ann": AXES[0], "g/bob": AXES[1], "g/eve": AXES[2],
        "p/ann1": towards(0, 5, 0.9), "p/ann2": towards(0, 5, 0.3), "p/ann3": towards(1, 0, 0.8),
        "p/bob1": towards(1, 6, 0.9), "p/eve1": towards(2, 6, 0.9),
        "p/new1": towards(7, 1, 0.8), "p/new2": towards(0, 3, 0.4),
    }
    people = [Labelled("ann", "g/ann"), Labelled("bob", "g/bob"), Labelled("eve", "g/eve")]
    probes = [Labelled(name[2:5] if not name.startswith("p/new") else "", name) for name in vectors if name[0] == "p"]
    remarks = Remarks()
    result = identify(people, probes, acquired_of(vectors, failed=("g/eve", "p/bob1")), model_id="m",
                      threshold=0.5, remarks=remarks)
    assert (result.gallery, result.not_enrolled, result.probes, result.mated) == (2, 1, 7, 5)
    # Found: ann1. Too low: ann2. Another's face: ann3. Not acquired: bob1. Not enrolled: eve1.
    assert result.rates.fnir == 0.8
    assert result.rates.rank1 == 0.4
    assert result.rates.fpir is None  # one stranger of two was found: four comparisons are too few to state a rate
    assert result.fpir_95[0] <= 0.5 <= result.fpir_95[1]
    assert len(remarks.lines) == 1
    assert "1 of the gallery's people have no usable picture (the first is eve)" in remarks.lines[0]


def test_a_rate_of_strangers_is_stated_from_ten_comparisons_in_one_on():
    names = {f"p/new{n}": towards(0, 3 + n % 10, 0.9 if n < 10 else 0.1) for n in range(40)}
    vectors = {"g/ann": AXES[0], "p/ann": towards(0, 3, 0.9), **names}
    probes = [Labelled("ann", "p/ann"), *(Labelled("", name) for name in names)]
    people = [Labelled("ann", "g/ann")]
    whole = identify(people, probes, acquired_of(vectors), model_id="m", threshold=0.5, remarks=Remarks())
    assert whole.rates.fpir == 0.25
    fewer = identify(people, probes[:1] + probes[2:], acquired_of(vectors), model_id="m", threshold=0.5,
                     remarks=Remarks())
    assert fewer.rates.fpir is None
    crowd = [*people, *(Labelled(f"g{n}", f"g/{n}") for n in range(3))]
    vectors |= {f"g/{n}": AXES[13 + n] for n in range(3)}
    crowded = identify(crowd, probes[:1] + probes[2:], acquired_of(vectors), model_id="m", threshold=0.5,
                       remarks=Remarks())
    assert crowded.rates.fpir == 9 / 39


def test_somebody_whose_only_picture_is_missing_is_not_enrolled_and_no_stranger():
    vectors = {"g/ann": AXES[0], "p/bob": towards(0, 4, 0.9), "p/ann": towards(0, 4, 0.9)}
    remarks = Remarks()
    result = identify([Labelled("ann", "g/ann")], [Labelled("bob", "p/bob"), Labelled("ann", "p/ann")],
                      acquired_of(vectors), model_id="m", threshold=0.5, remarks=remarks,
                      listed=frozenset({"ann", "bob"}))
    assert (result.mated, result.not_enrolled, result.rates.fnir, result.rates.fpir) == (2, 1, 0.5, None)
    assert "the first is bob" in remarks.lines[0]


def test_probes_of_people_who_are_not_listed_count_as_strangers():
    vectors = {"g/ann": AXES[0], "p/zoe": towards(0, 3, 0.9), "p/ann": towards(0, 4, 0.9)}
    remarks = Remarks()
    result = identify([Labelled("ann", "g/ann")], [Labelled("zoe", "p/zoe"), Labelled("ann", "p/ann")],
                      acquired_of(vectors), model_id="m", threshold=0.5, remarks=remarks)
    assert (result.mated, result.rates.fnir) == (1, 0.0)
    assert len(remarks.lines) == 1


def test_a_picture_without_a_face_never_matches():
    vectors = {"a/1": AXES[0], "a/2": towards(0, 1, 0.9), "b/1": AXES[2], "b/2": towards(2, 1, 0.9)}
    acquired = acquired_of(vectors, failed=("b/2",))
    pairs = [Pair("1", True, "a/1", "a/2"), Pair("1", True, "b/1", "b/2"), Pair("2", False, "a/1", "b/1"),
             Pair("2", False, "a/1", "b/2")]
    result = verify_pairs(pairs, acquired)
    assert (result.scores.genuine_total, result.scores.impostor_total, result.made) == (2, 2, 1)
    assert result.eer is None  # two impostor comparisons state nothing
    assert eer(result.scores) == 0.5  # of two genuine pairs one has no face, of two impostor pairs one scores 0
    whole = verify_all([Labelled(name[0], name) for name in vectors], acquired)
    assert (whole.scores.genuine_total, whole.scores.impostor_total, whole.made) == (2, 4, 1)
    assert whole.accuracy is None
    assert acquired.fta == 0.25


def test_a_probe_of_one_pass_meets_a_template_of_two():
    names = ("a/1", "a/2", "b/1", "b/2")
    templates = np.array([AXES[0], AXES[0], AXES[1], AXES[1]], np.float32)
    probes = np.array([towards(0, 5, 0.6), towards(0, 5, 0.7), towards(1, 5, 0.8), towards(1, 5, 0.9)], np.float32)
    acquired = Acquired(names, templates, probes, np.ones(4, bool), 0, {})
    people = [Labelled(name[0], name) for name in names]
    vectors = vectors_of(people, acquired)
    assert (vectors.template == templates).all()
    assert (vectors.probe == probes).all()
    gallery, _ = enrol([people[0], people[2]], acquired, "m")
    assert search(gallery, probes[1]).best.score == pytest.approx(0.7, abs=1e-6)
    pairs = verify_pairs([Pair("1", True, "a/1", "a/2")], acquired)
    assert tmr_at(pairs.scores, 0.69) == 1.0
    assert tmr_at(pairs.scores, 0.71) == 0.0


def test_what_a_threshold_means_for_these_people_is_told_with_intervals():
    chance = np.random.default_rng(3)
    rows = np.repeat(chance.standard_normal((60, 16)), 3, axis=0) + 0.8 * chance.standard_normal((180, 16))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    people = [Labelled(str(n // 3), f"{n // 3}/{n}.jpg") for n in range(180)]
    acquired = Acquired(tuple(row.image for row in people), rows, rows, np.ones(180, bool), 0, {})
    usual, strict = verify_all(people, acquired, (0.5, 0.97)).fixed
    assert usual.fmr_95[0] < usual.fmr < usual.fmr_95[1]
    assert usual.tmr_95[0] < usual.tmr < usual.tmr_95[1]
    assert strict.fmr is None  # fewer than ten strangers are so alike
    assert strict.fmr_95[1] > 0.0


def test_one_picture_alone_is_one_line():
    with pytest.raises(UsageError, match="one picture alone"):
        verify_all([Labelled("a", "a/1")], acquired_of({"a/1": AXES[0]}))


def face(left, top, side):
    return Finding(Face(Box(left, top, side, side), np.zeros((6, 2), np.float32), 0.9), None, None)


def test_a_still_is_about_its_largest_face_and_of_equals_the_middle_one():
    small, large, middle = face(45, 45, 10), face(0, 0, 30), face(40, 40, 25)
    assert choose([], 100, 100) is None
    assert choose([large, small], 100, 100) is large
    assert choose([large, middle, small], 100, 100) is middle
