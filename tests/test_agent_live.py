"""door-syncd as a process, a real hub, a real Mosquitto: people arrive, events leave, whatever is killed."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest
from agent_live import Follower, Site, within
from store_samples import release
from sync_samples import enrol

from device.door.reasons import entry
from device.store.cache import CacheReader
from device.store.journal import JournalReader
from device.store.records import NewEntry, Position
from sync.wire.streams import area_stream

KILLS = int(os.environ.get("DOOR_KILLS", "4"))


@pytest.fixture
def site(tmp_path, tmp_path_factory):
    site = Site(tmp_path, tmp_path_factory)
    yield site
    site.close()


@pytest.fixture
def door(site):
    follower = Follower(site.where, site.key)
    yield follower
    follower.close()


def test_a_terminal_is_claimed_followed_and_sends_its_events(site, door):
    assert site.claim.returncode == 0, site.claim.stderr
    people = enrol(site.hub, 3)
    site.start_syncd()
    within(15, site.is_equal)
    reader = CacheReader.open(site.where.gallery_db, site.key)
    assert {person.person_id for person in reader.people()} == people
    enrol(site.hub, 1, first=50)
    within(5, site.is_equal)
    gone = min(people)
    site.hub.people.remove([gone])
    within(5, site.is_equal)
    assert reader.person(gone) is None
    within(5, lambda: not site.hub.fleet.open_deletions("t1"))
    door.append([release(number) for number in range(300)])
    journal = JournalReader.open(site.where.journal_db)
    within(10, lambda: journal.head > 300 and site.hub.events.count("t1") == journal.head)
    within(5, lambda: reader.acked(journal.journal_id) == journal.head)
    assert site.run("status").stdout.splitlines()[0].startswith("t1 at hq: connected to 127.0.0.1:")
    assert site.stop_syncd() == 0
    assert site.run("status").returncode == 1
    reader.close()
    journal.close()


def test_a_code_is_good_once_and_the_error_is_one_line(site):
    again = site.run("claim", "--hub", "https://127.0.0.1:1", "--ca", "missing.pem", "--code", "x")
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    used = site.run("claim", "--hub", f"https://127.0.0.1:{site.service.http.port}", "--ca", str(site.link.ca),
                    "--code", "00000-00000-00000-00000")
    assert used.returncode == 1
    assert used.stderr.startswith("door-syncd: the hub refuses: ")
    assert site.run("claim", "--hub", "http://example.org", "--ca", "x", "--code", "x").returncode == 2


def test_kills_of_syncd_at_random_moments_lose_and_double_nothing(site, door):
    chance = random.Random(os.environ.get("DOOR_SEED", "1"))
    people = enrol(site.hub, 200)
    first = 1000
    for number in range(KILLS):
        site.start_syncd()
        deadline = time.monotonic() + chance.uniform(0.5, 3.0)
        while time.monotonic() < deadline:
            people |= enrol(site.hub, 5, first=first)
            first += 5
            if number % 2:
                gone = chance.choice(sorted(people))
                site.hub.people.remove([gone])
                people.discard(gone)
            door.append([release(number)] * 20)
            time.sleep(0.1)
        site.kill_syncd()
    site.start_syncd()
    within(30, site.is_equal)
    reader = CacheReader.open(site.where.gallery_db, site.key)
    assert {person.person_id for person in reader.people()} == people
    reader.close()
    journal = JournalReader.open(site.where.journal_db)
    within(30, lambda: site.hub.events.count("t1") == journal.head)
    within(10, lambda: not site.hub.fleet.open_deletions("t1"))
    journal.close()


def test_a_broker_that_is_killed_and_loses_everything_costs_nothing(site, door):
    people = enrol(site.hub, 10)
    site.start_syncd()
    within(15, site.is_equal)
    pid = site.service.broker.pid
    for path in site.service.broker.files.state.iterdir():
        path.unlink()
    os.kill(pid, signal.SIGKILL)
    people |= enrol(site.hub, 5, first=100)
    door.append([release(number) for number in range(50)])
    within(60, site.is_equal)
    journal = JournalReader.open(site.where.journal_db)
    # The door goes on writing meanwhile; a doubled event would keep the counts apart for good.
    within(60, lambda: site.hub.events.count("t1") == journal.head > 50)
    journal.close()


def test_where_people_are_comes_back_from_the_hub_in_the_stream_of_the_area(site, door):
    (person_id,) = enrol(site.hub, 1)
    site.start_syncd()
    within(15, site.is_equal)
    site.hub.policies.put("t1", '[[area]]\nid = "hall"\n\n[[door]]\nid = "main"\ninside = "hall"\n\n'
                                '[[rule]]\nid = "staff"\ngroup = "staff"\n')
    stream = area_stream("hq", "hall")
    within(15, lambda: site.is_equal(stream))
    door.append([NewEntry("passage", "entered", person_id, (("area", "hall"),))])
    within(15, lambda: areas(site) == ["hall"])
    door.append([NewEntry("passage", "left", person_id, (("area", None),))])
    within(15, lambda: areas(site) == [""])
    within(5, lambda: site.is_equal(stream))


def areas(site: Site) -> list[str]:
    """Where everybody is, as the gallery's file has it."""
    reader = CacheReader.open(site.where.gallery_db, site.key)
    try:
        return [one.area_id for one in reader.records("position", Position)]
    finally:
        reader.close()


def test_a_lockdown_and_a_command_reach_the_doors_files(site, door):
    site.start_syncd()
    within(15, lambda: site.status().get("is_up"))
    site.hub.orders.want("t1", "lockdown")
    reader = CacheReader.open(site.where.gallery_db, site.key)
    within(10, lambda: reader._all("SELECT version FROM desired"))
    within(10, lambda: site.hub.fleet.get("t1").boot_id)
    command = site.hub.orders.command("t1", "release", 3.0)
    within(10, lambda: [row[0] for row in reader._all("SELECT command_id FROM inbox")] == [command])
    door.append([entry("command_release", command=command, source="hub", seconds=3.0)])
    within(10, lambda: site.hub.orders.get(command).outcome == "done")
    within(5, lambda: not reader._all("SELECT 1 FROM inbox"))
    reader.close()


