import threading
from unittest import mock

import numpy as np
import pytest
from gallery_samples import NOW, a_person, an_id, gallery_of_rows, quantised, unit_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from device.face import kernels, match
from device.face.gallery import Gallery
from device.store.records import Template

KERNELS = kernels.installed()


def brute_force(gallery, vector):
    """person -> best score, by plain double precision over every live row."""
    best = {}
    probe = np.asarray(vector, np.float64) / np.linalg.norm(np.asarray(vector, np.float64))
    for row in gallery.live_rows():
        values = gallery.rows[row].astype(np.float64)
        person = gallery.person_id(row)
        best[person] = max(best.get(person, -2.0), float(values @ probe / np.linalg.norm(values)))
    return best


def agrees(candidates, best, count):
    """Whether these are the `count` best persons, in order, each with their score."""
    wanted = sorted(best.values(), reverse=True)[:count]
    found = [candidate.score for candidate in candidates]
    return (
        len(found) == len(wanted)
        and np.allclose(found, wanted, rtol=0, atol=1e-12)
        and all(abs(best[c.person_id] - c.score) < 1e-12 for c in candidates)
        and len({c.person_id for c in candidates}) == len(candidates)
    )


def present(found):
    return [candidate for candidate in (found.best, found.other) if candidate is not None]


@st.composite
def galleries(draw):
    """Few dimensions, small integers and few persons: ties, parallel rows and crowded tops are common."""
    dimensions, count = draw(st.integers(1, 9)), draw(st.integers(1, 400))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = draw(st.sampled_from([1, 3, 127]))
    rows = rng.integers(-size, size, (count, dimensions), dtype=np.int8, endpoint=True)
    rows[~rows.any(axis=1), 0] = size
    persons = rng.integers(0, draw(st.sampled_from([1, 2, 5, 400])), count)
    probe = unit_rows(rng, 1, dimensions)[0]
    return gallery_of_rows(rows, persons), probe


@settings(max_examples=200, deadline=None)
@given(galleries(), st.integers(1, 12), st.floats(-1, 1), st.sampled_from([0, match.FEW]))
def test_every_search_agrees_with_brute_force(made, limit, least, few):
    with mock.patch.object(match, "FEW", few):
        agrees_with_brute_force(*made, limit, least)


def agrees_with_brute_force(gallery, probe, limit, least):
    best = brute_force(gallery, probe)
    for kernel in KERNELS:
        assert agrees(present(match.identify(gallery, probe, kernel)), best, 2)
        assert agrees(match.search(gallery, probe, limit, kernel=kernel), best, limit)
        above = {person: score for person, score in best.items() if score >= least}
        near = any(abs(score - least) < 1e-12 for score in best.values())
        assert near or agrees(match.search(gallery, probe, limit, least, kernel), above, limit)
    for person, score in list(best.items())[:5]:
        assert match.verify(gallery, probe, person).score == pytest.approx(score, abs=1e-12)


@pytest.mark.parametrize("dimensions", [128, 192, 512])
def test_the_bound_finds_the_winner_where_int8_alone_would_not(dimensions):
    rng = np.random.default_rng(5)
    centre = unit_rows(rng, 1, dimensions)[0]
    missed = 0
    for _ in range(30):
        crowd = centre + rng.standard_normal((300, dimensions)).astype(np.float32) * 0.02
        rows, _ = quantised(crowd)
        gallery = gallery_of_rows(rows)
        probe = centre + rng.standard_normal(dimensions).astype(np.float32) * 0.05
        probe /= np.linalg.norm(probe)
        best = brute_force(gallery, probe)
        found = match.identify(gallery, probe)
        assert agrees(present(found), best, 2)
        rounded = np.rint(probe / np.abs(probe).max() * 127).astype(np.int8)
        coarse = (rows.astype(int) @ rounded.astype(int)) * gallery.scales
        missed += gallery.person_id(int(coarse.argmax())) != found.best.person_id
    assert missed > 0


def test_the_second_person_is_exact_though_the_first_has_all_the_best_templates():
    rng = np.random.default_rng(6)
    centre = unit_rows(rng, 1, 64)[0]
    near = centre + rng.standard_normal((900, 64)).astype(np.float32) * 0.03
    far = centre + rng.standard_normal((40, 64)).astype(np.float32) * 0.12
    rows, _ = quantised(np.concatenate([near, far]))
    gallery = gallery_of_rows(rows, [0] * 900 + list(range(1, 41)))
    found = match.identify(gallery, centre)
    assert found.best.person_id == a_person(0)
    assert agrees(present(found), brute_force(gallery, centre), 2)
    assert found.margin == pytest.approx(found.best.score - found.other.score)


def test_a_probe_of_one_of_many_is_found_with_the_score_of_its_row():
    rng = np.random.default_rng(7)
    rows, _ = quantised(unit_rows(rng, 20_000, 192))
    gallery = gallery_of_rows(rows)
    for place in (0, 63, 9_999, 19_999):
        probe = rows[place] / np.linalg.norm(rows[place].astype(np.float32))
        found = match.identify(gallery, probe.astype(np.float32))
        assert found.best.template_id == an_id(place)
        assert found.best.score == pytest.approx(1.0, abs=1e-6)
        assert agrees(present(found), brute_force(gallery, probe), 2)


def test_equal_scores_rank_by_template_id_wherever_the_rows_lie():
    rng = np.random.default_rng(8)
    row, _ = quantised(unit_rows(rng, 1, 192))
    others, _ = quantised(unit_rows(rng, 500, 192))
    probe = (row[0] / np.linalg.norm(row[0].astype(np.float32))).astype(np.float32)
    for places in ([0, 250], [499, 3], [17, 18]):
        rows = others.copy()
        rows[places] = row[0]
        found = match.identify(gallery_of_rows(rows), probe)
        assert [c.template_id for c in present(found)] == sorted(an_id(place) for place in places)
        assert found.margin == 0.0


def test_all_kernels_give_the_same_match():
    rng = np.random.default_rng(9)
    rows, _ = quantised(unit_rows(rng, 3000, 192))
    gallery = gallery_of_rows(rows, rng.integers(0, 1000, 3000))
    for probe in unit_rows(rng, 20, 192):
        assert len({match.identify(gallery, probe, kernel) for kernel in KERNELS}) == 1


def test_many_probes_give_what_each_gives_alone():
    rng = np.random.default_rng(10)
    rows, _ = quantised(unit_rows(rng, 200, 32))
    gallery, probes = gallery_of_rows(rows), unit_rows(rng, 5, 32)
    probes[2] = np.nan
    assert match.search_many(gallery, probes) == [match.identify(gallery, probe) for probe in probes]
    assert match.search_many(gallery, probes)[2] == match.Match()


def test_a_gallery_of_one_person_has_no_second():
    rng = np.random.default_rng(11)
    rows, _ = quantised(unit_rows(rng, 300, 32))
    found = match.identify(gallery_of_rows(rows, [0] * 300), unit_rows(rng, 1, 32)[0])
    assert found.best is not None
    assert found.other is None
    assert found.margin is None


def test_an_empty_gallery_matches_nobody():
    probe = unit_rows(np.random.default_rng(12), 1, 16)[0]
    empty = Gallery.empty("m", 16)
    assert match.identify(empty, probe) == match.Match()
    assert match.search(empty, probe, 5) == []
    assert match.verify(empty, probe, an_id(1)) is None


def test_verification_looks_at_one_person_only():
    rng = np.random.default_rng(13)
    vectors = unit_rows(rng, 4, 64)
    gallery = gallery_of_rows(quantised(vectors)[0], [0, 0, 1, 1])
    assert match.verify(gallery, vectors[1], a_person(0)).template_id == an_id(1)
    assert match.verify(gallery, vectors[1], a_person(1)).score < 0.6
    assert match.verify(gallery, vectors[1], a_person(2)) is None
    assert match.verify(gallery, vectors[1], "nobody") is None


def test_comparison_is_the_cosine_and_has_no_sides():
    rng = np.random.default_rng(14)
    a, b = unit_rows(rng, 2, 128)
    assert match.compare(a, b) == pytest.approx(float(a.astype(float) @ b.astype(float)), abs=1e-6)
    assert match.compare(a, b) == match.compare(b, a)
    assert match.compare(a, a) == pytest.approx(1.0)
    assert match.compare(a, -a) == pytest.approx(-1.0)


def bad_vectors(rng, good, count):
    """NaN, infinite, zero, denormal, far too short or long, and of another dimension, `count` of them in turn."""
    for i in range(count):
        vector = good.copy()
        kind, place = i % 8, rng.integers(len(good))
        if kind == 0:
            vector[place] = np.nan
        elif kind == 1:
            vector[place] = rng.choice([np.inf, -np.inf])
        elif kind == 2:
            vector[:] = rng.choice([0.0, -0.0], len(good))
        elif kind == 3:
            vector = (good * np.float32(1e-40)).astype(np.float32)
        elif kind == 4:
            vector = good[:place]
        elif kind == 5:
            vector = np.concatenate([good, good[: place + 1]])
        elif kind == 6:
            vector = good * np.float32(rng.choice([0.5, 2.0, 1e-20, 1e30]))
        else:
            vector = np.stack([good, good])
        yield vector


def test_a_hundred_thousand_bad_vectors_never_match():
    rng = np.random.default_rng(15)
    vectors = unit_rows(rng, 50, 192)
    gallery = gallery_of_rows(quantised(vectors)[0])
    person = a_person(0)
    assert match.verify(gallery, vectors[0], person).score > 0.99
    for i, vector in enumerate(bad_vectors(rng, vectors[0], 100_000)):
        assert match.identify(gallery, vector) == match.Match()
        if i % 25 == 0:  # 25 and 8 kinds have no common factor: every kind comes up
            assert match.search(gallery, vector, 3) == []
            assert match.verify(gallery, vector, person) is None
            assert match.compare(vectors[0], vector) == match.compare(vector, vectors[0]) == -1.0


@pytest.mark.parametrize("vector", [None, "face", [], [["a"]], 1.0, [1.0, None]])
def test_what_is_no_vector_at_all_never_matches(vector):
    gallery = gallery_of_rows(quantised(unit_rows(np.random.default_rng(1), 5, 16))[0])
    assert match.identify(gallery, vector) == match.Match()
    assert match.compare(vector, vector) == -1.0


def test_searches_go_on_while_templates_come_and_go():
    rng = np.random.default_rng(16)
    dimensions, resident = 64, 1500
    vectors = unit_rows(rng, 4000, dimensions)
    rows, scales = quantised(vectors)
    newest = [gallery_of_rows(rows[:resident])]
    stopping = threading.Event()
    changed = []

    def change():
        churn = np.random.default_rng(17)
        present_ids = []
        while not stopping.is_set():
            place = int(churn.integers(resident, 4000))
            drop = [present_ids.pop(int(churn.integers(len(present_ids))))] if len(present_ids) > 100 else []
            template = Template(an_id(place), a_person(place), "m", rows[place].tobytes(),
                                float(scales[place]), 1.0, NOW)
            newest[0] = newest[0].next(put=[template], drop=drop)
            if template.template_id not in present_ids:
                present_ids.append(template.template_id)
            changed.append(place)

    worker = threading.Thread(target=change)
    worker.start()
    try:
        for i in range(400):
            gallery, probe = newest[0], vectors[i]
            live = gallery.live_rows()
            exact = np.sort(match.scores(gallery.rows, live, probe.astype(np.float64) / np.linalg.norm(probe)))
            found = match.identify(gallery, probe)
            assert found.best.template_id == an_id(i)
            assert found.best.score == pytest.approx(exact[-1], abs=1e-7)
            assert found.other.score == pytest.approx(exact[-2], abs=1e-7)
    finally:
        stopping.set()
        worker.join()
    assert len(changed) > 20
