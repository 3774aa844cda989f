"""`doorctl identify` and `doorctl compare`: what the recogniser says of still pictures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from device.commands.console import say, say_json
from device.commands.opened import add_config_option, configuration, gallery_reader, load_enrolled, pack
from device.errors import PictureRefused, TerminalError
from device.face import match
from device.face.models import Models
from device.face.photo import read_photo
from device.face.portrait import Examiner, Finding
from device.face.quality import DOOR
from device.face.threshold import threshold_for
from device.face.types import Probe
from device.frame import Pixels


def add_parser(commands: Any) -> None:
    one = commands.add_parser(
        "identify", help="who of the enrolled a picture shows",
        description="Compare every face of a picture with everyone enrolled, as the door would (M:N).",
        epilog="example: doorctl identify visitor.jpg --json")
    one.add_argument("image", metavar="IMAGE", type=Path)
    two = commands.add_parser(
        "compare", help="whether two pictures show one person",
        description="Compare the largest faces of two pictures (1:1). Ends with 0 for the same person, 1 for not.",
        epilog="example: doorctl compare passport.jpg visitor.jpg")
    two.add_argument("a", metavar="A", type=Path)
    two.add_argument("b", metavar="B", type=Path)
    for parser, run in ((one, run_identify), (two, run_compare)):
        parser.add_argument("--json", action="store_true", help="one JSON document")
        add_config_option(parser)
        parser.set_defaults(run=run)


def run_identify(arguments: argparse.Namespace) -> int:
    """0 where every face is known, 1 where one is not, or where there is none."""
    pixels = read_photo(arguments.image)
    config = configuration(arguments)
    card = pack(config)
    findings = Examiner(Models.load(card), DOOR).examine(pixels)
    with gallery_reader() as reader:
        if reader is None:
            raise TerminalError("nobody is enrolled: doorctl enrol NAME PHOTO")
        enrolled = load_enrolled(reader, card, config)
        rows = []
        for finding in findings:
            best = match.identify(enrolled.gallery, finding.probe.vector).best if finding.probe else None
            is_known = best is not None and finding.quality.is_usable and best.score >= enrolled.threshold.score
            person = reader.person(best.person_id) if best is not None and is_known else None
            rows.append({
                "box": _box(finding), "is_known": is_known,
                "person_id": best.person_id if best and is_known else None,
                "label": person.label if person else None,
                "score": round(best.score, 4) if best else None,
                "threshold": round(enrolled.threshold.score, 4),
                "quality": round(finding.quality.value, 3), "refused_by": list(finding.quality.reasons),
            })
    if arguments.json:
        say_json({"model_id": card.model_id, "gallery": len(enrolled.gallery), "faces": rows})
    elif not rows:
        say("no face found")
    else:
        for row in rows:
            say(_line(row))
    return 0 if rows and all(row["is_known"] for row in rows) else 1


def run_compare(arguments: argparse.Namespace) -> int:
    """0 the same person at the site's error budget for one comparison, 1 not."""
    config = configuration(arguments)
    card = pack(config)
    examiner = Examiner(Models.load(card), DOOR)
    first, second = (_largest(examiner, read_photo(path), path) for path in (arguments.a, arguments.b))
    threshold = threshold_for(card.populations, config.face.fpir, 1)
    score = match.compare(first.vector, second.vector)
    is_same = score >= threshold.score
    if arguments.json:
        say_json({"model_id": card.model_id, "score": round(score, 4), "threshold": round(threshold.score, 4),
                  "is_same": is_same, "fmr": threshold.fmr})
    else:
        say(f"{'the same person' if is_same else 'not the same person'}: score {score:.3f}, threshold "
            f"{threshold.score:.3f} (false match rate {threshold.fmr:.1e})")
    return 0 if is_same else 1


def _largest(examiner: Examiner, pixels: Pixels, path: Path) -> Probe:
    findings = examiner.examine(pixels)
    if not findings or findings[0].probe is None:
        raise PictureRefused(f"{path.name}: no face found; use a picture of the face from the front")
    return findings[0].probe


def _box(finding: Finding) -> list[int]:
    box = finding.face.box
    return [round(box.left), round(box.top), round(box.width), round(box.height)]


def _line(row: dict[str, Any]) -> str:
    where = "face at {},{} {}x{}: ".format(*row["box"])
    if row["refused_by"]:
        return where + f"not fit for recognition ({', '.join(row['refused_by'])})"
    if row["is_known"]:
        return where + f"{row['label']} ({row['person_id']}), score {row['score']:.3f} >= {row['threshold']:.3f}"
    if row["score"] is None:
        return where + "not known, nobody is enrolled"
    return where + f"not known, best score {row['score']:.3f} < {row['threshold']:.3f}"
