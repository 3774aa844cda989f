"""door-syncd killed while it takes over pages and snapshots: the gallery always holds one of the hub's states, whole.

DOOR_KILLS sets how often. Hub and broker are real ones; people come and go at the hub all the while.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from agent_live import SYNCD, Site, within
from fault_figures import Figure
from nursery import SYNCD as MAIN
from nursery import Nursery
from store_samples import MODEL
from sync_samples import enrol

from device.clock import HandClock
from device.store.cache_writer import CacheWriter
from device.store.synced import SyncedRecords
from sync.agent.streams import Streams

KILLS = int(os.environ.get("DOOR_KILLS", "12"))
STREAM = "group/staff"


class States:
    """Every state that the group has had at the hub: digest and people by epoch and number."""

    def __init__(self, site: Site, chance: random.Random) -> None:
        self._hub, self._chance = site.hub, chance
        self.people: set[str] = set()
        self._next = 1
        self.known: dict[tuple[str, int], tuple[bytes, frozenset[str]]] = {}
        self.enrol(150)

    def enrol(self, count: int) -> None:
        self.people |= enrol(self._hub, count, first=self._next)
        self._next += count
        self._note()

    def change(self) -> None:
        """Some come, as many go; now and then the group's history begins anew, which brings a snapshot."""
        if self._chance.random() < 0.1:
            self._hub.ledger.new_epoch()
            self._note()
            return
        self.enrol(3)
        gone = set(self._chance.sample(sorted(self.people), 3))
        self._hub.people.remove(gone)
        self.people -= gone
        self._note()

    def _note(self) -> None:
        head = self._hub.ledger.head(STREAM)
        self.known[head.epoch, head.seq] = head.digest, frozenset(self.people)


@pytest.mark.timeout(120 + 5 * KILLS)
def test_door_syncd_killed_while_it_takes_over_pages_never_leaves_a_mixed_gallery(
        tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, figure: Figure) -> None:
    chance, site, seen = random.Random(20261128), Site(tmp_path, tmp_path_factory), set()
    try:
        states = States(site, chance)
        with Nursery(MAIN, site.environment) as nursery:
            for _ in range(KILLS):
                pid = nursery.start(["run"], tmp_path / "said")
                for _ in range(chance.randrange(1, 4)):
                    states.change()
                    time.sleep(chance.uniform(0.0, 0.15))
                os.kill(pid, signal.SIGKILL)
                assert nursery.ended() == -signal.SIGKILL
                seen.add(whole_state(site, states))
        site.syncd = subprocess.Popen([*SYNCD, "run"], env=site.environment)
        within(60, site.is_equal)
        site.stop_syncd()
        last = whole_state(site, states)
        assert states.known[last][1] == states.people
        seen.add(last)
    finally:
        site.close()
    assert len(seen) > 1
    figure("F2b", f"{KILLS} kills of door-syncd while pages and snapshots arrived: {len(seen)} different states of "
                  "the hub's found in the gallery, 0 mixed")


def whole_state(site: Site, states: States) -> tuple[str, int]:
    """Epoch and number of the hub's state that the gallery holds: all of it, and nobody else."""
    writer = CacheWriter.open(site.where.gallery_db, site.key, HandClock())
    try:
        assert writer.set_aside is None
        found = writer.cursor(STREAM)
        people = {one.person_id for one in writer.people()}
        columns = writer.columns(MODEL)
        assert (set(columns.person_ids), columns.rejected) == (people, ())
        if found is None:
            assert not people
            return "", 0
        epoch, seq, digest = found
        assert Streams(SyncedRecords(writer)).built(STREAM).root() == digest
        known, members = states.known[epoch, seq]
        assert known == digest
        assert people <= members
        assert not (members - people) & states.people  # whoever is to go may go before what precedes that arrives
        return epoch, seq
    finally:
        writer.close()
