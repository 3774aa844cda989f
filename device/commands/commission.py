"""`doorctl commission`: ten minutes at this very door, to see whether its camera tells people from pictures."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from device.camera.camera import Camera, ClipEnded, open_camera
from device.clock import Clock, SystemClock
from device.commands.console import say, say_json
from device.commands.opened import add_config_option, configuration, pack
from device.config import DEFAULT_PATH, Config
from device.errors import UsageError
from device.evaluate.site import SiteCard, Try, card_of, drift, is_stale, read_card, watch
from device.face.card import Card
from device.face.models import Models
from device.face.pad.fusion import open_panel
from device.frame import Frame
from device.sighting import Level

CARD_NAME = "liveness.json"
TRY_S = 6.0

Ask = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Step:
    """One presentation that the installer is led through."""

    species: str
    light: str
    text: str


def plan(people: int) -> list[Step]:
    """The presentations: each person twice in either light, and prints and a phone in both."""
    steps: list[Step] = []
    for light, words in (("bright", "with all lamps on"), ("dark", "as dark as it gets here")):
        for number in range(1, people + 1):
            for turn in ("", ", again"):
                steps.append(Step("live", light, f"person {number}{turn}, {words}: walk up and look into the camera"))
        for held in ("held still", "moved a little"):
            steps.append(Step("print", light, f"a printed photo of a face, {held}, {words}"))
            steps.append(Step("phone", light, f"a phone that shows a face, {held}, {words}"))
    return steps


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "commission", help="measure liveness at this door with a few people, a print and a phone",
        description="Leads an installer through about ten minutes of live tries and attacks before this door's "
                    "camera (stop doord first), and stores what it found beside the configuration: no picture and "
                    "no name, only figures. Repeat it when camera, lamps or lens have changed.",
        epilog="example: doorctl commission --people 3")
    parser.add_argument("--people", type=int, default=2, metavar="N", help="consenting persons at hand (1 to 6)")
    parser.add_argument("--card", type=Path, metavar="FILE", help=f"the card (default {CARD_NAME} beside the "
                                                                  "configuration)")
    parser.add_argument("--show", action="store_true", help="print the stored card and whether it is still good")
    parser.add_argument("--json", action="store_true", help="the card as one JSON document")
    add_config_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 measured (or shown) and nothing to warn of; 1 with warnings, or given up."""
    config = configuration(arguments)
    clock = SystemClock()
    path = arguments.card or (arguments.config or DEFAULT_PATH).parent / CARD_NAME
    if arguments.show:
        return _show(path, clock, arguments.json)
    if not 1 <= arguments.people <= 6:
        raise UsageError("--people must be 1 to 6")
    say("Only people who have agreed take part. No picture is kept.")
    if input("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        return 1
    old = read_card(path)
    camera = open_camera(config.camera, clock)
    try:
        card = commission(camera, pack(config), config, plan(arguments.people), clock, input)
    finally:
        camera.close()
    card.write(path)
    _tell(card, drift(old, card) if old is not None else "", arguments.json)
    say(f"stored in {path}")
    return 1 if card.warnings else 0


def commission(camera: Camera, card: Card, config: Config, steps: list[Step], clock: Clock, ask: Ask) -> SiteCard:
    """Go through the steps; the card of what was seen. `ask` shows a text and waits for Enter."""
    models = Models.load(card)
    level = Level(config.face.liveness) if config.face.liveness != "none" else Level.NORMAL
    tries: list[Try] = []
    for number, step in enumerate(steps, 1):
        ask(f"{number}/{len(steps)}  {step.text}. Press Enter, then begin. ")
        panel = open_panel(card, secrets.randbelow, config.face.liveness_threshold)
        seen = watch(_for(camera, TRY_S), models, config.face, panel, level, step.species, step.light)
        if seen is None:
            say("       no usable face was seen; this one does not count")
            continue
        tries.append(seen)
        score = "no score" if seen.score is None else f"score {seen.score:.2f}"
        say(f"       {'passed' if seen.is_passed else 'not passed'}, {score}")
    passive = card.passive.threshold if card.passive is not None else None
    return card_of(tries, camera=camera.description, model_id=card.model_id, level=level,
                   threshold=config.face.liveness_threshold or passive, at=clock.now())


def _for(camera: Camera, seconds: float) -> Iterator[Frame]:
    """The camera's frames for so long by their own times."""
    begun: float | None = None
    while True:
        try:
            frame = camera.read(2.0)
        except ClipEnded:
            return
        begun = frame.mono if begun is None else begun
        if frame.mono - begun > seconds:
            return
        yield frame


def _show(path: Path, clock: Clock, as_json: bool) -> int:
    card = read_card(path)
    if card is None:
        sys.stderr.write(f"{path}: this door has not been commissioned: doorctl commission\n")
        return 1
    is_old = is_stale(card, clock.now())
    _tell(card, "the card is older than half a year: commission again" if is_old else "", as_json)
    return 1 if is_old else 0


def _tell(card: SiteCard, changed: str, as_json: bool) -> None:
    if as_json:
        say_json(asdict(card))
        return
    low, high = card.bpcer_interval
    say(f"BPCER {card.bpcer:.2f} of {card.live_tries} live tries (95 % interval {low:.2f} to {high:.2f})")
    for species, rate in card.apcer.items():
        say(f"APCER {species} {rate:.2f} of {card.attacks[species]}")
    if card.latency_median_s is not None:
        say(f"first usable frame to live: median {card.latency_median_s:.2f} s, p95 {card.latency_p95_s:.2f} s")
    say(f"light on the face {card.exposure_least:.2f} to {card.exposure_most:.2f}")
    if card.proposed is not None:
        say(f"proposed: face.liveness_threshold = {card.proposed}")
    for warning in (*card.warnings, *([changed] if changed else [])):
        say(f"WARNING  {warning}")
