"""door-syncd's main loop: one thread owns the store's writer, and everything that happens is handled there in turn.

    broker ─ Link (paho's thread enqueues) ─▶ Inbound ─▶ Downstream / Commands / Upstream ─▶ gallery.db
    journal.db ─▶ JournalWatch ─▶ receipts, answers, journal pages ─▶ Connection ─▶ broker

Nothing here can stop the door: doord only reads what was committed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from device.clock import Clock
from device.errors import StoreError
from device.link import Link as LinkConfig
from device.store.cache_writer import CacheWriter
from device.store.places import Places
from device.store.sqlite import Damaged
from sync.agent.connection import Connection
from sync.agent.inbound import Inbound
from sync.agent.intake import Intake
from sync.agent.link import Carrier, Down, Event, Up
from sync.agent.parts import OBEYED, Keys, Parts
from sync.agent.report import Held
from sync.wire import topics
from sync.wire.digest import EMPTY

log = logging.getLogger(__name__)

TICK_S = 0.05
SLOW_TICK_S = 0.25
SILENT_S = 150.0  # two heads and a half: then the link is made anew, whatever paho believes
STORE_PAUSE_S = 1.0  # after a write that failed
FAILED_PAUSE_S = 1.0  # after an error of ours, lest it be met thousands of times
ERASE_WITHIN_S = 0.3


class Agent(Parts):
    """One terminal's link at work. `step` in a loop; `close` in any case."""

    def __init__(self, config: LinkConfig, where: Places, writer: CacheWriter, keys: Keys, boot_id: str, clock: Clock,
                 link: Carrier, session: str, intake: Intake | None = None) -> None:
        super().__init__(config, where, writer, keys, boot_id, clock, session, intake)
        self.connection = Connection(config, link, self.announced, keys.signer, session, clock)
        self.inbound = Inbound(self, self.connection, self._store_failed)
        self.ticks = (TICK_S, SLOW_TICK_S)  # how long to wait for something to come, hurried and not
        self._pause = threading.Event()  # never set
        self._next_second = 0.0
        self._told_faults: tuple[str, ...] = ()
        self._told_door = ("", "")
        self._erasure_since = clock.mono()
        self._store_failed_at = float("-inf")

    @property
    def is_up(self) -> bool:
        return self.connection.is_up

    # --- the loop --------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Handle what has come, or wait a moment for something, then see to what is due."""
        self.connection.open_when_due()
        is_hurried = self.receipting.is_waiting or self.commands.is_waiting
        event = self.connection.next(self.ticks[0] if is_hurried else self.ticks[1])
        if event is not None:
            self._handle(event)
        self._see_to_the_rest(is_idle=self.connection.is_idle)

    def close(self) -> None:
        self.connection.close()
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

    def _handle(self, event: Event) -> None:
        if isinstance(event, Up):
            self._came_up()
        elif isinstance(event, Down):
            self.connection.went_down(event.why)
        else:
            self.inbound.take(event)

    def _came_up(self) -> None:
        self.connection.came_up(self.readable())
        self.upstream.again()
        self.receipting.again()
        self.reporter.want()
        self.progress.hurry()

    # --- what is due -----------------------------------------------------------------------------------------

    def _see_to_the_rest(self, is_idle: bool) -> None:
        now = self.clock.mono()
        self._erase(now, is_idle)
        self.watch.poll()
        if self.is_up:
            self._send_what_is_due(is_idle)
        if now >= self._next_second:
            self._next_second = now + 1.0
            self._each_second()

    def _erase(self, now: float, is_idle: bool) -> None:
        """Rid the file of what was removed; it writes the whole file anew, so rather when nothing waits."""
        if not self.writer.is_erasure_due:
            self._erasure_since = now
        elif (is_idle or now > self._erasure_since + ERASE_WITHIN_S) and now > self._store_failed_at + STORE_PAUSE_S:
            if self.writer.erase():
                self._erasure_since = now
            else:
                self._store_failed_at = now

    def _send_what_is_due(self, is_idle: bool) -> None:
        if not self.writer.is_erasure_due:
            for message in self.receipting.due(self.watch.said.generation):
                if not self.connection.publish(message.receipt, topics.RECEIPTS):
                    break
                self.receipting.sent(message)
        for answer in self.commands.answers(self.watch.said):
            if self.commands.asks_for_report(answer):
                self._report()
            if not self.connection.publish(answer, topics.ANSWER):
                break
            self.commands.answered(answer.command_id)
        if self.reporter.is_due():
            self._report()
        if is_idle or self.upstream.waiting:
            self.upstream.pump(lambda page: self.connection.publish(page, topics.JOURNAL))
        if self.progress.is_news():
            self.reporter.want()
        if is_idle and (request := self.progress.request()) is not None:
            self.connection.publish(request, topics.MISSING)

    def _each_second(self) -> None:
        self._guarded("acknowledgements", self.upstream.store_acked)
        self._guarded("signs", self._say)
        self._leave()
        while not self.announcements.empty():
            self._guarded("announcements", self.follow, self.announcements.get())
        self.writer.refill()
        if (faults := self.faults()) != self._told_faults:
            self._told_faults = faults
            self.reporter.want()
        if (door := self.health.door()) != self._told_door:
            self._told_door = door
            self.reporter.want()
        for stream in self.streams.names():
            if self.heads.differs(stream):
                self.inbound.ask(self.repair.differs(stream))
        is_silent = self.is_up and self.heads.silent_s() > SILENT_S
        if is_silent or self.connection.is_dead:
            self.heads.heard()
            self.connection.went_down("the hub has been silent")

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
                self.connection.subscribe(self.readable())
                self.reporter.want()

    def _report(self) -> None:
        reader, said = self.watch.reader, self.watch.said
        held = Held(self.upstream.journal_id, reader.head if reader else 0, self.upstream.acked_seq,
                    self.health.model_ids(), said.desired, self.keyring.key_ids(), self.announced.chain.key_ids)
        counts = {**self.counts, "records_refused": self.downstream.records_refused}
        health = self.health.told(self.faults(), counts, said.config, self.inbound.offset_s)
        report = self.reporter.made(self.streams.names(), held, health)
        if self.connection.publish(report, topics.REPORT):
            self.reporter.sent()

    def faults(self) -> tuple[str, ...]:
        """What is wrong with the link and what came over it, for the report."""
        faults = [f"stale {stream}" for stream in self.heads.stale()]
        if self.downstream.records_refused:
            faults.append("records_refused")
        if self.upstream.ahead:
            faults.append("journal_set_back")
        if self.clock.mono() < self._store_failed_at + 60.0:
            faults.append("store_failed")
        return tuple(faults)

    # --- faults ----------------------------------------------------------------------------------------------

    def _store_failed(self, error: StoreError) -> None:
        """The cursor stands where it stood; the next report asks for the rest again. A damaged file ends the
        process: its next start sets the file aside and has everything sent anew."""
        if isinstance(error, Damaged):
            raise error
        self.counts["store failed"] += 1
        if self.clock.mono() > self._store_failed_at + 60.0:
            log.error("gallery.db cannot be written: %s", error)
        self._store_failed_at = self.clock.mono()
        self.reporter.want()

    def _guarded(self, what: str, act: Callable[..., object], *arguments: object) -> None:
        try:
            act(*arguments)
        except StoreError as error:
            log.debug("%s: not stored", what)
            self._store_failed(error)
