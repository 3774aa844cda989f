"""Operating points of a recogniser, measured on one set of people and written into its card.

At the score of a point the FMR was no higher than the point says in 95 % of the rounds in which the people were
drawn again (`intervals`): a rate that a terminal states should not rest on who happened to be in the sample. No
point below 10 ÷ impostor comparisons is written. Called by `doorctl evaluate calibrate`.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

from device.errors import StoreError, UsageError
from device.evaluate import allpairs
from device.evaluate.allpairs import Vectors
from device.evaluate.intervals import Interval, upper_thresholds, verification_intervals
from device.evaluate.metrics import LEAST_ERRORS, is_stated, threshold_at, tmr_at
from device.face.card import OperatingPoint, Population
from device.packs.cardfile import dump, parse

FMRS = tuple(float(f"{mantissa}e-{power}") for power in range(1, 9) for mantissa in (3, 1))[1:]
_HEADER = re.compile(r"^\s*\[\[?\s*([^\[\]#]+?)\s*\]\]?\s*(#.*)?$")


def check_target(path: Path, name: str) -> None:
    """UsageError where operating points of that name could not be written into that card, before any work is done."""
    if not name.strip() or not name.isprintable():
        raise UsageError("--population: name the set of people, for example lfw-dev")
    parse(_read(path), str(path))
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"{path}: its folder may not be written; name another card with --card")


def of_acquired(vectors: Vectors) -> Vectors:
    """Those pictures alone that gave a face."""
    kept = vectors.is_acquired
    return Vectors(vectors.template[kept], vectors.probe[kept], kept[kept], vectors.person[kept], vectors.people)


def calibrate(vectors: Vectors, name: str, data: str, command: str, least: float = 0.0) -> Population:
    """The population's operating points, from every two pictures that gave a face; none of a lower FMR than `least`.

    Where a list has people under two names, those pairs are the only errors left at very low rates.
    """
    acquired = of_acquired(vectors)
    scores = allpairs.count(acquired)
    total = scores.impostor_total
    wanted = [fmr for fmr in {*FMRS, least_fmr(total)} if is_stated(fmr, total) and fmr >= least]
    if not wanted or not scores.genuine_total:
        raise UsageError(f"{scores.genuine_total} genuine and {total} impostor comparisons are too few: show at "
                         "least 15 people with two pictures each")
    comparisons = allpairs.comparisons(acquired, scores)
    places, highest = list[tuple[float, float]](), -1.0
    for fmr, upper in sorted(zip(wanted, upper_thresholds(comparisons, wanted), strict=True), reverse=True):
        # Upwards to four places, and never below the threshold of a more frequent error.
        score = max(upper if upper is not None else -1.0, threshold_at(scores, fmr) or -1.0, highest)
        highest = min(math.ceil(score * 1e4) / 1e4, 1.0)
        places.append((fmr, highest))
    spans = verification_intervals(comparisons, (), [score for _, score in places]).fixed
    points = tuple(OperatingPoint(fmr, score, round(tmr_at(scores, score) or 0.0, 4), _rounded(span))
                   for (fmr, score), (_, span) in zip(places, spans, strict=True))
    return Population(name, data, command, scores.genuine_total, total, points)


def least_fmr(impostors: int) -> float:
    """The least rate that so many impostor comparisons can state, upwards to two figures."""
    if impostors <= 0:
        return 1.0
    rate = LEAST_ERRORS / impostors
    step = 10.0 ** (math.floor(math.log10(rate)) - 1)
    return float(f"{math.ceil(rate / step * (1 - 1e-12)) * step:.1e}")


def write_population(path: Path, population: Population) -> None:
    """Put the population into the card at `path`, in place of the one of that name; the rest stays as it is."""
    text = _read(path)
    before = parse(text, str(path))
    fresh = with_population(text, population)
    after = parse(fresh, str(path))
    untouched = [{key: value for key, value in table.items() if key != "population"} for table in (before, after)]
    if untouched[0] != untouched[1]:
        raise UsageError(f"{path}: its populations are written in a way that cannot be replaced; remove "
                         f"{population.name} by hand")
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_text(fresh, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror})") from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise UsageError(f"{path}: no such card; name the card.toml of a built pack") from None


def with_population(text: str, population: Population) -> str:
    """The card's text with the population as its last table, and without an older one of the same name."""
    kept = "".join(block for block in _blocks(text) if _population_name(block) != population.name)
    return kept.rstrip("\n") + "\n\n" + _written(population)


def _blocks(text: str) -> list[str]:
    """The text cut before every table that is not a part of the population above it."""
    blocks = [""]
    for line in text.splitlines(keepends=True):
        header = _HEADER.match(line)
        if header and not header.group(1).replace(" ", "").startswith("population."):
            blocks.append("")
        blocks[-1] += line
    return blocks


def _population_name(block: str) -> str | None:
    first = block.lstrip().split("\n", 1)[0]
    header = _HEADER.match(first)
    if header is None or header.group(1).strip() != "population":
        return None
    return str(parse(block, "population")["population"][0].get("name"))


def _written(population: Population) -> str:
    table = {"name": population.name, "data": population.data, "command": population.command,
             "genuine_comparisons": population.genuine_comparisons,
             "impostor_comparisons": population.impostor_comparisons,
             "point": [_point(point) for point in population.points]}
    return dump({"population": [table]})


def _point(point: OperatingPoint) -> dict[str, float | list[float]]:
    values = {"fmr": point.fmr, "score": point.score, "tmr": point.tmr,
              "tmr_95": None if point.tmr_95 is None else list(point.tmr_95)}
    return {key: value for key, value in values.items() if value is not None}


def _rounded(span: Interval | None) -> Interval | None:
    return None if span is None else (round(span[0], 4), round(span[1], 4))
