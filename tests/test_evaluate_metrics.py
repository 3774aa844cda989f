"""Error rates beside their definitions, computed one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.evaluate.metrics import (
    BINS,
    PER_UNIT,
    best_threshold,
    cross_validate,
    curve,
    eer,
    fmr_at,
    is_stated,
    open_set,
    tally,
    threshold_at,
    tmr_at,
    tmr_at_fmr,
)

# Scores on a coarse grid that float32 holds exactly, so that the counted grid can be checked to the last one.
SCORES = st.lists(st.integers(-64, 64).map(lambda n: n / 64), min_size=1, max_size=60)


def test_rates_of_a_case_done_by_hand():
    scores = tally([0.9, 0.8, 0.7, 0.2], [0.6] + [0.1] * 99)
    assert fmr_at(scores, 0.5) == 0.01
    assert tmr_at(scores, 0.5) == 0.75
    assert tmr_at(scores, 0.75) == 0.5
    assert threshold_at(scores, 0.1) == pytest.approx(0.1, abs=2 / PER_UNIT)
    assert tmr_at_fmr(scores, 0.1) == 1.0
    # Above .1 and up to .2 no genuine score is lost and one impostor in a hundred passes.
    assert eer(scores) == pytest.approx(0.005)


def test_a_rate_below_ten_errors_is_not_stated():
    impostor = np.linspace(-0.5, 0.5, 1000)
    scores = tally([0.9], impostor)
    assert tmr_at_fmr(scores, 0.01) == 1.0
    assert tmr_at_fmr(scores, 0.0099) is None
    assert is_stated(1e-5, 1_000_000)
    assert not is_stated(1e-5, 999_999)
    assert not is_stated(1e-5, 0)


def test_without_one_kind_of_comparison_there_is_no_rate():
    assert eer(tally([0.5], [])) is None
    assert eer(tally([], [0.5])) is None
    assert tmr_at(tally([], [0.5]), 0.1) is None
    assert fmr_at(tally([0.5], []), 0.1) is None
    assert tmr_at_fmr(tally([0.5], []), 0.1) is None


@settings(deadline=None, max_examples=60)
@given(SCORES, SCORES, st.integers(-64, 64).map(lambda n: n / 64))
def test_counted_rates_are_those_of_the_definition(genuine, impostor, threshold):
    scores = tally(genuine, impostor)
    assert fmr_at(scores, threshold) == np.mean(np.array(impostor) >= threshold)
    assert tmr_at(scores, threshold) == np.mean(np.array(genuine) >= threshold)


@settings(deadline=None, max_examples=60)
@given(SCORES, SCORES)
def test_the_equal_error_rate_is_where_both_rates_are_nearest(genuine, impostor):
    places = sorted({-1.0, 2.0, *genuine, *impostor, *(s + 1 / PER_UNIT for s in (*genuine, *impostor))})
    rates = [(np.mean(np.array(impostor) >= t), np.mean(np.array(genuine) < t)) for t in places]
    nearest = min(abs(fmr - fnmr) for fmr, fnmr in rates)
    found = eer(tally(genuine, impostor))
    assert any(abs(fmr - fnmr) == pytest.approx(nearest) and found == pytest.approx((fmr + fnmr) / 2)
               for fmr, fnmr in rates)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(-2**20, 2**20).map(lambda n: n / 2**20), min_size=20, max_size=200),
       st.sampled_from([0.5, 0.1, 0.05]))
def test_the_threshold_keeps_its_rate_and_is_the_lowest_that_does(impostor, fmr):
    scores = tally([0.0], impostor)
    threshold = threshold_at(scores, fmr)
    if threshold is None:
        assert fmr * len(impostor) < 10
        return
    assert np.mean(np.array(impostor) >= threshold) <= fmr
    below = threshold - 1 / PER_UNIT
    assert threshold == -1.0 or np.mean(np.array(impostor) >= below) > fmr


def test_the_curve_falls_and_rises():
    chance = np.random.default_rng(1)
    fmr, fnmr, thresholds = curve(tally(chance.normal(0.6, 0.1, 500), chance.normal(0.0, 0.1, 500)))
    assert len(fmr) == BINS + 1
    assert (np.diff(fmr) <= 0).all()
    assert (np.diff(fnmr) >= 0).all()
    assert (fmr[0], fnmr[0], fmr[-1], fnmr[-1]) == (1.0, 0.0, 0.0, 1.0)
    assert thresholds[0] == -1.0


def test_folds_are_judged_at_the_threshold_of_the_others():
    # Fold "a" is parted at .5, fold "b" at .1: each is judged by the other's threshold.
    scores = np.array([0.6, 0.4, 0.2, 0.0], np.float32)
    is_same = np.array([True, False, True, False])
    folds = cross_validate(scores, is_same, ["a", "a", "b", "b"])
    assert folds is not None
    assert folds.accuracies.tolist() == [0.5, 0.5]
    assert folds.right.tolist() == [True, False, False, True]
    assert cross_validate(scores, is_same, ["a"] * 4) is None


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(-20, 20), st.booleans()), min_size=1, max_size=40))
def test_no_threshold_is_better_than_the_best_one(pairs):
    scores = np.array([score / 20 for score, _ in pairs], np.float32)
    is_same = np.array([same for _, same in pairs])

    def right(threshold):
        return int(((scores >= threshold) == is_same).sum())

    assert right(best_threshold(scores, is_same)) == max(right(t) for t in (*scores, 2.0))


def test_open_set_rates_of_a_case_done_by_hand():
    mated = np.array([0.9, 0.8, 0.4, 0.7, -1.0], np.float32)
    is_right = np.array([True, True, True, False, False])
    rates = open_set(mated, is_right, np.array([0.6, 0.1, 0.2, -1.0], np.float32), 0.5)
    assert rates.rank1 == 0.6
    assert rates.fnir == 0.6
    assert rates.fpir == 0.25
    nobody = open_set(mated, is_right, np.empty(0, np.float32), 0.5)
    assert nobody.fpir is None
