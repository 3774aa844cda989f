"""Brings bundles to terminals: offers to those whose turn it is, chunks to those who ask.

    rollouts.look ─▶ Offer ─▶ terminal ─▶ ChunkRequest ─▶ here ─▶ Chunk ─▶ terminal ─▶ its report ─▶ rollouts.look

A terminal asks for a few chunks and then for the next, so that neither the broker nor this hub ever holds more of a
bundle. At most `AT_ONCE` terminals are sent chunks at a time, one chunk each in turn, on a thread of its own, so that
no person waits for a release. Nothing is remembered: after a restart each terminal's report says what it lacks.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from dataclasses import dataclass

from device.clock import Clock
from sync.hub.bundles import Bundles, Kept
from sync.hub.carrier import Link
from sync.hub.members import Member, Said, State
from sync.hub.numbers import Numbers
from sync.hub.rollout import Rollout
from sync.hub.rollouts import Rollouts
from sync.hub.roster import Roster, Terminal
from sync.hub.stepper import Stepper
from sync.wire import topics
from sync.wire.codec import encode_to
from sync.wire.messages import Report
from sync.wire.releases import Chunk, ChunkRequest, Offer
from sync.wire.sign import Signer

LOOK_S = 2.0  # how often reports are compared with what is wanted
OFFER_AGAIN_S = 30.0  # to a terminal that does not say that it has heard
AT_ONCE = 8
ACTIVE_S = 20.0  # for so long after its last request a terminal counts as one of them
LIFE_S = 60  # after which the broker forgets an offer or a chunk: it is asked for again


@dataclass(slots=True)
class _Served:
    """One terminal that is sent chunks."""

    terminal: Terminal
    kept: Kept
    indexes: deque[int]
    asked_mono: float


class Deliveries:
    """`step` is for `thread`, all else for the one that ingests."""

    def __init__(self, rollouts: Rollouts, bundles: Bundles, roster: Roster, signer: Signer, numbers: Numbers,
                 clock: Clock, link: Link) -> None:
        self.counts: Counter[str] = Counter()
        self._rollouts, self._bundles, self._roster = rollouts, bundles, roster
        self._signer, self._numbers, self._clock, self._link = signer, numbers, clock, link
        self._looked_mono = float("-inf")
        self._offered: dict[tuple[str, str], float] = {}  # (roll-out, terminal) -> when
        self._withdrawn: dict[str, float] = {}
        # A queue would hold a request twice where a terminal has lost patience; here its newest replaces the older.
        self._served: OrderedDict[str, _Served] = OrderedDict()
        self.thread = Stepper("deliveries", self.step, self._rest_s, self._failed, clock)
        self._changed = self.thread.changed

    # --- offers ------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Call about once a second: see to the roll-outs, and offer to those whose turn it is."""
        now = self._clock.mono()
        if now - self._looked_mono < LOOK_S or not self._link.is_up:
            return
        self._looked_mono = now
        due = self._rollouts.look()
        turn = {(one.rollout_id, member.terminal_id) for one, member, _ in due}
        self._offered = {key: at for key, at in self._offered.items() if key in turn}
        for one, member, said in due:
            if self._is_offer_due(one, member, said, now):
                self._offer(one, member.terminal_id, now)

    def reported(self, terminal: Terminal, report: Report) -> None:
        """A terminal that fetches what nobody wants it to have any more is told so."""
        update, now = report.health.update, self._clock.mono()
        if update is None or update.state != "downloading" or self._rollouts.is_wanted(
                update.rollout_id, terminal.terminal_id):
            self._withdrawn.pop(terminal.terminal_id, None)
        elif now - self._withdrawn.get(terminal.terminal_id, float("-inf")) >= OFFER_AGAIN_S:
            self._withdrawn[terminal.terminal_id] = now
            self.counts["withdrawals"] += self._send(terminal, Offer(
                terminal_id=terminal.terminal_id, rollout_id=update.rollout_id, number=self._numbers.next()))

    def _is_offer_due(self, one: Rollout, member: Member, said: Said, now: float) -> bool:
        """Now and then to who has not heard of it; once to who is fetching it, since after a pause it asks rarely."""
        if not said.is_online or not said.is_fresh(self._clock.now()):
            return False  # the broker would keep it for its return
        last = self._offered.get((one.rollout_id, member.terminal_id))
        if member.state is State.DOWNLOADING:
            return last is None
        return member.state is State.WAITING and (last is None or now - last >= OFFER_AGAIN_S)

    def _offer(self, one: Rollout, terminal_id: str, now: float) -> None:
        terminal, kept = self._roster.get(terminal_id), self._bundles.get(one.sha256)
        if terminal is None:
            return
        offer = Offer(terminal_id=terminal_id, rollout_id=one.rollout_id, number=self._numbers.next(),
                      release=str(kept.release), name=kept.name, size=kept.size, sha256=bytes.fromhex(kept.sha256),
                      chunk_bytes=kept.chunk_bytes, chunks=kept.chunks)
        if self._send(terminal, offer):
            self._offered[(one.rollout_id, terminal_id)] = now
            self.counts["offers"] += 1

    # --- chunks ------------------------------------------------------------------------------------------

    def asked(self, terminal: Terminal, request: ChunkRequest) -> None:
        """Have chunks sent, where this terminal may have them now and not too many others are being served; else it
        asks again."""
        kept = self._rollouts.bundle_for(terminal.terminal_id, request.sha256.hex())
        if kept is None:
            self.counts["chunks refused"] += len(request.indexes)
            return
        now = self._clock.mono()
        with self._changed:
            for name in [name for name, one in self._served.items() if now - one.asked_mono > ACTIVE_S]:
                del self._served[name]
            if terminal.terminal_id not in self._served and len(self._served) >= AT_ONCE:
                self.counts["chunks put off"] += len(request.indexes)
                return
            self._served[terminal.terminal_id] = _Served(terminal, kept, deque(request.indexes), now)
            self._changed.notify()

    def step(self) -> bool:
        """Send one chunk; whether there was one that could be sent now."""
        if not self._link.wait_for_room(0.0):
            return False
        with self._changed:
            found = next((one for one in self._served.values() if one.indexes), None)
            if found is None:
                return False
            index = found.indexes.popleft()
            self._served.move_to_end(found.terminal.terminal_id)  # the others come first now
        data = self._bundles.chunk(found.kept, index)
        if data is None:
            self.counts["chunks refused"] += 1
            return True
        terminal_id = found.terminal.terminal_id
        self.counts["chunks"] += self._send(found.terminal, Chunk(
            terminal_id=terminal_id, sha256=bytes.fromhex(found.kept.sha256), index=index, data=data))
        return True

    def _send(self, terminal: Terminal, message: Offer | Chunk) -> bool:
        topic = topics.UPDATE.of(terminal.site, terminal.terminal_id)
        return self._link.publish(topic, encode_to(terminal.seal_public, message, topic, self._signer),
                                  expires_s=LIFE_S)

    def _rest_s(self) -> float:
        return 0.05 if any(one.indexes for one in self._served.values()) else 0.5

    def _failed(self) -> None:
        self.counts["failed"] += 1
