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

    A round that drew none of the comparisons that a rate is of says nothing of that rate and is left out.
    """
    rounds = _Rounds(comparisons)
    eer, *columns = zip(*(rounds.draw(weights, fmrs, thresholds) for weights in _draws(comparisons.people)),
                        strict=True)
    genuine = len(np.unique(comparisons.genuine_person))
    impostor = min(comparisons.people, round(comparisons.impostors(np.ones(comparisons.people))))
    wanted, each = len(fmrs), len(thresholds)
    tmr, of_made = columns[:wanted], columns[wanted:2 * wanted]
    fmr_at, tmr_at = columns[2 * wanted:2 * wanted + each], columns[2 * wanted + each:]
    return VerificationIntervals(
        _span(eer, genuine), tuple(_span(column, genuine) for column in tmr),
        tuple(_span(column, genuine) for column in of_made),
        tuple((_span(fmr, impostor), _span(rate, genuine)) for fmr, rate in zip(fmr_at, tmr_at, strict=True)))


def _span(column: Sequence[float | None], people: int) -> Interval | None:
    """The interval of a rate over the rounds: nan where a round says nothing, None where it cannot be told."""
    rates = [rate for rate in column if rate is not None and not math.isnan(rate)]
    return None if None in column or len(rates) < LEAST_ROUNDS else _percentiles(np.array(rates), people)


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

    def draw(self, weights: Doubles, fmrs: Sequence[float | None], thresholds: Sequence[float]) -> list[float | None]:
        """[EER, TMR at each FMR, the same of those made, FMR at each threshold, TMR at each threshold] with every
        person counted `weights` times; nan where no comparison was drawn that a rate is of."""
        genuine = np.concatenate(([0.0], np.cumsum(weights[self._genuine_person])))
        impostor = np.concatenate(([0.0], np.cumsum(weights[self._a] * weights[self._b])))
        total = self._impostors(weights)
        has_both = bool(total and genuine[-1])
        made = float(genuine[self._made] / genuine[-1]) if genuine[-1] else 0.0
        tmr = [None if fmr is None else self._tmr(genuine, impostor[1:], total, fmr) if has_both else math.nan
               for fmr in fmrs]
        return [self._eer(genuine, impostor[1:], total) if has_both else math.nan, *tmr,
                *(None if rate is None or not made else rate / made for rate in tmr),
                *(self._fmr(impostor, total, threshold) if total else math.nan for threshold in thresholds),
                *(float(genuine[_reached(self._genuine, threshold)] / genuine[-1]) if genuine[-1] else math.nan
                  for threshold in thresholds)]

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
