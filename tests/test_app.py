"""doord as a whole: real networks, real files, a real relay process with mock pins; only the camera is a test's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from patience import SLOWER

from device.clock import SystemClock
from device.commands.opened import load_enrolled
from device.config import Config, parse_config
from device.consent import record_consent
from device.door.decision import Decision, Now
from device.door.types import Phase
from device.enrolment import Photo, enrol
from device.errors import CameraLost, HardwareMissing, ModelMismatch
from device.face.card import Card
from device.face.models import Models
from device.face.portrait import Examiner
from device.face.quality import ENROLMENT
from device.frame import Frame
from device.hardware.orders import Ack
from device.sighting import Sighting
from device.store.cache_writer import CacheWriter
from device.store.journal import JournalReader
from device.store.places import Places, make_folders, places
from device.store.records import Person
from device.store.seal import load_key
from device.terminal import Terminal

Pixels = npt.NDArray[np.uint8]
DOORD = (sys.executable, "-c", "import sys; from device.app import main; sys.exit(main())")


class StillCamera:
    """Shows what the test says, thirty times a second."""

    description = "a still"
    has_noise = False

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels
        self.is_broken = False
        self._seq = 0

    def read(self, timeout_s: float) -> Frame:
        time.sleep(1 / 30)
        if self.is_broken:
            raise CameraLost("a still: unplugged")
        self._seq += 1
        return Frame(self._seq, time.monotonic(), self.pixels)

    def close(self) -> None:
        """Nothing to give back."""


class Watcher:
    """Collects what the terminal tells its observers."""

    def __init__(self) -> None:
        self.decisions: list[Decision] = []
        self.signals: list[str] = []
        self.acks: list[Ack] = []

    def decided(self, decision: Decision, at: Now) -> None:
        self.decisions.append(decision)

    def signalled(self, reason: str) -> None:
        self.signals.append(reason)

    def awaited(self, sighting: Sighting) -> None:
        """Of no interest here."""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.setenv("DOOR_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    return places()


def configuration(**door: object) -> Config:
    return parse_config({"door": {"lock": "strike", "release_s": 1.0, **door}, "face": {"liveness": "none"}})


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


@pytest.fixture
def empty_scene() -> Pixels:
    return np.full((480, 640, 3), 90, np.uint8)


@pytest.fixture
def person_scene(portrait: Pixels) -> Pixels:
    scene = np.full((512, 640, 3), 90, np.uint8)
    scene[:, :512] = portrait
    return scene


@pytest.fixture
def running(
    state: Places, watcher: Watcher, pack: Card, empty_scene: Pixels
) -> Iterator[tuple[Terminal, StillCamera]]:
    camera = StillCamera(empty_scene)
    with Terminal(configuration(), state, SystemClock(), camera=lambda: camera, observers=[watcher],
                  acknowledged=watcher.acks.append) as terminal:
        terminal.start()
        yield terminal, camera


def turn_until(terminal: Terminal, happened: Callable[[], object], within_s: float = 15.0) -> None:
    deadline = time.monotonic() + within_s * SLOWER
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        terminal.turn()


def enrol_person(state: Places, card: Card, pixels: Pixels) -> str:
    clock = SystemClock()
    make_folders(state)
    writer = CacheWriter.open(state.gallery_db, load_key(state), clock)
    try:
        known = load_enrolled(writer, card, configuration())
        return enrol("Eileen", [Photo("portrait", pixels)], record_consent(clock, "paper"),
                     Examiner(Models.load(card), ENROLMENT), known.gallery, known.threshold, writer, clock).person_id
    finally:
        writer.close()


def test_a_stranger_is_refused_and_let_in_once_enrolled_and_refused_once_removed(
        running: tuple[Terminal, StillCamera], watcher: Watcher, state: Places, pack: Card,
        person_scene: Pixels, empty_scene: Pixels, portrait: Pixels) -> None:
    terminal, camera = running
    camera.pixels = person_scene
    turn_until(terminal, lambda: watcher.decisions)
    assert watcher.decisions[-1].reason == "unknown_face"
    assert not [ack for ack in watcher.acks if ack.is_on]

    person_id = enrol_person(state, pack, portrait)
    turn_until(terminal, lambda: [ack for ack in watcher.acks if ack.is_on])
    assert watcher.decisions[-1].granted
    assert watcher.decisions[-1].person_id == person_id
    assert terminal.gatekeeper.state.phase is Phase.RELEASED
    turn_until(terminal, lambda: not watcher.acks[-1].is_on)
    assert terminal.gatekeeper.state.phase is Phase.SECURE

    writer = CacheWriter.open(state.gallery_db, load_key(state), SystemClock())
    assert writer.drop_person(person_id)
    writer.close()
    watcher.decisions.clear()
    camera.pixels = empty_scene
    turn_until(terminal, lambda: len(terminal.rosters.current.gallery) == 0)
    until = time.monotonic() + 2.0
    turn_until(terminal, lambda: time.monotonic() > until)
    camera.pixels = person_scene
    turn_until(terminal, lambda: watcher.decisions)
    assert watcher.decisions[-1].reason in ("unknown_face", "no_person")
    assert not any(decision.granted for decision in watcher.decisions)


def test_the_journal_tells_the_whole_story_and_names_nobody(
        running: tuple[Terminal, StillCamera], watcher: Watcher, state: Places, pack: Card,
        person_scene: Pixels, portrait: Pixels) -> None:
    terminal, camera = running
    person_id = enrol_person(state, pack, portrait)
    camera.pixels = person_scene
    turn_until(terminal, lambda: [ack for ack in watcher.acks if ack.is_on])
    terminal.close()
    reader = JournalReader.open(state.journal_db)
    reasons = [entry.reason for entry in reader.last(100)]
    assert reasons[0] == "started"
    assert reasons[-1] == "stopped"
    assert reasons.count("face_granted") == 1
    assert [entry.person_id for entry in reader.last(100) if entry.reason == "face_granted"] == [person_id]
    assert reader.verify() == len(reasons)
    reader.close()
    assert b"Eileen" not in b"".join(path.read_bytes() for path in state.journal_db.parent.iterdir())


def test_a_lost_camera_is_told_and_its_return_too(running: tuple[Terminal, StillCamera]) -> None:
    terminal, camera = running
    turn_until(terminal, lambda: terminal.sight.keeper.fps > 0)
    camera.is_broken = True
    turn_until(terminal, lambda: "camera_lost" in terminal.gatekeeper.state.degraded)
    camera.is_broken = False
    turn_until(terminal, lambda: "camera_lost" not in terminal.gatekeeper.state.degraded)
    assert terminal.gatekeeper.state.phase is Phase.SECURE


def test_a_killed_relay_process_is_told_and_started_again(running: tuple[Terminal, StillCamera]) -> None:
    terminal, _ = running
    pid = terminal.relay.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    turn_until(terminal, lambda: "relay_lost" in terminal.gatekeeper.state.degraded)
    turn_until(terminal, lambda: "relay_lost" not in terminal.gatekeeper.state.degraded)
    assert terminal.relay.pid != pid


def test_the_status_says_how_it_is_and_names_nobody(running: tuple[Terminal, StillCamera], state: Places) -> None:
    terminal, _ = running
    path = state.root / "status.json"
    turn_until(terminal, path.exists)
    found = json.loads(path.read_text())
    assert found["model_id"] == terminal.card.model_id
    assert found["phase"] == "secure"
    assert found["relay_alive"] is True
    assert 0 < found["threshold"] < 1


def test_a_second_doord_on_the_same_state_is_refused(running: tuple[Terminal, StillCamera], state: Places,
                                                     tmp_path: Path) -> None:
    config = tmp_path / "terminal.toml"
    config.write_text('[door]\nlock = "maglock"\n')
    command = [*DOORD, "--config", str(config)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert f"doord runs already on {state.root} (process {os.getpid()})" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_terminal_on_which_nobody_is_enrolled_says_so_until_somebody_is(
        running: tuple[Terminal, StillCamera], state: Places) -> None:
    terminal, _ = running
    writer = CacheWriter.open(state.gallery_db, load_key(state), SystemClock())
    turn_until(terminal, lambda: "gallery_empty" in terminal.gatekeeper.state.degraded)
    writer.put_person(Person("b2" * 16, "Card only"))  # has no face here: the door works for cards
    writer.close()
    turn_until(terminal, lambda: "gallery_empty" not in terminal.gatekeeper.state.degraded)


def test_without_a_pin_factory_nothing_starts(state: Places, pack: Card, empty_scene: Pixels,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPIOZERO_PIN_FACTORY")
    with Terminal(configuration(), state, SystemClock(), camera=lambda: StillCamera(empty_scene)) as terminal, \
            pytest.raises(HardwareMissing, match="GPIOZERO_PIN_FACTORY"):
        terminal.start()


def test_doord_gets_ready_and_stops_on_sigterm(state: Places, pack: Card, tmp_path: Path) -> None:
    stills = tmp_path / "stills"
    stills.mkdir()
    config = tmp_path / "terminal.toml"
    config.write_text(f'[door]\nlock = "maglock"\n[camera]\nsource = "{stills}"\n')
    command = [*DOORD, "--config", str(config)]
    ready = subprocess.run([*command, "--until-ready"], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(ready.stdout)["phase"] == "secure"
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 30
        while not (state.root / "status.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    reader = JournalReader.open(state.journal_db)
    assert [entry.reason for entry in reader.last(1)] == ["stopped"]
    reader.close()


def test_a_wrong_configuration_ends_with_two_and_one_line(tmp_path: Path) -> None:
    config = tmp_path / "terminal.toml"
    config.write_text('[door]\nlok = "strike"\n')
    command = [*DOORD, "--config", str(config)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "did you mean lock?" in result.stderr


def test_an_altered_model_file_keeps_the_terminal_from_starting_and_is_named(
        state: Places, own_cache: Path, empty_scene: Pixels) -> None:
    mesh = own_cache / "packs" / "mobilefacenet" / "face_landmark.tflite"
    mesh.write_bytes(mesh.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelMismatch, match="face_landmark.tflite"):
        Terminal(configuration(), state, SystemClock(), camera=lambda: StillCamera(empty_scene))


def test_damaged_files_are_set_aside_and_the_door_goes_on(
        state: Places, watcher: Watcher, pack: Card, person_scene: Pixels, portrait: Pixels) -> None:
    enrol_person(state, pack, portrait)
    with Terminal(configuration(), state, SystemClock(), camera=lambda: StillCamera(person_scene)) as terminal:
        terminal.start()
    for path in (state.gallery_db, state.journal_db):
        path.write_bytes(b"not a database, but long enough to look at" * 200)
    with Terminal(configuration(), state, SystemClock(), camera=lambda: StillCamera(person_scene),
                  observers=[watcher]) as terminal:
        terminal.start()
        turn_until(terminal, lambda: watcher.decisions)
    assert watcher.decisions[-1].reason == "unknown_face"
    reader = JournalReader.open(state.journal_db)
    reasons = [entry.reason for entry in reader.last(100)]
    reader.close()
    assert reasons[0] == "journal_set_aside"
    assert "gallery_rebuilt" in reasons
    for path in (state.gallery_db, state.journal_db):
        kept = [other for other in path.parent.iterdir() if other.read_bytes().startswith(b"not a database")]
        assert len(kept) == 1
        assert kept[0] != path


def test_enrolling_goes_on_while_the_door_runs_and_the_door_sees_it_at_once(
        running: tuple[Terminal, StillCamera], state: Places, pack: Card, portrait: Pixels) -> None:
    terminal, _ = running
    before = terminal.rosters.current.generation
    enrol_person(state, pack, portrait)
    turn_until(terminal, lambda: terminal.rosters.current.generation != before, within_s=2.0)
    assert len(terminal.rosters.current.gallery) == 1
    assert len(terminal.rosters.current.rules.rules) == 1
