"""door-syncd and its hub over a line that is cut, dead, slow or noisy; a disk that is full."""

from __future__ import annotations

import time

import pytest
from agent_live import Follower, Site, within
from fault_proxy import FaultProxy, Line
from store_samples import release
from sync_samples import enrol

from device.store.cache import CacheReader
from device.store.journal import JournalReader


@pytest.fixture
def site(tmp_path, tmp_path_factory):
    site = Site(tmp_path, tmp_path_factory)
    yield site
    site.close()


@pytest.fixture
def line(site):
    """door-syncd reaches its broker over this proxy."""
    proxy = FaultProxy(site.service.broker_port)
    link = site.link_toml
    text = link.read_text()
    assert f"broker_port = {site.service.broker_port}" in text
    link.write_text(text.replace(f"broker_port = {site.service.broker_port}", f"broker_port = {proxy.port}"))
    yield proxy
    proxy.close()


@pytest.fixture
def door(site):
    follower = Follower(site.where, site.key)
    yield follower
    follower.close()


def settled(site, seconds=30):
    """Equal, every entry stored once, every deletion confirmed, within so many seconds."""
    within(seconds, lambda: site.status().get("is_up"))
    within(seconds, site.is_equal)
    journal = JournalReader.open(site.where.journal_db)
    within(seconds, lambda: site.hub.events.count("t1") == journal.head)
    within(seconds, lambda: not site.hub.fleet.open_deletions("t1"))
    journal.close()


def test_a_line_that_is_cut_again_and_again_costs_only_time(site, line, door):
    people = enrol(site.hub, 20)
    site.start_syncd()
    within(20, site.is_equal)
    for number in range(6):
        people |= enrol(site.hub, 3, first=100 + 10 * number)
        door.append([release(number)] * 30)
        line.cut()
        time.sleep(0.4)
    site.hub.people.remove([gone := min(people)])
    line.cut()
    settled(site)
    reader = CacheReader.open(site.where.gallery_db, site.key)
    assert {person.person_id for person in reader.people()} == people - {gone}
    reader.close()


@pytest.mark.slow
def test_a_line_that_is_dead_without_a_word_is_noticed_and_made_anew(site, line, door, figure):
    enrol(site.hub, 5)
    site.start_syncd()
    within(20, lambda: site.is_equal() and site.status().get("is_up"))
    line.line = Line(is_dead=True)
    enrol(site.hub, 5, first=100)
    door.append([release()] * 10)
    began = time.monotonic()
    within(90, lambda: site.status().get("is_up") is False)
    noticed_s = time.monotonic() - began
    line.line = Line()
    settled(site)
    figure("F16", f"a line that swallows everything: noticed after {noticed_s:.0f} s, all equal once it was mended")


def test_a_slow_line_carries_everything(site, line, door):
    enrol(site.hub, 300)
    line.line = Line(delay_s=0.1, bytes_per_s=60_000)
    site.start_syncd()
    door.append([release(number) for number in range(200)])
    within(60, site.is_equal)
    line.line = Line()
    settled(site)


def test_flipped_bits_break_the_tls_connection_and_nothing_else(site, line, door, figure):
    enrol(site.hub, 50)
    line.line = Line(flips=0.1)
    site.start_syncd()
    for number in range(10):
        enrol(site.hub, 2, first=100 + 10 * number)
        door.append([release(number)])
        time.sleep(0.3)
    line.line = Line()
    settled(site, 60)
    figure("F17", "a line that flips a bit in every tenth piece: 0 events lost or doubled, all equal")


def test_a_line_that_refuses_for_a_while_is_tried_again_and_the_door_goes_on(site, line, door):
    enrol(site.hub, 5)
    site.start_syncd()
    within(20, site.is_equal)
    line.line = Line(is_refusing=True)
    line.cut()
    enrol(site.hub, 5, first=100)
    door.append([release()] * 20)
    reader = CacheReader.open(site.where.gallery_db, site.key)
    time.sleep(3)
    assert reader.people_count() == 5
    line.line = Line()
    settled(site, 60)
    assert reader.people_count() == 10
    reader.close()
