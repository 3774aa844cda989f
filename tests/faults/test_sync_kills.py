"""Hub, broker and door-syncd as processes, each killed at random moments while people come and go and things happen.

DOOR_KILLS says how often the hub and how often the broker is killed (`make faults`: 200; by default a fiftieth);
door-syncd is killed along with every other of them.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from agent_live import Follower, Site, within
from store_samples import release
from sync_samples import enrol

from device.store.cache import CacheReader
from device.store.journal import JournalReader

KILLS = int(os.environ.get("DOOR_KILLS", "4"))
HUB = (sys.executable, "-c", "import sys; from sync.hub.cli import main; sys.exit(main())")


class Processes:
    """The site's hub and broker as processes of their own; the test changes people through the same database."""

    def __init__(self, site: Site) -> None:
        self._site, self._hub = site, None
        site.service.stop()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.start_hub()

    def start_hub(self) -> None:
        where = self._site.hub.where
        log = (where.root / "hub.log").open("ab")
        self._hub = subprocess.Popen([*HUB, "--state", str(where.root), "run", "--with-broker", "--listen",
                                      f"127.0.0.1:{self._port}"], stdout=log, stderr=log)
        log.close()

    def kill_hub(self) -> None:
        self._hub.kill()
        self._hub.wait()

    def kill_broker(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # it may not be up yet
            os.kill(int((self._site.hub.where.run / "broker" / "mosquitto.pid").read_text()), signal.SIGKILL)

    def close(self) -> None:
        self._hub.terminate()
        self._hub.wait(20)


@pytest.fixture
def site(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory):
    site = Site(tmp_path, tmp_path_factory)
    yield site
    site.close()


@pytest.mark.parametrize("victim", ["hub", "broker"])
@pytest.mark.timeout(60 + 20 * KILLS)
def test_kills_lose_nothing_double_nothing_and_leave_all_equal(site, victim, figure):
    chance, door, processes = random.Random(7), Follower(site.where, site.key), Processes(site)
    people, first = enrol(site.hub, 50), 1000
    site.start_syncd()
    for number in range(KILLS):
        deadline = time.monotonic() + chance.uniform(0.2, 3.0)
        while time.monotonic() < deadline:
            people |= enrol(site.hub, 3, first=first)
            first += 3
            site.hub.people.remove([gone := chance.choice(sorted(people))])
            people.discard(gone)
            door.append([release(number)] * 20)
            time.sleep(0.05)
        if number % 2:
            site.kill_syncd()
        if victim == "hub":
            processes.kill_hub()
            processes.start_hub()
        else:
            processes.kill_broker()
        if number % 2:
            site.start_syncd()
    within(60, lambda: site.status().get("is_up"))
    within(30, site.is_equal)
    reader = CacheReader.open(site.where.gallery_db, site.key)
    assert {person.person_id for person in reader.people()} == people
    reader.close()
    door.close()
    journal = JournalReader.open(site.where.journal_db)
    within(30, lambda: site.hub.events.count("t1") >= journal.head)
    assert site.hub.events.count("t1") == journal.head
    journal.close()
    site.stop_syncd()
    processes.close()
    row = {"hub": "F14", "broker": "F13"}[victim]
    figure(row, f"{KILLS} kills of the {victim}, with door-syncd at every other: all equal, no event lost or doubled")
