"""door-syncd's main loop: one thread owns the store's writer, and everything that happens is handled there in turn.

    broker ─ Link (paho's thread enqueues) ─▶ take ─▶ Downstream / Commands / Upstream ─▶ gallery.db
    journal.db ─▶ JournalWatch ─▶ receipts, answers, journal pages ─▶ Link ─▶ broker

Nothing here can stop the door: doord only reads what was committed.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from device.clock import Clock
from device.errors import SealBroken, StoreError
from device.link import Link as LinkConfig
from device.store.cache_writer import CacheWriter
from device.store.handover import Handover
from device.store.orders import Desired, Head, HeadBody, Order
from device.store.places import Places
from device.store.receipts import Receipts
from device.store.sqlite import Damaged
from device.store.staging import Staging
from device.store.synced import SyncedRecords
from device.store.trust import MessageRefused, Opener
from sync.agent.announced import Announced
from sync.agent.commands import Commands
from sync.agent.downstream import Downstream, Verdict
from sync.agent.heads import Heads
from sync.agent.health import Health
from sync.agent.intake import Intake
from sync.agent.journal_watch import JournalWatch
from sync.agent.keyring import Keyring
from sync.agent.link import Backoff, Carrier, Down, Event, Message, Up
from sync.agent.moments import milliseconds
from sync.agent.progress import Progress
from sync.agent.receipting import Receipting
from sync.agent.repair import Repair
from sync.agent.report import Held, Reporter
from sync.agent.served import Served
from sync.agent.streams import Streams
from sync.agent.upstream import Upstream
from sync.wire import topics
from sync.wire.announce import handed
from sync.wire.codec import decode, encode_to
from sync.wire.digest import EMPTY
from sync.wire.messages import Acked, AnyMessage, GroupKey, Online, Page, RangeHashes, RepairRequest, ToHub
from sync.wire.releases import Chunk, Offer
from sync.wire.sign import Signer
from sync.wire.streams import head_topic, owner_of, pages_topic, terminal_stream

log = logging.getLogger(__name__)

TICK_S = 0.05
SLOW_TICK_S = 0.25
SILENT_S = 150.0  # two heads and a half: then the link is made anew, whatever paho believes
STORE_PAUSE_S = 1.0  # after a write that failed
FAILED_PAUSE_S = 1.0  # after an error of ours, lest it be met thousands of times
ERASE_WITHIN_S = 0.3
POISONED_KEPT = 256
POISONED_S = 60.0  # the hub sends the same bytes again: what failed for a passing reason must not stay out for ever
SHARED_PAGES, SHARED_HEADS = (topics.GROUP_PAGES, topics.AREA_PAGES), (topics.GROUP_HEAD, topics.AREA_HEAD)
OBEYED = "obeyed"  # sign under which is kept what doord's journal has said


@dataclass(frozen=True, slots=True)
class Keys:
    """This terminal's private halves."""

    signer: Signer
    opener: Opener


class Agent:
    """One terminal's link. `step` in a loop; `close` in any case.

    intake  takes offered releases, on a thread of its own; None where no release is installed that could be updated
    """

    def __init__(self, config: LinkConfig, where: Places, writer: CacheWriter, keys: Keys, boot_id: str, clock: Clock,
                 link: Carrier, session: str, intake: Intake | None = None) -> None:
        self.intake, self.progress = intake, Progress(intake, clock)
        self.counts: Counter[str] = Counter()
        self.is_up = False
        self.ticks = (TICK_S, SLOW_TICK_S)  # how long to wait for something to come, hurried and not
        self._config, self._writer, self._keys, self._clock, self._link = config, writer, keys, clock, link
        self._session, self._own_stream = session, terminal_stream(config.terminal_id)
        writer.erases_at_once = False
        terminal_id = config.terminal_id
        self.records = SyncedRecords(writer)
        self._prepare()
        self.handover, self.receipts = Handover(writer), Receipts(writer)
        staging = Staging(writer, self.records)
        with staging.in_bulk():
            self.streams = Streams(self.records)
        self.announced = Announced(config, self.handover)
        self.announcements: queue.SimpleQueue[tuple[bytes, ...]] = queue.SimpleQueue()  # come by another way
        self.keyring = Keyring(keys.opener, self.handover)
        self.downstream = Downstream(config.site, writer, self.records, staging, self.streams, self.keyring,
                                     self.receipts)
        self.health = Health(where, writer, clock, intake)
        self.served = Served(config.site, writer, self.handover, clock, self.health.is_clock_trusted)
        self.heads = Heads(self.streams, self.expected, clock, config.stale_after_s)
        self.repair = Repair(terminal_id, self.streams, clock)
        self.watch = JournalWatch(where.journal_db)
        self.watch.recall(self.handover.sign(OBEYED))
        self.upstream = Upstream(terminal_id, where.journal_db, self.watch, writer, clock)
        self.commands = Commands(terminal_id, self.handover, clock)
        self.receipting = Receipting(terminal_id, self.receipts, clock)
        self.reporter = Reporter(terminal_id, boot_id, session, self.streams, clock)
        self._pause = threading.Event()  # never set
        self._offset_s: float | None = None
        self._backoff = Backoff(clock)
        self._is_opening = False
        self._subscribed: tuple[str, ...] = ()
        self._poisoned: dict[bytes, float] = {}  # and when it made us fail
        self._next_second = 0.0
        self._told_faults: tuple[str, ...] = ()
        self._told_door = ("", "")
        self._erasure_since = clock.mono()
        self._store_failed_at = float("-inf")

    def _prepare(self) -> None:
        """What a start must put right: records that rotted, and those that were enrolled before there was a hub."""
        if healed := self.records.heal():
            log.error("%d records did not open or were missing; the hub is asked for them", healed)
        if strays := self.records.clear_strays():
            log.warning("%d records that no hub has sent are removed", strays)

    # --- the loop --------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Handle what has come, or wait a moment for something, then see to what is due."""
        self._connect()
        event = self._next()
        if event is not None:
            self._handle(event)
        self._see_to_the_rest(is_idle=self._link.inbox.empty())

    def close(self) -> None:
        self._publish(Online(terminal_id=self._config.terminal_id, is_online=False, session=self._session),
                      topics.ONLINE)
        self._link.close()
        self._guarded("acknowledgements", self.upstream.store_acked)
        self.upstream.close()
        self.watch.close()

    def run(self, until: Callable[[], bool]) -> None:
        """Until `until` holds; an error of ours is told and the loop goes on."""
        while not until():
            try:
                self.step()
            except StoreError as error:
                self._store_failed(error)
            except Exception:
                self.counts["failed"] += 1
                log.exception("door-syncd goes on after an error of its own")
                self._pause.wait(FAILED_PAUSE_S)

    def _next(self) -> Event | None:
        is_hurried = self.receipting.is_waiting or self.commands.is_waiting
        try:
            return self._link.inbox.get(timeout=self.ticks[0] if is_hurried else self.ticks[1])
        except queue.Empty:
            return None

    def _connect(self) -> None:
        if not self.is_up and not self._is_opening and self._clock.mono() >= self._backoff.next_mono:
            self._is_opening = True
            if failed := self._link.open():
                self._went_down(failed.why)

    # --- what comes ------------------------------------------------------------------------------------------

    def _handle(self, event: Event) -> None:
        if isinstance(event, Up):
            self._came_up()
        elif isinstance(event, Down):
            self._went_down(event.why)
        else:
            self.take(event)

    def take(self, message: Message) -> None:
        """Deal with one message; one that makes us fail is set aside, counted, and not tried again for a while."""
        mark = hashlib.sha256(message.topic.encode() + message.data).digest()
        try:
            if self._clock.mono() - self._poisoned.get(mark, float("-inf")) < POISONED_S:
                self.counts["poisoned again"] += 1
            else:
                self._take(message)
        except (MessageRefused, SealBroken) as error:
            self.counts["refused"] += 1
            log.warning("refused: %s", error)
        except StoreError as error:
            self._store_failed(error)
        except Exception:
            self.counts["poisoned"] += 1
            log.exception("a message on %s made door-syncd fail; it is passed over", message.topic[:200])
            self._poisoned.pop(mark, None)
            self._poisoned[mark] = self._clock.mono()
            while len(self._poisoned) > POISONED_KEPT:
                del self._poisoned[next(iter(self._poisoned))]
        message.done()

    def _take(self, message: Message) -> None:
        try:
            topic, site, owner = topics.parse(message.topic)
        except ValueError as error:
            raise MessageRefused(str(error)) from None
        if site != self._config.site or (topic.scope == "terminal" and owner != self._config.terminal_id):
            raise MessageRefused("a message for another terminal")
        if topic is topics.KEYS:
            self._follow(handed(message.data, message.topic, self._keys.opener))
            return
        told = decode(message.data, message.topic, self.announced.chain.verifier, self._keys.opener)
        self.counts[type(told).__name__] += 1
        self._route(topic, owner, told, message.data)

    def _route(self, topic: topics.Topic, owner: str, told: AnyMessage, data: bytes) -> None:
        is_own, shared = topic is topics.PAGES, f"{topic.scope}/{owner}"
        match told:
            case Page() if is_own or (topic in SHARED_PAGES and told.stream == shared):
                self._page(told, is_own)
            case Head() if is_own or (topic in SHARED_HEADS and told.stream == shared):
                self._head(told, is_own, data)
            case GroupKey() if is_own and told.terminal_id == self._config.terminal_id:
                if self.keyring.add(told):
                    self._subscribe()
                    self.reporter.want()
            case RangeHashes() if is_own and told.terminal_id == self._config.terminal_id:
                self._ask(self.repair.narrowed(told))
            case Acked() if topic is topics.ACKED and told.terminal_id == self._config.terminal_id:
                self.upstream.acked(told)
                self.heads.heard()
            case Desired() if topic is topics.DESIRED and told.terminal_id == self._config.terminal_id:
                self.commands.desired(told, data)
            case Order() if topic is topics.COMMAND and told.terminal_id == self._config.terminal_id:
                self.counts["commands passed over"] += not self.commands.ordered(told, data)
            case Offer() | Chunk() if topic is topics.UPDATE and told.terminal_id == self._config.terminal_id:
                self.counts["offers passed over"] += not self.progress.take(told)
            case _:
                raise MessageRefused(f"a {type(told).__name__} does not belong on {topic.leaf}")

    def _page(self, page: Page, is_own: bool) -> None:
        self._judged(page.stream, self.downstream.page(page, is_own))

    def _judged(self, stream: str, verdict: Verdict) -> None:
        self.counts[verdict.value] += 1
        if verdict in (Verdict.APPLIED, Verdict.DIFFERS, Verdict.STAGED):
            self.heads.heard()
        if verdict is Verdict.DIFFERS:
            self._ask(self.repair.differs(stream))
        elif verdict is Verdict.APPLIED and not self.heads.differs(stream):
            self.repair.agrees(stream)
        if verdict not in (Verdict.STAGED, Verdict.OLD, Verdict.REFUSED):
            self.reporter.want()
        if stream == self._own_stream and verdict in (Verdict.APPLIED, Verdict.DIFFERS):
            self.served.look()
            self._subscribe()

    def _head(self, head: Head, is_own: bool, data: bytes) -> None:
        if head.site != self._config.site:
            raise MessageRefused("a head of another site")
        body = self.keyring.head(head)
        if not self.heads.take(head, body):
            return
        self.served.heard(head.stream, body)
        if is_own and body.session == self._session:
            self._answered(head, body, data)
        if self.heads.is_behind(head.stream):
            self.reporter.want()
        elif self.heads.differs(head.stream):
            self._ask(self.repair.differs(head.stream))

    def _answered(self, head: Head, body: HeadBody, data: bytes) -> None:
        """The hub has said this since the start of this run: it vouches for a snapshot, and tells the time."""
        self._offset_s = round(body.issued_ms / 1000 - milliseconds(self._clock.now()) / 1000, 3)
        if head.stream == self._own_stream:
            self.handover.put_head(data, {})
        verdict = self.downstream.vouch(head, body)
        if verdict is not None:
            self._judged(head.stream, verdict)

    def _follow(self, announcements: Sequence[bytes]) -> None:
        if self.announced.follow(announcements):
            self.reporter.want()

    def _ask(self, request: RepairRequest | None) -> None:
        if request is not None:
            self._publish(request, topics.REPORT, retain=False)

    def expected(self) -> tuple[str, ...]:
        """The streams that this terminal is to hold: its own, and those that it shares with others as far as the hub
        has said, else those whose keys it has."""
        shared = self.served.streams()
        return (self._own_stream, *(self.keyring.streams() if shared is None else shared))

    # --- what is due -----------------------------------------------------------------------------------------

    def _see_to_the_rest(self, is_idle: bool) -> None:
        now = self._clock.mono()
        self._erase(now, is_idle)
        self.watch.poll()
        if self.is_up:
            self._send_what_is_due(is_idle)
        if now >= self._next_second:
            self._next_second = now + 1.0
            self._each_second()

    def _erase(self, now: float, is_idle: bool) -> None:
        """Rid the file of what was removed; it writes the whole file anew, so rather when nothing waits."""
        if not self._writer.is_erasure_due:
            self._erasure_since = now
        elif (is_idle or now > self._erasure_since + ERASE_WITHIN_S) and now > self._store_failed_at + STORE_PAUSE_S:
            if self._writer.erase():
                self._erasure_since = now
            else:
                self._store_failed_at = now

    def _send_what_is_due(self, is_idle: bool) -> None:
        if not self._writer.is_erasure_due:
            for message in self.receipting.due(self.watch.said.generation):
                if not self._publish(message.receipt, topics.RECEIPTS):
                    break
                self.receipting.sent(message)
        for answer in self.commands.answers(self.watch.said):
            if self.commands.asks_for_report(answer):
                self._report()
            if not self._publish(answer, topics.ANSWER):
                break
            self.commands.answered(answer.command_id)
        if self.reporter.is_due():
            self._report()
        if is_idle or self.upstream.waiting:
            self.upstream.pump(lambda page: self._publish(page, topics.JOURNAL))
        if self.progress.is_news():
            self.reporter.want()
        if is_idle and (request := self.progress.request()) is not None:
            self._publish(request, topics.MISSING)

    def _each_second(self) -> None:
        self._guarded("acknowledgements", self.upstream.store_acked)
        self._guarded("signs", self._say)
        self._leave()
        while not self.announcements.empty():
            self._guarded("announcements", self._follow, self.announcements.get())
        self._writer.refill()
        if (faults := self.faults()) != self._told_faults:
            self._told_faults = faults
            self.reporter.want()
        if (door := self.health.door()) != self._told_door:
            self._told_door = door
            self.reporter.want()
        for stream in self.streams.names():
            if self.heads.differs(stream):
                self._ask(self.repair.differs(stream))
        is_silent = self.is_up and self.heads.silent_s() > SILENT_S
        if is_silent or getattr(self._link, "is_dead", lambda: False)():
            self.heads.heard()
            self._went_down("the hub has been silent")

    def _say(self) -> None:
        """What doord is told of the link, and what must be known after a restart."""
        self.handover.put_signs({"stale": " ".join(self.heads.stale())[:200], "journal_ahead": self.upstream.ahead,
                                 "lapsed": ",".join(self.served.lapsed()), OBEYED: self.watch.remembered()})

    def _leave(self) -> None:
        """Let go of streams that are shared no longer, once nothing of them is held and the hub knows."""
        if self.served.streams() is None or self.receipts.are_owed():
            return
        for stream in set(self.streams.names()) - set(self.expected()):
            if self.streams.tree(stream).root() == EMPTY:
                self._guarded("streams", self.downstream.forget, stream)
                self._guarded("keys", self.keyring.forget, stream)
                self._subscribe()
                self.reporter.want()

    def _report(self) -> None:
        reader, said = self.watch.reader, self.watch.said
        held = Held(self.upstream.journal_id, reader.head if reader else 0, self.upstream.acked_seq,
                    self.health.model_ids(), said.desired, self.keyring.key_ids(), self.announced.chain.key_ids)
        counts = {**self.counts, "records_refused": self.downstream.records_refused}
        health = self.health.told(self.faults(), counts, said.config, self._offset_s)
        report = self.reporter.made(self.streams.names(), held, health)
        if self._publish(report, topics.REPORT):
            self.reporter.sent()

    def faults(self) -> tuple[str, ...]:
        """What is wrong with the link and what came over it, for the report."""
        faults = [f"stale {stream}" for stream in self.heads.stale()]
        if self.downstream.records_refused:
            faults.append("records_refused")
        if self.upstream.ahead:
            faults.append("journal_set_back")
        if self._clock.mono() < self._store_failed_at + 60.0:
            faults.append("store_failed")
        return tuple(faults)

    # --- the link --------------------------------------------------------------------------------------------

    def _came_up(self) -> None:
        log.info("connected to the broker")
        self.is_up, self._is_opening, self._subscribed = True, False, ()
        self._backoff.succeeded()
        self._subscribe()
        self.upstream.again()
        self.receipting.again()
        self.reporter.want()
        self.progress.hurry()
        self._publish(Online(terminal_id=self._config.terminal_id, is_online=True, session=self._session),
                      topics.ONLINE)

    def _went_down(self, why: str) -> None:
        if self.is_up:
            log.warning("the link to the broker is lost: %s", why[:200])
        else:
            log.info("no link to the broker: %s", why[:200])
        self.is_up = self._is_opening = False
        self._link.close()
        self._backoff.failed()

    def _subscribe(self) -> None:
        site, terminal_id = self._config.site, self._config.terminal_id
        own = (topics.PAGES, topics.DESIRED, topics.COMMAND, topics.ACKED, topics.KEYS, topics.UPDATE)
        wanted = [topic.of(site, terminal_id) for topic in own]
        expected = self.expected()
        for stream in self.keyring.streams():
            if stream in expected:
                wanted += [topic.of(site, owner_of(stream)) for topic in (pages_topic(stream), head_topic(stream))]
        self._link.subscribe([name for name in wanted if name not in self._subscribed])
        self._link.unsubscribe([name for name in self._subscribed if name not in wanted])
        self._subscribed = tuple(wanted)

    def _publish(self, message: ToHub, topic: topics.Topic, retain: bool | None = None) -> bool:
        name = topic.of(self._config.site, self._config.terminal_id)
        data = encode_to(self.announced.chain.sealing, message, name, self._keys.signer)
        return self._link.publish(name, data, topic.is_retained if retain is None else retain)

    # --- faults ----------------------------------------------------------------------------------------------

    def _store_failed(self, error: StoreError) -> None:
        """The cursor stands where it stood; the next report asks for the rest again. A damaged file ends the
        process: its next start sets the file aside and has everything sent anew."""
        if isinstance(error, Damaged):
            raise error
        self.counts["store failed"] += 1
        if self._clock.mono() > self._store_failed_at + 60.0:
            log.error("gallery.db cannot be written: %s", error)
        self._store_failed_at = self._clock.mono()
        self.reporter.want()

    def _guarded(self, what: str, act: Callable[..., object], *arguments: object) -> None:
        try:
            act(*arguments)
        except StoreError as error:
            log.debug("%s: not stored", what)
            self._store_failed(error)
