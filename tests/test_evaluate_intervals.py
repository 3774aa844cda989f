"""95 % intervals: against known values, and against what they must cover."""

import numpy as np
import pytest

from device.evaluate.allpairs import Vectors, comparisons, count
from device.evaluate.intervals import (
    ratio_interval,
    share_interval,
    upper_thresholds,
    verification_intervals,
    wilson,
)
from device.evaluate.metrics import eer, threshold_at, tmr_at_fmr


def test_wilson_is_the_published_interval():
    # Newcombe 1998, table I: 81 of 263 and 15 of 148 and 0 of 20.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(0, 0) is None


def test_pictures_of_one_person_count_as_one_person():
    chance = np.random.default_rng(2)
    person = np.repeat(np.arange(40), 50)
    by_person = np.repeat(chance.random(40) < 0.3, 50)
    low, high = share_interval(by_person, person)
    alone = share_interval(by_person, np.arange(len(person)))
    assert low < by_person.mean() < high
    assert high - low > 4 * (alone[1] - alone[0])


def test_no_error_at_all_still_has_an_interval():
    low, high = share_interval(np.zeros(60, bool), np.repeat(np.arange(6), 10))
    assert (low, high) == pytest.approx(wilson(0, 6))
    assert share_interval(np.zeros(0, bool), np.zeros(0, np.int64)) is None
    assert ratio_interval(np.zeros(3), np.zeros(3), np.arange(3)) is None
    assert ratio_interval(np.full(3, 2.0), np.ones(3), np.arange(3)) == (2.0, 2.0)


def people_of_vectors(people=60, pictures=6, spread=0.9, seed=5):
    """Directions around a centre per person, so that both kinds of error happen."""
    chance = np.random.default_rng(seed)
    centres = chance.standard_normal((people, 16))
    rows = np.repeat(centres, pictures, axis=0) + spread * chance.standard_normal((people * pictures, 16))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    person = np.repeat(np.arange(people), pictures)
    return Vectors(rows, rows, np.ones(len(rows), bool), person.astype(np.int64), people)


def test_intervals_hold_the_rates_that_were_measured():
    vectors = people_of_vectors()
    scores = count(vectors)
    found = verification_intervals(comparisons(vectors, scores), [1e-2, 1e-3, None])
    assert found.eer[0] < eer(scores) < found.eer[1]
    for fmr, interval in zip((1e-2, 1e-3), found.tmr, strict=False):
        assert interval[0] < tmr_at_fmr(scores, fmr) < interval[1]
    assert found.tmr[2] is None


@pytest.mark.parametrize("people", [2, 3, 4])
def test_a_draw_without_two_people_does_not_void_the_others(people):
    vectors = people_of_vectors(people, 30, spread=1.5)
    found = verification_intervals(comparisons(vectors, count(vectors)), [1e-1], [0.5])
    assert found.eer[0] < eer(count(vectors)) < found.eer[1]
    assert found.tmr[0] is not None
    assert None not in found.fixed[0]


def test_one_person_alone_has_an_interval_of_what_needs_no_other():
    vectors = people_of_vectors(1, 10)
    found = verification_intervals(comparisons(vectors, count(vectors)), [1e-1], [-1.0])
    assert (found.eer, found.tmr, found.of_made) == (None, (None,), (None,))
    (fmr_95, tmr_95), = found.fixed
    assert fmr_95 is None
    assert tmr_95 == pytest.approx(wilson(1, 1))


def test_people_with_one_picture_each_have_an_interval_of_false_matches():
    vectors = people_of_vectors(60, 1)
    made = comparisons(vectors, count(vectors))
    found = verification_intervals(made, [1e-2], [0.4])
    assert (found.eer, found.tmr) == (None, (None,))
    (fmr_95, tmr_95), = found.fixed
    assert 0 < fmr_95[0] < np.mean(made.impostor >= 0.4) < fmr_95[1]
    assert tmr_95 is None


def test_rates_at_a_threshold_have_the_intervals_of_their_definition():
    vectors = people_of_vectors()
    made = comparisons(vectors, count(vectors))
    (fmr_95, tmr_95), = verification_intervals(made, [], [0.6]).fixed
    assert fmr_95[0] < np.mean(made.impostor >= 0.6) < fmr_95[1]
    assert tmr_95[0] < np.mean(made.genuine >= 0.6) < tmr_95[1]
    assert tmr_95 == pytest.approx(share_interval(made.genuine >= 0.6, made.genuine_person), abs=1e-9)


def test_of_the_comparisons_made_more_match_than_of_all():
    vectors = people_of_vectors(40, 6)
    vectors.is_acquired[::7] = False
    found = verification_intervals(comparisons(vectors, count(vectors)), [1e-1])
    assert found.of_made[0][0] > found.tmr[0][0]
    assert found.of_made[0][1] > found.tmr[0][1]


def test_the_interval_covers_the_rate_of_other_people():
    """Of ten samples of people, most intervals must hold the rate of a thousand others."""
    truth = eer(count(people_of_vectors(400, 6, seed=99)))
    found = []
    for seed in range(10):
        vectors = people_of_vectors(40, 6, seed=seed)
        found.append(verification_intervals(comparisons(vectors, count(vectors)), []).eer)
    assert sum(low <= truth <= high for low, high in found) >= 8
    assert sum(low <= truth + 0.05 <= high for low, high in found) <= 2


def test_upper_thresholds_lie_above_the_measured_ones():
    vectors = people_of_vectors()
    scores = count(vectors)
    uppers = upper_thresholds(comparisons(vectors, scores), [1e-2, 1e-3])
    for fmr, upper in zip((1e-2, 1e-3), uppers, strict=True):
        assert threshold_at(scores, fmr) < upper < threshold_at(scores, fmr) + 0.1


def test_the_same_run_gives_the_same_interval():
    vectors = people_of_vectors(20, 4)
    one, other = (verification_intervals(comparisons(vectors, count(vectors)), [1e-2]) for _ in range(2))
    assert one == other
