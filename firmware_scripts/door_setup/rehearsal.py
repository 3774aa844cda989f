"""doord before the rehearsal's camera: what `install --rehearsal` has doord.service run.

State, key, relay, hub and screen are those of the installed terminal; only the camera is rendered, and the pins are
mock pins. The sitter of the portrait and strangers come to the door in turn, for ever; the sitter is let in once
somebody has enrolled the picture that `--photo` writes. Run with the release's interpreter.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from device.app import obey_signals
from device.clock import Clock, SystemClock
from device.config import DEFAULT_PATH, Config, read_config
from device.door.decision import Decision, Now
from device.errors import TerminalError
from device.face.models import Models
from device.hardware.link import RelayLink
from device.observe.logs import set_up
from device.packs import library
from device.packs.archives import portrait
from device.rehearsal.camera import RehearsalCamera
from device.rehearsal.people import SITTER, STRANGERS, People, people_of
from device.rehearsal.scenes import Scene, empty, performs, walks_up
from device.rehearsal.stage import Stage, enrolment_photo, png
from device.sighting import Hint, Sighting
from device.store.places import places
from device.terminal import Terminal
from device.threads import Worker

PATIENCE_S = 12.0
PAUSE_S = 1.5  # long enough for a track to end
STANDING_S = 3.2  # after which whoever walks up has come to stand


class Visitors:
    """Who stands before the camera. `decided` and `awaited` come on the door thread, `come` runs on its own."""

    def __init__(self, people: People, config: Config, clock: Clock) -> None:
        self._stage = Stage(people, (config.camera.width, config.camera.height))
        self._fps, self._clock = config.camera.fps, clock
        self._scene = empty()
        self._camera: RehearsalCamera | None = None
        self._is_sitter = self._is_answered = False
        self._begun_mono = 0.0
        self._performed = ""

    def open(self) -> RehearsalCamera:
        """A camera before the scene; doord opens another where one is lost."""
        camera = self._camera = RehearsalCamera(self._stage, self._scene, self._fps, self._clock)
        camera.show(self._scene)  # another may have begun while this one was made
        return camera

    def come(self, worker: Worker) -> None:
        """Body of the directing thread."""
        number = 0
        while not worker.stopping.is_set():
            self._visit(worker, walks_up(), is_sitter=True)
            self._visit(worker, walks_up(STRANGERS[number % 4]), is_sitter=False)
            number += 1

    def _visit(self, worker: Worker, scene: Scene, is_sitter: bool) -> None:
        self._is_sitter, self._is_answered, self._performed = is_sitter, False, ""
        self._begun_mono = self._clock.mono()
        self._show(scene)
        while not (self._is_answered or worker.stopping.wait(0.1)):
            worker.beat()
            if self._clock.mono() > self._begun_mono + PATIENCE_S:
                break
        worker.stopping.wait(PAUSE_S)
        self._show(empty())
        worker.stopping.wait(PAUSE_S)

    def _show(self, scene: Scene) -> None:
        self._scene = scene
        if self._camera is not None:
            self._camera.show(scene)

    def decided(self, decision: Decision, at: Now) -> None:
        self._is_answered = True

    def signalled(self, reason: str) -> None:
        """Told by the decision already."""

    def awaited(self, sighting: Sighting) -> None:
        """The sitter does what is asked, once standing there."""
        is_standing = self._clock.mono() > self._begun_mono + STANDING_S
        if not (self._is_sitter and is_standing) or sighting.hint is Hint.NONE:
            return
        wanted = "turn_left" if sighting.hint is Hint.TURN_A_LITTLE else sighting.action
        if wanted != self._performed:
            self._performed = wanted
            self._show(performs(wanted))


def main(arguments: Sequence[str] | None = None) -> int:
    """0 stopped, 1 failed, 2 wrong configuration."""
    parser = argparse.ArgumentParser(description="doord before the rehearsal's camera")
    parser.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE")
    parser.add_argument("--relay-socket", type=Path, metavar="PATH", help="where door-relay listens")
    parser.add_argument("--photo", type=Path, metavar="FILE", help="write the sitter's picture, and end")
    options = parser.parse_args(arguments)
    if arguments is None:
        _settle_down()
    set_up(logging.WARNING)
    try:
        return _write_photo(options.photo) if options.photo else _serve(options)
    except TerminalError as error:
        sys.stderr.write(f"rehearsal: {error}\n")
        return error.exit_code


def _settle_down() -> None:
    """Run from the release's own folder, not through the link `current`: by that the updater knows which one runs."""
    if Path(sys.prefix) != Path(sys.prefix).resolve():
        python = str(Path(sys.prefix).resolve() / "bin" / "python")
        os.execv(python, [python, "-I", str(Path(__file__).resolve()), *sys.argv[1:]])  # noqa: S606


def _serve(options: argparse.Namespace) -> int:
    config, clock = read_config(options.config), SystemClock()
    visitors = Visitors(_people(config.face.pack), config, clock)
    relay = RelayLink(config.pins.lock, config.pins.active_low, clock, options.relay_socket)
    with Terminal(config, places(), clock, camera=visitors.open, observers=[visitors],
                  relay=relay) as terminal:
        obey_signals(terminal)
        terminal.start()
        director = Worker("visitors", visitors.come, clock)
        director.start()
        terminal.run()
        director.stop()
    return 0


def _write_photo(file: Path) -> int:
    file.write_bytes(png(enrolment_photo(_people("auto"), SITTER)))
    return 0


def _people(pack: str) -> People:
    models = Models.load(library.open_pack(None if pack == "auto" else pack))
    return people_of(portrait(), models.finder, models.landmarks)


if __name__ == "__main__":
    sys.exit(main())
