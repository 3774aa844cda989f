"""1:1 over a list of pairs, or over every two pictures: `doorctl evaluate verify`.

Of each pair the first picture gives the template, stored as int8 and always of two passes, as enrolment makes it, and
the second one the fresh probe. A pair in which either picture gave no face counts with the score −1: an error if
genuine, right if impostor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np

from device.errors import UsageError
from device.evaluate import allpairs
from device.evaluate.allpairs import Vectors
from device.evaluate.faces import Acquired
from device.evaluate.inputs import Labelled, Pair
from device.evaluate.intervals import (
    Comparisons,
    Interval,
    Numbers,
    share_interval,
    verification_intervals,
)
from device.evaluate.metrics import (
    NOT_ACQUIRED,
    Scores,
    Tally,
    cross_validate,
    eer,
    fmr_at,
    is_stated,
    stated,
    tally,
    threshold_at,
    tmr_at,
)
from device.face.template import quantise

FMRS = {"1e-2": 1e-2, "1e-3": 1e-3, "1e-4": 1e-4, "1e-5": 1e-5}


@dataclass(frozen=True, slots=True)
class AtThreshold:
    """What the comparisons say of one threshold; fmr is None where it rests on fewer than ten errors."""

    threshold: float
    fmr: float | None
    fmr_95: Interval | None
    tmr: float | None
    tmr_95: Interval | None


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """Error rates of 1:1 comparisons with their 95 % intervals; a rate that cannot be stated is None.

    made        how many genuine comparisons had a face on both sides
    accuracy    share of pairs judged rightly, by folds; None for all pairs, where it would only say how many
                impostor comparisons there are
    tmr         per wanted FMR of `FMRS`; thresholds holds the scores at which those were reached
    of_made     the same rate over those genuine comparisons alone that had a face on both sides
    fixed       at the thresholds that were asked for
    """

    scores: Tally
    pictures: int
    people: int
    made: int
    accuracy: float | None
    accuracy_95: Interval | None
    eer: float | None
    eer_95: Interval | None
    tmr: dict[str, float | None]
    tmr_95: dict[str, Interval | None]
    of_made: dict[str, float | None]
    of_made_95: dict[str, Interval | None]
    thresholds: dict[str, float | None]
    fixed: tuple[AtThreshold, ...]


def verify_pairs(pairs: Sequence[Pair], acquired: Acquired, at: Sequence[float] = ()) -> Verification:
    """Rates over the listed pairs; both pictures of each must be among those that could be read.

    at  thresholds of which the rates are wanted too
    """
    rows = acquired.rows
    a, b = (np.array([rows[name] for name in names], np.int64)
            for names in ((pair.a for pair in pairs), (pair.b for pair in pairs)))
    is_made = acquired.is_acquired[a] & acquired.is_acquired[b]
    scores = np.einsum("ij,ij->i", stored(acquired.templates)[a], acquired.probes[b])
    scores[~is_made] = NOT_ACQUIRED
    is_same = np.array([pair.is_same for pair in pairs], np.bool_)
    numbers, people = _numbered([shown_in(name) for name in acquired.names])
    one, other = numbers[a[~is_same]], numbers[b[~is_same]]
    comparisons = Comparisons(
        people=people, genuine=scores[is_same], genuine_person=numbers[a[is_same]], impostor=scores[~is_same],
        impostor_a=one, impostor_b=other, floor=-1.0,
        impostors=lambda weights: float((weights[one] * weights[other]).sum()))
    result = _verification(tally(scores[is_same], scores[~is_same]), comparisons, len(acquired.names),
                           int((is_same & is_made).sum()), at)
    folds = cross_validate(scores, is_same, [pair.fold for pair in pairs])
    if folds is None:
        return result
    return replace(result, accuracy=folds.accuracy, accuracy_95=share_interval(folds.right, numbers[a]))


def verify_all(people: Sequence[Labelled], acquired: Acquired, at: Sequence[float] = ()) -> Verification:
    """Rates over every two different pictures; UsageError where there is one only."""
    if len(acquired.names) < 2:
        raise UsageError("one picture alone has nothing to be compared with; check --images and the remarks above")
    vectors = vectors_of(people, acquired)
    scores = allpairs.count(vectors)
    each = np.bincount(vectors.person[vectors.is_acquired])
    made = int((each * (each - 1)).sum()) // 2
    return _verification(scores, allpairs.comparisons(vectors, scores), len(acquired.names), made, at)


def vectors_of(people: Sequence[Labelled], acquired: Acquired) -> Vectors:
    """Template, probe and person of every picture that could be read."""
    whose = {row.image: row.person for row in people}
    numbers, total = _numbered([whose[name] for name in acquired.names])
    return Vectors(stored(acquired.templates), acquired.probes, acquired.is_acquired, numbers, total)


def stored(vectors: Scores) -> Scores:
    """The unit vectors of the int8 rows as which the vectors would be stored; a zero row stays zero."""
    templates = np.zeros_like(vectors)
    for row in np.flatnonzero(vectors.any(axis=1)):
        values = np.frombuffer(quantise(vectors[row])[0], np.int8).astype(np.float32)
        templates[row] = values / np.sqrt(values @ values)
    return templates


def shown_in(name: str) -> str:
    """Whom a picture shows, as far as its name says: the folder it lies in, else the picture itself."""
    folder = PurePosixPath(name).parent.as_posix()
    return name if folder == "." else folder


def _verification(scores: Tally, comparisons: Comparisons, pictures: int, made: int,
                  at: Sequence[float]) -> Verification:
    thresholds = {name: threshold_at(scores, fmr) for name, fmr in FMRS.items()}
    rate, impostors = eer(scores), scores.impostor_total
    wanted = [fmr if is_stated(fmr, impostors) else None for fmr in FMRS.values()]
    intervals = verification_intervals(comparisons, wanted, at)
    tmr = {name: None if score is None else tmr_at(scores, score) for name, score in thresholds.items()}
    return Verification(
        scores, pictures, comparisons.people, made, None, None, stated(rate, impostors), intervals.eer,
        tmr=tmr, tmr_95=dict(zip(FMRS, intervals.tmr, strict=True)),
        of_made={name: None if share is None or not made else share * scores.genuine_total / made
                 for name, share in tmr.items()},
        of_made_95=dict(zip(FMRS, intervals.of_made, strict=True)), thresholds=thresholds,
        fixed=tuple(AtThreshold(score, stated(fmr_at(scores, score), impostors), fmr_95, tmr_at(scores, score),
                                tmr_95)
                    for score, (fmr_95, tmr_95) in zip(at, intervals.fixed, strict=True)))


def _numbered(people: Sequence[str]) -> tuple[Numbers, int]:
    names, numbers = np.unique(np.asarray(people), return_inverse=True)
    return numbers.astype(np.int64), len(names)
