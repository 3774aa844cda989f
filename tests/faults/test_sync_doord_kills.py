"""The real doord killed at random moments on a terminal that belongs to a hub, while people come and go there.

DOOR_KILLS says how often (`make faults`: 200; by default a fiftieth); door-syncd is killed along with every other.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from agent_live import TERMINAL, Site, within
from fault_figures import Figure
from hub_samples import agreed
from sync_samples import enrol

from device.face.card import Card
from device.store.journal import JournalReader
from sync.hub.enrol import Photo
from sync.hub.people import Newcomer

KILLS = int(os.environ.get("DOOR_KILLS", "4"))
HERE = Path(__file__).resolve().parent.parent


@pytest.fixture
def site(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path, tmp_path_factory)
    yield site
    site.close()


@pytest.mark.timeout(180 + 20 * KILLS)
def test_doord_killed_while_it_releases_loses_no_event_on_its_way_to_the_hub(
        site: Site, tmp_path: Path, pack: Card, portrait: npt.NDArray[np.uint8], figure: Figure) -> None:
    picture, chance, people = tmp_path / "portrait.png", random.Random(9), 1000
    cv2.imwrite(str(picture), portrait)
    known = site.hub.enroller.enrol(Newcomer("Eileen", ("staff",)), [Photo("portrait", picture.read_bytes())],
                                    agreed(site.clock)).person_id
    site.start_syncd()
    within(60, site.is_equal)
    relay = subprocess.Popen([sys.executable, HERE / "relay_child.py", tmp_path / "relay.sock"],
                             stdout=subprocess.PIPE, text=True, env={**os.environ, "GPIOZERO_PIN_FACTORY": "mock"})
    assert relay.stdout is not None
    relay.stdout.readline()
    try:
        for number in range(KILLS):
            door = _door(site, tmp_path / "relay.sock", picture)
            enrol(site.hub, 2, first=people)
            people += 2
            time.sleep(chance.uniform(0.0, 0.3))
            door.kill()
            door.wait()
            assert door.stdout is not None
            door.stdout.close()
            if number % 2:
                site.kill_syncd()
                site.start_syncd()
    finally:
        relay.kill()
        relay.wait()
        relay.stdout.close()
    journal = JournalReader.open(site.where.journal_db)
    assert journal.verify() == journal.head
    within(60, lambda: site.hub.events.count(TERMINAL) >= journal.head)
    assert site.hub.events.count(TERMINAL) == journal.head
    granted = [one for one in journal.entries(0, 100_000) if one.reason == "face_granted"]
    assert len(granted) >= KILLS
    assert {one.person_id for one in granted} == {known}
    journal.close()
    within(60, site.is_equal)
    figure("F1b", f"{KILLS} doords killed beside door-syncd, every other with it: all equal, {len(granted)} releases "
                 "at the hub, none lost or doubled")


def _door(site: Site, relay_socket: Path, picture: Path) -> subprocess.Popen[str]:
    """A door that has just told its first release."""
    environment: dict[str, Any] = {**site.environment, "GPIOZERO_PIN_FACTORY": "mock"}
    door = subprocess.Popen([sys.executable, HERE / "door_child.py", relay_socket, picture], stdout=subprocess.PIPE,
                            text=True, env=environment)
    assert door.stdout is not None
    assert door.stdout.readline() == "started\n"
    assert door.stdout.readline() == "granted\n"
    return door
