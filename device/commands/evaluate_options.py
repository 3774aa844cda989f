"""The arguments of `doorctl evaluate`, verb by verb. Called by `commands.evaluate`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[[argparse.Namespace], int]


def add_verify(verbs: Any, run: Run) -> None:
    parser = verbs.add_parser(
        "verify", help="1:1 error rates: EER, TAR at FAR, pairs judged rightly",
        epilog="example: doorctl evaluate verify --all-pairs nuaa/labels.csv --where label=live "
               "--person-column subject --images nuaa/")
    parser.add_argument("--pairs", type=Path, metavar="CSV", help="columns fold,same,a,b")
    _add_people(parser)
    _add_common(parser)
    parser.set_defaults(run=run)


def add_identify(verbs: Any, run: Run) -> None:
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
    parser.set_defaults(run=run)


def add_detect(verbs: Any, run: Run) -> None:
    parser = verbs.add_parser(
        "detect", help="faces found and faces found where there is none",
        epilog="example: doorctl evaluate detect --boxes boxes.csv --images photos/ --no-face animals/")
    parser.add_argument("--boxes", type=Path, metavar="CSV", required=True,
                        help="columns image,left,top,width,height and perhaps source; pictures whose source is "
                             "\"human\" are marked in part only")
    parser.add_argument("--no-face", type=Path, metavar="DIR", help="pictures without a face, in any folders")
    _add_common(parser, is_gated=False)
    parser.set_defaults(run=run)


def add_pad(verbs: Any, run: Run) -> None:
    parser = verbs.add_parser(
        "pad", help="presentation attack detection: APCER per attack species, BPCER, non-response",
        epilog="example: doorctl evaluate pad --labels labels.csv --images attacks/ --level low")
    parser.add_argument("--labels", type=Path, metavar="CSV", required=True,
                        help="columns image,label and perhaps subject; image names a picture, a clip or a folder of "
                             "a clip's pictures, label is live or the attack's species")
    parser.add_argument("--level", choices=("low", "normal", "high"), default="normal",
                        help="which judges look; a recording answers no challenge, so high is normal here")
    _add_common(parser, is_gated=False)
    parser.set_defaults(run=run)


def add_calibrate(verbs: Any, run: Run) -> None:
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
    _add_common(parser)
    parser.set_defaults(run=run)


def _add_people(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all-pairs", type=Path, metavar="CSV", nargs="?", const=Path(),
                        help="every two pictures: of a list with columns image,person, or without a list of a folder "
                             "that has one folder per person")
    parser.add_argument("--person-column", metavar="NAME", help="the column that says who it is, if not person")
    parser.add_argument("--where", action="append", default=[], metavar="COLUMN=VALUE",
                        help="only rows of the list with that value; may be given again")


def _add_common(parser: argparse.ArgumentParser, is_gated: bool = True) -> None:
    parser.add_argument("--images", type=Path, metavar="DIR", required=True, help="the folder that names start from")
    parser.add_argument("--pack", metavar="NAME", help="model pack, if not the one in use")
    if is_gated:
        parser.add_argument("--gates", choices=("off", "door"), default="off",
                            help="door: a picture that the door's quality gates refuse is a failure to acquire; "
                                 "off: it is counted and compared all the same")
        parser.add_argument("--no-mirror", action="store_true",
                            help="probes of one pass only, as with face.mirror = false; enrolment always takes two")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="error curve and score histograms")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate; write a number above 0 and at most 1, such as 1e-5")
    return value
