import math

import numpy as np
import pytest
from gallery_samples import a_person, an_id, gallery_of_rows, quantised, unit_rows
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from device.errors import ModelMismatch
from device.face.card import OperatingPoint, Population
from device.face.gallery import Gallery
from device.face.threshold import SiteScores, site_scores, threshold_for


def population(points, impostors=100_000_000, name="people"):
    return Population(name, "data", "command", 1000, impostors, tuple(OperatingPoint(*point) for point in points))


WIDE = population([(1e-2, 0.35), (1e-3, 0.45), (1e-4, 0.53), (1e-5, 0.60), (1e-6, 0.65)], name="wide")
SMALL = population([(1e-2, 0.50), (1e-3, 0.58)], 10_000, "small")


@st.composite
def populations(draw):
    rates = draw(st.lists(st.floats(1e-7, 0.5), min_size=1, max_size=8, unique=True))
    scores = draw(st.lists(st.floats(-0.2, 0.9), min_size=len(rates), max_size=len(rates)))
    points = list(zip(sorted(rates, reverse=True), sorted(scores), strict=True))
    return population(draw(st.permutations(points)), draw(st.integers(1, 10**9)))


cards = st.lists(populations(), min_size=1, max_size=3)
sites = st.none() | st.builds(
    lambda people, extra, scores: SiteScores(people, len(scores) + extra, tuple(sorted(scores, reverse=True))),
    st.integers(2, 5000), st.integers(0, 10**7), st.lists(st.floats(-1, 1), max_size=60))
budgets = st.floats(1e-6, 0.05)
sizes = st.integers(0, 1_000_000)


def has_points(card):
    return any(point.fmr >= 10 / each.impostor_comparisons for each in card for point in each.points)


@settings(max_examples=150, deadline=None)
@given(cards, budgets, sizes, sizes, sites)
def test_the_threshold_never_falls_as_the_gallery_grows(card, fpir, one, other, site):
    assume(has_points(card))
    small, large = sorted((one, other))
    assert threshold_for(card, fpir, small, site).score <= threshold_for(card, fpir, large, site).score


@settings(max_examples=150, deadline=None)
@given(cards, budgets, budgets, sizes, sites)
def test_the_threshold_never_falls_as_the_budget_shrinks(card, one, other, size, site):
    assume(has_points(card))
    strict, easy = sorted((one, other))
    assert threshold_for(card, strict, size, site).score >= threshold_for(card, easy, size, site).score


@settings(max_examples=150, deadline=None)
@given(cards, budgets, sizes, sites)
def test_no_rate_is_stated_that_was_not_measured(card, fpir, size, site):
    assume(has_points(card))
    threshold = threshold_for(card, fpir, size, site)
    assert threshold.fmr >= min(10 / each.impostor_comparisons for each in card) * (1 - 1e-9)
    assert threshold.fmr == max(rate.fmr for rate in threshold.rates)
    assert threshold.stated_fpir == pytest.approx(min(threshold.fmr * max(size, 1), 1))
    assert threshold.is_budget_met == (threshold.stated_fpir <= fpir * (1 + 1e-9))
    assert "\n" not in threshold.why
    measured = [point.score for each in card for point in each.points]
    if site is None:
        assert min(measured) <= threshold.score <= max(measured)


@settings(max_examples=150, deadline=None)
@given(cards, populations(), budgets, sizes)
def test_another_population_or_the_site_never_lowers_the_threshold(card, another, fpir, size):
    assume(has_points(card))
    alone = threshold_for(card, fpir, size).score
    assert threshold_for([*card, another], fpir, size).score >= alone
    alike = SiteScores(50, 1225, (0.95,) * 12)
    assert threshold_for(card, fpir, size, alike).score >= max(alone, 0.95)


def test_a_measured_point_gives_its_score():
    threshold = threshold_for([WIDE], 1e-2, 100)
    assert threshold.score == pytest.approx(0.53)
    assert threshold.fmr == pytest.approx(1e-4)
    assert threshold.stated_fpir == pytest.approx(1e-2)
    assert threshold.is_budget_met


def test_between_two_points_the_score_lies_on_the_logarithm():
    assert threshold_for([WIDE], math.sqrt(1e-3 * 1e-4), 1).score == pytest.approx((0.45 + 0.53) / 2)


def test_a_budget_beyond_the_data_gets_the_strictest_and_says_so():
    threshold = threshold_for([WIDE], 1e-3, 100_000)
    assert threshold.score == 0.65
    assert threshold.stated_fpir == pytest.approx(0.1)
    assert not threshold.is_budget_met
    assert "cannot be stated" in threshold.why
    assert "card or PIN" in threshold.why


def test_an_easy_budget_is_not_extrapolated_either():
    assert threshold_for([WIDE], 0.05, 1).score == 0.35


def test_points_below_ten_events_are_not_used():
    few = population([(1e-2, 0.35), (1e-3, 0.45), (1e-4, 0.99)], impostors=10_000)
    assert threshold_for([few], 1e-4, 1).score == 0.45


def test_the_strictest_population_decides_and_the_least_reaching_one_states():
    threshold = threshold_for([WIDE, SMALL], 1e-3, 20)
    assert threshold.score == 0.58
    assert threshold.fmr == pytest.approx(1e-3)
    assert threshold.stated_fpir == pytest.approx(0.02)
    assert not threshold.is_budget_met
    assert "small supports no less than 0.02" in threshold.why
    assert "wide supports it" in threshold.why
    assert {rate.population: rate.fpir for rate in threshold.rates}["wide"] < 1e-3


def test_a_budget_is_met_only_where_every_population_supports_it():
    threshold = threshold_for([WIDE, SMALL], 1e-2, 2)
    assert threshold.is_budget_met
    assert threshold.stated_fpir == max(rate.fpir for rate in threshold.rates)
    assert "met with a gallery of 2 on wide, small" in threshold.why
    assert threshold_for([WIDE, SMALL], 1e-2, 10_000).stated_fpir == 1.0


def test_a_sites_own_people_raise_the_threshold():
    site = SiteScores(1000, 499_500, tuple(0.9 - 0.01 * i for i in range(50)))
    threshold = threshold_for([WIDE], 1e-3, 1000, site)
    assert threshold.score == pytest.approx(0.81, abs=1e-5)
    assert sum(score >= threshold.score for score in site.highest) == 9
    assert "more alike than the measured ones" in threshold.why


def test_people_who_differ_leave_the_threshold_alone():
    site = SiteScores(1000, 499_500, (0.4,) * 50)
    assert threshold_for([WIDE], 1e-3, 1000, site) == threshold_for([WIDE], 1e-3, 1000)


def test_a_person_enrolled_twice_is_named_and_does_not_move_the_threshold():
    site = SiteScores(1000, 499_500, (0.93, 0.91) + (0.4,) * 50)
    threshold = threshold_for([WIDE], 1e-3, 1000, site)
    assert threshold.score == threshold_for([WIDE], 1e-3, 1000).score
    assert "2 of 499500 pairs" in threshold.why
    assert "enrolled twice" in threshold.why


def test_too_few_people_say_nothing():
    assert threshold_for([WIDE], 1e-3, 4, SiteScores(4, 6, (0.9,) * 6)).score == threshold_for([WIDE], 1e-3, 4).score


@pytest.mark.parametrize("card", [[], [population([])], [population([(1e-3, 0.5)], impostors=100)],
                                  [population([(1e-3, 0.5)], impostors=0)]])
def test_without_a_usable_operating_point_there_is_no_threshold(card):
    with pytest.raises(ModelMismatch, match="calibrate"):
        threshold_for(card, 1e-3, 10)


@pytest.mark.parametrize("point", [(0.0, 0.5), (-1e-3, 0.5), (2.0, 0.5), (1e-3, 1.5), (1e-3, -2.0),
                                   (float("nan"), 0.5), (1e-3, float("nan"))])
def test_an_impossible_operating_point_is_refused(point):
    with pytest.raises(ModelMismatch, match="impossible operating point for people"):
        threshold_for([WIDE, population([(1e-2, 0.4), point])], 1e-3, 10)


def cross_scores(vectors):
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return (units @ units.T)[np.triu_indices(len(units), 1)]


def test_site_scores_are_those_of_all_pairs_of_people():
    rows, _ = quantised(unit_rows(np.random.default_rng(1), 300, 48))
    site = site_scores(gallery_of_rows(rows))
    assert (site.people, site.comparisons) == (300, 44_850)
    assert np.allclose(site.highest, np.sort(cross_scores(rows.astype(float)))[::-1][:1000], atol=1e-5)


def test_a_persons_own_templates_are_no_impostors():
    vectors = unit_rows(np.random.default_rng(2), 40, 48)
    doubled = np.concatenate([vectors, vectors, vectors])
    site = site_scores(gallery_of_rows(quantised(doubled)[0], list(range(40)) * 3))
    assert (site.people, site.comparisons) == (40, 780)
    assert site.highest[0] < 0.9


def test_a_sample_of_the_site_is_bounded_and_always_the_same():
    rng = np.random.default_rng(3)
    rows, scales = quantised(unit_rows(rng, 9000, 32))
    site = site_scores(gallery_of_rows(rows), rows=3, keep=20)
    assert site.comparisons == 8999 + 8998 + 8997
    assert len(site.highest) == 20
    order = rng.permutation(9000)
    shuffled = Gallery.build("m", 32, [an_id(i) for i in order], [a_person(i) for i in order], rows[order],
                             scales[order])
    assert site_scores(shuffled, rows=3, keep=20) == site


def test_deleted_people_are_no_longer_in_the_sites_sample():
    vectors = unit_rows(np.random.default_rng(4), 30, 48)
    vectors[7] = vectors[8]
    gallery = gallery_of_rows(quantised(vectors)[0])
    assert site_scores(gallery).highest[0] > 0.99
    assert site_scores(gallery.next(drop=[an_id(7)])).highest[0] < 0.9


@pytest.mark.parametrize("count", [0, 1])
def test_a_site_without_pairs_has_no_scores(count):
    rows, _ = quantised(unit_rows(np.random.default_rng(5), 1, 16))
    gallery = gallery_of_rows(rows) if count else Gallery.empty("m", 16)
    assert site_scores(gallery) == SiteScores(count, 0, ())
