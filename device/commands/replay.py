"""`doorctl replay`: what this door would have decided on a recorded clip; no lock moves, nothing is journalled."""

from __future__ import annotations

import argparse
import logging
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from device.camera.camera import Camera, ClipBroken, ClipEnded
from device.camera.files import open_file
from device.clock import HandClock, SystemClock
from device.commands.console import Progress, say, say_json
from device.commands.opened import add_config_option, configuration, gallery_reader, load_enrolled, pack
from device.config import Config
from device.door.claim import claim_from
from device.door.decision import Memory, Now
from device.door.policy import decide
from device.errors import TerminalError
from device.face.card import Card
from device.face.models import Models
from device.face.pad.fusion import open_panel
from device.face.pipeline import Pipeline
from device.frame import Frame
from device.roster import rules_of
from device.sighting import Demand, Level
from device.store.policy_records import read_policy


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "replay", help="what the door would decide on a clip",
        description="Show a recorded clip, or a folder of stills, to recognition and policy as they are now.",
        epilog="example: doorctl replay evening.mp4 --json")
    parser.add_argument("clip", metavar="CLIP", type=Path)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    add_config_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 the clip was shown to its end; a clip that breaks off is told, and what was decided before it."""
    config = configuration(arguments)
    card = pack(config)
    start = SystemClock().now()
    clock = HandClock(start, 0.0)
    with _remarks():
        return _replayed(arguments, config, card, start, clock)


def _replayed(arguments: argparse.Namespace, config: Config, card: Card, start: datetime, clock: HandClock) -> int:
    camera = open_file(arguments.clip, config.camera, clock, paced=False)
    level = Level(config.face.liveness)
    panel = None if level is Level.NONE else open_panel(card, secrets.randbelow, config.face.liveness_threshold)
    pipeline = Pipeline(Models.load(card), config.face, clock, panel)
    rows: list[dict[str, Any]] = []
    memory = Memory()
    progress = Progress("frame")
    with gallery_reader() as reader:
        if reader is None:
            raise TerminalError("nobody is enrolled: doorctl enrol NAME PHOTO")
        known = load_enrolled(reader, card, config)
        rules = rules_of(read_policy(reader), config)
        for frame in _frames(camera):
            clock.advance(max(frame.mono - clock.mono(), 0.0))
            for sighting in pipeline.look(frame, known.gallery, known.threshold, Demand(level)):
                claim = claim_from(sighting)
                if claim is None:
                    continue
                person = reader.person(claim.person_id) if claim.person_id else None
                now = Now(start + timedelta(seconds=frame.mono), frame.mono)
                decision, memory = decide(claim, person, rules, memory, now)
                if not decision.is_repeat:
                    rows.append({"second": round(frame.mono, 2), "granted": decision.granted,
                                 "reason": decision.reason, "person_id": decision.person_id,
                                 "score": round(sighting.score, 4) if sighting.score is not None else None,
                                 "track": sighting.track_id})
            progress.step()
    progress.close()
    _tell(rows, arguments.json)
    return 0


def _frames(camera: Camera) -> Iterator[Frame]:
    """The clip's frames; where it breaks off before its end that is told."""
    try:
        while True:
            yield camera.read(1.0)
    except ClipEnded as error:
        if isinstance(error, ClipBroken):
            sys.stderr.write(f"doorctl: {error}\n")
    finally:
        camera.close()


@contextmanager
def _remarks() -> Iterator[None]:
    """What the camera's modules remark on (stills that cannot be read, a size that changes) goes to stderr, whatever
    is logged otherwise."""
    logger, handler = logging.getLogger("device.camera"), _Remarks(logging.WARNING)
    level, logger.propagate = logger.level, False
    logger.setLevel(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = True


class _Remarks(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"doorctl: {record.getMessage()}\n")


def _tell(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        say_json(rows)
        return
    for row in rows:
        word = "would release" if row["granted"] else "would refuse "
        who = f"  {row['person_id']}" if row["person_id"] else ""
        score = f"  score {row['score']:.2f}" if row["score"] is not None else ""
        say(f"{row['second']:8.2f} s  {word}  {row['reason']}{who}{score}")
    if not rows:
        say("no decision: nobody came close enough to be recognised")
