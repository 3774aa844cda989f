"""`doorctl evaluate`: error rates over a folder of pictures, by the stages of the door."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from device.commands.console import say, say_json
from device.errors import UsageError
from device.evaluate import inputs, report
from device.evaluate.faces import Acquired, acquire
from device.evaluate.inputs import Labelled, Remarks
from device.face.card import Card
from device.face.models import Models
from device.face.portrait import Examiner
from device.face.quality import DOOR
from device.packs import library
from device.sighting import Level

SHOWN_REMARKS = 100


def add_parser(commands: Any) -> None:
    """Adds `evaluate` with its five verbs."""
    parser = commands.add_parser(
        "evaluate", help="measure error rates on pictures of your own",
        epilog="example: doorctl evaluate verify --all-pairs --images pictures/ (one folder per person)")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _add_verify(verbs)
    _add_identify(verbs)
    _add_detect(verbs)
    _add_pad(verbs)
    _add_calibrate(verbs)


def run_verify(arguments: argparse.Namespace) -> int:
    """1:1: a list of pairs, or every two pictures."""
    from device.evaluate.verify import verify_all, verify_pairs

    if (arguments.pairs is None) == (arguments.all_pairs is None):
        raise UsageError("name either --pairs CSV or --all-pairs [CSV]")
    if arguments.pairs is not None and (arguments.where or arguments.person_column):
        raise UsageError("--where and --person-column go with --all-pairs, not with --pairs")
    card, remarks = _begin(arguments)
    if arguments.pairs is not None:
        pairs = inputs.read_pairs(arguments.pairs, arguments.images, remarks)
        acquired = _acquire([name for pair in pairs for name in (pair.a, pair.b)], arguments, card, remarks)
        there = acquired.rows
        pairs = [pair for pair in pairs if pair.a in there and pair.b in there]
        result = verify_pairs(_not_empty(pairs), acquired)
    else:
        people = _people(arguments, remarks)
        acquired = _acquire([row.image for row in people], arguments, card, remarks)
        result = verify_all(people, acquired)
    figures = report.of_verification(result, acquired, card, remarks)
    _plot(arguments, result.scores, f"{card.model_id}, 1:1")
    return _end(figures, remarks, arguments.json)


def run_identify(arguments: argparse.Namespace) -> int:
    """Open-set 1:N."""
    from device.evaluate.identify import identify
    from device.face.threshold import threshold_for

    card, remarks = _begin(arguments)
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
    size = 1 if arguments.far is not None else len({row.person for row in people})
    threshold = threshold_for(card.populations, arguments.far or report.FPIR, size)
    result = identify(people, probes, acquired, model_id=card.model_id, threshold=threshold.score, remarks=remarks)
    figures = report.of_identification(result, threshold.score, acquired, card, remarks)
    _plot(arguments, result.scores, f"{card.model_id}, 1:{result.gallery}", ("FPIR", "FNIR"))
    if arguments.far is not None and threshold.fmr > arguments.far * (1 + 1e-6):
        remarks.say(f"the card states no FMR below {threshold.fmr:.2g}: the strictest measured threshold was taken")
    return _end(figures, remarks, arguments.json)


def run_detect(arguments: argparse.Namespace) -> int:
    """Recall on marked pictures, false finds on pictures without a face."""
    from device.evaluate.detect import detect

    card, remarks = _begin(arguments)
    marked = inputs.read_boxes(arguments.boxes, arguments.images, remarks)
    without = inputs.pictures_below(arguments.no_face) if arguments.no_face else []
    examiner = _examiner_of(card)()
    result = detect(marked, arguments.images, without, arguments.no_face,
                    lambda pixels: [finding.face.box for finding in examiner.survey(pixels)], remarks=remarks)
    return _end(report.of_detection(result, remarks), remarks, arguments.json)


def run_pad(arguments: argparse.Namespace) -> int:
    """Presentation attack detection: APCER per species, BPCER."""
    from device.evaluate.pad import detect_attacks

    card, remarks = _begin(arguments)
    rows = inputs.read_presentations(arguments.labels, arguments.images, remarks)
    result = detect_attacks(rows, arguments.images, card, Level(arguments.level), remarks)
    if arguments.plot:
        from device.evaluate.plots import plot

        plot(result.scores, f"{card.name}, passive networks", arguments.plot, ("APCER", "BPCER"),
             ("bona fide", "attacks"), ("score of the passive networks", "share of presentations"))
    return _end(report.of_attacks(result, arguments.level, card, remarks), remarks, arguments.json)


def run_calibrate(arguments: argparse.Namespace) -> int:
    """Operating points into a card."""
    from device.evaluate.calibrate import calibrate, write_population
    from device.evaluate.verify import vectors_of

    card, remarks = _begin(arguments)
    people = _people(arguments, remarks)
    acquired = _acquire([row.image for row in people], arguments, card, remarks)
    vectors = vectors_of(people, acquired)
    data = arguments.data or f"{int(acquired.is_acquired.sum())} pictures of {vectors.people} people"
    population = calibrate(vectors, arguments.population, data, _command(arguments), arguments.least_fmr or 0.0)
    path = arguments.card or card.folder / "card.toml"
    write_population(path, population)
    figures = {
        "population": population.name, "card": str(path), "model_id": card.model_id,
        "genuine": population.genuine_comparisons, "impostor": population.impostor_comparisons,
        "points": [{"fmr": point.fmr, "score": point.score, "tmr": point.tmr} for point in population.points],
        "missing": len(remarks.missing),
    }
    return _end(figures, remarks, arguments.json)


def _add_verify(verbs: Any) -> None:
    parser = verbs.add_parser(
        "verify", help="1:1 error rates: EER, TAR at FAR, pairs judged rightly",
        epilog="example: doorctl evaluate verify --all-pairs labels.csv --where label=live --person-column subject "
               "--images nuaa/")
    parser.add_argument("--pairs", type=Path, metavar="CSV", help="columns fold,same,a,b")
    _add_people(parser)
    _add_common(parser)
    parser.set_defaults(run=run_verify)


def _add_identify(verbs: Any) -> None:
    parser = verbs.add_parser(
        "identify", help="open-set 1:N error rates: FNIR and FPIR at one threshold",
        epilog="example: doorctl evaluate identify --gallery staff.csv --probes probes.csv --images photos/ "
               "--far 1e-5")
    parser.add_argument("--gallery", type=Path, metavar="CSV", required=True, help="columns person,image")
    parser.add_argument("--probes", type=Path, metavar="CSV", required=True,
                        help="columns person,image; an empty person is a stranger")
    parser.add_argument("--far", type=_rate, metavar="X",
                        help="the FMR of one comparison, whatever the gallery's size; the threshold is the card's. "
                             "Without it: the terminal's own threshold for this size of gallery")
    _add_common(parser)
    parser.set_defaults(run=run_identify)


def _add_detect(verbs: Any) -> None:
    parser = verbs.add_parser(
        "detect", help="faces found and faces found where there is none",
        epilog="example: doorctl evaluate detect --boxes boxes.csv --images photos/ --no-face animals/")
    parser.add_argument("--boxes", type=Path, metavar="CSV", required=True,
                        help="columns image,left,top,width,height and perhaps source; pictures whose source is "
                             "\"human\" are marked in part only")
    parser.add_argument("--no-face", type=Path, metavar="DIR", help="pictures without a face, in any folders")
    _add_common(parser, is_plotted=False, is_gated=False)
    parser.set_defaults(run=run_detect)


def _add_pad(verbs: Any) -> None:
    parser = verbs.add_parser(
        "pad", help="presentation attack detection: APCER per attack species, BPCER, non-response",
        epilog="example: doorctl evaluate pad --labels labels.csv --images attacks/ --level low")
    parser.add_argument("--labels", type=Path, metavar="CSV", required=True,
                        help="columns image,label and perhaps subject; image names a picture, a clip or a folder of "
                             "a clip's pictures, label is live or the attack's species")
    parser.add_argument("--level", choices=("low", "normal", "high"), default="normal",
                        help="which judges look; a recording answers no challenge, so high is normal here")
    _add_common(parser, is_gated=False)
    parser.set_defaults(run=run_pad)


def _add_calibrate(verbs: Any) -> None:
    parser = verbs.add_parser(
        "calibrate", help="measure operating points and write them into a card",
        epilog="example: doorctl evaluate calibrate --images staff/ --population staff-2026")
    parser.add_argument("--population", metavar="NAME", required=True, help="what to call this set of people")
    parser.add_argument("--data", metavar="TEXT", help="what the pictures are, in words")
    parser.add_argument("--least-fmr", type=_rate, metavar="X",
                        help="no point below this rate, where names are known to be wrong now and then: the pairs of "
                             "one person under two names are the highest scores of all")
    parser.add_argument("--card", type=Path, metavar="FILE", help="the card to write into, instead of the pack's own")
    _add_people(parser)
    _add_common(parser, is_plotted=False)
    parser.set_defaults(run=run_calibrate)


def _add_people(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all-pairs", type=Path, metavar="CSV", nargs="?", const=Path(),
                        help="every two pictures: of a list with columns image,person, or without a list of a folder "
                             "that has one folder per person")
    parser.add_argument("--person-column", metavar="NAME", help="the column that says who it is, if not person")
    parser.add_argument("--where", action="append", default=[], metavar="COLUMN=VALUE",
                        help="only rows of the list with that value; may be given again")


def _add_common(parser: argparse.ArgumentParser, is_plotted: bool = True, is_gated: bool = True) -> None:
    parser.add_argument("--images", type=Path, metavar="DIR", required=True, help="the folder that names start from")
    parser.add_argument("--pack", metavar="NAME", help="model pack, if not the one in use")
    if is_gated:
        parser.add_argument("--gates", choices=("off", "door"), default="off",
                            help="door: a picture that the door's quality gates refuse is a failure to acquire; "
                                 "off: it is counted and compared all the same")
        parser.add_argument("--no-mirror", action="store_true", help="one pass only, as with face.mirror = false")
    if is_plotted:
        parser.add_argument("--plot", type=Path, metavar="FILE.png", help="DET curve and score histograms")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate; write a number above 0 and at most 1, such as 1e-5")
    return value


def _begin(arguments: argparse.Namespace) -> tuple[Card, Remarks]:
    """Everything that can be wrong before work begins; the pack in use, or the one that was named."""
    from device.evaluate.plots import check_plot

    inputs.folder_of(arguments.images)
    if getattr(arguments, "plot", None):
        check_plot(arguments.plot)
    return library.open_pack(arguments.pack), Remarks()


def _people(arguments: argparse.Namespace, remarks: Remarks) -> list[Labelled]:
    if arguments.all_pairs is None or arguments.all_pairs == Path():
        if arguments.where or arguments.person_column:
            raise UsageError("--where and --person-column need a list: --all-pairs CSV")
        return inputs.people_of_folders(arguments.images, remarks)
    return inputs.read_people(arguments.all_pairs, arguments.images, remarks,
                              person_column=arguments.person_column or "person",
                              where=inputs.parse_where(arguments.where))


def _acquire(names: Sequence[str], arguments: argparse.Namespace, card: Card, remarks: Remarks) -> Acquired:
    return acquire(list(dict.fromkeys(names)), arguments.images, _examiner_of(card, not arguments.no_mirror),
                   card.recogniser.dimensions, remarks=remarks, uses_gates=arguments.gates == "door")


def _examiner_of(card: Card, mirror: bool = True) -> Callable[[], Examiner]:
    return lambda: Examiner(Models.load(card), DOOR, mirror)


def _not_empty(rows: list[Any]) -> list[Any]:
    if not rows:
        raise UsageError("nothing is left to compare; check --images and the remarks above")
    return rows


def _plot(arguments: argparse.Namespace, scores: Any, title: str, labels: tuple[str, str] = ("FMR", "FNMR")) -> None:
    if arguments.plot:
        from device.evaluate.plots import plot

        plot(scores, title, arguments.plot, labels)


def _end(figures: report.Object, remarks: Remarks, as_json: bool) -> int:
    for line in remarks.lines[:SHOWN_REMARKS]:
        sys.stderr.write(f"doorctl: {line}\n")
    if len(remarks.lines) > SHOWN_REMARKS:
        sys.stderr.write(f"doorctl: and {len(remarks.lines) - SHOWN_REMARKS} more of that kind\n")
    if as_json:
        say_json(figures)
    else:
        for line in report.lines(figures):
            say(line)
    return 0


def _command(arguments: argparse.Namespace) -> str:
    """The command that gives these points again, without the names of this machine's folders."""
    words = ["doorctl evaluate calibrate", f"--images {arguments.images.name}/"]
    if arguments.all_pairs is not None:
        words.append(f"--all-pairs {arguments.all_pairs.name}")
    words += [f"--person-column {arguments.person_column}"] if arguments.person_column else []
    words += [f"--where {term}" for term in arguments.where]
    words += ["--gates door"] if arguments.gates == "door" else []
    words += ["--no-mirror"] if arguments.no_mirror else []
    words += [f"--least-fmr {arguments.least_fmr:g}"] if arguments.least_fmr else []
    return " ".join([*words, f"--population {arguments.population}"])
