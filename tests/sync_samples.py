"""What the tests of the wire share: persons without pictures, and a terminal that speaks the protocol by hand."""

from __future__ import annotations

import contextlib
import ssl
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import paho.mqtt.client as mqtt
from broker import request
from hub_samples import agreed
from paho.mqtt.enums import CallbackAPIVersion
from patience import SLOWER
from store_samples import person, template

from device.errors import SealBroken
from device.store import body, chain
from device.store.orders import Head, HeadBody, head_place
from device.store.records import Entry
from device.store.trust import Opener
from device.store.trust_chain import TrustChain
from sync.hub.hub import Hub
from sync.hub.ledger import Put
from sync.hub.people import Newcomer
from sync.hub.serve import Service
from sync.wire import topics
from sync.wire.announce import handed
from sync.wire.claim import Claim
from sync.wire.codec import decode, decode_body, encode_to
from sync.wire.messages import (
    AnyMessage,
    Cursor,
    GroupKey,
    HealthBody,
    JournalPage,
    JournalRow,
    Online,
    Page,
    PageBody,
    PageDetail,
    Report,
    ToHub,
    detail_place,
    page_place,
)
from sync.wire.seal import GroupSeal
from sync.wire.sign import Signer
from sync.wire.streams import group_stream
from sync.wire.templates import from_columns, template_body

M = TypeVar("M")
SITE = "hq"


def enrol(hub: Hub, count: int, first: int = 1, groups: tuple[str, ...] = ("staff",)) -> set[str]:
    """So many persons with consent and one made-up template each, all in one transaction; their ids."""
    with hub.storage.write() as tx:
        made = set()
        for number in range(first, first + count):
            person_id = hub.people.add(Newcomer(f"CANARY {number}", groups), tx, f"{number:032x}")
            hub.people.add_faces(person_id, [template(number)], agreed(hub.clock), None, tx)
            made.add(person_id)
        return made


def put_people(hub: Hub, count: int, first: int = 1, group: str = "staff") -> None:
    """As `enrol`, for the streams alone and all at once: what a terminal is told of so many people."""
    consent, puts = agreed(hub.clock), []
    for number in range(first, first + count):
        one, face = person(number, consent, groups=(group,)), template(number)
        puts.append(Put("person", one.person_id, body.encode(one)))
        puts.append(Put("template", face.template_id, template_body(face)))
    hub.ledger.append(group_stream(group), puts)


def wait_until(is_so: Callable[[], Any], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds * SLOWER
    while not is_so():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


class Seen:
    """A page or head with what only its receivers can read of it, and the name of the key that opened it."""

    def __init__(self, message: Page | Head, inside: PageDetail | HeadBody, key_id: str) -> None:
        self.message, self.inside, self.key_id = message, inside, key_id

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inside if hasattr(self.inside, name) else self.message, name)


class WireTerminal:
    """Keeps what it is sent and says what it is told to say; stores nothing."""

    def __init__(self, terminal_id: str, signer: Signer, opener: Opener, chain: TrustChain) -> None:
        self.terminal_id, self.signer, self.opener, self.chain = terminal_id, signer, opener, chain
        self.session = "s"
        self.boot_id, self.journal_id = "b" * 32, f"{terminal_id:0<32}".encode().hex()[:32]
        self.cursors: dict[str, Cursor] = {}
        self.keys: dict[str, GroupSeal] = {}
        self.messages: list[AnyMessage | Seen] = []
        self._closed: list[AnyMessage] = []
        self._entries: list[Entry] = []
        self._subscribed = threading.Event()

    @classmethod
    def claimed(cls, service: Service, terminal_id: str) -> WireTerminal:
        signer, opener = Signer.new(), Opener.new()
        csr, key = request()
        claim = Claim(service.claims.issue(terminal_id), csr.decode(), signer.public.hex(), opener.public.hex())
        given = service.claims.claim(msgspec.json.encode(claim))
        terminal = cls(terminal_id, signer, opener, TrustChain(map(bytes.fromhex, given.hub_signing),
                                                              bytes.fromhex(given.hub_sealing)))
        terminal.context = ssl.create_default_context(cadata=given.ca)  # type: ignore[attr-defined]
        with tempfile.TemporaryDirectory() as folder:
            chain_path = Path(folder) / "chain.pem"
            chain_path.write_bytes(key + given.certificate.encode())
            terminal.context.load_cert_chain(chain_path)  # type: ignore[attr-defined]
        terminal.port = given.broker_port  # type: ignore[attr-defined]
        return terminal

    def connect(self, groups: tuple[str, ...] = ("staff", "lab")) -> None:
        client = self.client = mqtt.Client(CallbackAPIVersion.VERSION2, self.terminal_id, protocol=mqtt.MQTTv5)
        client.tls_set_context(self.context)  # type: ignore[attr-defined]
        filters = [topic.of(SITE, self.terminal_id) for topic in topics.TOPICS
                   if topic.scope == "terminal" and topic.writer is topics.Writer.HUB]
        filters += [topic.of(SITE, group) for topic in topics.TOPICS if topic.scope == "group" for group in groups]
        client.on_connect = lambda *_: client.subscribe([(name, 1) for name in filters])
        client.on_subscribe = lambda *_: self._subscribed.set()
        client.on_message = lambda c, u, message: self.take(message.topic, bytes(message.payload))
        client.connect("127.0.0.1", self.port)  # type: ignore[attr-defined]
        client.loop_start()
        assert self._subscribed.wait(5)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def take(self, topic: str, data: bytes) -> None:
        if topic.endswith("/keys"):
            for announcement in handed(data, topic, self.opener):
                self.chain.follow(announcement)
            return
        message = decode(data, topic, self.chain.verifier, self.opener)
        self._keep(message)
        if isinstance(message, GroupKey):
            self.keys[message.key_id] = GroupSeal(message.key)
            closed, self._closed = self._closed, []
            for earlier in closed:
                self._keep(earlier)

    def _keep(self, message: AnyMessage) -> None:
        try:
            if isinstance(message, Page):
                self.messages.append(Seen(message, *self._read(PageDetail, message.detail, detail_place(message))))
            elif isinstance(message, Head):
                self.messages.append(Seen(message, *self._read(HeadBody, message.sealed, head_place(message))))
            else:
                self.messages.append(message)
        except SealBroken:  # a group's key may come after a head that the broker has kept
            self._closed.append(message)

    def got(self, kind: type[M]) -> list[M]:
        return [message for message in list(self.messages) if isinstance(getattr(message, "message", message), kind)]

    def pages(self) -> list[Seen]:
        return self.got(Page)

    def body(self, page: Seen) -> PageBody:
        return self._read(PageBody, page.message.sealed, page_place(page.message, page.inside))[0]

    def _read(self, kind: type[M], sealed: bytes, bound_to: bytes) -> tuple[M, str]:
        """What is sealed, and the name of the key that opens it; "terminal" for this terminal's own."""
        for key_id, seal in (*self.keys.items(), ("terminal", self.opener)):
            with contextlib.suppress(SealBroken):
                return decode_body(seal.open(sealed, bound_to), kind), key_id
        raise SealBroken("sealed under a key that is not held")

    def known(self, stream: str) -> set[str]:
        """Persons that the pages so far, taken in order, leave; each with as many templates as records."""
        people: set[str] = set()
        for page in self.pages():
            if page.stream == stream:
                body = self.body(page)
                if page.form == "snapshot" and page.part == 0:
                    people = set()
                people -= {change.key for change in body.drops if change.kind == "person"}
                people |= {change.key for change in body.puts if change.kind == "person"}
                faces = [face for columns in body.templates for _, face in from_columns(columns)]
                assert all(face.person_id in people for face in faces)
        return people

    def stands_at_what_it_got(self) -> None:
        for page in self.pages():
            self.cursors[page.stream] = Cursor(page.stream, page.epoch, page.to_seq, page.digest)

    def publish(self, leaf: str, data: bytes, retain: bool = False) -> None:
        topic = next(topic for topic in topics.TOPICS if topic.leaf == leaf and topic.scope == "terminal")
        self.client.publish(topic.of(SITE, self.terminal_id), data, 1, retain).wait_for_publish(5)

    def said(self, message: ToHub, topic: topics.Topic) -> bytes:
        return encode_to(self.chain.sealing, message, topic.of(SITE, self.terminal_id), self.signer)

    def report_bytes(self) -> bytes:
        report = Report(terminal_id=self.terminal_id, boot_id=self.boot_id, session=self.session,
                        issued_ms=time.time_ns() // 1_000_000, cursors=tuple(self.cursors.values()),
                        journal_id=self.journal_id, journal_seq=0, acked_seq=0, model_ids=(), desired_version=0,
                        key_ids=tuple(self.keys), hub_keys=self.chain.key_ids, health=HealthBody())
        return self.said(report, topics.REPORT)

    def report(self) -> None:
        self.publish("report", self.report_bytes(), retain=True)

    def say_online(self) -> None:
        message = Online(terminal_id=self.terminal_id, is_online=True, session=self.session)
        self.publish("online", self.said(message, topics.ONLINE), retain=True)

    def send_journal(self, first: int, last: int) -> None:
        self._append_up_to(last)
        rows = tuple(row_of(entry) for entry in self._entries[first - 1:last])
        page = JournalPage(terminal_id=self.terminal_id, journal_id=self.journal_id, from_seq=first - 1, to_seq=last,
                           rows=rows)
        self.publish("journal", self.said(page, topics.JOURNAL))

    def _append_up_to(self, last: int) -> None:
        while len(self._entries) < last:
            seq = len(self._entries) + 1
            prev = self._entries[-1].hash if self._entries else chain.genesis(self.journal_id)
            at = datetime(2026, 1, 5, tzinfo=timezone.utc) + timedelta(seconds=seq)
            entry = Entry(self.journal_id, seq, at, float(seq), self.boot_id, "synced", "release", "granted_face",
                          f"{seq:032x}", (("score", 0.5 + seq / 1e6), ("frames", 3)), prev, "")
            self._entries.append(Entry(*(getattr(entry, name) for name in entry.__slots__[:-1]),
                                       chain.entry_hash(entry)))


def row_of(entry: Entry) -> JournalRow:
    at_us = (entry.at - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(microseconds=1)
    return JournalRow(entry.seq, at_us, entry.mono, entry.boot_id, entry.clock_quality, entry.kind, entry.reason,
                      entry.person_id, entry.detail, entry.prev_hash, entry.hash)
