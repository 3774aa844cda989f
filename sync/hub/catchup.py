"""Serves terminals that lag, a few at a time, on a thread of its own so that no snapshot delays a live change.

A job is asked for as often as the terminal reports that it lags, and done once: it is under way until the terminal
reports that it arrived or its time is up. Snapshots go to at most `SNAPSHOTS` terminals at a time, and no faster than
the broker takes them.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from enum import Enum

from device.clock import Clock
from sync.hub.carrier import Link
from sync.hub.editions import Edition, Editions
from sync.hub.heads import Heads, Run
from sync.hub.roster import Terminal
from sync.hub.stepper import Stepper
from sync.wire import topics
from sync.wire.codec import encode
from sync.wire.messages import Page
from sync.wire.sign import Signer

SNAPSHOTS = 8
JOBS = 5000
ANSWER_S = 5.0
MAKING_S = 60.0
ANSWER_S_PER_MB = 2.0


class Way(Enum):
    """How a terminal is brought forward."""

    DELTA = "delta"
    SNAPSHOT = "snapshot"
    REPAIR = "repair"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Job:
    """One terminal, one stream, towards (epoch, to_seq).

    from_seq  where a delta begins
    at_least  where the terminal stands in this epoch: no older snapshot is any use to it
    buckets   of a repair
    run       to which it is told where what was sent leads
    """

    terminal: Terminal
    stream: str
    way: Way
    epoch: str
    to_seq: int
    from_seq: int = 0
    at_least: int = 0
    buckets: tuple[int, ...] = ()
    run: Run = field(default_factory=Run)

    @property
    def key(self) -> tuple[str, str]:
        return self.terminal.terminal_id, self.stream


@dataclass(slots=True)
class _Sent:
    """What a terminal was sent and has not reported yet."""

    way: Way
    epoch: str
    to_seq: int
    until_mono: float


class CatchUp:
    """Jobs that wait, and what is under way. `step` is for `thread`; `ask`, `arrived` and `forget` for the one that
    ingests."""

    def __init__(self, editions: Editions, signer: Signer, clock: Clock, link: Link) -> None:
        self.counts: Counter[str] = Counter()
        self._editions, self._signer, self._clock, self._link = editions, signer, clock, link
        self._heads = Heads(editions.keys, signer, clock, link)
        # A queue would hold a job per report; here the newest of each terminal and stream replaces the older.
        self._jobs: dict[tuple[str, str], Job] = {}
        self._sent: dict[tuple[str, str], _Sent] = {}
        self.thread = Stepper("catch-up", self.step, lambda: 0.5, self._failed, clock)
        self._changed = self.thread.changed

    def ask(self, job: Job) -> bool:
        """Have it done, unless the like is under way."""
        with self._changed:
            sent = self._sent.get(job.key)
            if sent is not None and self._clock.mono() < sent.until_mono and (job.way is not Way.REPAIR
                                                                              or sent.way is Way.REPAIR):
                return False
            if job.key not in self._jobs and len(self._jobs) >= JOBS:
                self.counts["put off"] += 1
                return False
            self._jobs[job.key] = job
            self._changed.notify()
        return True

    def arrived(self, terminal_id: str, stream: str, epoch: str, seq: int) -> None:
        """A terminal reports where it stands: whatever was to bring it there is done."""
        with self._changed:
            sent = self._sent.get((terminal_id, stream))
            if sent is not None and sent.way is not Way.REPAIR and (epoch, seq) >= (sent.epoch, sent.to_seq) and (
                    epoch == sent.epoch):
                del self._sent[(terminal_id, stream)]
                self._changed.notify()

    def withdraw(self, terminal_id: str) -> None:
        """A terminal is away: what waits for it or is being sent to it ends."""
        with self._changed:
            for key in [key for key in {*self._jobs, *self._sent} if key[0] == terminal_id]:
                self._jobs.pop(key, None)
                self._sent.pop(key, None)
            self._changed.notify()

    def forget(self) -> None:
        """The link was lost: what was under way may be lost as well."""
        with self._changed:
            self._sent.clear()
            self._changed.notify()

    def step(self) -> bool:
        """Do one job that may be done now; whether there was one."""
        job = self._next()
        if job is None:
            return False
        outgoing = _Outgoing(self, job)
        try:
            edition = self._make(job, outgoing)
        except BaseException:
            # A full disk, or a key destroyed in just that moment: it is asked for again, and made anew.
            with self._changed:
                self._sent.pop(job.key, None)
            raise
        with self._changed:
            time_s = ANSWER_S + ANSWER_S_PER_MB * edition.size / 1e6
            if job.key in self._sent:
                self._sent[job.key] = _Sent(job.way, edition.head.epoch, edition.head.seq,
                                            self._clock.mono() + 10 * time_s)
        # A terminal takes over only what it is told that it was sent, lest somebody play an old snapshot to it.
        is_sent = outgoing.finish() and self._heads.to_terminal(edition.head, job.terminal, job.run)
        with self._changed:
            if not is_sent:
                self._sent.pop(job.key, None)
            elif job.key in self._sent:
                self._sent[job.key].until_mono = self._clock.mono() + time_s
        self.counts[job.way.value] += is_sent
        return True

    def _next(self) -> Job | None:
        now = self._clock.mono()
        with self._changed:
            for key in [key for key, sent in self._sent.items() if sent.until_mono <= now]:
                del self._sent[key]
            busy = sum(sent.way is Way.SNAPSHOT for sent in self._sent.values())
            for key, job in self._jobs.items():
                if job.way is not Way.SNAPSHOT or busy < SNAPSHOTS:
                    # Under way from now on: making a large snapshot takes seconds in which it is asked for again.
                    self._sent[key] = _Sent(job.way, job.epoch, job.to_seq, now + MAKING_S)
                    return self._jobs.pop(key)
        return None

    def is_wanted(self, job: Job) -> bool:
        """Whether it has not been withdrawn meanwhile."""
        return job.key in self._sent

    def wait_for_room(self) -> bool:
        """Wait until the broker takes more; false where the link is down or this is being stopped."""
        while not self._link.wait_for_room(1.0):
            if not self._link.is_up or self.thread.is_stopping:
                return False
        return True

    def has_room(self) -> bool:
        return self._link.wait_for_room(0.0)

    def publish(self, job: Job, page: Page) -> bool:
        topic = topics.PAGES.of(job.terminal.site, job.terminal.terminal_id)
        return self._link.publish(topic, encode(page, topic, self._signer))

    def _make(self, job: Job, outgoing: _Outgoing) -> Edition:
        editions, edition = self._editions, None
        reader = editions.reader(job.terminal, job.stream)
        if job.way is Way.NOTHING:
            edition = editions.nothing(job.terminal, job.stream, job.to_seq)
        elif job.way is Way.DELTA:
            edition = editions.delta(reader, job.stream, job.from_seq)
        elif job.way is Way.REPAIR:
            edition = editions.repair(reader, job.stream, job.buckets)
        if edition is None:
            return editions.snapshot(reader, job.stream, job.at_least, outgoing.take)
        for page in edition.pages:
            outgoing.take(page)
        return edition

    def _failed(self) -> None:
        self.counts["failed"] += 1


class _Outgoing:
    """The pages of one job on their way: sent as they are made, as long as the broker takes them at once, since the
    making holds the database's view; the rest at the end."""

    def __init__(self, catchup: CatchUp, job: Job) -> None:
        self._catchup, self._job = catchup, job
        self._waiting: deque[Page] = deque()
        self._is_lost = False

    def take(self, page: Page) -> None:
        """One more."""
        self._waiting.append(page)
        while self._waiting and not self._is_lost and self._catchup.has_room():
            self._send()

    def finish(self) -> bool:
        """Send what is left; false where the link was lost on the way, or the job withdrawn."""
        while self._waiting and not self._is_lost:
            if self._catchup.is_wanted(self._job) and self._catchup.wait_for_room():
                self._send()
            else:
                self._is_lost = True
        return not self._is_lost

    def _send(self) -> None:
        is_sent = self._catchup.is_wanted(self._job) and self._catchup.publish(self._job, self._waiting.popleft())
        self._is_lost = not is_sent
