"""How long doord takes until a face can open the door, and what memory it holds, with a full gallery.

A state folder with so many enrolled people is made in a temporary place and the real doord is started on it, as a
process of its own, with pins that are not there and a folder of pictures for a camera.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from device.clock import Clock, SystemClock
from device.commands.console import Progress
from device.consent import record_consent
from device.errors import TerminalError
from device.evaluate.bench_match import random_gallery
from device.evaluate.clips import SIZE, as_jpeg, rehearsal_people, rendered
from device.face.card import Card
from device.face.models import Models
from device.rehearsal.scenes import walks_up
from device.store.cache_writer import CacheWriter
from device.store.places import Places, make_folders, places
from device.store.records import Person, Template
from device.store.seal import load_key
from device.threads import Worker

STILLS = 60
STILLS_FPS = 15.0
WATCHED_S = 8.0
PATIENCE_S = 60.0
_PAGE = 1000


def bench_start(card: Card, people: int, clock: Clock | None = None) -> dict[str, Any]:
    """start_s: from the process's birth until it could release; memory_mb: the most that it held while it looked."""
    clock = clock or SystemClock()
    with tempfile.TemporaryDirectory(prefix="door-bench-") as folder:
        where = places({"DOOR_STATE": folder})
        fill(where, card, people, clock)
        config = _config(Path(folder), card)
        return {"start_templates": people, **_watched(folder, config, clock)}


def fill(where: Places, card: Card, people: int, clock: Clock) -> None:
    """A gallery of so many people, one random template each, sealed as any other."""
    make_folders(where)
    gallery, _ = random_gallery(people, card.recogniser.dimensions)
    consent, now = record_consent(clock, "bench"), clock.now()
    writer = CacheWriter.open(where.gallery_db, load_key(where), clock)
    progress = Progress("people", people)
    try:
        for start in range(0, people, _PAGE):
            with writer.together():
                for number in range(start, min(start + _PAGE, people)):
                    row_id = f"{number:032x}"
                    writer.put_person(Person(row_id, "", consent=consent))
                    writer.put_template(Template(row_id, row_id, card.model_id, gallery.rows[number].tobytes(),
                                                 float(gallery.scales[number]), 1.0, now))
            progress.step(_PAGE)
    finally:
        progress.close()
        writer.close()


def stills(folder: Path, card: Card) -> Path:
    """A folder of pictures of a visitor, for a camera."""
    made = folder / "stills"
    made.mkdir()
    people = rehearsal_people(Models.load(card))
    for number, jpeg in enumerate(as_jpeg(rendered(people, walks_up(), 0.0, STILLS))):
        (made / f"{number:04}.jpg").write_bytes(jpeg.tobytes())
    return made


def _config(folder: Path, card: Card) -> Path:
    source, path = json.dumps(str(stills(folder, card))), folder / "terminal.toml"
    path.write_text(f'[door]\nlock = "strike"\n[camera]\nsource = {source}\nwidth = {SIZE[0]}\n'
                    f'height = {SIZE[1]}\nfps = {STILLS_FPS}\n[face]\npack = "{card.name}"\n', encoding="utf-8")
    return path


def _watched(folder: str, config: Path, clock: Clock) -> dict[str, Any]:
    environment = {**os.environ, "DOOR_STATE": folder, "DOOR_LINK": f"{folder}/none.toml",
                   "GPIOZERO_PIN_FACTORY": "mock"}
    code = "import sys; from device.app import main; sys.exit(main(sys.argv[1:]))"
    pause = Worker("pause", lambda worker: None, clock).stopping
    begin = clock.mono()
    with (tempfile.TemporaryFile("w+") as told,
          subprocess.Popen([sys.executable, "-c", code, "--config", str(config)], env=environment,
                           stdout=told, stderr=told) as daemon):
        try:
            status = _first_status(Path(folder) / "status.json", daemon, begin + PATIENCE_S, pause, clock)
            if status is None:
                told.seek(0)
                lines = told.read().strip().splitlines() or ["it said nothing"]
                raise TerminalError(f"doord did not start: {lines[-1]}")
            started = status["started_mono"] - begin + status["ready_s"]
            most_mb = 0.0
            deadline = clock.mono() + WATCHED_S
            while clock.mono() < deadline and daemon.poll() is None:
                pause.wait(0.2)
                most_mb = max(most_mb, _resident_mb(daemon.pid))
        finally:
            daemon.terminate()
            try:
                daemon.wait(10.0)
            except subprocess.TimeoutExpired:
                daemon.kill()
    return {"start_s": round(started, 3), "start_in_doord_s": status["ready_s"], "memory_mb": round(most_mb, 1)}


def _first_status(path: Path, daemon: subprocess.Popen[bytes], deadline: float, pause: Any,
                  clock: Clock) -> dict[str, Any] | None:
    """What doord first says of itself; None where it ended or stayed silent."""
    while clock.mono() < deadline and daemon.poll() is None:
        try:
            status: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return status
        except (OSError, ValueError):
            pause.wait(0.05)
    return None


def _resident_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), 0.0)
