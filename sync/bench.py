"""How fast people arrive, go, and events leave: hub, Mosquitto, door-syncd and a door's gallery on this machine.

    python -m sync.bench [--people 100000] [--changes 300] [--deletions 100] [--events 50000] [--json]

Everything is real but the faces: vectors are random. Four processes share the machine, as hub, broker and terminal
do in `make run`; a door of its own is no slower. The door's part is `device.roster`, in a process as doord has it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np

from device.clock import SystemClock, boot_id
from device.config import parse_config
from device.packs import library
from device.roster import Roster, RosterKeeper
from device.store import body
from device.store.journal import Journal
from device.store.places import places
from device.store.records import NewEntry, Person, Template
from device.store.seal import load_key
from device.threads import Worker
from sync.hub import consent
from sync.hub.ledger import Drop, Put
from sync.hub.serve import Service
from sync.tryout import GROUP, SYNCD, TERMINAL, Fleet, fleet
from sync.wire.messages import Page
from sync.wire.streams import group_stream
from sync.wire.templates import template_body

STREAM = group_stream(GROUP)
PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Figures:
    """Times in seconds unless named otherwise.

    snapshot_s        from the start of door-syncd with a blank gallery until the matcher holds everybody
    snapshot_ratio    bytes published for the snapshot to bytes of its sealed payload
    change_*          from before the hub's commit until the matcher holds the person
    receipt_*         from before the hub's commit until the hub has stored the signed receipt
    backlog_s         from the start of door-syncd until the hub has stored every entry that waited
    syncd_mb          resident memory of door-syncd with everybody in its gallery; syncd_peak_mb: the most it ever had
    """

    people: int
    snapshot_s: float
    snapshot_bytes: int
    snapshot_ratio: float
    change_p50_ms: float
    change_p99_ms: float
    receipt_p50_ms: float
    receipt_p99_ms: float
    backlog_events: int
    backlog_s: float
    backlog_stored: int
    syncd_mb: float
    syncd_peak_mb: float


def main(arguments: Sequence[str] | None = None) -> int:
    """0 measured; the figures on standard output."""
    parser = argparse.ArgumentParser(prog="python -m sync.bench", description="How fast people and events travel.")
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--changes", type=int, default=300)
    parser.add_argument("--deletions", type=int, default=100)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--follow", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.follow is not None:
        return follow(options.follow)
    figures = asdict(measure(options.people, options.changes, options.deletions, options.events))
    print(json.dumps(figures) if options.json  # noqa: T201
          else "\n".join(f"{name:>18}  {value}" for name, value in figures.items()))
    return 0


def measure(people: int, changes: int, deletions: int, events: int) -> Figures:
    """All figures, one after the other, on one fleet of one terminal."""
    with tempfile.TemporaryDirectory(prefix="sync-bench-") as folder, fleet(Path(folder), lambda _: None) as running:
        bench = _Bench(running)
        try:
            bench.enrol(people)
            snapshot_s, carried, sealed = bench.snapshot(people)
            arriving = [bench.change(people + number) for number in range(changes)]
            going = [bench.deletion(people + number) for number in range(min(deletions, changes))]
            memory = _memory_mb(bench.syncd.pid)
            backlog_s, stored = bench.backlog(events)
        finally:
            bench.close()
    return Figures(people, round(snapshot_s, 2), carried, round(carried / max(sealed, 1), 4), *_spread(arriving),
                   *_spread(going), events, round(backlog_s, 2), stored, *memory)


class _Bench:
    """A hub's side and a door's side of the same machine, with a stop-watch."""

    def __init__(self, running: Fleet) -> None:
        self._fleet, self._hub, self._clock = running, running.hub, SystemClock()
        self._consent = consent.of_text(self._clock, "paper", self._clock.now() - timedelta(days=1))
        self._card = library.open_pack()
        self._chance = np.random.default_rng(1)
        self._pause = threading.Event()
        self.syncd = running.syncd
        self.door = _Door(running.where.root)

    def enrol(self, count: int) -> None:
        """Put so many people into the group's stream, as enrolment would, while nobody listens."""
        self._stop_syncd()
        for first in range(0, count, 5000):
            puts = [put for number in range(first, min(first + 5000, count)) for put in self._person(number)]
            self._hub.ledger.append(STREAM, puts)

    def snapshot(self, count: int) -> tuple[float, int, int]:
        """(seconds, bytes published, bytes sealed)"""
        with _counted(self._fleet.service) as published:
            began = self._clock.mono()
            self._start_syncd()
            mono = self.door.wait_for(lambda seen: seen.count >= count)
        return mono - began, sum(size for size, _ in published), sum(sealed for _, sealed in published)

    def change(self, number: int) -> float:
        began, before = self._clock.mono(), self.door.last.count
        self._hub.ledger.append(STREAM, self._person(number))
        return self.door.wait_for(lambda seen: seen.count > before) - began

    def deletion(self, number: int) -> float:
        person, face = self._person(number)
        began = self._clock.mono()
        seq = self._hub.ledger.append(STREAM, [Drop("person", person.key), Drop("template", face.key)])
        self._wait_until(lambda: self._receipted() >= seq)
        return self._clock.mono() - began

    def backlog(self, count: int) -> tuple[float, int]:
        """(seconds, entries of this terminal that the hub has in the end)"""
        self._stop_syncd()
        head = self.door.happens(count)
        began = self._clock.mono()
        self._start_syncd()
        self._wait_until(lambda: self._hub.events.acked(TERMINAL).get(self.door.journal_id, 0) >= head)
        return self._clock.mono() - began, self._hub.events.count(TERMINAL)

    def close(self) -> None:
        self._stop_syncd()
        self.door.close()

    def _person(self, number: int) -> tuple[Put, Put]:
        width = self._card.recogniser.dimensions
        vector = self._chance.standard_normal(width)
        vector /= np.linalg.norm(vector)
        scale = float(np.float32(np.abs(vector).max() / 127))
        one = Person(f"{number:032x}", f"Person {number}", (GROUP,), consent=self._consent)
        face = Template(f"{number:032x}", one.person_id, self._card.model_id,
                        np.rint(vector / scale).astype(np.int8).tobytes(), scale, 0.75, self._clock.now())
        return (Put("person", one.person_id, body.encode(one)),
                Put("template", face.template_id, template_body(face)))

    def _receipted(self) -> int:
        """Up to where the terminal's receipts go."""
        return self._hub.fleet.receipted_up_to(TERMINAL).get(STREAM, 0)

    def _start_syncd(self) -> None:
        self.syncd = subprocess.Popen([*SYNCD, "run"])

    def _stop_syncd(self) -> None:
        self.syncd.terminate()
        try:
            self.syncd.wait(30)
        except subprocess.TimeoutExpired:
            self.syncd.kill()
            self.syncd.wait(5)

    def _wait_until(self, is_so: Callable[[], bool]) -> None:
        give_up = self._clock.mono() + PATIENCE_S
        while not is_so():
            if self._clock.mono() > give_up:
                raise TimeoutError("the fleet did not get there within two minutes")
            self._pause.wait(0.002)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the door's process says of each generation that it took over."""

    mono: float
    count: int


class _Door:
    """The process that plays doord: follows the gallery, writes the journal."""

    def __init__(self, root: Path) -> None:
        self.last = _Seen(0.0, 0)
        self.journal_id = ""
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._process = subprocess.Popen([sys.executable, "-m", "sync.bench", "--follow", str(root)],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, is_so: Callable[[_Seen], bool]) -> float:
        """When the matcher first held it."""
        while not is_so(self.last):
            words = self._lines.get(timeout=PATIENCE_S).split()
            if words[0] == "seen":
                self.last = _Seen(float(words[1]), int(words[2]))
        return self.last.mono

    def happens(self, count: int) -> int:
        """Write so many entries; the journal's head then."""
        stdin = self._process.stdin
        if stdin is not None:
            stdin.write(f"{count}\n")
            stdin.flush()
        while True:
            words = self._lines.get(timeout=PATIENCE_S).split()
            if words[0] == "written":
                self.journal_id = words[1]
                return int(words[2])

    def close(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=30)

    def _read(self) -> None:
        with contextlib.suppress(ValueError):
            for line in self._process.stdout or ():
                self._lines.put(line)


def follow(root: Path) -> int:
    """The door's process: says `seen MONO COUNT` for each generation, `written JOURNAL HEAD` after entries."""
    where, clock = places({"DOOR_STATE": str(root)}), SystemClock()
    journal, guard = Journal.open(where.journal_db, clock, boot_id()), threading.Lock()

    def changed(before: Roster, roster: Roster) -> None:
        _say(f"seen {clock.mono()} {len(roster.gallery)}")
        with guard:
            journal.append(NewEntry("gallery", "gallery_loaded", None, (("generation", roster.generation),)))

    keeper = RosterKeeper(where.gallery_db, load_key(where), library.open_pack(),
                          parse_config({"door": {"lock": "strike"}}), changed, lambda _: None)
    Worker("gallery", keeper.follow, clock).start()
    for line in sys.stdin:
        entry = NewEntry("release", "granted_face", f"{1:032x}", (("score", 0.7), ("frames", 3)))
        with guard:
            for _ in range(0, int(line), 1000):
                journal.append_all([(entry, None, None)] * 1000)
            _say(f"written {journal.journal_id} {journal.head}")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@contextlib.contextmanager
def _counted(service: Service) -> Iterator[list[tuple[int, int]]]:
    """(bytes published, bytes sealed in it) of each page while the block lasts."""
    import msgspec

    from device.store.trust import open_envelope

    counted: list[tuple[int, int]] = []
    publish = service.carrier.publish
    pages = msgspec.msgpack.Decoder(Page)

    def counting(topic: str, data: bytes, retain: bool = False, expires_s: int | None = None) -> bool:
        if topic.endswith("/pages"):
            with contextlib.suppress(msgspec.DecodeError):
                counted.append((len(topic) + len(data), len(pages.decode(open_envelope(data).payload).sealed)))
        return publish(topic, data, retain, expires_s)

    service.carrier.publish = counting  # type: ignore[method-assign]
    try:
        yield counted
    finally:
        service.carrier.publish = publish  # type: ignore[method-assign]


def _spread(seconds: Sequence[float]) -> tuple[float, float]:
    """(median, 99th percentile) in milliseconds."""
    if len(seconds) < 2:
        return 0.0, 0.0
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return round(1000 * cuts[49], 1), round(1000 * cuts[98], 1)


def _memory_mb(pid: int) -> tuple[float, float]:
    """(resident now, resident at most) of a process."""
    found = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return (round(int(found["VmRSS"].split()[0]) / 1024, 1), round(int(found["VmHWM"].split()[0]) / 1024, 1))


if __name__ == "__main__":
    sys.exit(main())
