"""Open-set 1:N: a gallery of enrolled people, probes of them and of strangers: `doorctl evaluate identify`.

Templates are stored as int8 and searched by the matcher of the door. A probe without a face finds nobody; a person
whose every enrolment picture is missing, damaged or without a face is not enrolled: both count as misses.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

import numpy as np

from device.commands.console import with_progress
from device.evaluate.allpairs import Bools
from device.evaluate.faces import Acquired
from device.evaluate.inputs import Labelled, Remarks
from device.evaluate.intervals import Interval, share_interval
from device.evaluate.metrics import NOT_ACQUIRED, OpenSet, Scores, Tally, open_set, stated, tally
from device.evaluate.verify import shown_in
from device.face.gallery import Gallery
from device.face.match import identify as search
from device.face.template import quantise


@dataclass(frozen=True, slots=True, eq=False)
class Identification:
    """Rates at one threshold, with N people in the gallery, and their 95 % intervals (people drawn again).

    not_enrolled  people of the list whose pictures gave no template
    rates         fpir is None where it lies below 10 ÷ comparisons of strangers' probes with templates
    scores        best score of each probe: mated ones as genuine (−1 where the best person was the wrong one)
    """

    gallery: int
    not_enrolled: int
    probes: int
    mated: int
    rates: OpenSet
    rank1_95: Interval | None
    fnir_95: Interval | None
    fpir_95: Interval | None
    scores: Tally


def enrol(people: Sequence[Labelled], acquired: Acquired, model_id: str) -> tuple[Gallery, dict[str, str]]:
    """The gallery, one template per usable picture, and the person's name behind each person_id in it."""
    rows = acquired.rows
    usable = [row for row in people if acquired.is_acquired[rows[row.image]]]
    id_of = {person: f"{number:032x}" for number, person in enumerate(sorted({row.person for row in usable}))}
    stored = [quantise(acquired.templates[rows[row.image]]) for row in usable]
    gallery = Gallery.build(
        model_id, acquired.templates.shape[1], [f"{number:032x}" for number in range(len(usable))],
        [id_of[row.person] for row in usable], b"".join(row for row, _ in stored), [scale for _, scale in stored])
    return gallery, {person_id: person for person, person_id in id_of.items()}


def identify(people: Sequence[Labelled], probes: Sequence[Labelled], acquired: Acquired, *, model_id: str,
             threshold: float, remarks: Remarks, listed: Set[str] | None = None) -> Identification:
    """Search every probe among the enrolled people.

    listed  everybody whom the gallery's list names, if more than `people`: a probe of someone else is a stranger's
    """
    gallery, names = enrol(people, acquired, model_id)
    everybody = frozenset(row.person for row in people) | (listed or frozenset())
    _say_who_is_not_enrolled(everybody - frozenset(names.values()), remarks)
    strays = sorted({row.person for row in probes if row.person and row.person not in everybody})
    if strays:
        remarks.say(f"{len(strays)} of the probes' people are not in the gallery (the first is {strays[0]}): "
                    "their probes count as strangers'")
    best, is_right = _best(gallery, names, probes, acquired)
    is_mated = np.array([row.person in everybody and bool(row.person) for row in probes], np.bool_)
    mated, non_mated, right = best[is_mated], best[~is_mated], is_right[is_mated]
    rates = open_set(mated, right, non_mated, threshold)
    rates = replace(rates, fpir=stated(rates.fpir, len(non_mated) * len(gallery)))
    shown = np.unique([row.person or shown_in(row.image) for row in probes], return_inverse=True)[1].astype(np.int64)
    found = right & (mated >= threshold)
    return Identification(
        gallery=len(names), not_enrolled=len(everybody) - len(names), probes=len(probes),
        mated=int(is_mated.sum()), rates=rates,
        rank1_95=share_interval(right, shown[is_mated]),
        fnir_95=share_interval(~found, shown[is_mated]),
        fpir_95=share_interval(non_mated >= threshold, shown[~is_mated]),
        scores=tally(np.where(right, mated, np.float32(NOT_ACQUIRED)), non_mated))


def _say_who_is_not_enrolled(missing: Set[str], remarks: Remarks) -> None:
    if missing:
        remarks.say(f"{len(missing)} of the gallery's people have no usable picture (the first is {min(missing)}): "
                    "they are not enrolled, and their probes count as misses")


def _best(gallery: Gallery, names: dict[str, str], probes: Sequence[Labelled],
          acquired: Acquired) -> tuple[Scores, Bools]:
    """Best candidate's score of each probe (−1 where there is none), and whether it is the probe's person."""
    rows = acquired.rows
    best = np.full(len(probes), NOT_ACQUIRED, np.float32)
    is_right = np.zeros(len(probes), np.bool_)
    for number, row in enumerate(with_progress("searches", probes, len(probes))):
        at = rows[row.image]
        candidate = search(gallery, acquired.probes[at]).best if acquired.is_acquired[at] else None
        if candidate is not None:
            best[number], is_right[number] = candidate.score, names[candidate.person_id] == row.person
    return best, is_right
