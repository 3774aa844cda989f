"""Every picture against every other: beside two nested loops, and in bounded memory."""

import numpy as np
import pytest

from device.evaluate import allpairs
from device.evaluate.allpairs import Vectors, comparisons, count
from device.evaluate.metrics import tally


def vectors_of(pictures=30, people=7, seed=1, failed=(3, 17)):
    chance = np.random.default_rng(seed)
    rows = chance.standard_normal((2, pictures, 12)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=2, keepdims=True)
    is_acquired = np.ones(pictures, bool)
    is_acquired[list(failed)] = False
    return Vectors(rows[0], rows[1], is_acquired, chance.integers(0, people, pictures), people)


def loops(vectors):
    genuine, impostor = [], []
    for i in range(len(vectors.person)):
        for j in range(i + 1, len(vectors.person)):
            score = float(vectors.template[i] @ vectors.probe[j])
            score = score if vectors.is_acquired[i] and vectors.is_acquired[j] else -1.0
            (genuine if vectors.person[i] == vectors.person[j] else impostor).append(score)
    return genuine, impostor


@pytest.mark.parametrize("block_bytes", [1, 1000, 8_000_000])
def test_blocks_count_what_two_loops_count(monkeypatch, block_bytes):
    monkeypatch.setattr(allpairs, "BLOCK_BYTES", block_bytes)
    vectors = vectors_of()
    genuine, impostor = loops(vectors)
    found, expected = count(vectors), tally(genuine, impostor)
    # A score on the edge of a step may fall to either side: the order of additions is not fixed.
    assert found.genuine_total == len(genuine)
    assert found.impostor_total == len(impostor)
    assert abs(np.cumsum(found.impostor) - np.cumsum(expected.impostor)).max() <= 1
    assert abs(np.cumsum(found.genuine) - np.cumsum(expected.genuine)).max() <= 1


def test_the_comparisons_kept_for_the_bootstrap_are_the_highest(monkeypatch):
    vectors = vectors_of(200, 20, failed=())
    whole = comparisons(vectors, count(vectors))
    monkeypatch.setattr(allpairs, "KEPT_IMPOSTORS", 3000)
    part = comparisons(vectors, count(vectors))
    assert whole.floor == -1.0
    assert len(part.impostor) <= 3000
    assert np.allclose(np.sort(part.impostor), np.sort(whole.impostor)[-len(part.impostor):])
    assert len(part.genuine) == len(whole.genuine)


def test_the_number_of_impostor_comparisons_follows_the_draw():
    vectors = vectors_of(40, 5, failed=())
    found = comparisons(vectors, count(vectors))
    assert found.impostors(np.ones(5)) == len(found.impostor)
    weights = np.array([0.0, 2.0, 1.0, 0.0, 3.0])
    assert found.impostors(weights) == (weights[found.impostor_a] * weights[found.impostor_b]).sum()


def test_many_pictures_stay_within_bounded_memory():
    import tracemalloc

    chance = np.random.default_rng(4)
    rows = chance.standard_normal((4000, 32)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    vectors = Vectors(rows, rows, np.ones(4000, bool), np.arange(4000) // 4, 1000)
    tracemalloc.start()
    try:
        scores = count(vectors)
        comparisons(vectors, scores)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert scores.genuine_total + scores.impostor_total == 4000 * 3999 // 2
    assert peak < 250_000_000
