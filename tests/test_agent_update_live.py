"""A release from the hub's shell to the terminal's card: real hub, real Mosquitto, door-syncd as a process, the real
updater; and whatever is killed on the way."""

from __future__ import annotations

import os
import signal
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from agent_live import Follower, Site, within
from sync_samples import enrol
from update_samples import OURS, Bench, root, tiny_bundle

from device.update.outcome import Result
from sync.hub.bundles import Kept
from sync.hub.rollout import Asked, Phase

CHUNK = 65_536


class Updatable(Site):
    """A site whose terminal has a card with release 1.0.0."""

    def __init__(self, folder: Path, factory) -> None:
        super().__init__(folder, factory)
        self.bench = Bench(folder / "machine")
        self.environment["DOOR_ROOT"] = str(folder / "machine")
        (folder / "1.root.json").write_bytes(root(OURS))
        self.hub.bundles.trust(folder / "1.root.json")
        self.folder = folder

    def bundle(self, release: str = "1.2.0", padding: int = 2_000_000) -> Kept:
        made = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(days=1)
        return self.hub.bundles.add(tiny_bundle(self.folder, release, made, padding=padding), CHUNK)

    def start(self, kept: Kept) -> str:
        asked = Asked(terminals=("t1",), stages="100%", soak=timedelta(seconds=3))
        return self.hub.rollouts.start(kept, asked, "cli")

    def update(self) -> dict:
        return self.hub.fleet.get("t1").health.get("update") or {}

    def member(self, rollout_id: str):
        return self.hub.rollouts.get(rollout_id).members[0]


@pytest.fixture
def site(tmp_path, tmp_path_factory):
    site = Updatable(tmp_path, tmp_path_factory)
    follower = Follower(site.where, site.key)
    yield site
    follower.close()
    site.close()


def test_a_release_arrives_whatever_is_killed_and_is_applied(site: Updatable) -> None:
    site.start_syncd()
    within(30, lambda: site.hub.fleet.get("t1").health.get("versions", {}).get("release") == "1.0.0")
    kept = site.bundle()
    rollout = site.start(kept)
    spool = site.bench.layout.spool
    for blow in ("syncd", "broker", "syncd"):
        chunks = site.service.counts().get("chunks", 0)
        within(60, lambda before=chunks: site.service.counts().get("chunks", 0) >= before + 4)
        assert not site.bench.layout.incoming.exists()
        if blow == "syncd":
            site.kill_syncd()
            site.start_syncd()
        else:
            for path in site.service.broker.files.state.iterdir():
                path.unlink()
            os.kill(site.service.broker.pid, signal.SIGKILL)
    enrol(site.hub, 5)
    within(90, site.bench.layout.incoming.exists)
    assert site.is_equal()
    assert site.bench.layout.incoming.read_bytes() == (
        site.hub.where.updates / f"{kept.sha256}.bundle").read_bytes()
    assert not (spool / "incoming.part").exists()
    # What had arrived before a kill was not sent again, but for what was on its way.
    assert site.service.counts()["chunks"] < kept.chunk_count + 4 * 4
    within(15, lambda: site.update().get("state") == "waiting")
    site.bench.updater().update(site.bench.layout.incoming, is_incoming=True)
    site.kill_syncd()
    site.start_syncd()
    within(30, lambda: site.update().get("state") == "trying")
    assert site.bench.updater().judge() is Result.UPDATED
    within(60, lambda: site.hub.rollouts.get(rollout).phase is Phase.DONE)
    assert site.hub.fleet.get("t1").health["versions"]["release"] == "1.2.0"


def test_a_release_that_is_gone_back_from_stops_its_roll_out(site: Updatable) -> None:
    site.start_syncd()
    within(30, lambda: site.hub.fleet.get("t1").is_online and site.hub.fleet.get("t1").reported)
    rollout = site.start(site.bundle(padding=100_000))
    within(60, site.bench.layout.incoming.exists)
    site.bench.updater().update(site.bench.layout.incoming, is_incoming=True)
    site.bench.health = lambda age_s: {"relay_alive": False}
    assert site.bench.updater().judge() is Result.ROLLED_BACK
    within(30, lambda: site.hub.rollouts.get(rollout).phase is Phase.STOPPED)
    assert site.member(rollout).why == "rolled back: it is not well: relay_lost"
    assert site.bench.runs == "1.0.0"


def test_a_terminal_that_is_away_is_served_when_it_comes(site: Updatable) -> None:
    rollout = site.start(site.bundle(padding=100_000))
    time.sleep(3)
    assert site.service.counts().get("offers", 0) == 0
    site.start_syncd()
    within(60, site.bench.layout.incoming.exists)
    assert site.member(rollout).state.value in ("downloading", "installing", "waiting")


def test_where_nothing_is_installed_that_could_be_updated_the_terminal_says_so(site: Updatable) -> None:
    site.environment["DOOR_ROOT"] = str(site.folder / "nothing")
    site.start_syncd()
    within(30, lambda: site.hub.fleet.get("t1").reported)
    assert "release" not in site.hub.fleet.get("t1").health["versions"]
