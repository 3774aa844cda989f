"""Threshold: from the site's budget of errors to the cosine at which a person is taken for known.

The site says which share of strangers' tries may pass (`fpir`); with N templates compared, one comparison may err
with FMR = fpir / N, so the threshold rises with the gallery. The card's measured points say at which score that is,
and the site's own people, compared with each other, are a free sample of impostors: the stricter of the two holds.
No rate below 10 / comparisons is ever read out of a sample: there the strictest measured score holds, and the
Threshold says which FPIR can be stated, which is what every population supports: the visitors may be like any of
them. Called by the app at each change of the gallery, and by `doorctl`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from device.errors import ModelMismatch
from device.face.card import OperatingPoint, Population
from device.face.gallery import Gallery, Rows
from device.face.types import Floats

LEAST_EVENTS = 10  # ISO/IEC 19795-1's rule of 30 asks for more; 10 events give a rate to within half and double
COMPARISONS = 2_000_000  # of the site's own people with each other, about: a tenth of a second
LEAST_ROWS = 200


@dataclass(frozen=True, slots=True)
class SiteScores:
    """Scores of different people of the site with each other, one template of each.

    highest  the highest of them, descending; no more than `site_scores` was asked to keep
    """

    people: int
    comparisons: int
    highest: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class StatedRate:
    """What one sample of people lets us say at a threshold: one comparison's FMR, and the FPIR that follows."""

    population: str
    fmr: float
    fpir: float


@dataclass(frozen=True, slots=True)
class Threshold:
    """The cosine from which a candidate counts, and what may be said of it.

    fmr            false match rate of one comparison that every population supports at this score
    stated_fpir    share of strangers' tries that pass at most, at this size of the gallery; 1 = nothing can be said
    is_budget_met  whether that is within what the site asked for
    rates          the same for each population; the small ones reach less far
    why            one line for the status page and the installer
    """

    score: float
    fmr: float
    stated_fpir: float
    is_budget_met: bool
    why: str
    rates: tuple[StatedRate, ...] = ()


def threshold_for(
    populations: Sequence[Population], fpir: float, gallery_size: int, site: SiteScores | None = None
) -> Threshold:
    """The threshold for a gallery of so many templates (1 for a comparison 1:1).

    ModelMismatch where no population has a usable operating point: without one nobody can be let in.
    """
    size = max(gallery_size, 1)
    wanted = fpir / size
    curves = [curve for curve in map(_curve, populations) if curve.points]
    if not curves:
        raise ModelMismatch("the pack's card has no operating points; measure them with `doorctl evaluate calibrate`")
    from_card = max(curve.score_at(wanted) for curve in curves)
    from_site = _site_score(site, wanted)
    score = from_card if from_site is None else max(from_card, from_site)
    rates = [StatedRate(curve.name, curve.fmr_at(score), _fpir(curve.fmr_at(score), size)) for curve in curves]
    stated = max(rates, key=lambda rate: rate.fmr)
    reasons = _reasons(stated, rates, fpir, size) + _suspects(site, curves)
    if score > from_card:
        reasons.append("the site's own people are more alike than the measured ones: the threshold is raised")
    return Threshold(score, stated.fmr, stated.fpir, _is_within(stated.fpir, fpir), "; ".join(reasons), tuple(rates))


def site_scores(gallery: Gallery, rows: int | None = None, keep: int = 1000) -> SiteScores:
    """Scores of the gallery's people with each other: `rows` of them with everybody, each pair once.

    Without `rows`, everybody with everybody up to about COMPARISONS, and never fewer than LEAST_ROWS. Which are
    taken follows from their random ids alone, so that the same gallery always gives the same scores.
    """
    places = _one_row_each(gallery)
    people = len(places)
    if people < 2:
        return SiteScores(people, 0, ())
    asked = max(LEAST_ROWS, COMPARISONS // people) if rows is None else rows
    sample = max(1, min(asked, people - 1))
    highest = np.empty(0, np.float32)
    probes = _unit_rows(gallery, places[:sample])
    for start in range(0, people, 4096):
        part = _unit_rows(gallery, places[start : start + 4096])
        highest = _merge(highest, probes, part, start, keep)
    comparisons = sample * (people - 1) - sample * (sample - 1) // 2
    return SiteScores(people, comparisons, tuple(float(score) for score in highest.clip(-1.0, 1.0)))


@dataclass(frozen=True, slots=True)
class _Curve:
    """A population's usable points, fmr falling and score rising."""

    name: str
    points: tuple[OperatingPoint, ...]

    @property
    def least_fmr(self) -> float:
        return self.points[-1].fmr

    def score_at(self, fmr: float) -> float:
        """Straight line between points over the logarithm of FMR; the end points beyond them."""
        rarity = [-math.log(point.fmr) for point in self.points]
        return float(np.interp(-math.log(fmr), rarity, [point.score for point in self.points]))

    def fmr_at(self, score: float) -> float:
        """The inverse, never below the least measured; 1 below the first point's score, where nothing is known."""
        if score < self.points[0].score:
            return 1.0
        # Of points that share a score the least FMR holds, as in score_at.
        last = max(i for i, point in enumerate(self.points) if point.score <= score)
        if last == len(self.points) - 1:
            return self.least_fmr
        low, high = self.points[last], self.points[last + 1]
        share = (score - low.score) / (high.score - low.score)
        return math.exp(math.log(low.fmr) + share * (math.log(high.fmr) - math.log(low.fmr)))


def _curve(population: Population) -> _Curve:
    """The points that the population's size supports; a score never falls as the rate does."""
    floor = LEAST_EVENTS / max(population.impostor_comparisons, 1)
    points: list[OperatingPoint] = []
    for point in sorted(population.points, key=lambda point: -point.fmr):
        if not (0 < point.fmr <= 1 and -1 <= point.score <= 1):
            raise ModelMismatch(f"the pack's card states an impossible operating point for {population.name}: "
                                f"FMR {point.fmr}, score {point.score}; rebuild the pack with `doorctl models build`")
        if point.fmr >= floor * (1 - 1e-9):
            score = max(point.score, points[-1].score) if points else point.score
            points.append(OperatingPoint(point.fmr, score))
    return _Curve(population.name, tuple(points))


def _site_score(site: SiteScores | None, fmr: float) -> float | None:
    """The score that a share `fmr` of the site's comparisons reaches, or its tenth highest where that is rarer."""
    if site is None or len(site.highest) < LEAST_EVENTS:
        return None
    rank = min(max(LEAST_EVENTS, math.floor(fmr * site.comparisons)), len(site.highest))
    # Just above, so that the counted ones do not pass: whoever reaches the threshold is let in.
    return min(site.highest[rank - 1] + 1e-6, 1.0)


def _reasons(stated: StatedRate, rates: Sequence[StatedRate], fpir: float, size: int) -> list[str]:
    if _is_within(stated.fpir, fpir):
        return [f"FPIR {fpir:.2g} is met with a gallery of {size} on {', '.join(rate.population for rate in rates)}"]
    lines = [f"FPIR {fpir:.2g} cannot be stated with a gallery of {size}: {stated.population} supports no less than "
             f"{stated.fpir:.2g}; ask for a card or PIN beside the face"]
    lines += [f"{rate.population} supports {'it' if _is_within(rate.fpir, fpir) else f'no less than {rate.fpir:.2g}'}"
              for rate in rates if rate is not stated]
    return lines


def _suspects(site: SiteScores | None, curves: Sequence[_Curve]) -> list[str]:
    """Pairs of different people more alike than the strictest point that was measured: twins, or enrolled twice."""
    if site is None:
        return []
    limit = max(curve.points[-1].score for curve in curves)
    pairs = sum(score > limit for score in site.highest)
    if pairs == 0:
        return []
    return [f"{pairs} of {site.comparisons} pairs of this site's people score above {limit:.3f}: "
            "look for persons who are enrolled twice"]


def _fpir(fmr: float, size: int) -> float:
    return min(fmr * size, 1.0)


def _is_within(stated: float, wanted: float) -> bool:
    return stated <= wanted * (1 + 1e-9)  # the interpolation and its inverse round


def _one_row_each(gallery: Gallery) -> Rows:
    """One place per person (their template with the lowest id), in the order of the persons' ids."""
    rows = gallery.live_rows()
    high, low = gallery.person_keys(rows)
    template_high, template_low = gallery.template_keys(rows)
    order = np.lexsort((template_low, template_high, low, high))
    is_first = np.ones(len(rows), bool)
    is_first[1:] = (high[order][1:] != high[order][:-1]) | (low[order][1:] != low[order][:-1])
    return rows[order][is_first]


def _unit_rows(gallery: Gallery, places: Rows) -> Floats:
    units: Floats = gallery.rows[places].astype(np.float32) * gallery.scales[places][:, None]
    return units


def _merge(highest: Floats, probes: Floats, part: Floats, start: int, keep: int) -> Floats:
    """The highest `keep` of what was kept and of the probes' scores with people `start`... , each pair once."""
    for first in range(0, len(probes), 256):
        block = probes[first : first + 256] @ part.T
        later = np.arange(start, start + len(part))[None, :] > np.arange(first, first + len(block))[:, None]
        least = highest[-1] if len(highest) == keep else np.float32(-2.0)
        highest = np.concatenate([highest, block[later & (block > least)]])
        highest = -np.sort(-highest)[:keep]
    return highest
