"""What the hub sends and when: changes once they are committed, heads every minute, to each terminal what it lacks,
keys of its streams and the hub's own among it.

A terminal states where it stands (`Report`); whoever lags is served by `catchup`, never twice at a time. All that is
kept here is in memory and comes back with the terminals' retained reports. Owned by the one thread that ingests.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from device.clock import Clock
from sync.hub.carrier import Link
from sync.hub.catchup import CatchUp, Job, Way
from sync.hub.editions import OWN, Editions, Reader
from sync.hub.heads import Heads, Run
from sync.hub.keys import Keys
from sync.hub.ledger import Head, Ledger
from sync.hub.roster import Roster, Terminal
from sync.wire import topics
from sync.wire.announce import hand_to
from sync.wire.codec import encode, encode_to
from sync.wire.digest import EMPTY, differing_ranges
from sync.wire.messages import Cursor, GroupKey, Online, RangeHashes, RepairRequest, Report, ToTerminal
from sync.wire.sign import Signer
from sync.wire.streams import is_shared, owner_of, pages_topic, scope_of, terminal_stream

log = logging.getLogger(__name__)

HEAD_S = 60.0
GRACE_S = 1.0  # how long a page that went to all of a stream may take before a terminal is served by itself
KEY_AGAIN_S = 5.0
NEW_EPOCH_S = 600.0


@dataclass(slots=True)
class Standing:
    """Where one terminal says it stands, and what was sent to it since."""

    terminal: Terminal
    cursors: dict[str, Cursor] = field(default_factory=dict)
    key_ids: frozenset[str] = frozenset()
    keys_sent: dict[str, float] = field(default_factory=dict)
    run: Run = field(default_factory=Run)
    head_run: Run | None = None  # to which the head of its own stream was last told
    is_reported: bool = False
    session: str = ""
    is_away: bool = False


class Distributor:
    """The live side of one hub."""

    def __init__(self, ledger: Ledger, keys: Keys, roster: Roster, signer: Signer, clock: Clock, link: Link,
                 catchup: CatchUp, editions: Editions) -> None:
        self.counts: Counter[str] = Counter()
        self.keys = keys
        self._ledger, self._roster, self._signer = ledger, roster, signer
        self._heads = Heads(keys, signer, clock, link)
        self._clock, self._link, self._catchup, self._editions = clock, link, catchup, editions
        self._standings: dict[str, Standing] = {}
        self._published: dict[str, tuple[str, int]] = {}
        self._live: dict[str, tuple[int, float]] = {}  # stream -> first seq of the pages sent just now, and when
        self._stream_keys: dict[str, str] = {}
        self._heads_due: list[float] = []  # when heads are to be published besides their minute
        self._heads_at = float("-inf")
        self._new_epoch_at = float("-inf")

    # --- what happened -----------------------------------------------------------------------------------

    def connected(self) -> None:
        """The link is up: say where every stream stands, since a broker may have lost what it kept."""
        self.say_heads_in(0.0)
        self._catchup.forget()

    def say_heads_in(self, *seconds: float) -> None:
        """Have all heads published after each of these delays, besides their minute."""
        self._heads_due = [self._clock.mono() + delay for delay in seconds]

    def changed(self, streams: list[str]) -> None:
        """These streams moved: one page to all who share it; a terminal's own stream goes to it alone."""
        for stream in streams:
            if is_shared(stream):
                self._publish_to_all(stream)
            elif (name := owner_of(stream)) in self._standings:
                self._serve(self._standings[name], stream)

    def seen(self, terminal: Terminal, word: Online) -> None:
        """A terminal came or went. One that is away is sent nothing: a broker would keep it all for its return."""
        standing = self._standings.setdefault(terminal.terminal_id, Standing(terminal))
        if word.is_online:
            standing.session, standing.is_away = word.session, False
            # What this run of it holds, it says in a moment; a snapshot for the run before would be no use to it.
            standing.is_reported = standing.is_reported and standing.run.session == word.session
        elif standing.session in ("", word.session):  # not the last will of a link that has been made anew since
            standing.is_away = True
            self._catchup.withdraw(terminal.terminal_id)

    def reported(self, terminal: Terminal, report: Report) -> None:
        """A terminal says where it stands."""
        standing = self._standings.setdefault(terminal.terminal_id, Standing(terminal))
        standing.terminal = terminal
        standing.cursors = {cursor.stream: cursor for cursor in report.cursors}
        standing.key_ids = frozenset(report.key_ids)
        standing.run, standing.is_reported = Run(report.boot_id, report.session), True
        if standing.run != standing.head_run:
            self._catchup.withdraw(terminal.terminal_id)  # what is under way is for the run before
            self._say_own_head(standing)
        self._hand_hub_keys(standing, report.hub_keys)
        for cursor in report.cursors:
            self._catchup.arrived(terminal.terminal_id, cursor.stream, cursor.epoch, cursor.seq)
        self._serve_all(standing)

    def asked(self, terminal: Terminal, request: RepairRequest) -> None:
        """A terminal found its digest unequal: tell it the hashes of what differs, then send what lives there."""
        if request.stream not in terminal.streams:
            return
        head, tree = self._ledger.digest(request.stream)
        if (head.epoch, head.seq) != (request.epoch, request.seq):
            self._serve_all(self._standings.setdefault(terminal.terminal_id, Standing(terminal)))
            return
        if request.buckets:
            self._catchup.ask(Job(terminal, request.stream, Way.REPAIR, head.epoch, head.seq,
                                  buckets=tuple(sorted(set(request.buckets))), at_least=head.seq))
            return
        if len(request.ranges) != len(tree.ranges()):
            return
        differing = differing_ranges(tree.ranges(), request.ranges)
        ranges = tuple((index, tree.buckets_of(index)) for index in differing)
        self.counts["repairs"] += 1
        self._send(terminal, RangeHashes(terminal_id=terminal.terminal_id, stream=request.stream, epoch=head.epoch,
                                         seq=head.seq, ranges=ranges))

    def tick(self) -> None:
        """About once a second: heads when they are due, and whoever still lags."""
        now = self._clock.mono()
        is_asked = any(due <= now for due in self._heads_due)
        if is_asked or now - self._heads_at >= HEAD_S:
            self._heads_due = [due for due in self._heads_due if due > now]
            self._heads_at = now
            for stream, site in self._roster.shared().items():
                self.say_head(stream, site)
            for standing in self._standings.values():
                if standing.is_reported:
                    self._say_own_head(standing)
            self.keys.own.retire_when_all_know()
        epoch, seqs = self._ledger.epoch, self._ledger.streams()
        for standing in self._standings.values():
            if standing.is_reported:
                self._look_after(standing, epoch, seqs)

    def _look_after(self, standing: Standing, epoch: str, seqs: dict[str, int]) -> None:
        for stream in standing.terminal.streams:
            cursor, seq = standing.cursors.get(stream), seqs.get(stream, 0)
            is_there = cursor is not None and (cursor.epoch, cursor.seq) == (epoch, seq) and cursor.digest != EMPTY
            if not is_there:
                self._serve(standing, stream)
        for stream in standing.cursors.keys() - set(standing.terminal.streams):
            self._take_away(standing, standing.cursors[stream])

    def refresh(self) -> None:
        """The fleet changed: terminals joined or left streams, or are ours no longer; or the hub's keys did."""
        if self.keys.own.refresh():
            self.say_heads_in(0.0)  # what the broker keeps is signed by the key before
        for terminal in (found := self._roster.all()):
            if terminal.terminal_id in self._standings:
                self._standings[terminal.terminal_id].terminal = terminal
        for gone in set(self._standings) - {terminal.terminal_id for terminal in found}:
            del self._standings[gone]

    def say_head(self, stream: str, site: str) -> None:
        """Publish a shared stream's head, retained."""
        self._heads.to_all(self._ledger.head(stream), site)

    def _say_own_head(self, standing: Standing) -> None:
        """Tell a terminal where its own stream stands: by this it knows the time, and that nothing is withheld."""
        if not standing.is_away:
            head = self._ledger.head(terminal_stream(standing.terminal.terminal_id))
            if self._heads.to_terminal(head, standing.terminal, standing.run):
                standing.head_run = standing.run

    # --- one page for all --------------------------------------------------------------------------------

    def _publish_to_all(self, stream: str) -> None:
        site = self._roster.site_of(stream)
        if site is None:
            return
        last = self._published.get(stream)
        head = self._ledger.head(stream)
        if last is None or last[0] != head.epoch or last[1] > head.seq:
            # Nobody was told anything by this hub yet: each terminal says for itself what it lacks.
            self._published[stream] = (head.epoch, head.seq)
            self.say_head(stream, site)
            return
        if self._ledger.drops_after(stream, last[1]):
            self._editions.forget_drops(stream)
        seal = self.keys.of_stream(stream)
        self._hand_out_keys(stream, seal.key_id)
        edition = self._editions.delta(Reader(site, shared=seal), stream, last[1])
        topic = pages_topic(stream).of(site, owner_of(stream))
        if edition is None:
            self._published[stream] = (head.epoch, head.seq)
            self.say_head(stream, site)
            return
        for page in edition.pages:
            if not self._link.publish(topic, encode(page, topic, self._signer)):
                return
            self.counts["pages"] += 1
            self._note_live(stream, last[1])
        self._published[stream] = (edition.head.epoch, edition.head.seq)

    def _note_live(self, stream: str, from_seq: int) -> None:
        now = self._clock.mono()
        first, at = self._live.get(stream, (from_seq, float("-inf")))
        self._live[stream] = (first if now - at < GRACE_S else from_seq, now)

    def _is_on_its_way(self, cursor: Cursor) -> bool:
        """Whether pages that lead on from this cursor went to all a moment ago."""
        first, at = self._live.get(cursor.stream, (0, float("-inf")))
        return cursor.seq >= first and self._clock.mono() - at < GRACE_S

    # --- one terminal ------------------------------------------------------------------------------------

    def _serve_all(self, standing: Standing) -> None:
        for stream in standing.terminal.streams:
            self._serve(standing, stream)
        for stream in standing.cursors.keys() - set(standing.terminal.streams):
            self._take_away(standing, standing.cursors[stream])

    def _serve(self, standing: Standing, stream: str) -> None:
        """Have this terminal sent what it lacks of one stream, the stream's key first, unless that is under way or
        the terminal away."""
        if standing.is_away:
            return
        terminal = standing.terminal
        cursor = standing.cursors.get(stream)
        head = self._ledger.head(stream)
        if stream in terminal.shared:
            self._hand_key(standing, stream)
        if cursor is None or cursor.epoch != head.epoch:
            # Even where there is nothing yet: a terminal begins a stream with a snapshot, if only of nothing.
            self._catchup.ask(Job(terminal, stream, Way.SNAPSHOT, head.epoch, head.seq, run=standing.run))
        elif cursor.seq > head.seq:
            self._is_ahead(terminal, cursor, head)
        elif cursor.digest == EMPTY != head.digest and cursor.seq:
            # It holds nothing of this stream, and there is something now: a snapshot of where it stands is no news.
            self._catchup.ask(Job(terminal, stream, Way.SNAPSHOT, head.epoch, head.seq, at_least=head.seq,
                                  run=standing.run))
        elif cursor.seq < head.seq and not self._is_on_its_way(cursor):
            self._catchup.ask(Job(terminal, stream, Way.DELTA, head.epoch, head.seq, from_seq=cursor.seq,
                                  at_least=cursor.seq, run=standing.run))

    def _take_away(self, standing: Standing, cursor: Cursor) -> None:
        if cursor.digest != EMPTY:
            self._catchup.ask(Job(standing.terminal, cursor.stream, Way.NOTHING, cursor.epoch, cursor.seq,
                                  run=standing.run))

    def _is_ahead(self, terminal: Terminal, cursor: Cursor, head: Head) -> None:
        """It has seen more than the ledger has, so the ledger was set back; rarely, lest a liar keep all busy."""
        if self._clock.mono() - self._new_epoch_at >= NEW_EPOCH_S:
            self._new_epoch_at = self._clock.mono()
            log.error("terminal %s is at %d of %s, the ledger at %d: the hub was set back", terminal.terminal_id,
                      cursor.seq, cursor.stream, head.seq)
            self._ledger.new_epoch()
        else:
            self.counts["ahead"] += 1

    def _hand_out_keys(self, stream: str, key_id: str) -> None:
        """A stream's new key goes to all its terminals before the first page under it."""
        if self._stream_keys.get(stream) != key_id:
            self._stream_keys[stream] = key_id
            for standing in self._standings.values():
                if stream in standing.terminal.shared:
                    self._hand_key(standing, stream)

    def _hand_key(self, standing: Standing, stream: str) -> None:
        seal, terminal, now = self.keys.of_stream(stream), standing.terminal, self._clock.mono()
        if seal.key_id in standing.key_ids or now - standing.keys_sent.get(seal.key_id, -60.0) < KEY_AGAIN_S:
            return
        standing.keys_sent[seal.key_id] = now
        scope: Any = scope_of(stream)
        self._send(terminal, GroupKey(terminal_id=terminal.terminal_id, scope=scope, group=owner_of(stream),
                                      key_id=seal.key_id, number=self.keys.numbers.next(), key=seal.key_bytes()))

    def _hand_hub_keys(self, standing: Standing, known: Sequence[str]) -> None:
        """Have a terminal that does not name the hub's present keys follow the announcements of them."""
        terminal, now = standing.terminal, self._clock.mono()
        announcements = self.keys.own.announcements(known)
        if not announcements or now - standing.keys_sent.get(OWN, -60.0) < KEY_AGAIN_S:
            return
        topic = topics.KEYS.of(terminal.site, terminal.terminal_id)
        if self._link.publish(topic, hand_to(terminal.seal_public, announcements, topic)):
            standing.keys_sent[OWN] = now

    def _send(self, terminal: Terminal, message: ToTerminal) -> bool:
        topic = topics.PAGES.of(terminal.site, terminal.terminal_id)
        return self._link.publish(topic, encode_to(terminal.seal_public, message, topic, self._signer))
