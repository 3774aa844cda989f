"""Comparison: 1:1, exact 1:N and M:N. Called by the pipeline, enrolment's duplicate check and evaluation.

A score is the cosine of the probe with the stored row, both at exactly unit length, computed in float64; higher =
more alike. Equal scores rank by template id.

1:N reads one byte per element and is exact all the same. With the unit probe p = c·a + r, where a is int8, and a row
of unit length u, p·u = c·(a·u) + r·u, and |r·u| <= |r|. So whoever scores at least L has a coarse score c·(a·u) of
at least L - |r|: rescoring all of those misses nobody. L is what the leaders of a few dozen stretches of the gallery
score, so only a handful is rescored.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from device.face.gallery import Gallery, Rows
from device.face.kernels import Kernel, choose, threads_for
from device.face.template import Int8s, squares, unit
from device.face.types import Candidate, Floats

Doubles = npt.NDArray[np.float64]

STRETCHES = 64
LONGEST = 1024  # rows of a stretch
FEW = 8192
"""Up to so many rows the highest coarse scores are picked out at once: quicker than leaders of stretches there."""
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
    stretches = _stretches(coarse.values) if len(coarse.values) > FEW else None
    leaders, seen = _first_leaders(gallery, probe, coarse.values, stretches, count)
    least = max(min_score, leaders[-1].score if len(leaders) == count else LEAST_ALIKE)
    rows = _reaching(coarse.values, stretches, np.float32((least - coarse.bound) / coarse.factor))
    if len(rows) > seen:
        leaders = _rescored(gallery, probe, rows, count)
    return [candidate for candidate in leaders if candidate.score >= min_score]


def _scan(gallery: Gallery, probe: Doubles, kernel: Kernel) -> _Coarse:
    factor = float(np.abs(probe).max()) / 127.0
    rounded = np.rint(probe / factor)
    residue = probe - rounded * factor
    bound = math.sqrt(float(np.vdot(residue, residue))) + ROUNDING
    values = kernel.scan(gallery.rows, rounded.astype(np.int8), threads_for(gallery.rows))
    np.multiply(values, gallery.scales, out=values)
    return _Coarse(values, factor, bound)


def _stretches(values: Floats) -> Rows:
    """The places of the highest value of each stretch; the last one takes the few places left over."""
    length = _length(values)
    whole = len(values) // length
    leaders: Rows = values[: whole * length].reshape(whole, length).argmax(axis=1) + np.arange(whole) * length
    rest = (whole - 1) * length
    leaders[-1] = values[rest:].argmax() + rest
    return leaders


def _length(values: Floats) -> int:
    return max(min(LONGEST, len(values) // STRETCHES), 1)


def _reaching(values: Floats, stretches: Rows | None, reach: np.float32) -> Rows:
    """The places of all values that are at least that; looked for only in stretches whose highest value is."""
    if stretches is None:
        return np.flatnonzero(values >= reach)
    length, last = _length(values), len(stretches) - 1
    hot = np.flatnonzero(values[stretches] >= reach)
    inner = hot[hot < last]
    stretch, place = np.nonzero(values[: last * length].reshape(last, length)[inner] >= reach)
    tail = np.flatnonzero(values[last * length :] >= reach) + last * length
    return np.concatenate([inner[stretch] * length + place, tail])


def _first_leaders(gallery: Gallery, probe: Doubles, values: Floats, stretches: Rows | None,
                   count: int) -> tuple[list[Candidate], int]:
    """(the best of a few dozen rows, how many of the highest coarse scores are among those rows).

    They are fewer than `count` only where the gallery has no more persons. Where no more rows than the second value
    can reach the leaders, all of them have been looked at.
    """
    wanted = 8 * count
    if stretches is not None:
        foremost = stretches[_highest(values[stretches], max(STRETCHES, 4 * count))]
        leaders = _rescored(gallery, probe, foremost, count)
        if len(leaders) == count:
            return leaders, 0
        wanted = max(4 * wanted, 4 * STRETCHES)
    while True:
        leaders = _rescored(gallery, probe, _highest(values, wanted), count)
        if len(leaders) == count or wanted >= len(values):
            return leaders, min(wanted, len(values))
        wanted *= 4


def _highest(values: Floats, count: int) -> Rows:
    if count >= len(values):
        return np.arange(len(values))
    return np.argpartition(values, len(values) - count)[-count:]


def _rescored(gallery: Gallery, probe: Doubles, rows: Rows, count: int) -> list[Candidate]:
    live = _live(gallery, rows)
    return _leaders(gallery, live, scores(gallery.rows, live, probe), count)


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
