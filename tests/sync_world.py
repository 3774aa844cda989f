"""One real hub and some real door-syncds in one process, and a network between them that the test rules over.

No broker and no threads: a message moves when the world says so, and time passes when the world says so. Of doord
there are the real journal, the real desk for the hub's orders, and a reader of gallery.db that knows whom it would
let in; a release and a mode are only noted.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter, deque
from pathlib import Path

import msgspec
from agent_hub import Wire
from broker import request
from store_samples import KEY, MODEL
from sync_samples import SITE, enrol
from update_samples import Bench

from device.clock import ClockQuality, HandClock
from device.door.reasons import entry
from device.door.types import Command
from device.errors import TerminalError
from device.link import Link
from device.orders_desk import OrdersDesk, Trust, keys_followed
from device.passages import Positions
from device.store.cache import CacheReader
from device.store.cache_writer import CacheWriter
from device.store.journal import Journal, JournalReader
from device.store.keeper import JournalKeeper
from device.store.places import make_folders, places
from device.store.records import NewEntry, Position
from device.store.trust import Opener
from device.store.trust_chain import TrustChain
from sync.agent.agent import Agent
from sync.agent.intake import Intake
from sync.agent.link import Down
from sync.agent.parts import Keys
from sync.hub.ca import Authority
from sync.hub.claims import Claims, Contact
from sync.hub.events import Query
from sync.hub.hub import Hub
from sync.hub.roster import Roster
from sync.hub.wire_side import WireSide
from sync.wire.claim import Claim
from sync.wire.digest import DigestTree
from sync.wire.sign import Signer
from sync.wire.streams import group_stream

GROUPS = ("staff", "lab")


class HubLink:
    """The hub's end: what it publishes goes to the network."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.is_up = True

    def publish(self, topic: str, data: bytes, retain: bool = False, expires_s: int | None = None) -> bool:
        if self.is_up:
            self._world.from_hub(topic, data, retain)
        return self.is_up

    def wait_for_room(self, timeout: float) -> bool:
        return self.is_up


class Door:
    """One terminal: door-syncd, its files, its journal; keys as a claim gave them."""

    def __init__(self, world: World, terminal_id: str, folder: Path, release: str = "") -> None:
        self.world, self.terminal_id, self.clock = world, terminal_id, HandClock(world.clock.now())
        self.machine = Machine(folder / "machine", release, self.clock) if release else None
        self.signer, self.opener = Signer.new(), Opener.new()
        self.where = places({"DOOR_STATE": str(folder)})
        make_folders(self.where)
        claim = Claim(world.claims.issue(terminal_id), request()[0].decode(), self.signer.public.hex(),
                      self.opener.public.hex())
        given = world.claims.claim(msgspec.json.encode(claim))
        self.link = Link(terminal_id, given.site, "127.0.0.1", 1, "", tuple(map(bytes.fromhex, given.hub_signing)),
                         bytes.fromhex(given.hub_sealing), folder / "ca", folder / "cert", folder / "key",
                         folder / "sign", folder / "seal")
        self.boot = "b" * 32
        self.mode = "normal"  # as the hub has last told doord
        self.released: Counter[str] = Counter()  # how often each command has moved the relay
        self.happened = 0  # how many things happened here, each durable in a journal before the next
        self.lost: set[int] = set()  # those of which no medium holds a copy any more, by the test's own doing
        self.is_cut = False
        self.runs = 0
        self.start()

    def start(self) -> None:
        self.writer = CacheWriter.open(self.where.gallery_db, KEY, self.clock, lock_wait_s=0)
        self.journal = JournalKeeper(lambda: Journal.open(self.where.journal_db, self.clock, self.boot), self.clock)
        self.net = Wire()
        self.runs += 1
        intake = self.machine and Intake(self.machine.layout, self.clock, self.terminal_id, spare_bytes=0)
        self.agent = Agent(self.link, self.where, self.writer, Keys(self.signer, self.opener), self.boot, self.clock,
                           self.net, f"run-{self.runs}", intake)
        self.agent.ticks = (0.0, 0.0)
        self._loaded = -1
        past = self.journal.journal.last(5000)
        chain = TrustChain(self.link.hub_signing, self.link.hub_sealing, keys_followed(past))
        self.desk = OrdersDesk(self.where.gallery_db, KEY, Trust(self.link, chain, self.opener), self.boot,
                               self.clock, self._obey, self.journal.append, lambda: ClockQuality.SYNCED, past)

    def stop(self) -> None:
        """As a kill does: nothing is said, nothing is finished."""
        self.desk.close()
        self.agent.upstream.close()
        self.agent.watch.close()
        self.writer.close()
        self.journal.journal.close()

    def restart(self) -> None:
        self.stop()
        self.start()

    def happens(self, count: int = 1) -> None:
        """Something happens at the door."""
        for _ in range(count):
            assert self.journal.append(NewEntry("release", "granted_face", None, (("n", self.happened),)))
            self.happened += 1

    def passes(self, person_id: str, area: str | None) -> None:
        """Somebody passes the door, into an area or out."""
        reason = "entered" if area else "left"
        assert self.journal.append(NewEntry("passage", reason, person_id, (("area", area),)))

    def positions(self) -> dict[str, str]:
        """Where people are, as this door is told: person -> area."""
        reader = CacheReader.open(self.where.gallery_db, KEY)
        try:
            found, _ = reader.records_since("position", Position, -1)
        finally:
            reader.close()
        return {one.person_id: one.area_id for one in Positions.of(found.values()).by_person.values()}

    def follow(self) -> None:
        """What doord does all the time: take over a new generation and say so in its journal; begin a new journal
        where the hub has more of this one than there is."""
        self.desk.turn()
        if self.journal.journal.journal_id == self.desk.journal_ahead:
            self.journal.renew("set back")
            self._loaded = -1
        generation = self.writer.generation
        if generation != self._loaded:
            self._loaded = generation
            self.journal.append(NewEntry("gallery", "gallery_loaded", None, (("generation", generation),)))

    def _obey(self, command: Command) -> None:
        if command.mode is not None:
            self.mode = command.mode.value
            self.journal.append(entry(f"mode_{self.mode}", command=command.command_id, source="hub"))
            return
        self.journal.append(entry("command_release", command=command.command_id, source="hub", seconds=3.0))
        self.released[command.command_id] += 1

    def fill_disk(self) -> None:
        """Nothing more fits into the gallery's file."""
        pages = self.writer._db.execute("PRAGMA page_count").fetchone()[0]
        self.writer._db.execute(f"PRAGMA max_page_count = {pages}")

    def free_disk(self) -> None:
        self.writer._db.execute("PRAGMA max_page_count = 4294967294")

    def lose_journal(self) -> None:
        """doord finds no journal any more and begins another."""
        self.stop()
        for path in self.where.journal_db.parent.glob("journal.db*"):
            path.unlink()
        self.start()
        self.world.count_losses()

    def held(self) -> set[int]:
        """Numbers of the things that this terminal's journals hold."""
        found = set()
        for path in self.where.journal_db.parent.glob("journal.db*"):
            if path.name.endswith(("-wal", "-shm", ".ballast", ".lock", ".id")):
                continue
            reader = JournalReader.open(path)
            found |= {detail["n"] for one in reader.entries(0, 100_000) if "n" in (detail := dict(one.detail))}
            reader.close()
        return found

    def members(self) -> set[str]:
        """Everyone whom this terminal is to know, as the hub's groups were when it last heard of each."""
        found = set()
        for stream in self.agent.streams.names():
            at = self.agent.streams.position(stream)
            found |= self.world.members_at(stream, at.epoch, at.seq)
        return found

    def admitted(self) -> set[str]:
        """Whom the matcher would know: persons with a template that opens."""
        reader = CacheReader.open(self.where.gallery_db, KEY)
        try:
            known = {person.person_id for person in reader.people()}
            return {person_id for person_id in reader.columns(MODEL).person_ids if person_id in known}
        finally:
            reader.close()

    def step(self) -> None:
        for _ in range(200):
            self.agent.step()
            if self.agent.intake is not None:
                self.agent.intake.step()
            if self.net.inbox.empty():
                break
        self.follow()
        if self.machine is not None and self.machine.work():
            self.restart()


class Machine(Bench):
    """The releases on a door's card and their updater, which takes up what lies in the spool; the gate's verdict
    comes at once."""

    def __init__(self, folder: Path, release: str, clock: HandClock) -> None:
        super().__init__(folder)
        self.clock = clock
        if release != "1.0.0":
            self.put_release(release)
            self.layout.current.unlink()
            self.layout.current.symlink_to(f"releases/{release}")
        self.start()

    def work(self) -> bool:
        """What door-update.path does; whether the services were started anew."""
        if not self.layout.incoming.exists():
            return False
        try:
            self.updater().update(self.layout.incoming, is_incoming=True)
        except TerminalError:
            self.layout.incoming.unlink()
            return False
        # The door's time goes on with the world's, not with the gate's minutes.
        clock, self.clock = self.clock, HandClock(self.clock.now(), self.clock.mono())
        self.updater().judge()
        self.clock = clock
        return True


class World:
    """The hub, the doors, and the messages on their way."""

    def __init__(self, folder: Path, factory, seed: int = 0) -> None:
        from hub_samples import blank_state

        self.folder, self.clock, self.chance = folder, HandClock(), random.Random(seed)
        shutil.copytree(blank_state(factory), folder / "hub")
        self.link = HubLink(self)
        self.retained: dict[str, bytes] = {}
        self.to_hub: deque[tuple[str, bytes]] = deque()
        self.seen: list[tuple[str, bytes]] = []  # everything that ever passed, as the broker's operator sees it
        self.mischief = None  # called with each message on its way; returns those that arrive instead
        self.doors: dict[str, Door] = {}
        self.noted: dict[tuple[str, str], dict[int, set[str]]] = {}
        self.open_hub()

    # --- the hub -----------------------------------------------------------------------------------------

    def open_hub(self) -> None:
        from hub_samples import hub_places

        self.hub = Hub.open(hub_places(self.folder / "hub"), self.clock, {})
        identity = self.hub.keys.identity()
        self.roster = Roster(self.hub.storage)
        self.claims = Claims(self.hub.storage, Authority.new("hub", self.clock),
                             lambda: Contact("127.0.0.1", 1, identity.trusted, identity.opener.public),
                             self.clock)
        self.side = WireSide(self.hub, self.roster, self.link, self.clock, self.folder / "aside")
        self.side.take("", b"")

    def restart_hub(self) -> None:
        self.hub.close()
        self.open_hub()
        for topic, data in list(self.retained.items()):
            if topic.rsplit("/", 1)[1] in ("report", "online"):
                self.to_hub.append((topic, data))

    def backup_hub(self, name: str) -> None:
        """The database alone, as a backup has it; the keys folder is never set back."""
        target = self.folder / name
        target.unlink(missing_ok=True)
        self.hub.storage.copy_to(target)

    def restore_hub(self, name: str) -> None:
        self.hub.close()
        database = self.hub.where.database
        for path in database.parent.glob(database.name + "*"):
            if path.name != database.name + ".lock":
                path.unlink()
        shutil.copy(self.folder / name, database)
        self.open_hub()
        self.restart_hub()

    def take_note(self) -> None:
        """Who belongs to each group now, for `members_at`; after every change at the hub."""
        for group in GROUPS:
            head = self.hub.ledger.head(group_stream(group))
            noted = self.noted.setdefault((head.stream, head.epoch), {})
            if head.seq not in noted:
                noted[head.seq] = self.hub_people(group)

    def members_at(self, stream: str, epoch: str, seq: int) -> set[str]:
        """Who belonged to a group when its stream stood there."""
        noted = self.noted.get((stream, epoch), {})
        return noted[max(one for one in noted if one <= seq)] if any(one <= seq for one in noted) else set()

    # --- the doors ---------------------------------------------------------------------------------------

    def add_door(self, terminal_id: str, groups: tuple[str, ...] = ("staff",), release: str = "") -> Door:
        """release: the one that is installed; empty for a door that cannot be updated."""
        self.hub.fleet.add(terminal_id, SITE, groups)
        door = self.doors[terminal_id] = Door(self, terminal_id, self.folder / terminal_id, release)
        return door

    def enrol(self, count: int = 1, first: int = 1, groups: tuple[str, ...] = ("staff",)) -> set[str]:
        return enrol(self.hub, count, first, groups)

    # --- the network -------------------------------------------------------------------------------------

    def from_hub(self, topic: str, data: bytes, retain: bool) -> None:
        if retain:
            self.retained[topic] = data
        for arriving in self._on_its_way(topic, data):
            for door in self.doors.values():
                if door.net.is_open and topic in door.net.topics:
                    door.net.bring(arriving)

    def _on_its_way(self, topic: str, data: bytes) -> list[tuple[str, bytes]]:
        self.seen.append((topic, data))
        return [(topic, data)] if self.mischief is None else self.mischief(topic, data)

    def _collect(self, door: Door) -> None:
        while door.net.sent:
            topic, data = door.net.sent.popleft()
            if door.is_cut:
                continue
            if topic.rsplit("/", 1)[1] in ("report", "online"):
                self.retained[topic] = data
            self.to_hub.extend(self._on_its_way(topic, data))

    def cut(self, door: Door) -> None:
        """The cable is out: what is under way is lost, and nothing gets through."""
        door.is_cut = door.net.is_broken = True
        self._drop_link(door)

    def mend(self, door: Door) -> None:
        door.is_cut = door.net.is_broken = False

    def _drop_link(self, door: Door) -> None:
        was_there = door.net.is_open
        door.net.close()
        door.net.sent.clear()
        while not door.net.inbox.empty():
            door.net.inbox.get()
        if was_there:
            door.net.inbox.put(Down("cut"))

    def lose_broker(self) -> None:
        """The broker forgets everything and everyone."""
        self.retained.clear()
        self.to_hub.clear()
        for door in self.doors.values():
            self._drop_link(door)
        self.side.take("", b"")

    # --- time --------------------------------------------------------------------------------------------

    def round(self, seconds: float = 0.5) -> None:
        """A moment passes: everybody does what is due once."""
        self.clock.advance(seconds)
        moved = self.hub.ledger.poll()
        if moved:
            self.side.distributor.changed(moved)
        self.side.courier.tick()
        self.side.look_after_fleet()
        while self.side.catchup.step() or self.side.deliveries.step():
            pass
        for door in self.doors.values():
            was_up = door.agent.is_up
            door.clock.advance(seconds)
            door.step()
            if door.agent.is_up and not was_up and not door.is_cut:
                for topic, data in self.retained.items():
                    if topic in door.net.topics:
                        door.net.bring((topic, data))
            self._collect(door)
        while self.to_hub:
            self.side.take(*self.to_hub.popleft())
        self.take_note()

    def settle(self, seconds: float = 30.0) -> float:
        """Rounds until all is equal; how many seconds that took. AssertionError after `seconds`."""
        passed = 0.0
        while passed < seconds:
            self.round()
            passed += 0.5
            if self.is_settled():
                return passed
        raise AssertionError("; ".join(self.complaints()))

    # --- what must hold ----------------------------------------------------------------------------------

    def is_settled(self) -> bool:
        return not self.complaints()

    def complaints(self) -> list[str]:
        """What is not yet, or not, as it must be."""
        found = []
        for door in self.doors.values():
            if door.is_cut:
                continue
            streams = self.streams_of(door)
            for stream in streams:
                head, at = self.hub.ledger.head(stream), door.agent.streams.position(stream)
                built = door.agent.streams.built(stream).root()
                if head.seq and (at.epoch, at.seq, built) != (head.epoch, head.seq, head.digest):
                    found.append(f"{door.terminal_id}: {stream} at {at.seq}, hub at {head.seq}, "
                                 f"{'equal' if built == head.digest else 'unequal'}, {at.epoch} {head.epoch}")
            for stream in set(door.agent.streams.names()) - set(streams):
                if door.agent.streams.tree(stream).root() != DigestTree().root():
                    found.append(f"{door.terminal_id}: still holds {stream}")
            if self.hub.fleet.open_deletions(door.terminal_id):
                found.append(f"{door.terminal_id}: owes receipts")
            stored = self.stored(door)
            if stored != sorted(set(range(door.happened)) - door.lost):
                found.append(f"{door.terminal_id}: {door.happened} things happened, {len(stored)} are stored, "
                             f"{len(set(stored))} of them different")
        return found

    def streams_of(self, door: Door) -> list[str]:
        return self.hub.fleet.streams_of(door.terminal_id)

    def stored(self, door: Door) -> list[int]:
        """Numbers of the things that happened at a door, as the hub has them."""
        query = Query(limit=100_000, terminal_id=door.terminal_id, kind="release")
        return sorted(event.detail["n"] for event in self.hub.events.find(query) if "n" in event.detail)

    def hub_people(self, group: str = "staff") -> set[str]:
        """Everyone whom the doors of a group are to know."""
        living = self.hub.ledger.living(group_stream(group)).changes
        return {change.key for change in living if change.kind == "person"}

    def count_losses(self) -> None:
        """After something was set back by the test: what no medium holds any more cannot be asked for; what a backup
        has brought back can."""
        for door in self.doors.values():
            door.lost = set(range(door.happened)) - set(self.stored(door)) - door.held()

    def close(self) -> None:
        for door in self.doors.values():
            door.stop()
        self.hub.close()
