"""`doorctl liveness`: whether a recorded clip shows a live person who does what a random code asks."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from device.camera.camera import Camera, ClipEnded
from device.camera.files import open_file
from device.clock import HandClock, SystemClock
from device.commands.console import say, say_json
from device.commands.opened import add_config_option, configuration, pack
from device.config import Config
from device.errors import UsageError
from device.face.models import Models
from device.face.pad.action import PROMPTS, Action
from device.face.pad.clip import ClipJudge, ClipVerdict, Expected, parse_code
from device.face.pad.session import Session, Sessions
from device.face.photo import read_photo
from device.face.portrait import Examiner
from device.face.quality import DOOR
from device.face.threshold import threshold_for
from device.frame import Frame
from device.store.places import places


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "liveness", help="judge a clip of a person against a code of actions",
        description="With --new: a session, that is a random code of actions, valid for five minutes and used once. "
                    "With a clip: whether it shows one live person who does those actions in that order. --code "
                    "judges against a code that you keep track of yourself; then nothing tells whether it was "
                    "fresh. --expect also asks that the clip shows whom a picture shows, compared 1:1.",
        epilog="example: doorctl liveness clip.mp4 --code turn_left,blink")
    parser.add_argument("video", metavar="VIDEO", type=Path, nargs="?", help="a clip, or a folder of its frames")
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--new", action="store_true", help="open a session and print its id and code")
    chosen.add_argument("--session", metavar="ID", help="the session whose code the clip answers")
    chosen.add_argument("--code", metavar="ACTIONS", help=f"of {', '.join(action.value for action in Action)}")
    parser.add_argument("--expect", metavar="IMAGE", type=Path, help="a picture of the person whom it must show")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    add_config_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 live (or the session is open), 1 not, 2 wrong usage."""
    sessions = Sessions(places().root / "liveness", SystemClock(), secrets.randbelow, lambda: secrets.token_hex(16))
    if arguments.new:
        if arguments.video is not None or arguments.expect is not None:
            raise UsageError("--new opens a session and takes no clip: give the clip with --session afterwards")
        _tell_session(sessions.open(), arguments.json)
        return 0
    if arguments.video is None:
        raise UsageError("name the clip: doorctl liveness clip.mp4 --code turn_left,blink")
    config = configuration(arguments)
    code = parse_code(arguments.code) if arguments.code is not None else None
    models = Models.load(pack(config))
    expected = _expected(arguments.expect, models, config) if arguments.expect is not None else None
    camera = open_file(arguments.video, config.camera, HandClock(mono=0.0), paced=False)
    # The session is spent only once the clip can be read, and before anything is known of it.
    code = code if code is not None else sessions.take(arguments.session).code
    verdict = ClipJudge(models).judge(_frames(camera), code, expected)
    _tell(verdict, code, arguments)
    return 0 if verdict.is_live else 1


def _expected(photo: Path, models: Models, config: Config) -> Expected:
    """Whom the photo shows, and the score of the site's error budget for one comparison; EnrolmentRefused says why
    there is nobody."""
    probe = Examiner(models, DOOR).one(read_photo(photo), photo.name)
    return Expected((probe.vector,), threshold_for(models.card.populations, config.face.fpir, 1).score)


def _frames(camera: Camera) -> Iterator[Frame]:
    try:
        while True:
            yield camera.read(1.0)
    except ClipEnded:
        return
    finally:
        camera.close()


def _tell_session(session: Session, as_json: bool) -> None:
    words = [action.value for action in session.code]
    if as_json:
        say_json({"session": session.session_id, "code": words, "until": session.until.isoformat(),
                  "say": {language: [PROMPTS[action].text(language) for action in session.code]
                          for language in ("en", "zh")}})
        return
    say(f"session {session.session_id}, valid until {session.until:%H:%M:%S} UTC, once")
    say("ask for, in this order: " + ", ".join(PROMPTS[action].text("en") for action in session.code))


def _tell(verdict: ClipVerdict, code: tuple[Action, ...], arguments: argparse.Namespace) -> None:
    done, wanted = [action.value for action in verdict.done], [action.value for action in code]
    if arguments.json:
        say_json({"live": verdict.is_live, "reason": verdict.reason, "code": wanted, "done": done,
                  "likeness": None if verdict.likeness is None else round(verdict.likeness, 4),
                  "frames": verdict.frames, "session": arguments.session,
                  "judges": {one.judge: one.score for one in verdict.judgements}})
        return
    scores = ", ".join(f"{one.judge} {'abstains' if one.score is None else f'{one.score:.2f}'}"
                       for one in verdict.judgements)
    scores += f"; likeness {verdict.likeness:.2f}" if verdict.likeness is not None else ""
    say(f"{'LIVE' if verdict.is_live else 'REFUSED'}  {verdict.reason}; {len(done)} of {len(wanted)} actions seen, "
        f"{verdict.frames} frames{'; ' + scores if scores else ''}")
