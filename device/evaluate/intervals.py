"""95 % intervals of error rates.

Comparisons that share a person are not independent: sixty pictures of one face give 1 770 genuine comparisons and
still one face. So the people are drawn again with replacement, and every comparison counts as often as its people
were drawn (the subset bootstrap of Bolle, Ratha and Pankanti, 2004); the threshold of a wanted FMR is found anew in
every round. Where all rounds agree, because there was no error or nothing but errors, or because there are but two
people, the Wilson interval of as many trials as there were people is given instead of one of width 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from device.evaluate.metrics import NOT_ACQUIRED, Doubles, Scores

ROUNDS = 200
Z95 = 1.959963984540054
METHOD = f"people drawn again with replacement, {ROUNDS} rounds, 2.5 to 97.5 percentile"
_SEED = 19795
LEAST_ROUNDS = 50
"""Of ROUNDS; percentiles of fewer say nothing. Of two people both are drawn in half of the rounds."""

Interval = tuple[float, float]
Numbers = npt.NDArray[np.int64]


def wilson(events: float, trials: float) -> Interval | None:
    """The interval of a share of independent trials (Wilson 1927); None without trials."""
    if trials <= 0:
        return None
    share, z2 = events / trials, Z95 * Z95
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z95 / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials))
    return max(0.0, middle - half), min(1.0, middle + half)


def share_interval(is_event: npt.NDArray[np.bool_], person: npt.NDArray[np.int64]) -> Interval | None:
    """The interval of a share of trials that are grouped by person; None without trials."""
    return ratio_interval(is_event.astype(np.float64), np.ones(len(is_event)), person)


def ratio_interval(events: Doubles, trials: Doubles, group: npt.NDArray[np.int64]) -> Interval | None:
    """The interval of Σ events ÷ Σ trials, where the groups (people, pictures) are drawn again."""
    if not len(trials) or not trials.sum():
        return None
    groups = int(group.max()) + 1
    per_event, per_trial = (np.bincount(group, values, groups) for values in (events, trials))
    is_used = per_trial > 0
    per_event, per_trial = per_event[is_used], per_trial[is_used]
    draws = [(float(w @ per_event), float(w @ per_trial)) for w in _draws(len(per_trial))]
    rates = np.array([e / t for e, t in draws if t])
    return _percentiles(rates, len(per_trial))


@dataclass(frozen=True, slots=True, eq=False)
class Comparisons:
    """What the bootstrap of a verification needs: every genuine score, and the impostor scores from `floor` up.

    people        how many there are; the arrays of people hold their numbers
    genuine       score and person of each genuine comparison
    impostor      score and both people of each impostor comparison with a score of at least `floor`
    impostors     how many impostor comparisons there are in all, given how often each person was drawn
    """

    people: int
    genuine: Scores
    genuine_person: Numbers
    impostor: Scores
    impostor_a: Numbers
    impostor_b: Numbers
    floor: float
    impostors: Callable[[Doubles], float]


@dataclass(frozen=True, slots=True)
class VerificationIntervals:
    """95 % intervals; None where there is too little to say one.

    tmr      at each wanted FMR
    of_made  the same over those genuine comparisons alone that had a face on both sides
    fixed    (FMR, TMR) at each given threshold
    """

    eer: Interval | None
    tmr: tuple[Interval | None, ...]
    of_made: tuple[Interval | None, ...] = ()
    fixed: tuple[tuple[Interval | None, Interval | None], ...] = ()


def verification_intervals(comparisons: Comparisons, fmrs: Sequence[float | None],
                           thresholds: Sequence[float] = ()) -> VerificationIntervals:
    """Intervals for the FMRs given (a None among them, a rate that is not stated, gives None) and at thresholds.

    A round that drew no two people, so that it has no impostor comparison, says nothing and is left out.
    """
    rounds = _Rounds(comparisons)
    drawn = [found for found in (rounds.draw(weights, fmrs, thresholds) for weights in _draws(comparisons.people))
             if found is not None]
    if len(drawn) < LEAST_ROUNDS:
        nothing = (None,) * len(fmrs)
        return VerificationIntervals(None, nothing, nothing, ((None, None),) * len(thresholds))
    people = len(np.unique(comparisons.genuine_person))
    eer, *spans = (_percentiles(np.array(column), people) if None not in column else None
                   for column in zip(*drawn, strict=True))
    wanted, each = len(fmrs), len(thresholds)
    tmr, of_made, fixed = spans[:wanted], spans[wanted:2 * wanted], spans[2 * wanted:]
    return VerificationIntervals(eer, tuple(tmr), tuple(of_made),
                                 tuple(zip(fixed[:each], fixed[each:], strict=True)))


def upper_thresholds(comparisons: Comparisons, fmrs: Sequence[float]) -> list[float | None]:
    """For each FMR the score at which 95 % of the rounds err no more often than that; None beyond what was kept."""
    rounds = _Rounds(comparisons)
    drawn = [rounds.thresholds(weights, fmrs) for weights in _draws(comparisons.people)]
    return [None if None in column else float(np.quantile(np.array(column, np.float64), 0.95))
            for column in zip(*drawn, strict=True)]


class _Rounds:
    """The comparisons sorted once, so that a round is a few cumulative sums."""

    def __init__(self, comparisons: Comparisons) -> None:
        genuine_order = np.argsort(-comparisons.genuine, kind="stable")
        self._genuine_person = comparisons.genuine_person[genuine_order]
        order = np.argsort(-comparisons.impostor, kind="stable")
        self._score = comparisons.impostor[order]
        self._a, self._b = comparisons.impostor_a[order], comparisons.impostor_b[order]
        self._impostors = comparisons.impostors
        self._is_whole = comparisons.floor <= -1.0
        self._genuine = descending = comparisons.genuine[genuine_order]
        self._made = int(np.count_nonzero(descending > NOT_ACQUIRED))
        # How many genuine scores are strictly above each impostor score: a threshold just above that score.
        self._genuine_above = np.searchsorted(-descending, -self._score, side="left")

    def draw(self, weights: Doubles, fmrs: Sequence[float | None],
             thresholds: Sequence[float]) -> list[float | None] | None:
        """[EER, TMR at each FMR, the same of those made, FMR at each threshold, TMR at each threshold] with every
        person counted `weights` times; None where one kind of comparison is missing."""
        genuine = np.concatenate(([0.0], np.cumsum(weights[self._genuine_person])))
        impostor = np.concatenate(([0.0], np.cumsum(weights[self._a] * weights[self._b])))
        total = self._impostors(weights)
        if not total or not genuine[-1]:
            return None
        made = float(genuine[self._made] / genuine[-1])
        tmr = [None if fmr is None else self._tmr(genuine, impostor[1:], total, fmr) for fmr in fmrs]
        return [self._eer(genuine, impostor[1:], total), *tmr,
                *(None if rate is None or not made else rate / made for rate in tmr),
                *(self._fmr(impostor, total, threshold) for threshold in thresholds),
                *(float(genuine[_reached(self._genuine, threshold)] / genuine[-1]) for threshold in thresholds)]

    def thresholds(self, weights: Doubles, fmrs: Sequence[float]) -> list[float | None]:
        """The score just above which each FMR is kept, with every person counted `weights` times."""
        impostor = np.cumsum(weights[self._a] * weights[self._b])
        places = [int(np.searchsorted(impostor, fmr * self._impostors(weights) * (1 + 1e-12), side="right"))
                  for fmr in fmrs]
        beyond = -1.0 if self._is_whole else None
        return [float(self._score[place]) if place < len(impostor) else beyond for place in places]

    def _tmr(self, genuine: Doubles, impostor: Doubles, total: float, fmr: float) -> float | None:
        first_too_many = int(np.searchsorted(impostor, fmr * total * (1 + 1e-12), side="right"))
        if first_too_many == len(impostor):
            return 1.0 if self._is_whole else None
        return float(genuine[self._genuine_above[first_too_many]] / genuine[-1])

    def _fmr(self, impostor: Doubles, total: float, threshold: float) -> float | None:
        place = _reached(self._score, threshold)
        return float(impostor[place] / total) if self._is_whole or place < len(self._score) else None

    def _eer(self, genuine: Doubles, impostor: Doubles, total: float) -> float | None:
        if not len(impostor):
            return 0.0 if self._is_whole else None
        before = np.concatenate(([0.0], impostor[:-1])) / total
        fnmr = 1.0 - genuine[self._genuine_above] / genuine[-1]
        nearest = int(np.argmin(np.abs(before - fnmr)))
        if nearest == len(impostor) - 1 and not self._is_whole:
            return None
        return float((before[nearest] + fnmr[nearest]) / 2)


def _reached(descending: Scores, threshold: float) -> int:
    """How many of the scores are at least the threshold."""
    return int(np.searchsorted(-descending, -np.float32(threshold), side="right"))


def _draws(people: int) -> list[Doubles]:
    # Seeded: the same run gives the same interval.
    chance = np.random.default_rng(_SEED)
    return list(chance.multinomial(people, np.full(people, 1.0 / people), ROUNDS).astype(np.float64))


def _percentiles(rates: Doubles, people: int) -> Interval | None:
    if not len(rates):
        return None
    low, high = (float(v) for v in np.percentile(rates, (2.5, 97.5)))
    if high - low < 1e-12 and low <= 1.0:  # counts per picture may be higher, and are no share
        return wilson(low * people, people)
    return low, high
