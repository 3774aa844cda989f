"""Every picture against every other: millions of comparisons in bounded memory.

Of each two pictures the first one's stored template (int8) meets the second one's fresh probe (float32), as at the
door. The scores are made in blocks of rows and counted on the grid of `metrics`; only genuine scores and the
highest impostor scores are kept one by one, for the intervals.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from device.evaluate.intervals import Comparisons, Numbers
from device.evaluate.metrics import NOT_ACQUIRED, Doubles, Scores, Tally, at_or_above, eer_threshold, score_of

BLOCK_BYTES = 8_000_000
KEPT_IMPOSTORS = 3_000_000
# The rounds of the bootstrap move the threshold by more than one score: keep somewhat lower ones too.
_MARGIN = 0.03

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """One row per picture: the unit vector of its template, the probe, and whether a face was acquired at all.

    person  number of the person whom each picture shows, 0..people−1
    """

    template: Scores
    probe: Scores
    is_acquired: Bools
    person: Numbers
    people: int


def count(vectors: Vectors) -> Tally:
    """All comparisons of two different pictures; those without a face count with the score −1."""
    result = Tally()
    for _, _, scores, is_genuine in _blocks(vectors):
        result.add(scores[is_genuine], scores[~is_genuine])
    return result


def comparisons(vectors: Vectors, scores: Tally) -> Comparisons:
    """The same comparisons one by one, as far as the bootstrap needs them: see `Comparisons`."""
    floor = _floor(scores)
    kept: list[tuple[Scores, Numbers, Numbers]] = []
    genuine: list[tuple[Scores, Numbers]] = []
    for rows, columns, block, is_genuine in _blocks(vectors):
        genuine.append((block[is_genuine], vectors.person[rows[is_genuine]]))
        is_kept = ~is_genuine & (block >= floor)
        kept.append((block[is_kept], vectors.person[rows[is_kept]], vectors.person[columns[is_kept]]))
    pictures = np.bincount(vectors.person, minlength=vectors.people).astype(np.float64)
    return Comparisons(
        people=vectors.people,
        genuine=np.concatenate([part[0] for part in genuine]),
        genuine_person=np.concatenate([part[1] for part in genuine]),
        impostor=np.concatenate([part[0] for part in kept]),
        impostor_a=np.concatenate([part[1] for part in kept]),
        impostor_b=np.concatenate([part[2] for part in kept]),
        floor=floor,
        impostors=lambda weights: _pairs_of_different(weights, pictures),
    )


def _blocks(vectors: Vectors) -> Iterator[tuple[Numbers, Numbers, Scores, Bools]]:
    """(row, column, score, is genuine) of all pairs row < column, flat, some rows at a time."""
    total = len(vectors.person)
    step = max(1, BLOCK_BYTES // (4 * max(total, 1)))
    for start in range(0, total - 1, step):
        stop = min(start + step, total - 1)
        scores = vectors.template[start:stop] @ vectors.probe[start:].T
        scores[~vectors.is_acquired[start:stop]] = NOT_ACQUIRED
        scores[:, ~vectors.is_acquired[start:]] = NOT_ACQUIRED
        row, column = np.nonzero(np.arange(start, stop)[:, None] < np.arange(start, total)[None, :])
        flat = scores[row, column]
        row, column = row + start, column + start
        yield row, column, flat, vectors.person[row] == vectors.person[column]


def _floor(scores: Tally) -> float:
    """The lowest impostor score that is worth keeping: below FMR 1e-2 and below the EER, within the limit."""
    above = at_or_above(scores.impostor)
    wanted = int(np.argmax(above <= 0.01 * max(scores.impostor_total, 1)))
    lowest = max(min(score_of(wanted), eer_threshold(scores)) - _MARGIN, -1.0)
    allowed = score_of(int(np.argmax(above <= KEPT_IMPOSTORS)))
    return -1.0 if scores.impostor_total <= KEPT_IMPOSTORS else max(lowest, allowed)


def _pairs_of_different(weights: Doubles, pictures: Doubles) -> float:
    drawn = weights * pictures
    return float((drawn.sum() ** 2 - (drawn * drawn).sum()) / 2)
