"""More happens at a door than ever before while its hub is out of reach; all of it arrives afterwards, in order.

DOOR_EVENTS sets how much. Hub, broker and door-syncd are real ones, with a line between them that refuses.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from agent_live import Site, within
from fault_figures import Figure
from fault_proxy import FaultProxy, Line

from device.clock import SystemClock, boot_id
from device.store.journal import Journal
from device.store.records import NewEntry
from sync.hub.events import Query, place_of

EVENTS = int(os.environ.get("DOOR_EVENTS", "2000"))
AT_ONCE = 500
GROWTH_MB = 32.0
"""More than what is under way and the interpreter's own slack take, and less than a backlog held in memory."""


@pytest.mark.timeout(240 + EVENTS // 50)
def test_a_flood_of_events_while_the_hub_is_away_arrives_in_order_and_is_never_held_in_memory(
        tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, figure: Figure) -> None:
    site = Site(tmp_path, tmp_path_factory)
    line = FaultProxy(site.service.broker_port)
    text = site.link_toml.read_text()
    site.link_toml.write_text(text.replace(f"broker_port = {site.service.broker_port}", f"broker_port = {line.port}"))
    try:
        line.line = Line(is_refusing=True)
        site.start_syncd()
        within(60, lambda: site.status().get("is_up") is False)
        memory = [site.status()["memory_mb"]]
        head = happen(site)
        line.line = Line()

        def is_delivered() -> bool:
            memory.append(site.status().get("memory_mb", 0.0))
            return site.hub.events.count("t1") == head

        within(120 + EVENTS / 50, is_delivered)
        assert arrived(site) == list(range(EVENTS))
    finally:
        line.close()
        site.close()
    growth = max(memory) - memory[0]
    assert growth <= GROWTH_MB
    figure("F23", f"{EVENTS} events while the hub was away: all of them stored once, in order; door-syncd grew by "
                  f"{growth:.0f} MB")


def happen(site: Site) -> int:
    """The journal's last number."""
    journal = Journal.open(site.where.journal_db, SystemClock(), boot_id())
    try:
        for first in range(0, EVENTS, AT_ONCE):
            journal.append_all([(NewEntry("release", "granted_face", None, (("n", number),)), None, None)
                                for number in range(first, min(first + AT_ONCE, EVENTS))])
        return journal.head
    finally:
        journal.close()


def arrived(site: Site) -> list[object]:
    """What the hub has, in the journal's order."""
    found, before = [], None
    while events := site.hub.events.find(Query(limit=1000, terminal_id="t1", kind="release", before=before)):
        found += events
        before = place_of(events[-1])
    return [event.detail["n"] for event in sorted(found, key=lambda one: one.seq)]
