"""`doorctl evaluate`: error rates over a folder of pictures, by the stages of the door."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.commands.console import say, say_json
from device.commands.evaluate_options import add_calibrate, add_detect, add_identify, add_pad, add_verify
from device.errors import UsageError
from device.evaluate import inputs, report
from device.evaluate.faces import Acquired, acquire
from device.evaluate.inputs import Labelled, Remarks
from device.evaluate.plots import check_plot, plot, plot_finds
from device.face.card import Card
from device.face.models import Models
from device.face.portrait import Examiner
from device.face.quality import DOOR
from device.face.threshold import Threshold
from device.packs import library
from device.sighting import Level

SHOWN_REMARKS = 100


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What a verb has found: its figures, and how they are drawn into a file."""

    figures: report.Object
    draw: Callable[[Path], None]


def add_parser(commands: Any) -> None:
    """Adds `evaluate` with its five verbs."""
    parser = commands.add_parser(
        "evaluate", help="measure error rates on pictures of your own",
        epilog="example: doorctl evaluate verify --all-pairs --images pictures/ (one folder per person)")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    add_verify(verbs, run_verify)
    add_identify(verbs, run_identify)
    add_detect(verbs, run_detect)
    add_pad(verbs, run_pad)
    add_calibrate(verbs, run_calibrate)


def run_verify(arguments: argparse.Namespace) -> int:
    """1:1: a list of pairs, or every two pictures."""
    return _told(arguments, _verify)


def run_identify(arguments: argparse.Namespace) -> int:
    """Open-set 1:N."""
    return _told(arguments, _identify)


def run_detect(arguments: argparse.Namespace) -> int:
    """Recall on marked pictures, false finds on pictures without a face."""
    return _told(arguments, _detect)


def run_pad(arguments: argparse.Namespace) -> int:
    """Presentation attack detection: APCER per attack species, BPCER."""
    return _told(arguments, _pad)


def run_calibrate(arguments: argparse.Namespace) -> int:
    """Operating points into a card."""
    return _told(arguments, _calibrate)


def _verify(arguments: argparse.Namespace, card: Card, remarks: Remarks) -> Result:
    from device.evaluate.verify import verify_all, verify_pairs

    if (arguments.pairs is None) == (arguments.all_pairs is None):
        raise UsageError("name either --pairs CSV or --all-pairs [CSV]")
    if arguments.pairs is not None and (arguments.where or arguments.person_column):
        raise UsageError("--where and --person-column go with --all-pairs, not with --pairs")
    at = [threshold.score for threshold in report.default_thresholds(card).values()]
    whose: dict[str, str] = {}
    if arguments.pairs is not None:
        pairs = inputs.read_pairs(arguments.pairs, arguments.images, remarks)
        acquired = _acquire([name for pair in pairs for name in (pair.a, pair.b)], arguments, card, remarks)
        there = acquired.rows
        pairs = [pair for pair in pairs if pair.a in there and pair.b in there]
        result = verify_pairs(_not_empty(pairs), acquired, at)
    else:
        people = _people(arguments, remarks)
        whose = _whose(people)
        acquired = _acquire([row.image for row in people], arguments, card, remarks)
        result = verify_all(people, acquired, at)
    return Result(report.of_verification(result, acquired, card, remarks, whose),
                  lambda path: plot(result.scores, f"{card.model_id}, 1:1", path))


def _identify(arguments: argparse.Namespace, card: Card, remarks: Remarks) -> Result:
    from device.evaluate.identify import identify
    from device.face.threshold import threshold_for

    people = inputs.read_people(arguments.gallery, arguments.images, remarks)
    probes = inputs.read_people(arguments.probes, arguments.images, remarks, allow_unknown=True)
    enrolled = {row.image for row in people}
    doubled = [row.image for row in probes if row.image in enrolled]
    if doubled:
        remarks.say(f"{len(doubled)} probes are pictures of the gallery (the first is {doubled[0]}); left out")
    acquired = _acquire([row.image for row in (*people, *probes)], arguments, card, remarks)
    there = acquired.rows
    people = _not_empty([row for row in people if row.image in there])
    probes = _not_empty([row for row in probes if row.image in there and row.image not in enrolled])
    templates = sum(bool(acquired.is_acquired[there[row.image]]) for row in people)
    threshold = threshold_for(card.populations, arguments.far or report.FPIR, 1 if arguments.far else templates)
    result = identify(people, probes, acquired, model_id=card.model_id, threshold=threshold.score, remarks=remarks,
                      listed=inputs.persons_of(arguments.gallery))
    if arguments.far is not None:
        _say_reach(threshold, arguments.far, remarks)
    figures = report.of_identification(result, threshold.score, acquired, card, remarks, _whose([*people, *probes]))
    return Result(figures, lambda path: plot(result.scores, f"{card.model_id}, 1:{result.gallery}", path,
                                             ("FPIR", "FNIR")))


def _detect(arguments: argparse.Namespace, card: Card, remarks: Remarks) -> Result:
    from device.evaluate.detect import Find, detect

    marked = inputs.read_boxes(arguments.boxes, arguments.images, remarks)
    without = inputs.pictures_below(arguments.no_face) if arguments.no_face else []
    examiner = _examiner_of(card)()
    result = detect(marked, arguments.images, without, arguments.no_face,
                    lambda pixels: [Find(found.face.box, found.face.score) for found in examiner.survey(pixels)],
                    remarks=remarks)
    return Result(report.of_detection(result, remarks),
                  lambda path: plot_finds(result.scores, result.faces, result.without_images or result.images,
                                          card.model_id, path))


def _pad(arguments: argparse.Namespace, card: Card, remarks: Remarks) -> Result:
    from device.evaluate.pad import detect_attacks

    rows = inputs.read_presentations(arguments.labels, arguments.images, remarks)
    result = detect_attacks(rows, arguments.images, card, Level(arguments.level), remarks)
    return Result(report.of_attacks(result, arguments.level, card, remarks), lambda path: plot(
        result.scores, f"{card.name}, passive networks", path, ("APCER", "BPCER"), ("bona fide", "attacks"),
        ("score of the passive networks", "share of presentations")))


def _calibrate(arguments: argparse.Namespace, card: Card, remarks: Remarks) -> Result:
    from device.evaluate.allpairs import count
    from device.evaluate.calibrate import calibrate, check_target, of_acquired, write_population
    from device.evaluate.verify import vectors_of

    path = arguments.card or card.folder / "card.toml"
    check_target(path, arguments.population)
    people = _people(arguments, remarks)
    acquired = _acquire([row.image for row in people], arguments, card, remarks)
    vectors = vectors_of(people, acquired)
    data = arguments.data or f"{int(acquired.is_acquired.sum())} pictures of {vectors.people} people"
    population = calibrate(vectors, arguments.population, data, _command(arguments), arguments.least_fmr or 0.0)
    write_population(path, population)
    return Result(report.of_calibration(population, str(path), card.model_id, remarks),
                  lambda to: plot(count(of_acquired(vectors)), f"{card.model_id}, {population.name}", to))


def _told(arguments: argparse.Namespace, work: Callable[[argparse.Namespace, Card, Remarks], Result]) -> int:
    """Check what can be wrong before work begins, do it, and print its remarks (whatever becomes of it), its figures
    and its picture, in that order."""
    inputs.folder_of(arguments.images)
    if arguments.plot:
        check_plot(arguments.plot)
    card, remarks = library.open_pack(arguments.pack), Remarks()
    try:
        result = work(arguments, card, remarks)
    finally:
        _say_remarks(remarks)
    if arguments.json:
        say_json(result.figures)
    else:
        for line in report.lines(result.figures):
            say(line)
    if arguments.plot:
        result.draw(arguments.plot)
    return 0


def _say_remarks(remarks: Remarks) -> None:
    for line in remarks.lines[:SHOWN_REMARKS]:
        sys.stderr.write(f"doorctl: {line}\n")
    if len(remarks.lines) > SHOWN_REMARKS:
        sys.stderr.write(f"doorctl: and {len(remarks.lines) - SHOWN_REMARKS} more of that kind\n")


def _say_reach(threshold: Threshold, far: float, remarks: Remarks) -> None:
    """Name the populations that were not measured down, or not up, to that rate."""
    for rate in threshold.rates:
        if rate.fmr > far * (1 + 1e-6):
            remarks.say(f"population {rate.population} states no FMR below {rate.fmr:.2g}: there the strictest "
                        "measured threshold stands in")
    if threshold.fmr < far * (1 - 1e-6):
        remarks.say(f"the card was measured up to an FMR of {threshold.fmr:.2g} only: that threshold was taken")


def _whose(people: Sequence[Labelled]) -> dict[str, str]:
    return {row.image: row.person for row in people if row.person}


def _people(arguments: argparse.Namespace, remarks: Remarks) -> list[Labelled]:
    if arguments.all_pairs is None or arguments.all_pairs == Path():
        if arguments.where or arguments.person_column:
            raise UsageError("--where and --person-column need a list: --all-pairs CSV")
        return inputs.people_of_folders(arguments.images, remarks)
    return inputs.read_people(arguments.all_pairs, arguments.images, remarks,
                              person_column=arguments.person_column or "person",
                              where=inputs.parse_where(arguments.where))


def _acquire(names: Sequence[str], arguments: argparse.Namespace, card: Card, remarks: Remarks) -> Acquired:
    return acquire(list(dict.fromkeys(names)), arguments.images, _examiner_of(card), card.recogniser.dimensions,
                   remarks=remarks, uses_gates=arguments.gates == "door", mirror=not arguments.no_mirror)


def _examiner_of(card: Card) -> Callable[[], Examiner]:
    return lambda: Examiner(Models.load(card), DOOR)


def _not_empty(rows: list[Any]) -> list[Any]:
    if not rows:
        raise UsageError("nothing is left to compare; check --images and the remarks above")
    return rows


def _command(arguments: argparse.Namespace) -> str:
    """The command that gives these points again, without the names of this machine's folders."""
    words = ["doorctl", "evaluate", "calibrate", "--images", f"{arguments.images.resolve().name}/"]
    if arguments.all_pairs is not None and arguments.all_pairs != Path():
        words += ["--all-pairs", _placed(arguments.all_pairs, arguments.images)]
    words += ["--person-column", arguments.person_column] if arguments.person_column else []
    for term in arguments.where:
        words += ["--where", term]
    words += ["--gates", "door"] if arguments.gates == "door" else []
    words += ["--no-mirror"] if arguments.no_mirror else []
    words += ["--least-fmr", f"{arguments.least_fmr:g}"] if arguments.least_fmr else []
    words += ["--pack", arguments.pack] if arguments.pack else []
    words += ["--data", arguments.data] if arguments.data else []
    return shlex.join([*words, "--population", arguments.population])


def _placed(path: Path, images: Path) -> str:
    """The list's name as seen from the folder above the pictures, if it lies among them."""
    try:
        return f"{images.resolve().name}/{path.resolve().relative_to(images.resolve()).as_posix()}"
    except ValueError:
        return path.name
