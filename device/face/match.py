"""Comparison: 1:1, exact 1:N and M:N. Called by the pipeline, enrolment's duplicate check and evaluation.

A score is the cosine of the probe with the stored row, both at exactly unit length, computed in float64; higher =
more alike. Equal scores rank by template id.

1:N reads one byte per element and is exact all the same. With the unit probe p = c·a + r, where a is int8, and a row
of unit length u, p·u = c·(a·u) + r·u, and |r·u| <= |r|. So whoever scores at least L has a coarse score c·(a·u) of
at least L - |r|: rescoring all of those misses nobody. L is what the leaders of a few dozen stretches of the gallery
score, so only a handful is rescored.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from device.face.gallery import Gallery, Rows
from device.face.kernels import Kernel, choose
from device.face.template import Int8s, squares, unit
from device.face.types import Candidate, Floats

Doubles = npt.NDArray[np.float64]

STRETCHES = 64
ROUNDING = 1e-5  # far above what float32 loses in the coarse score (two roundings of 6e-8 each)
LEAST_ALIKE = -1.0


@dataclass(frozen=True, slots=True)
class Match:
    """best = whom the probe resembles most; other = the best of another person; None where there is none."""

    best: Candidate | None = None
    other: Candidate | None = None

    @property
    def margin(self) -> float | None:
        """By how much the best person leads the second; None without a second."""
        if self.best is None or self.other is None:
            return None
        return self.best.score - self.other.score


@dataclass(frozen=True, slots=True, eq=False)
class _Coarse:
    """Coarse score of row i is values[i] * factor, and wrong by at most bound."""

    values: Floats
    factor: float
    bound: float


def identify(gallery: Gallery, vector: Floats, kernel: Kernel | None = None) -> Match:
    """The best person and the best other person, exact; an empty Match where the vector cannot be a probe."""
    leaders = _search(gallery, vector, 2, LEAST_ALIKE, kernel)
    return Match(*leaders)


def search(
    gallery: Gallery, vector: Floats, limit: int, min_score: float = LEAST_ALIKE, kernel: Kernel | None = None
) -> list[Candidate]:
    """At most `limit` persons who score at least `min_score`, best first, each with the best of their templates."""
    return _search(gallery, vector, limit, min_score, kernel)


def search_many(gallery: Gallery, vectors: Iterable[Floats], kernel: Kernel | None = None) -> list[Match]:
    """M:N: what `identify` gives, for each vector in turn."""
    return [identify(gallery, vector, kernel) for vector in vectors]


def verify(gallery: Gallery, vector: Floats, person_id: str) -> Candidate | None:
    """1:1: that person's best template; None where they have none or the vector cannot be a probe."""
    probe = unit(vector, gallery.dimensions)
    rows = gallery.rows_of(person_id)
    if probe is None or len(rows) == 0:
        return None
    return _leaders(gallery, rows, scores(gallery.rows, rows, probe), 1)[0]


def compare(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Cosine of two vectors of unit length; -1 (least alike) where either cannot be a probe."""
    dimensions = np.size(a)
    one, other = unit(a, dimensions), unit(b, dimensions)
    if one is None or other is None:
        return LEAST_ALIKE
    return float(np.clip((one * other).sum(), -1.0, 1.0))


def scores(rows: Int8s, places: Rows, probe: Doubles) -> Doubles:
    """Exact scores of the rows at `places` with a float64 probe of unit length."""
    result = np.empty(len(places))
    for start in range(0, len(places), 4096):  # in slices: a search that asks for everybody needs no float64 matrix
        part = rows[places[start : start + 4096]]
        # Not a matrix product: that one adds in another order at its edges, and equal rows must score equally.
        dots = (part * probe).sum(axis=1)
        result[start : start + 4096] = dots / np.sqrt(squares(part))
    return result.clip(-1.0, 1.0)


def _search(
    gallery: Gallery, vector: Floats, count: int, min_score: float, kernel: Kernel | None
) -> list[Candidate]:
    probe = unit(vector, gallery.dimensions)
    if probe is None or count < 1 or len(gallery) == 0 or not min_score <= 1.0:
        return []
    coarse = _scan(gallery, probe, kernel or choose(gallery.dimensions))
    least = max(min_score, _nth_score(gallery, probe, coarse, count))
    reach = np.float32((least - coarse.bound) / coarse.factor)
    rows = _live(gallery, np.flatnonzero(coarse.values >= reach))
    leaders = _leaders(gallery, rows, scores(gallery.rows, rows, probe), count)
    return [candidate for candidate in leaders if candidate.score >= min_score]


def _scan(gallery: Gallery, probe: Doubles, kernel: Kernel) -> _Coarse:
    factor = float(np.abs(probe).max()) / 127.0
    rounded = np.rint(probe / factor)
    bound = float(np.linalg.norm(probe - rounded * factor)) + ROUNDING
    values = np.empty(len(gallery.scales), np.float32)
    kernel.scan(gallery.rows, rounded.astype(np.int8), values)
    np.multiply(values, gallery.scales, out=values)
    return _Coarse(values, factor, bound)


def _nth_score(gallery: Gallery, probe: Doubles, coarse: _Coarse, count: int) -> float:
    """A score that `count` different persons reach at least; -1 where there are not so many."""
    rows = _live(gallery, _stretch_leaders(coarse.values, max(STRETCHES, 4 * count)))
    wanted = 8 * count
    while True:
        leaders = _leaders(gallery, rows, scores(gallery.rows, rows, probe), count)
        if len(leaders) == count:
            return leaders[-1].score
        if wanted >= len(coarse.values):
            return LEAST_ALIKE
        wanted = max(4 * wanted, 4 * STRETCHES)
        rows = _live(gallery, _highest(coarse.values, wanted))


def _stretch_leaders(values: Floats, stretches: int) -> Rows:
    """The places of the highest value in each of so many equal stretches, and the few places left over at the end."""
    length = len(values) // stretches
    if length == 0:
        return np.arange(len(values))
    starts = np.arange(stretches) * length
    leaders = values[: stretches * length].reshape(stretches, length).argmax(axis=1) + starts
    return np.concatenate([leaders, np.arange(stretches * length, len(values))])


def _highest(values: Floats, count: int) -> Rows:
    if count >= len(values):
        return np.arange(len(values))
    return np.argpartition(values, len(values) - count)[-count:]


def _live(gallery: Gallery, rows: Rows) -> Rows:
    return rows[gallery.scales[rows] > 0]


def _leaders(gallery: Gallery, rows: Rows, values: Doubles, count: int) -> list[Candidate]:
    """The best template of each of the `count` best persons among `rows`."""
    high, low = gallery.template_keys(rows)
    found: dict[str, Candidate] = {}
    for place in np.lexsort((low, high, -values)):
        person_id = gallery.person_id(rows[place])
        if person_id not in found:
            found[person_id] = Candidate(person_id, gallery.template_id(rows[place]), float(values[place]))
            if len(found) == count:
                break
    return list(found.values())
