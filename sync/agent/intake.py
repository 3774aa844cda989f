"""Takes an offered release in, chunk by chunk, and leaves it whole for the updater; says how far it is.

A thread of its own, since a card may take seconds to write what the hub sends in one: the agent's thread only puts
messages on a bounded queue, reads `update`, and sends the request that lies in `requests`. Never more than one bundle
at a time, in a file of its length (`device.update.parcel`); nothing of it is kept in memory but what is on the queue.

    offer ─▶ parcel begun ─▶ a few chunks asked for ─▶ put ─▶ ... ─▶ incoming.bundle ─▶ door-update.path
                                                                     outcome.json ◀─ the updater
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import Counter
from dataclasses import replace

from device.clock import Clock
from device.errors import TerminalError
from device.threads import Latest, Worker
from device.update.bundle import BundleRefused
from device.update.disk import UpdateFailed, free_bytes, guarded
from device.update.layout import Layout
from device.update.outcome import Outcome, Result, read_outcome
from device.update.parcel import Parcel, Plan, parse_plan
from device.update.release import Machine, Release, read_release
from device.update.version import Version
from sync.agent.offered import (
    APPLIED,
    DOWNLOADING,
    FAILED,
    NONE,
    TRYING,
    WAITING,
    WITH_THE_UPDATER,
    Offered,
    mark_of,
    read_offered,
    write_offered,
)
from sync.wire.releases import Chunk, ChunkRequest, Offer, Update

log = logging.getLogger(__name__)

AT_ONCE = 4  # chunks that are asked for together: a megabyte
INBOX = 2 * AT_ONCE
PAUSE_S = 0.5  # between two requests, so that the card has time for the door's journal: at most 2 MB/s
AGAIN_S = 15.0  # without an answer they are asked for again, then after twice that, ...
LONGEST_AGAIN_S = 240.0
SPARE_BYTES = 200 << 20  # to be left free on the card beside the bundle
LOOK_S = 1.0


class Intake:
    """One terminal's. `take` is for the agent's thread, `step` for the intake's own.

    release, machine  what runs, and what a bundle must be for; None where no release is installed
    counts            chunks and offers that were passed over
    """

    def __init__(self, layout: Layout, clock: Clock, terminal_id: str, spare_bytes: int = SPARE_BYTES) -> None:
        self.release: Release | None = read_release(layout.current.resolve())
        self.machine = Machine.here()
        self.update: Update | None = None
        self.requests: Latest[ChunkRequest] = Latest()
        self.counts: Counter[str] = Counter({"chunks dropped": 0, "offers passed over": 0, "chunks put off": 0})
        self._layout, self._clock, self._terminal_id, self._spare = layout, clock, terminal_id, spare_bytes
        self._inbox: queue.Queue[Offer | Chunk] = queue.Queue(INBOX)
        self._offered: Offered | None = None  # as kept; None before the first look
        self._parcel: Parcel | None = None
        self._asked: set[int] = set()
        self._ask_mono = self._look_mono = float("-inf")
        self._again_s = AGAIN_S
        self._is_hurried = threading.Event()

    def hurry(self) -> None:
        """The link is new: ask at once for what is missing."""
        self._is_hurried.set()

    def take(self, message: Offer | Chunk) -> None:
        """Have a message dealt with; one too many is dropped and counted, and what it held asked for again."""
        try:
            self._inbox.put_nowait(message)
        except queue.Full:
            self.counts["chunks put off"] += 1

    def work(self, worker: Worker) -> None:
        """The body of its thread."""
        while not worker.stopping.is_set():
            worker.beat()
            try:
                self.step(LOOK_S)
            except Exception:
                log.exception("the intake of updates goes on after an error of its own")
                worker.stopping.wait(LOOK_S)

    def step(self, timeout: float = 0.0) -> bool:
        """Deal with one message, or wait for one, then see to what is due; whether there was one."""
        if self._offered is None:
            self._recall()
        try:
            message = self._inbox.get(timeout=timeout) if timeout else self._inbox.get_nowait()
        except queue.Empty:
            message = None
        if isinstance(message, Offer):
            self._take_offer(message)
        elif message is not None:
            self._take_chunk(message)
        self._see_to_the_rest()
        return message is not None

    # --- what was kept -----------------------------------------------------------------------------------

    @property
    def _now(self) -> Offered:
        return self._offered or Offered()

    def _recall(self) -> None:
        """Go on after a start: what has arrived is found out by hashing it."""
        self._offered = read_offered(self._layout.spool)
        if self._now.state == DOWNLOADING or (self._now.state == WAITING and not self._layout.incoming.exists()):
            self._parcel = Parcel.resume(self._layout.spool)
            if self._parcel is not None:
                self._keep(replace(self._now, state=DOWNLOADING))
            elif self._now.state == DOWNLOADING:
                self._keep(Offered(self._now.number))  # lost with its plan: the hub offers it again
        self._tell()

    def _keep(self, offered: Offered) -> None:
        """What is known from now on; that it cannot be written costs what a restart then forgets."""
        self._offered = offered
        try:
            write_offered(self._layout.spool, offered)
        except OSError as error:
            log.error("%s: %s", self._layout.spool, error.strerror)

    def _tell(self) -> None:
        now, parcel = self._now, self._parcel
        if now.state == NONE:
            self.update = None
            return
        total = len(parcel.plan.chunks) if parcel is not None else 0
        done = total - parcel.missing_count if parcel is not None else 0
        self.update = Update(now.rollout_id, now.release, now.state, done, total, now.why[:200])

    # --- offers ------------------------------------------------------------------------------------------

    def _take_offer(self, offer: Offer) -> None:
        now = self._now
        is_same = offer.rollout_id == now.rollout_id
        if offer.number <= now.number or now.state in WITH_THE_UPDATER or self._layout.incoming.exists():
            # Also while the updater has a bundle: the hub offers it again.
            self.counts["offers passed over"] += not is_same
        elif offer.is_withdrawn:
            self._withdraw(offer)
        elif is_same and now.state != NONE:
            self._keep(replace(now, number=offer.number))
            self._ask_soon()
        else:
            self._begin(offer)
        self._tell()

    def _withdraw(self, offer: Offer) -> None:
        if offer.rollout_id == self._now.rollout_id and self._now.state == DOWNLOADING:
            log.warning("release %s is offered no longer; what has come of it is dropped", self._now.release)
            self._drop()
            self._keep(Offered(offer.number))

    def _begin(self, offer: Offer) -> None:
        self._drop()
        self._keep(Offered(offer.number, offer.rollout_id, offer.release, DOWNLOADING))
        try:
            if self._runs_already(offer.release):
                self._keep(replace(self._now, state=APPLIED))
                return
            plan = _plan(offer)
            if free_bytes(self._layout.spool) < plan.size + self._spare:
                raise UpdateFailed(f"no room for a bundle of {plan.size >> 20} MiB with {self._spare >> 20} to spare")
            self._parcel = Parcel.begin(self._layout.spool, plan)
        except TerminalError as error:
            self._fail(str(error))
            return
        log.warning("release %s is offered; fetching it", offer.release)
        self._ask_soon()

    def _runs_already(self, release: str) -> bool:
        """Whether it does; BundleRefused where it never may."""
        if self.release is None:
            raise BundleRefused("no release is installed here that could be updated")
        try:
            wanted = Version.parse(release)
        except ValueError as error:
            raise BundleRefused(str(error)) from None
        if wanted < self.release.version:
            raise BundleRefused(f"release {wanted} is older than {self.release.version}, which runs")
        return wanted == self.release.version

    def _fail(self, why: str) -> None:
        log.error("release %s is not installed: %s", self._now.release, why)
        self._drop()
        self._keep(replace(self._now, state=FAILED, why=why))

    def _drop(self) -> None:
        try:
            with guarded(self._layout.spool):
                if self._parcel is not None:
                    self._parcel.drop()
        except UpdateFailed as error:
            log.error("%s", error)
        self._parcel = None
        self._asked.clear()

    # --- chunks ------------------------------------------------------------------------------------------

    def _take_chunk(self, chunk: Chunk) -> None:
        parcel = self._parcel
        try:
            if parcel is None or chunk.sha256.hex() != parcel.plan.sha256 or not parcel.put(chunk.index, chunk.data):
                self.counts["chunks dropped"] += 1
                return
            self._asked.discard(chunk.index)
            self._again_s = AGAIN_S
            if not self._asked:
                parcel.settle()
                self._ask_mono = self._clock.mono() + PAUSE_S
        except UpdateFailed as error:
            self._fail(str(error))
        self._tell()

    def _ask_soon(self) -> None:
        self._asked.clear()
        self._ask_mono, self._again_s = self._clock.mono(), AGAIN_S

    def _ask(self, parcel: Parcel) -> None:
        wanted = parcel.first_missing(AT_ONCE)
        self._asked = set(wanted)
        self._ask_mono = self._clock.mono() + self._again_s
        self._again_s = min(2 * self._again_s, LONGEST_AGAIN_S)
        self.requests.put(ChunkRequest(terminal_id=self._terminal_id, sha256=bytes.fromhex(parcel.plan.sha256),
                                       indexes=tuple(wanted)))

    # --- what is due -------------------------------------------------------------------------------------

    def _see_to_the_rest(self) -> None:
        now = self._clock.mono()
        if self._is_hurried.is_set():
            self._is_hurried.clear()
            self._ask_soon()
        if self._parcel is not None:
            if not self._parcel.missing_count:
                self._hand_over(self._parcel)
            elif now >= self._ask_mono:
                self._ask(self._parcel)
        elif self._now.state in WITH_THE_UPDATER and now >= self._look_mono:
            self._look_mono = now + LOOK_S
            self._look_at_the_outcome()

    def _hand_over(self, parcel: Parcel) -> None:
        """Noted before the bundle is there: the updater may be done with it before this thread goes on."""
        self._keep(replace(self._now, state=WAITING, before=mark_of(self._layout.outcome)))
        try:
            parcel.finish()
            log.warning("release %s has arrived; the updater has it", self._now.release)
            self._parcel = None
        except TerminalError as error:
            self._fail(str(error))
        self._tell()

    def _look_at_the_outcome(self) -> None:
        if self._layout.incoming.exists():
            return
        now, outcome = self._now, read_outcome(self._layout.outcome)
        if outcome is None or mark_of(self._layout.outcome) == now.before:
            self._fail("the bundle was taken from the spool, and nobody says what came of it")
        elif outcome.result is Result.TRYING:
            if now.state != TRYING:
                self._keep(replace(now, state=TRYING))
        elif outcome.result is Result.UPDATED and outcome.version == now.release:
            self._keep(replace(now, state=APPLIED))
        else:
            self._fail(_words(outcome))
        self._tell()


def _plan(offer: Offer) -> Plan:
    """BundleRefused where the offer is for something far too large, or not all of one piece."""
    hashes = tuple(offer.chunks[at:at + 32].hex() for at in range(0, len(offer.chunks), 32))
    return parse_plan(Plan(offer.size, offer.chunk_bytes, offer.sha256.hex(), hashes).to_json())


def _words(outcome: Outcome) -> str:
    return f"{outcome.result.value.replace('_', ' ')}: {outcome.why}" if outcome.why else outcome.result.value
