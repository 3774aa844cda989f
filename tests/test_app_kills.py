"""kill -9 of doord while it releases the door: no entry is lost, the chain holds, and the relay falls."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from fault_figures import Figure

from device.clock import SystemClock
from device.commands.opened import load_enrolled
from device.config import parse_config
from device.consent import record_consent
from device.enrolment import Photo, enrol
from device.face.card import Card
from device.face.models import Models
from device.face.portrait import Examiner
from device.face.quality import ENROLMENT
from device.store.cache_writer import CacheWriter
from device.store.journal import JournalReader
from device.store.places import make_folders, places
from device.store.seal import load_key

KILLS = int(os.environ.get("DOOR_KILLS", "4"))
HERE = Path(__file__).parent


@pytest.mark.timeout(120 + 15 * KILLS)
def test_doord_killed_while_it_releases_loses_no_entry_and_leaves_no_lock_released(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Card, portrait: npt.NDArray[np.uint8],
        figure: Figure) -> None:
    monkeypatch.setenv("DOOR_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    where, clock = places(), SystemClock()
    make_folders(where)
    picture = tmp_path / "portrait.png"
    cv2.imwrite(str(picture), portrait)
    writer = CacheWriter.open(where.gallery_db, load_key(where), clock)
    known = load_enrolled(writer, pack, parse_config({"door": {"lock": "strike"}}))
    enrol("Eileen", [Photo("portrait", portrait)], record_consent(clock, "paper"),
          Examiner(Models.load(pack), ENROLMENT), known.gallery, known.threshold, writer, clock)
    writer.close()

    chance = random.Random(20261124)
    told = 0
    with subprocess.Popen([sys.executable, HERE / "relay_child.py", tmp_path / "relay.sock"], stdout=subprocess.PIPE,
                          text=True) as relay:
        assert relay.stdout is not None
        relay.stdout.readline()
        try:
            for _ in range(KILLS):
                told += _release_and_kill(tmp_path / "relay.sock", picture, chance)
                killed_mono = time.monotonic()
                fallen = json.loads(relay.stdout.readline())
                assert fallen["state"] == 0
                assert fallen["mono"] < killed_mono + 2.0 + 1.0
        finally:
            relay.kill()  # else leaving the block waits for it for ever

    reader = JournalReader.open(where.journal_db)
    entries = reader.last(100_000)
    assert reader.verify() == len(entries) == entries[-1].seq
    assert sum(entry.reason == "face_granted" for entry in entries) >= told
    assert told >= KILLS // 2
    reader.close()
    figure("F27", f"{KILLS} doords killed around a release: no release lost from the journal, the relay off within "
                  "its deadline each time")


def _release_and_kill(relay_socket: Path, picture: Path, chance: random.Random) -> int:
    """Start a door, wait until it has begun to release, kill it a moment later; how many releases it had told."""
    with subprocess.Popen([sys.executable, HERE / "door_child.py", relay_socket, picture], stdout=subprocess.PIPE,
                          text=True) as door:
        assert door.stdout is not None
        told = 0
        said = door.stdout.readline()  # empty where the door ended by itself
        assert said == "started\n", said
        if chance.random() < 0.75:
            said = door.stdout.readline()
            assert said == "granted\n", said
            told = 1
            time.sleep(chance.uniform(0.0, 0.05))
        else:
            time.sleep(chance.uniform(0.0, 1.0))
        door.send_signal(signal.SIGKILL)
        door.wait(10)
        told += door.stdout.read().count("granted\n")
    return told
