"""`doorctl commission`: ten minutes at this very door, to see whether its camera tells people from pictures.

Everything that leads the installer goes to stderr, so that `--json` leaves one document on stdout.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from device.camera.camera import Camera, ClipEnded, open_camera
from device.clock import Clock, SystemClock
from device.commands.console import say, say_json
from device.commands.opened import add_config_option, configuration, pack
from device.config import DEFAULT_PATH, Config
from device.errors import CameraLost, TerminalError, UsageError
from device.evaluate.site import card_of, watch
from device.evaluate.tries import Step, Tries, partial_path, plan, read_tries
from device.face.card import Card
from device.face.models import Models
from device.face.pad.action import LOOK_AHEAD, PROMPTS, TURN_A_LITTLE, Action
from device.face.pad.fusion import open_panel
from device.face.pad.sitecard import CARD_NAME, SiteCard, changed, is_stale, read_card
from device.frame import Frame
from device.sighting import Hint, Level

TRY_S = 14.0
"""A visitor who must be asked to turn and then do two actions takes so long; most tries end sooner."""

Ask = Callable[[str], str]


class InputEnded(TerminalError, EOFError):
    """Nobody is there to answer."""


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "commission", help="measure liveness at this door with a few people, a print and a phone",
        description="Leads an installer through about ten minutes of live tries and attacks before this door's "
                    "camera (stop doord first), and stores what it found beside the configuration: no picture and "
                    "no name, only figures. What is asked of a visitor is printed here: say it aloud. If it breaks "
                    "off, the next call goes on after the last try. Repeat it when camera, lamps or lens have "
                    "changed.",
        epilog="example: doorctl commission --people 3")
    parser.add_argument("--people", type=int, default=2, metavar="N", help="consenting persons at hand (1 to 6)")
    parser.add_argument("--card", type=Path, metavar="FILE", help=f"the card (default {CARD_NAME} beside the "
                                                                  "configuration)")
    parser.add_argument("--show", action="store_true", help="print the stored card and whether it is still good")
    parser.add_argument("--afresh", action="store_true", help="begin anew, whatever is kept of a call that broke off")
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
    old = read_card(path)
    _tell("Only people who have agreed take part. No picture is kept.")
    if ask("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        return 1
    door = Door(config, pack(config), clock, ask)
    tries = _begin(door, partial_path(path), arguments.people, arguments.afresh)
    camera = open_camera(config.camera, clock)
    try:
        tries = door.go_through(camera, plan(arguments.people), tries, partial_path(path))
    finally:
        camera.close()
    card = door.card_of(tries, camera.description)
    card.write(path)
    partial_path(path).unlink(missing_ok=True)
    _tell(f"stored in {path}")
    _tell_card(card, changed(old, card) if old is not None else "", arguments.json)
    return 1 if card.warnings else 0


class Door:
    """The door that is being commissioned. `ask` shows a text and waits for Enter."""

    def __init__(self, config: Config, card: Card, clock: Clock, ask: Ask) -> None:
        self._config, self._card, self._clock, self._ask = config, card, clock, ask
        self._models = Models.load(card)
        self.level = Level(config.face.liveness) if config.face.liveness != "none" else Level.NORMAL

    def begin(self, people: int) -> Tries:
        """No try yet."""
        return Tries(self._clock.now().isoformat(timespec="seconds"), self._card.model_id, self.level.value, people)

    def go_through(self, camera: Camera, steps: Sequence[Step], tries: Tries, kept_in: Path) -> Tries:
        """Go through the steps that are left; each try is written to `kept_in` when it is over. CameraLost and
        InputEnded say how to go on."""
        for number, step in enumerate(steps[len(tries.seen):], len(tries.seen) + 1):
            try:
                self._ask(f"{number}/{len(steps)}  {step.text}. Press Enter, then begin. ")
                tries = self._try(camera, step, tries)
            except (CameraLost, InputEnded) as error:
                raise type(error)(f"{error}; {len(tries.seen)} tries are kept: call it again to go on after them"
                                  ) from None
            tries.write(kept_in)
        return tries

    def card_of(self, tries: Tries, camera: str) -> SiteCard:
        """The card of the tries; ConfigError where they are too few."""
        passive = self._card.passive.threshold if self._card.passive is not None else None
        return card_of(tries.made, camera=camera, model_id=self._card.model_id, level=self.level,
                       threshold=self._config.face.liveness_threshold or passive, at=self._clock.now())

    def _try(self, camera: Camera, step: Step, tries: Tries) -> Tries:
        face = self._config.face
        panel = open_panel(self._card, secrets.randbelow, face.liveness_threshold, self._config.camera.infrared_place)
        seen = watch(_for(camera, TRY_S), self._models, face, panel, self.level, step.species, step.light,
                     self._prompt)
        if seen is None:
            _tell("       no usable face was seen; this one does not count")
        else:
            score = "no score" if seen.score is None else f"score {seen.score:.2f}"
            _tell(f"       {'passed' if seen.is_passed else 'not passed'}, {score}")
        return tries.after(seen)

    def _prompt(self, hint: Hint, action: str) -> None:
        """What the visitor is asked to do, for the installer to say."""
        language = self._config.screen.language
        if hint is Hint.DO_CHALLENGE:
            _tell(f"       ask: {PROMPTS[Action(action)].text(language)}")
        elif hint is Hint.TURN_A_LITTLE:
            _tell(f"       ask: {TURN_A_LITTLE[language]}")
        elif hint is Hint.LOOK_AT_CAMERA:
            _tell(f"       ask: {LOOK_AHEAD[language]}")


def ask(question: str) -> str:
    """Show a question on stderr and wait for the answer; InputEnded where none can come."""
    sys.stderr.write(question)
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not answer:
        sys.stderr.write("\n")
        raise InputEnded("the input has ended; commissioning needs somebody at the keyboard")
    return answer


def _begin(door: Door, kept_in: Path, people: int, is_afresh: bool) -> Tries:
    fresh, kept = door.begin(people), None if is_afresh else read_tries(kept_in)
    if kept is None or not kept.can_go_on(fresh):
        return fresh
    _tell(f"going on after the {len(kept.seen)} tries that were begun at {kept.begun_at}; --afresh begins anew")
    return kept


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
    _tell_card(card, "the card is older than half a year: commission again" if is_old else "", as_json)
    return 1 if is_old else 0


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _tell_card(card: SiteCard, changes: str, as_json: bool) -> None:
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
    for warning in (*card.warnings, *([changes] if changes else [])):
        say(f"WARNING  {warning}")
