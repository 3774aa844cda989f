"""A hub that is small enough to be held in the head: ledger, signatures and seals of the wire library, no database.

Tests of door-syncd play it against the real agent, either directly (`Wire`, no broker) or over a real Mosquitto.
"""

from __future__ import annotations

import json
import queue
import secrets
from collections import deque
from dataclasses import dataclass, field

import msgspec
from store_samples import BOOT, KEY, MODEL, person, template

from device.clock import HandClock
from device.link import Link
from device.store import body
from device.store.cache_writer import CacheWriter
from device.store.journal import Journal
from device.store.orders import Desired, Head, HeadBody, Order, head_place
from device.store.places import Places, make_folders, places
from device.store.records import AccessRule, NewEntry, Person, Template
from device.store.terminal_records import GROUPS, KIND
from device.store.trust import Opener, Verifier
from device.store.trust_chain import HubKeys
from sync.agent.agent import Agent
from sync.agent.link import Down, Message, Up
from sync.agent.parts import Keys
from sync.wire import topics
from sync.wire.announce import announce, hand_to
from sync.wire.codec import decode, encode, encode_body, encode_to
from sync.wire.digest import BUCKETS, DigestTree, Leaf, body_hash, bucket_of, differing_ranges
from sync.wire.messages import (
    Acked,
    Answer,
    Change,
    GroupKey,
    JournalPage,
    Online,
    Page,
    PageBody,
    PageDetail,
    RangeHashes,
    Receipt,
    RepairRequest,
    Report,
    detail_place,
    page_place,
)
from sync.wire.seal import GroupSeal, seal_to
from sync.wire.sign import Signer
from sync.wire.templates import template_body, to_columns

SITE, TERMINAL, GROUP = "site", "t-1", "staff"
STREAM, OWN_STREAM = f"group/{GROUP}", f"terminal/{TERMINAL}"


@dataclass
class Stream:
    """One numbered list of changes; of each record the last one."""

    name: str
    epoch: str = "e1"
    seq: int = 0
    living: dict[tuple[str, str], tuple[int, object]] = field(default_factory=dict)
    drops: dict[tuple[str, str], int] = field(default_factory=dict)

    def put(self, record) -> int:
        self.seq += 1
        name = key_of(record)
        self.living[name] = (self.seq, record)
        self.drops.pop(name, None)
        return self.seq

    def drop(self, kind: str, key: str) -> int:
        self.seq += 1
        self.living.pop((kind, key), None)
        self.drops[kind, key] = self.seq
        return self.seq

    def drop_person(self, person_id: str) -> None:
        for (kind, key), (_, record) in list(self.living.items()):
            if kind in ("template", "credential") and record.person_id == person_id:
                self.drop(kind, key)
        self.drop("person", person_id)

    def tree(self) -> DigestTree:
        return DigestTree.of(Leaf(kind, key, seq, body_hash(body_of(record)))
                             for (kind, key), (seq, record) in self.living.items())

    def delta(self, after: int) -> PageBody:
        drops = sorted((seq, name) for name, seq in self.drops.items() if seq > after)
        return self._body([item for item in self.living.items() if item[1][0] > after],
                          tuple(Change(seq, "drop", kind, key) for seq, (kind, key) in drops))

    def all(self, buckets=()) -> PageBody:
        chosen = [item for item in self.living.items() if not buckets or bucket_of(*item[0]) in set(buckets)]
        return self._body(chosen, buckets=tuple(buckets))

    def parts(self, size: int) -> list[PageBody]:
        items = sorted(self.living.items(), key=lambda item: item[0][0] == "template")
        return [self._body(items[i:i + size]) for i in range(0, len(items), size)] or [PageBody()]

    def _body(self, items, drops=(), buckets=()) -> PageBody:
        puts = sorted(((seq, kind, key, record) for (kind, key), (seq, record) in items if kind != "template"),
                      key=lambda put: (put[1] != "person", put[0]))
        columns: dict[tuple[str, int], list] = {}
        for (kind, _), (seq, record) in items:
            if kind == "template":
                columns.setdefault((record.model_id, len(record.vector)), []).append((seq, record))
        changes = tuple(Change(seq, "put", kind, key, body_of(record)) for seq, kind, key, record in puts)
        return PageBody(drops, changes, tuple(map(to_columns, columns.values())), buckets)


@dataclass(frozen=True)
class Raw:
    """A record of the kind "config", whose body is no dataclass."""

    key: str
    body: bytes


def key_of(record) -> tuple[str, str]:
    if isinstance(record, Raw):
        return KIND, record.key
    kinds = {Person: ("person", "person_id"), Template: ("template", "template_id"), AccessRule: ("rule", "rule_id")}
    kind, name = kinds[type(record)]
    return kind, getattr(record, name)


def body_of(record) -> bytes:
    if isinstance(record, Raw):
        return record.body
    return template_body(record) if isinstance(record, Template) else body.encode(record)


class SmallHub:
    """Keys, streams and everything that a hub says; `said` collects what it was told."""

    def __init__(self, clock) -> None:
        self.clock = clock
        self.signer, self.opener = Signer.new(), Opener.new()
        self.terminal_signer, self.terminal_opener = Signer.new(), Opener.new()
        self.seal = GroupSeal.new()
        self.streams = {name: Stream(name) for name in (STREAM, OWN_STREAM)}
        self.announcements: list[bytes] = []
        self.reports: list[Report] = []
        self.receipts: list[Receipt] = []
        self.answers: list[Answer] = []
        self.online: list[Online] = []
        self.repairs: list[RepairRequest] = []
        self.events: dict[tuple[str, int], object] = {}
        self.doubled = 0
        self.published: dict[str, tuple[str, int]] = {}
        self._issued = 0

    @property
    def staff(self) -> Stream:
        return self.streams[STREAM]

    def link(self, folder, port: int = 1) -> Link:
        """A link.toml's content, with the private keys in files."""
        for name, secret in (("signing.key", self.terminal_signer.private_bytes()),
                             ("sealing.key", self.terminal_opener.private_bytes())):
            (folder / name).write_bytes(secret)
            (folder / name).chmod(0o600)
        return Link(TERMINAL, SITE, "127.0.0.1", port, "", (self.signer.public,), self.opener.public,
                    folder / "ca.pem", folder / "terminal.pem", folder / "tls.key", folder / "signing.key",
                    folder / "sealing.key")

    # --- what it says: (topic, bytes) --------------------------------------------------------------------

    def sign(self, message, topic: topics.Topic, owner: str = TERMINAL, signer: Signer | None = None):
        name = topic.of(SITE, owner)
        if isinstance(message, Page | Head):
            return name, encode(message, name, signer or self.signer)
        return name, encode_to(self.terminal_opener.public, message, name, signer or self.signer)

    def sealed(self, plain: bytes, bound_to: bytes, stream: str, seal: GroupSeal | None = None) -> bytes:
        if stream.startswith("group/"):
            return (seal or self.seal).seal(plain, bound_to)
        return seal_to(self.terminal_opener.public, plain, bound_to)

    def page(self, stream: str, form: str, span, part, digest: bytes, page_body: PageBody, seal=None, epoch=None,
             is_own=True, signer=None, models=None):
        page = Page(site=SITE, stream=stream, epoch=epoch or self.streams[stream].epoch, from_seq=span[0],
                    to_seq=span[1], detail=b"", sealed=b"")
        detail = PageDetail(digest=digest, form=form, part=part[0], parts=part[1],
                            models=page_body.models if models is None else models)
        page = msgspec.structs.replace(
            page, detail=self.sealed(encode_body(detail), detail_place(page), stream, seal),
            sealed=self.sealed(encode_body(page_body), page_place(page, detail), stream, seal))
        topic, owner = (topics.PAGES, TERMINAL) if is_own else (topics.GROUP_PAGES, GROUP)
        return self.sign(page, topic, owner, signer)

    def delta(self, after: int, stream: str = STREAM, **options):
        held = self.streams[stream]
        return self.page(stream, "delta", (after, held.seq), (0, 1), held.tree().root(), held.delta(after), **options)

    def push(self):
        """What the hub publishes of its own accord: streams that have moved since it last did."""
        said = []
        for name, held in self.streams.items():
            epoch, seq = self.published.get(name, (held.epoch, held.seq))
            self.published[name] = (held.epoch, held.seq)
            if epoch != held.epoch:
                said.append(self.head(name))
            elif seq < held.seq:
                said.append(self.delta(seq, name, is_own=not name.startswith("group/")))
        return said

    def snapshot(self, stream: str = STREAM, size: int = 1000, is_vouched=True, **options):
        """All parts, and the word that they were sent, which comes last."""
        held = self.streams[stream]
        bodies, digest = held.parts(size), held.tree().root()
        parts = [self.page(stream, "snapshot", (0, held.seq), (part, len(bodies)), digest, one, **options)
                 for part, one in enumerate(bodies)]
        return [*parts, self.vouch(stream)] if is_vouched else parts

    def group_key(self, seal: GroupSeal | None = None, number: int | None = None):
        seal = seal or self.seal
        return self.sign(GroupKey(terminal_id=TERMINAL, group=GROUP, key_id=seal.key_id, key=seal.key_bytes(),
                                  number=number or self.now()), topics.PAGES)

    def head(self, stream: str = STREAM, is_own: bool = False, signer: Signer | None = None, **changes):
        """A head for the group, or one sealed to the terminal, which names the run that reported last."""
        held = self.streams[stream]
        told = {"seq": held.seq, "epoch": held.epoch, "digest": held.tree().root(), "number": self.now(),
                "issued_ms": int(self.clock.now().timestamp() * 1000), **changes}
        head = Head(site=SITE, stream=stream, epoch=told.pop("epoch"), seq=told.pop("seq"), sealed=b"")
        plain, bound_to = encode_body(HeadBody(**told)), head_place(head)
        sealed = seal_to(self.terminal_opener.public, plain, bound_to) if is_own else self.sealed(
            plain, bound_to, stream)
        head = msgspec.structs.replace(head, sealed=sealed)
        topic, owner = (topics.PAGES, TERMINAL) if is_own else (topics.GROUP_HEAD, GROUP)
        return self.sign(head, topic, owner, signer)

    def vouch(self, stream: str = STREAM, **changes):
        """What the hub says to a run of door-syncd that it has sent a snapshot."""
        last = self.reports[-1] if self.reports else None
        told = {"boot_id": last.boot_id, "session": last.session} if last else {"boot_id": BOOT, "session": "s"}
        return self.head(stream, is_own=True, **{**told, **changes})

    def announce(self, *signing: Signer, by: Signer, sealing: Opener | None = None) -> tuple[str, bytes]:
        """One announcement of keys after those before it, and all of them as they are handed over."""
        self.opener = sealing or self.opener
        keys = HubKeys(len(self.announcements) + 1, tuple(one.public for one in signing), self.opener.public)
        self.announcements.append(announce(keys, by))
        return self.handed(*self.announcements)

    def handed(self, *announcements: bytes) -> tuple[str, bytes]:
        name = topics.KEYS.of(SITE, TERMINAL)
        return name, hand_to(self.terminal_opener.public, announcements, name)

    def acked(self, journal_id: str, seq: int, **changes):
        told = {"number": self.now(), **changes}
        return self.sign(Acked(terminal_id=TERMINAL, journal_id=journal_id, seq=seq, **told), topics.ACKED)

    def desired(self, version: int, mode: str = "normal", until_ms=None, config_version=0, **options):
        return self.sign(Desired(terminal_id=TERMINAL, version=version, mode=mode, mode_until_ms=until_ms,
                                 config_version=config_version), topics.DESIRED, **options)

    def command(self, verb: str, boot_id: str, seconds=None, life_ms=10_000, command_id=None, issued_ms=None,
                **options):
        issued_ms = self.now() if issued_ms is None else issued_ms
        return self.sign(Order(terminal_id=TERMINAL, command_id=command_id or secrets.token_hex(16), boot_id=boot_id,
                               issued_ms=issued_ms, expires_ms=issued_ms + life_ms, verb=verb, seconds=seconds),
                         topics.COMMAND, **options)

    def now(self) -> int:
        """Milliseconds, later at every call, as heads must be."""
        self._issued = max(self._issued + 1, int(self.clock.now().timestamp() * 1000))
        return self._issued

    # --- what it is told, and its answers ----------------------------------------------------------------

    def hear(self, topic: str, data: bytes) -> list[tuple[str, bytes]]:
        """Take a message of the terminal; what the hub answers."""
        message = decode(data, topic, Verifier([self.terminal_signer.public]), self.opener)
        match message:
            case Report():
                return self._reported(message)
            case RepairRequest():
                return self._repair(message)
            case JournalPage():
                return self._journal(message)
            case Receipt():
                self.receipts.append(message)
            case Answer():
                self.answers.append(message)
            case Online():
                self.online.append(message)
        return []

    def _reported(self, report: Report):
        is_first = not self.reports or self.reports[-1].session != report.session
        self.reports.append(report)
        answers = [self.vouch(OWN_STREAM)] if is_first else []
        if STREAM in self.streams and self.seal.key_id not in report.key_ids:
            answers.append(self.group_key())
        cursors = {cursor.stream: cursor for cursor in report.cursors}
        for name, held in self.streams.items():
            at = cursors.get(name)
            if at is None or at.epoch != held.epoch:
                answers += self.snapshot(name)
            elif at.seq < held.seq:
                answers.append(self.delta(at.seq, name))
        stored = max((seq for journal, seq in self.events if journal == report.journal_id), default=0)
        if stored != report.acked_seq:
            answers.append(self.acked(report.journal_id, stored))
        return answers

    def _repair(self, request: RepairRequest):
        self.repairs.append(request)
        held = self.streams[request.stream]
        if (request.epoch, request.seq) != (held.epoch, held.seq):
            return []
        tree = held.tree()
        if request.buckets:
            assert all(bucket < BUCKETS for bucket in request.buckets)
            return [self.page(request.stream, "repair", (held.seq, held.seq), (0, 1), tree.root(),
                              held.all(request.buckets))]
        ranges = tuple((index, tree.buckets_of(index)) for index in differing_ranges(tree.ranges(), request.ranges))
        return [self.sign(RangeHashes(terminal_id=TERMINAL, stream=request.stream, epoch=held.epoch, seq=held.seq,
                                      ranges=ranges), topics.PAGES)]

    def _journal(self, page: JournalPage):
        assert [row.seq for row in page.rows] == list(range(page.from_seq + 1, page.to_seq + 1))
        for row in page.rows:
            known = self.events.setdefault((page.journal_id, row.seq), row)
            self.doubled += known != row
        stored = 0
        while (page.journal_id, stored + 1) in self.events:
            stored += 1
        return [self.acked(page.journal_id, stored)]


class Wire:
    """A link without a broker: what the agent publishes waits in `sent` until the test lets the hub hear it."""

    def __init__(self) -> None:
        self.inbox: queue.Queue = queue.Queue()
        self.sent: deque[tuple[str, bytes]] = deque()
        self.topics: set[str] = set()
        self.is_open = False
        self.is_broken = False

    def open(self) -> None:
        if self.is_broken:
            self.inbox.put(Down("broken by the test"))
        else:
            self.is_open = True
            self.inbox.put(Up())

    def close(self) -> None:
        self.is_open = False

    def subscribe(self, names) -> None:
        self.topics |= set(names)

    def unsubscribe(self, names) -> None:
        self.topics -= set(names)

    def publish(self, topic: str, data: bytes, retain: bool = False) -> bool:
        if not self.is_open:
            return False
        self.sent.append((topic, data))
        return True

    def bring(self, *messages: tuple[str, bytes]) -> None:
        for topic, data in messages:
            self.inbox.put(Message(topic, data))


def served(**limits: int) -> Raw:
    """What the hub tells a terminal of the groups that it serves."""
    return Raw(GROUPS, json.dumps(limits).encode())


def people(stream: Stream, count: int, first: int = 0) -> None:
    """So many persons with one template each."""
    for number in range(first, first + count):
        stream.put(person(number))
        stream.put(template(number))


@dataclass
class Bench:
    """An agent, its hub and the wire between them; doord is played by a real journal."""

    hub: SmallHub
    wire: Wire
    agent: Agent
    where: Places
    journal: Journal

    def talk(self, rounds: int = 60) -> None:
        """Let both talk until neither has anything to say."""
        quiet = 0
        self.wire.bring(*self.hub.push())
        for _ in range(rounds):
            self.hub.clock.advance(0.5)
            is_quiet = not self.wire.sent and self.wire.inbox.empty()
            while self.wire.sent:
                self.wire.bring(*self.hub.hear(*self.wire.sent.popleft()))
            self.work()
            quiet = quiet + 1 if is_quiet else 0
            if quiet > 3:
                return

    def work(self) -> None:
        """Let the agent deal with all that has come."""
        while not self.wire.inbox.empty():
            self.agent.step()
        self.agent.step()

    def bring(self, *messages: tuple[str, bytes]) -> None:
        self.wire.bring(*messages)
        self.work()

    def follow(self) -> None:
        """What doord writes when its matcher has taken over a change."""
        generation = self.agent.writer.generation
        self.journal.append(NewEntry("gallery", "gallery_loaded", None, (("generation", generation),)))
        self.talk()

    def held(self, stream: str = STREAM) -> tuple[str, int]:
        at = self.agent.streams.position(stream)
        return at.epoch, at.seq

    def is_equal(self, stream: str = STREAM) -> bool:
        """Whether cursor, digest, the tree built anew from the file, and the living records are the hub's."""
        hub, agent = self.hub.streams[stream], self.agent
        roots = {hub.tree().root(), agent.streams.tree(stream).root(), agent.streams.built(stream).root()}
        is_there = self.held(stream) == (hub.epoch, hub.seq) or hub.seq == self.held(stream)[1] == 0
        return is_there and len(roots) == 1

    def living(self) -> set[tuple[str, str]]:
        """(kind, key) of all persons and templates that open."""
        writer = self.agent.writer
        columns = writer.columns(MODEL)
        return ({("person", person.person_id) for person in writer.people()}
                | {("template", key) for key in columns.template_ids})

    def stop(self) -> None:
        """End door-syncd; doord's journal goes on."""
        self.agent.close()
        self.agent.writer.close()

    def close(self) -> None:
        self.stop()
        self.journal.close()

    def restarted(self) -> Bench:
        """The same terminal after door-syncd was started again."""
        self.stop()
        self.wire = Wire()
        self.agent = an_agent(self.hub, self.wire, self.where)
        return self


def an_agent(hub: SmallHub, wire, where: Places, session: str | None = None) -> Agent:
    make_folders(where)
    writer = CacheWriter.open(where.gallery_db, KEY, hub.clock, lock_wait_s=0)
    keys = Keys(hub.terminal_signer, hub.terminal_opener)
    agent = Agent(hub.link(where.root), where, writer, keys, BOOT, hub.clock, wire,
                  session or secrets.token_hex(4))
    agent.ticks = (0.0, 0.0)
    return agent


def a_bench(folder, clock=None) -> Bench:
    """A blank terminal, connected, before the first word."""
    where = places({"DOOR_STATE": str(folder)})
    make_folders(where)
    hub, wire = SmallHub(clock or HandClock()), Wire()
    journal = Journal.open(where.journal_db, hub.clock, BOOT)
    return Bench(hub, wire, an_agent(hub, wire, where), where, journal)
