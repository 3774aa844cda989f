"""What terminals say, from bytes to rows: verified by the terminal's own key, opened, stored, answered.

A message that is not in order is counted and left; one that makes the hub itself fail is set aside in a folder, so
that it can be looked at and never stops the others. Owned by the one thread that reads the carrier's inbox.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import msgspec

from device.clock import Clock
from device.errors import JournalBroken, SealBroken, StoreError
from device.store.trust import MessageRefused, Verifier
from sync.hub.carrier import Link
from sync.hub.courier import Courier
from sync.hub.deliveries import Deliveries
from sync.hub.distributor import Distributor
from sync.hub.events import Events
from sync.hub.fleet import Fleet
from sync.hub.identity import REPORTED, Identity
from sync.hub.orders import Orders
from sync.hub.roster import Roster, Terminal
from sync.hub.times import milliseconds
from sync.wire import topics
from sync.wire.codec import decode, encode_to
from sync.wire.messages import Acked, Answer, AnyMessage, JournalPage, Online, Receipt, RepairRequest, Report
from sync.wire.releases import ChunkRequest

log = logging.getLogger(__name__)

SET_ASIDE = 100

# What may come on which topic.
_EXPECTED: dict[topics.Topic, tuple[type[AnyMessage], ...]] = {
    topics.REPORT: (Report, RepairRequest), topics.ONLINE: (Online,), topics.JOURNAL: (JournalPage,),
    topics.RECEIPTS: (Receipt,), topics.ANSWER: (Answer,),
    topics.MISSING: (ChunkRequest,),
}


@dataclass(frozen=True, slots=True)
class Desk:
    """The parts of the hub that keep what terminals say, or answer it."""

    roster: Roster
    fleet: Fleet
    events: Events
    orders: Orders
    courier: Courier
    distributor: Distributor
    deliveries: Deliveries


class Ingest:
    """One per worker."""

    def __init__(self, desk: Desk, identity: Identity, clock: Clock, link: Link, aside: Path) -> None:
        self.counts: Counter[str] = Counter()
        self._desk, self._signer, self._opener = desk, identity.signer, identity.opener
        self._clock, self._link, self._aside = clock, link, aside

    def take(self, topic: str, data: bytes) -> None:
        """Deal with one message. StoreError where it cannot be stored now: then the caller tries it again."""
        try:
            self._take(topic, data)
        except (MessageRefused, SealBroken, JournalBroken) as error:
            self.counts["refused"] += 1
            log.warning("refused on %s: %s", topic[:200], error)
        except StoreError:
            raise
        except Exception:
            self.counts["set aside"] += 1
            log.exception("a message on %s made the hub fail; it is set aside", topic[:200])
            self._set_aside(topic, data)

    def _take(self, topic: str, data: bytes) -> None:
        try:
            kind, site, terminal_id = topics.parse(topic)
        except ValueError as error:
            raise MessageRefused(str(error)) from None
        terminal = self._desk.roster.get(terminal_id)
        if terminal is None or terminal.site != site or kind not in _EXPECTED:
            raise MessageRefused("not from a terminal of ours")
        message = decode(data, topic, Verifier([terminal.sign_public]), self._opener)
        if not isinstance(message, _EXPECTED[kind]) or message.terminal_id != terminal_id:  # type: ignore[union-attr]
            raise MessageRefused(f"a {type(message).__name__} does not belong here")
        self.counts[type(message).__name__] += 1
        self._route(terminal, message)

    def _route(self, terminal: Terminal, message: AnyMessage) -> None:
        match message:
            case Report():
                self._report(terminal, message)
            case RepairRequest():
                self._desk.distributor.asked(terminal, message)
            case JournalPage():
                self._journal(terminal, message)
            case Receipt():
                self._receipt(message)
            case Answer():
                self._answer(message)
            case ChunkRequest():
                self._desk.deliveries.asked(terminal, message)
            case Online():
                self._desk.fleet.seen(terminal.terminal_id, message.is_online)
                self._desk.distributor.seen(terminal, message)

    def _report(self, terminal: Terminal, report: Report) -> None:
        versions = {**report.health.versions, REPORTED: " ".join(report.hub_keys)}
        self._desk.fleet.reported(report, msgspec.structs.replace(report.health, versions=versions))
        self._desk.distributor.reported(terminal, report)
        self._desk.courier.reported(terminal, report)
        self._desk.deliveries.reported(terminal, report)
        if self._desk.events.tip(terminal.terminal_id, report.journal_id)[0] != report.acked_seq:
            self._acknowledge(terminal, report.journal_id)

    def _journal(self, terminal: Terminal, page: JournalPage) -> None:
        numbers = [row.seq for row in page.rows]
        if not numbers or numbers != list(range(page.from_seq + 1, page.to_seq + 1)):
            raise MessageRefused("a page of the journal is not what it says")
        try:
            stored = self._desk.events.store(page.terminal_id, page.journal_id, page.rows)
            if stored < page.from_seq <= page.anchor:
                self._desk.events.store(page.terminal_id, page.journal_id, page.rows, is_gap_known=True)
                self.counts["entries lost"] += page.from_seq - stored
                log.error("terminal %s has pruned entries %d to %d of journal %s, which are not stored here",
                          page.terminal_id, stored + 1, page.from_seq, page.journal_id)
        except JournalBroken:
            self.counts["broken journals"] += 1
            self._acknowledge(terminal, page.journal_id)  # by its hash a terminal sees that its journal forked
            raise
        self._acknowledge(terminal, page.journal_id)

    def _receipt(self, receipt: Receipt) -> None:
        self._desk.fleet.receipted(receipt.terminal_id, receipt.stream, receipt.epoch, receipt.seq, receipt.digest,
                                   receipt.issued_ms)

    def _answer(self, answer: Answer) -> None:
        self._desk.orders.answered(answer.terminal_id, answer.command_id, answer.outcome, answer.reason)

    def _acknowledge(self, terminal: Terminal, journal_id: str) -> None:
        """Say up to where the journal is stored; what was stored is committed by now."""
        seq, tip = self._desk.events.tip(terminal.terminal_id, journal_id)
        topic = topics.ACKED.of(terminal.site, terminal.terminal_id)
        message = Acked(terminal_id=terminal.terminal_id, journal_id=journal_id, seq=seq,
                        number=self._desk.distributor.keys.numbers.next(), hash=tip)
        self._link.publish(topic, encode_to(terminal.seal_public, message, topic, self._signer), True)

    def _set_aside(self, topic: str, data: bytes) -> None:
        """Keep the newest hundred; they are sealed, so nobody but the hub can read them."""
        try:
            self._aside.mkdir(parents=True, exist_ok=True, mode=0o700)
            kept = sorted(self._aside.iterdir())
            for path in kept[:max(0, len(kept) - SET_ASIDE + 1)]:
                path.unlink()
            number = milliseconds(self._clock.now())
            (self._aside / f"{number}-{self.counts['set aside']}").write_bytes(topic.encode() + b"\n" + data)
        except OSError as error:
            log.error("it could not be set aside: %s", error.strerror)
