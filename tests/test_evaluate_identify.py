"""Open-set search and pairs: rates from vectors whose answers are known."""

import numpy as np

from device.evaluate.faces import Acquired, choose
from device.evaluate.identify import identify
from device.evaluate.inputs import Labelled, Pair, Remarks
from device.evaluate.verify import stored, verify_all, verify_pairs
from device.face.portrait import Finding
from device.face.types import Box, Face

AXES = np.eye(16, dtype=np.float32)


def towards(axis, other, cosine):
    return (cosine * AXES[axis] + np.sqrt(1 - cosine**2) * AXES[other]).astype(np.float32)


def acquired_of(vectors, failed=()):
    names = tuple(vectors)
    is_acquired = np.array([name not in failed for name in names])
    probes = np.array([vectors[name] if name not in failed else np.zeros(16) for name in names], np.float32)
    return Acquired(names, probes, is_acquired, len(failed), {})


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
    assert result.rates.fpir == 0.5
    assert remarks.lines == []


def test_probes_of_people_who_are_not_listed_count_as_strangers():
    vectors = {"g/ann": AXES[0], "p/zoe": towards(0, 3, 0.9), "p/ann": towards(0, 4, 0.9)}
    remarks = Remarks()
    result = identify([Labelled("ann", "g/ann")], [Labelled("zoe", "p/zoe"), Labelled("ann", "p/ann")],
                      acquired_of(vectors), model_id="m", threshold=0.5, remarks=remarks)
    assert (result.mated, result.rates.fpir, result.rates.fnir) == (1, 1.0, 0.0)
    assert len(remarks.lines) == 1


def test_a_picture_without_a_face_never_matches():
    vectors = {"a/1": AXES[0], "a/2": towards(0, 1, 0.9), "b/1": AXES[2], "b/2": towards(2, 1, 0.9)}
    acquired = acquired_of(vectors, failed=("b/2",))
    pairs = [Pair("1", True, "a/1", "a/2"), Pair("1", True, "b/1", "b/2"), Pair("2", False, "a/1", "b/1"),
             Pair("2", False, "a/1", "b/2")]
    result = verify_pairs(pairs, acquired)
    assert (result.scores.genuine_total, result.scores.impostor_total, result.made) == (2, 2, 1)
    assert result.eer == 0.5  # of two genuine pairs one has no face, of two impostor pairs one scores 0
    whole = verify_all([Labelled(name[0], name) for name in vectors], acquired)
    assert (whole.scores.genuine_total, whole.scores.impostor_total, whole.made) == (2, 4, 1)
    assert whole.accuracy is None
    assert acquired.fta == 0.25


def face(left, top, side):
    return Finding(Face(Box(left, top, side, side), np.zeros((6, 2), np.float32), 0.9), None, None)


def test_a_still_is_about_its_largest_face_and_of_equals_the_middle_one():
    small, large, middle = face(45, 45, 10), face(0, 0, 30), face(40, 40, 25)
    assert choose([], 100, 100) is None
    assert choose([large, small], 100, 100) is large
    assert choose([large, middle, small], 100, 100) is middle
