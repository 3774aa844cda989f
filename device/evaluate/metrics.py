"""Error rates of comparisons, in the terms of ISO/IEC 19795-1: pure functions of scores.

A comparison matches where its score is at least the threshold. FMR is the share of impostor comparisons that
match, FNMR the share of genuine ones that do not, TMR = 1 − FNMR. A comparison that could not be made, because a
picture gave no face, counts with the score −1: an error where it was genuine, right where it was impostor.

Scores are counted on a grid of 2⁻¹⁶, so that the memory does not depend on how many there are; every count at a
threshold on the grid is exact, and a threshold between two steps counts as the upper one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

NOT_ACQUIRED = -1.0
PER_UNIT = 65536
BINS = 2 * PER_UNIT + 1
# Fewer errors than ten say too little of a rate (the "rule of 30" would be stricter: Doddington 2000).
LEAST_ERRORS = 10

Counts = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """How many genuine and impostor comparisons fell on each step of the grid; filled in place by `add`."""

    genuine: Counts = field(default_factory=lambda: np.zeros(BINS, np.int64))
    impostor: Counts = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, genuine: Scores, impostor: Scores) -> None:
        """Count scores; each array may be empty."""
        for total, scores in ((self.genuine, genuine), (self.impostor, impostor)):
            np.add(total, np.bincount(steps(scores), minlength=BINS), out=total)

    @property
    def genuine_total(self) -> int:
        return int(self.genuine.sum())

    @property
    def impostor_total(self) -> int:
        return int(self.impostor.sum())


def tally(genuine: npt.ArrayLike, impostor: npt.ArrayLike) -> Tally:
    """A Tally of two lists of scores."""
    result = Tally()
    result.add(np.asarray(genuine, np.float32).ravel(), np.asarray(impostor, np.float32).ravel())
    return result


def steps(scores: Scores) -> npt.NDArray[np.int64]:
    """The step of the grid that each score has reached, 0..BINS−1."""
    reached = np.floor((scores.astype(np.float64) + 1.0) * PER_UNIT).astype(np.int64)
    clipped: npt.NDArray[np.int64] = np.clip(reached, 0, BINS - 1)
    return clipped


def score_of(step: int) -> float:
    """The score at which a step begins."""
    return step / PER_UNIT - 1.0


def at_or_above(counts: Counts) -> Counts:
    """For each threshold on the grid, and one above it all, how many scores reach it; BINS + 1 values."""
    above = np.zeros(BINS + 1, np.int64)
    above[:-1] = np.cumsum(counts[::-1])[::-1]
    return above


def is_stated(rate: float, comparisons: int) -> bool:
    """Whether so many impostor comparisons can say anything of this rate."""
    return comparisons > 0 and rate * comparisons >= LEAST_ERRORS * (1 - 1e-9)


def stated(rate: float | None, comparisons: int) -> float | None:
    """The measured rate of errors among so many impostor comparisons; None where it rests on fewer than ten."""
    return rate if rate is not None and is_stated(rate, comparisons) else None


def threshold_at(scores: Tally, fmr: float) -> float | None:
    """The lowest threshold on the grid with no more than this FMR; None where the rate cannot be stated."""
    total = scores.impostor_total
    if not is_stated(fmr, total):
        return None
    above = at_or_above(scores.impostor)
    return score_of(int(np.argmax(above <= fmr * total * (1 + 1e-12))))


def tmr_at(scores: Tally, threshold: float) -> float | None:
    """The share of genuine comparisons at or above a threshold; None without genuine comparisons."""
    return _share_at(scores.genuine, threshold)


def fmr_at(scores: Tally, threshold: float) -> float | None:
    """The share of impostor comparisons at or above a threshold; None without impostor comparisons."""
    return _share_at(scores.impostor, threshold)


def tmr_at_fmr(scores: Tally, fmr: float) -> float | None:
    """TMR at the lowest threshold with no more than this FMR; None where the rate cannot be stated."""
    threshold = threshold_at(scores, fmr)
    return None if threshold is None else tmr_at(scores, threshold)


def eer(scores: Tally) -> float | None:
    """The rate at which FMR and FNMR are equal (their mean where they are nearest); None without both kinds."""
    if not scores.genuine_total or not scores.impostor_total:
        return None
    fmr, fnmr, _ = curve(scores)
    nearest = int(np.argmin(np.abs(fmr - fnmr)))
    return float((fmr[nearest] + fnmr[nearest]) / 2)


def eer_threshold(scores: Tally) -> float:
    """The threshold at which FMR and FNMR are nearest."""
    fmr, fnmr, thresholds = curve(scores)
    return float(thresholds[int(np.argmin(np.abs(fmr - fnmr)))])


def curve(scores: Tally) -> tuple[Doubles, Doubles, Doubles]:
    """(FMR, FNMR, threshold) at every step of the grid and above it: the DET curve."""
    fmr = at_or_above(scores.impostor) / max(scores.impostor_total, 1)
    fnmr = 1.0 - at_or_above(scores.genuine) / max(scores.genuine_total, 1)
    return fmr, fnmr, np.arange(BINS + 1) / PER_UNIT - 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Folds:
    """k-fold result: per pair whether it was judged rightly, per fold the share that was."""

    right: npt.NDArray[np.bool_]
    accuracies: Doubles

    @property
    def accuracy(self) -> float:
        return float(self.accuracies.mean())


def cross_validate(scores: Scores, is_same: npt.NDArray[np.bool_], folds: Sequence[str]) -> Folds | None:
    """The protocol of Labeled Faces in the Wild: each fold is judged at the threshold that suits the others best.

    None where there is one fold only, so that there are no others. (Huang et al. 2007, view 2)
    """
    names, fold = np.unique(np.asarray(folds), return_inverse=True)
    if len(names) < 2:
        return None
    right = np.zeros(len(scores), np.bool_)
    for number in range(len(names)):
        mine = fold == number
        right[mine] = (scores[mine] >= best_threshold(scores[~mine], is_same[~mine])) == is_same[mine]
    return Folds(right, np.array([right[fold == number].mean() for number in range(len(names))]))


def best_threshold(scores: Scores, is_same: npt.NDArray[np.bool_]) -> float:
    """A threshold at which most pairs are judged rightly; the middle one of those that are equally good."""
    genuine, impostor = np.sort(scores[is_same]), np.sort(scores[~is_same])
    places = np.unique(np.append(scores, np.float32(2.0)))
    right = (len(genuine) - np.searchsorted(genuine, places)) + np.searchsorted(impostor, places)
    best = np.flatnonzero(right == right.max())
    return float(places[best[len(best) // 2]])


@dataclass(frozen=True, slots=True)
class OpenSet:
    """Rates of an open-set 1:N search at one threshold (ISO/IEC 19795-1, 3.4): always with N.

    rank1  share of enrolled people's probes whose best candidate is right, whatever the score
    fnir   share of enrolled people's probes that do not find their person at or above the threshold
    fpir   share of strangers' probes that find anyone at or above it
    Each is None where there was no such probe.
    """

    rank1: float | None
    fnir: float | None
    fpir: float | None


def open_set(mated: Scores, is_right: npt.NDArray[np.bool_], non_mated: Scores, threshold: float) -> OpenSet:
    """Rates from the best candidate's score of each probe, and for enrolled people whether it is the right person."""
    return OpenSet(
        rank1=_mean(is_right),
        fnir=_mean(~(is_right & (mated >= threshold))),
        fpir=_mean(non_mated >= threshold),
    )


def _mean(values: npt.NDArray[np.bool_]) -> float | None:
    return float(values.mean()) if len(values) else None


def _share_at(counts: Counts, threshold: float) -> float | None:
    total = int(counts.sum())
    step = int(np.ceil((threshold + 1.0) * PER_UNIT))
    return int(counts[max(step, 0):].sum()) / total if total else None
