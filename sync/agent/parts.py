"""What door-syncd is made of: all that its main thread owns, built once for one terminal.

`agent` runs it, `inbound` hands it what comes. Nothing here decides anything.
"""

from __future__ import annotations

import logging
import queue
from collections import Counter
from dataclasses import dataclass

from device.clock import Clock
from device.link import Link as LinkConfig
from device.store.cache_writer import CacheWriter
from device.store.handover import Handover
from device.store.places import Places
from device.store.receipts import Receipts
from device.store.staging import Staging
from device.store.synced import SyncedRecords
from device.store.trust import Opener
from sync.agent.announced import Announced
from sync.agent.commands import Commands
from sync.agent.downstream import Downstream
from sync.agent.heads import Heads
from sync.agent.health import Health
from sync.agent.intake import Intake
from sync.agent.journal_watch import JournalWatch
from sync.agent.keyring import Keyring
from sync.agent.progress import Progress
from sync.agent.receipting import Receipting
from sync.agent.repair import Repair
from sync.agent.report import Reporter
from sync.agent.served import Served
from sync.agent.streams import Streams
from sync.agent.upstream import Upstream
from sync.wire.sign import Signer
from sync.wire.streams import terminal_stream

log = logging.getLogger(__name__)

OBEYED = "obeyed"  # sign under which is kept what doord's journal has said


@dataclass(frozen=True, slots=True)
class Keys:
    """This terminal's private halves."""

    signer: Signer
    opener: Opener


class Parts:
    """Of one terminal's link.

    session  of this run; what the hub says to it cannot be from before
    intake   takes offered releases, on a thread of its own; None where no release is installed that could be updated
    """

    def __init__(self, config: LinkConfig, where: Places, writer: CacheWriter, keys: Keys, boot_id: str, clock: Clock,
                 session: str, intake: Intake | None = None) -> None:
        self.config, self.writer, self.keys, self.clock, self.session = config, writer, keys, clock, session
        self.own_stream = terminal_stream(config.terminal_id)
        self.counts: Counter[str] = Counter()
        self.intake, self.progress = intake, Progress(intake, clock)
        writer.erases_at_once = False
        terminal_id = config.terminal_id
        self.records = SyncedRecords(writer)
        _prepare(self.records)
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

    def expected(self) -> tuple[str, ...]:
        """The streams that this terminal is to hold: its own, and those that it shares with others as far as the hub
        has said, else those whose keys it has."""
        shared = self.served.streams()
        return (self.own_stream, *(self.keyring.streams() if shared is None else shared))

    def readable(self) -> list[str]:
        """The shared streams among them whose key it has."""
        expected = self.expected()
        return [stream for stream in self.keyring.streams() if stream in expected]

    def follow(self, announcements: tuple[bytes, ...]) -> None:
        """Go by announcements of the hub's keys, where they hold."""
        if self.announced.follow(announcements):
            self.reporter.want()


def _prepare(records: SyncedRecords) -> None:
    """What a start must put right: records that rotted, and those that were enrolled before there was a hub."""
    if healed := records.heal():
        log.error("%d records did not open or were missing; the hub is asked for them", healed)
    if strays := records.clear_strays():
        log.warning("%d records that no hub has sent are removed", strays)
