"""The figures of an evaluation as one JSON object and as lines for a person. Called by `doorctl evaluate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from device.evaluate.detect import Detection
from device.evaluate.faces import Acquired
from device.evaluate.identify import Identification
from device.evaluate.inputs import Remarks
from device.evaluate.intervals import METHOD, Interval, share_interval
from device.evaluate.pad import Detection as AttackDetection
from device.evaluate.verify import AtThreshold, Verification, shown_in
from device.face.card import Card, Population
from device.face.threshold import Threshold, threshold_for

Object = dict[str, Any]

SIZES = (1, 20, 200, 1000)
FPIR = 1e-3  # the default of face.fpir

_ABOUT_STILLS = (
    "on stills, and on clips in which nothing moves, the plane test abstains and the passive verdict stands alone; "
    "at the door the visitor is then asked to turn, or given a challenge")


def default_thresholds(card: Card) -> dict[int, Threshold]:
    """Size N of a gallery -> the terminal's own threshold for it; none for a card without operating points."""
    return {size: threshold_for(card.populations, FPIR, size) for size in SIZES} if card.populations else {}


def of_verification(result: Verification, acquired: Acquired, card: Card, remarks: Remarks,
                    whose: Mapping[str, str] | None = None) -> Object:
    """The object that `evaluate verify --json` prints; `whose` is the person of each picture, where a list says."""
    scores = result.scores
    return {
        "pairs": scores.genuine_total + scores.impostor_total,
        "genuine": scores.genuine_total,
        "impostor": scores.impostor_total,
        "fta": _rounded(acquired.fta),
        "accuracy": _rounded(result.accuracy),
        "eer": _rounded(result.eer),
        "tar_at_far": {name: _rounded(rate) for name, rate in result.tmr.items()},
        "model_id": card.model_id,
        "fta_95": _span(_fta_interval(acquired, whose)),
        "accuracy_95": _span(result.accuracy_95),
        "eer_95": _span(result.eer_95),
        "tar_at_far_95": {name: _span(interval) for name, interval in result.tmr_95.items()},
        "threshold_at_far": {name: _rounded(score) for name, score in result.thresholds.items()},
        "tar_at_far_of_acquired": {name: _rounded(rate) for name, rate in result.of_made.items()},
        "tar_at_far_of_acquired_95": {name: _span(interval) for name, interval in result.of_made_95.items()},
        "defaults": [_default(size, threshold, at) for (size, threshold), at in
                     zip(default_thresholds(card).items(), result.fixed, strict=True)],
        **_pictures(acquired, remarks),
        "people": result.people,
        "intervals": METHOD,
    }


def _default(size: int, threshold: Threshold, at: AtThreshold) -> Object:
    """What the comparisons say of the terminal's own threshold for a gallery of that size.

    fpir is what N independent comparisons with that FMR give; a share of strangers, as `stated_fpir` is.
    """
    return {
        "gallery": size, "wanted_fpir": FPIR,
        "stated_fpir": _rounded(threshold.stated_fpir) if threshold.stated_fpir < 1.0 else None,
        "threshold": _rounded(threshold.score),
        "fmr": _exact(at.fmr), "fmr_95": _exact_span(at.fmr_95, 1),
        "fpir": _exact(_of_many(at.fmr, size)), "fpir_95": _exact_span(at.fmr_95, size),
        "tar": _rounded(at.tmr), "tar_95": _span(at.tmr_95),
    }


def _of_many(fmr: float | None, size: int) -> float | None:
    return None if fmr is None else 1.0 - (1.0 - fmr) ** size


def _exact_span(interval: Interval | None, size: int) -> list[float | None] | None:
    return None if interval is None else [_exact(_of_many(end, size)) for end in interval]


def _fta_interval(acquired: Acquired, whose: Mapping[str, str] | None = None) -> Interval | None:
    """People are drawn again, as far as a list or the pictures' folders say who is who."""
    people = [(whose or {}).get(name) or shown_in(name) for name in acquired.names]
    numbers = np.unique(np.asarray(people), return_inverse=True)[1].astype(np.int64)
    return share_interval(~acquired.is_acquired, numbers)


def of_identification(result: Identification, threshold: float, acquired: Acquired, card: Card, remarks: Remarks,
                      whose: Mapping[str, str] | None = None) -> Object:
    """The object that `evaluate identify --json` prints."""
    return {
        "gallery": result.gallery,
        "probes": result.probes,
        "fta": _rounded(acquired.fta),
        "rank1": _rounded(result.rates.rank1),
        "fnir": _rounded(result.rates.fnir),
        "fpir": _rounded(result.rates.fpir),
        "threshold": _rounded(threshold),
        "model_id": card.model_id,
        "fta_95": _span(_fta_interval(acquired, whose)),
        "rank1_95": _span(result.rank1_95),
        "fnir_95": _span(result.fnir_95),
        "fpir_95": _span(result.fpir_95),
        "mated_probes": result.mated,
        "not_enrolled": result.not_enrolled,
        **_pictures(acquired, remarks),
        "intervals": METHOD,
    }


def of_detection(result: Detection, remarks: Remarks) -> Object:
    """The object that `evaluate detect --json` prints."""
    return {
        "recall": _rounded(result.recall),
        "false_per_image": _rounded(result.false_per_image),
        "images": result.images,
        "recall_95": _span(result.recall_95),
        "false_per_image_95": _span(result.false_per_image_95),
        "faces": result.faces,
        "found": result.found,
        "extra_per_image": _rounded(result.extra_per_image),
        "extra_per_image_95": _span(result.extra_per_image_95),
        "images_without_face": result.without_images,
        "false_by_folder": {name: {"false": folder.false, "images": folder.images,
                                   "per_image": _rounded(folder.false / folder.images),
                                   "per_image_95": _span(folder.per_image_95)}
                            for name, folder in sorted(result.by_folder.items())},
        "missed": result.missed,
        "missing": len(remarks.missing),
        "intervals": METHOD.replace("people", "pictures"),
    }


def of_calibration(population: Population, card: str, model_id: str, remarks: Remarks) -> Object:
    """The object that `evaluate calibrate --json` prints."""
    return {
        "population": population.name, "card": card, "model_id": model_id,
        "genuine": population.genuine_comparisons, "impostor": population.impostor_comparisons,
        "points": [{"fmr": point.fmr, "score": point.score, "tmr": point.tmr, "tmr_95": _span(point.tmr_95)}
                   for point in population.points],
        "missing": len(remarks.missing),
        "intervals": METHOD,
    }


def of_attacks(result: AttackDetection, level: str, card: Card, remarks: Remarks) -> Object:
    """The object that `evaluate pad --json` prints; `apcer_worst` is the headline."""
    worst = result.worst
    return {
        "level": level,
        "bpcer": _rounded(result.bona_fide.share),
        "apcer": {name: _rounded(rate.share) for name, rate in result.species.items()},
        "apcer_worst": _rounded(worst[1].share) if worst else None,
        "auc": _rounded(result.auc),
        "abstained": result.abstained,
        "images": result.presented,
        "bpcer_95": _span(result.bona_fide.span),
        "apcer_95": {name: _span(rate.span) for name, rate in result.species.items()},
        "apcer_worst_95": _span(worst[1].span) if worst else None,
        "worst_species": worst[0] if worst else None,
        "bpnrr": _rounded(result.bona_fide.non_response),
        "apnrr": {name: _rounded(rate.non_response) for name, rate in result.species.items()},
        "abstained_because": result.reasons,
        "bona_fide": result.bona_fide.presented,
        "attacks": {name: rate.presented for name, rate in result.species.items()},
        "stills": result.stills,
        "clips": result.presented - result.stills,
        "passive_alone": result.passive_only,
        "threshold": card.passive.threshold if card.passive else None,
        "model_id": card.model_id,
        "missing": len(remarks.missing),
        "intervals": METHOD + "; without a column subject, Wilson's of independent presentations",
        "note": _ABOUT_STILLS,
    }


def lines(figures: Object) -> list[str]:
    """The same figures for a person, each with its interval where it has one."""
    shown = []
    for name, value in figures.items():
        if name.endswith("_95"):
            continue
        spans = figures.get(f"{name}_95")
        if isinstance(value, dict):
            shown += [f"{name + ' ' + str(key):<24} {_text(each)}{_tail(spans[key] if spans else None)}"
                      for key, each in value.items()]
        elif isinstance(value, list):
            shown += [f"{name:<24} {_row(each)}" for each in value]
        else:
            shown.append(f"{name:<24} {_text(value)}{_tail(spans)}")
    return shown


def _pictures(acquired: Acquired, remarks: Remarks) -> Object:
    return {
        "images": len(acquired.names),
        "missing": len(remarks.missing),
        "not_acquired": acquired.failures,
        "refused_by_gates": acquired.refused,
        "refused_because": acquired.reasons,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _exact(value: float | None) -> float | None:
    """Three figures: a rate may be far below 1e-6."""
    return None if value is None else float(f"{value:.3g}")


def _span(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [round(interval[0], 6), round(interval[1], 6)]


def _text(value: object) -> str:
    return "not stated" if value is None else _row(value) if isinstance(value, dict) else str(value)


def _row(values: object) -> str:
    if not isinstance(values, dict):
        return str(values)
    return "  ".join(f"{name} {_text(value)}{_tail(values.get(f'{name}_95'))}" for name, value in values.items()
                     if not name.endswith("_95"))


def _tail(span: Sequence[float] | None) -> str:
    return f" (95 %: {span[0]:.5g} to {span[1]:.5g})" if span else ""
