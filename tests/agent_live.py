"""The real thing for tests: a hub with a private Mosquitto, `door-syncd run` as a process, and a stand-in for doord
that follows the gallery and writes the journal."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from hub_samples import open_hub
from sync_samples import wait_until

from device.clock import SystemClock, boot_id
from device.link import read_link
from device.store.cache import CacheReader
from device.store.journal import Journal
from device.store.places import Places, make_folders, places
from device.store.records import NewEntry
from device.store.seal import load_key
from device.store.sqlite import StoreError
from sync.agent import status
from sync.hub.claim_api import router
from sync.hub.serve import Options, Service

SYNCD = (sys.executable, "-c", "import sys; from sync.agent.start import main; sys.exit(main())")
TERMINAL = "t1"


class Site:
    """A hub and one claimed terminal; nothing of the terminal runs yet."""

    def __init__(self, folder: Path, factory: Any, groups: tuple[str, ...] = ("staff",)) -> None:
        self.clock = SystemClock()
        self.hub = open_hub(folder / "hub", factory, self.clock)
        self.service = Service(self.hub, Options(with_broker=True, api_host="127.0.0.1", api_port=0))
        app = FastAPI()
        app.include_router(router(self.service.claims, self.clock))
        self.service.start(app)
        wait_until(self.service.is_well)
        self.hub.fleet.add(TERMINAL, "hq", groups)
        self.environment = {**os.environ, "DOOR_STATE": str(folder / "state"),
                            "DOOR_LINK": str(folder / "etc/link.toml")}
        self.where: Places = places(self.environment)
        make_folders(self.where)
        self.key = load_key(self.where, self.environment)
        self._claim(folder)
        self.link_toml = folder / "etc" / "link.toml"
        self.link = read_link(self.link_toml)
        self.syncd: subprocess.Popen[bytes] | None = None

    def _claim(self, folder: Path) -> None:
        ca = folder / "hub-ca.pem"
        ca.write_bytes(self.service.authority.certificate_pem())
        code = self.service.claims.issue(TERMINAL)
        assert self.service.http is not None
        self.claim = self.run("claim", "--hub", f"https://127.0.0.1:{self.service.http.port}", "--ca", str(ca),
                              "--code", code)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*SYNCD, *arguments], env=self.environment, capture_output=True, text=True, timeout=60,
                              check=False)

    def start_syncd(self) -> None:
        self.syncd = subprocess.Popen([*SYNCD, "run"], env=self.environment)

    def stop_syncd(self) -> int:
        assert self.syncd is not None
        self.syncd.terminate()
        return self.syncd.wait(20)

    def kill_syncd(self) -> None:
        assert self.syncd is not None
        self.syncd.kill()
        self.syncd.wait()

    def status(self) -> dict[str, Any]:
        return status.read(status.sync_status_path(self.where)) or {}

    def position(self, stream: str = "group/staff") -> tuple[str, int, bytes] | None:
        """Where the gallery's file says the terminal stands."""
        try:
            reader = CacheReader.open(self.where.gallery_db, self.key)
        except StoreError:
            return None
        try:
            return reader.cursor(stream)
        finally:
            reader.close()

    def is_equal(self, stream: str = "group/staff") -> bool:
        head = self.hub.ledger.head(stream)
        return self.position(stream) == (head.epoch, head.seq, head.digest)

    def close(self) -> None:
        if self.syncd is not None and self.syncd.poll() is None:
            self.stop_syncd()
        self.service.stop()
        self.hub.close()


class Follower:
    """Does with the gallery what doord does: notices a commit, and writes down which generation it has taken over.
    `seen` holds (generation, moment) of each."""

    def __init__(self, where: Places, key: Any) -> None:
        self._where, self._key = where, key
        self._stopping = threading.Event()
        self.seen: list[tuple[int, float]] = []
        self._entries: queue.SimpleQueue[NewEntry] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def append(self, entries: list[NewEntry]) -> None:
        for entry in entries:
            self._entries.put(entry)

    def _follow(self) -> None:
        journal = Journal.open(self._where.journal_db, SystemClock(), boot_id())
        reader, last = None, 0
        while not self._stopping.wait(0.01):
            if waiting := [self._entries.get() for _ in range(self._entries.qsize())]:
                journal.append_all([(entry, None, None) for entry in waiting])
            try:
                reader = reader or CacheReader.open(self._where.gallery_db, self._key)
                generation = reader.generation
            except StoreError:
                continue
            if generation != last:
                last = generation
                self.seen.append((generation, time.monotonic()))
                journal.append(NewEntry("gallery", "gallery_loaded", None, (("generation", generation),)))
        if reader is not None:
            reader.close()
        journal.close()

    def close(self) -> None:
        self._stopping.set()
        self._thread.join()


def within(seconds: float, is_so: Callable[[], Any]) -> None:
    wait_until(is_so, seconds)
