"""What comes from the hub, handed to whom it is for: pages, heads, keys, commands, states, offers.

A message that is refused is told and forgotten; one that makes us fail is passed over, and not tried again for a
while, since the hub sends the same bytes again. Owned by the agent's main thread.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable

from device.errors import SealBroken, StoreError
from device.store.orders import Desired, Head, HeadBody, Order
from device.store.trust import MessageRefused
from sync.agent.connection import Connection
from sync.agent.downstream import Verdict
from sync.agent.link import Message
from sync.agent.moments import milliseconds
from sync.agent.parts import Parts
from sync.wire import topics
from sync.wire.announce import handed
from sync.wire.codec import decode
from sync.wire.messages import Acked, AnyMessage, GroupKey, Page, RangeHashes, RepairRequest
from sync.wire.releases import Chunk, Offer

log = logging.getLogger(__name__)

POISONED_KEPT = 256
POISONED_S = 60.0  # what failed for a passing reason must not stay out for ever
SHARED_PAGES, SHARED_HEADS = (topics.GROUP_PAGES, topics.AREA_PAGES), (topics.GROUP_HEAD, topics.AREA_HEAD)


class Inbound:
    """store_failed is told of a write that did not succeed."""

    def __init__(self, parts: Parts, connection: Connection, store_failed: Callable[[StoreError], None]) -> None:
        self.offset_s: float | None = None  # how far the hub's clock was ahead when it last answered this run
        self._parts, self._connection, self._store_failed = parts, connection, store_failed
        self._poisoned: dict[bytes, float] = {}  # and when it made us fail

    def take(self, message: Message) -> None:
        """Deal with one message."""
        counts, now = self._parts.counts, self._parts.clock.mono()
        mark = hashlib.sha256(message.topic.encode() + message.data).digest()
        try:
            if now - self._poisoned.get(mark, float("-inf")) < POISONED_S:
                counts["poisoned again"] += 1
            else:
                self._take(message)
        except (MessageRefused, SealBroken) as error:
            counts["refused"] += 1
            log.warning("refused: %s", error)
        except StoreError as error:
            self._store_failed(error)
        except Exception:
            counts["poisoned"] += 1
            log.exception("a message on %s made door-syncd fail; it is passed over", message.topic[:200])
            self._set_aside(mark, now)
        message.done()

    def ask(self, request: RepairRequest | None) -> None:
        """Put a question about a stream that differs, where there is one to put."""
        if request is not None:
            self._connection.publish(request, topics.REPORT, retain=False)

    def _set_aside(self, mark: bytes, now: float) -> None:
        self._poisoned.pop(mark, None)
        self._poisoned[mark] = now
        while len(self._poisoned) > POISONED_KEPT:
            del self._poisoned[next(iter(self._poisoned))]

    def _take(self, message: Message) -> None:
        parts, config = self._parts, self._parts.config
        try:
            topic, site, owner = topics.parse(message.topic)
        except ValueError as error:
            raise MessageRefused(str(error)) from None
        if site != config.site or (topic.scope == "terminal" and owner != config.terminal_id):
            raise MessageRefused("a message for another terminal")
        if topic is topics.KEYS:
            parts.follow(tuple(handed(message.data, message.topic, parts.keys.opener)))
            return
        told = decode(message.data, message.topic, parts.announced.chain.verifier, parts.keys.opener)
        parts.counts[type(told).__name__] += 1
        self._route(topic, owner, told, message.data)

    def _route(self, topic: topics.Topic, owner: str, told: AnyMessage, data: bytes) -> None:
        parts, is_own, shared = self._parts, topic is topics.PAGES, f"{topic.scope}/{owner}"
        is_to_us = getattr(told, "terminal_id", None) == parts.config.terminal_id
        match told:
            case Page() if is_own or (topic in SHARED_PAGES and told.stream == shared):
                self._judged(told.stream, parts.downstream.page(told, is_own))
            case Head() if is_own or (topic in SHARED_HEADS and told.stream == shared):
                self._head(told, is_own, data)
            case GroupKey() if is_own and is_to_us:
                if parts.keyring.add(told):
                    self._connection.subscribe(parts.readable())
                    parts.reporter.want()
            case RangeHashes() if is_own and is_to_us:
                self.ask(parts.repair.narrowed(told))
            case Acked() if topic is topics.ACKED and is_to_us:
                parts.upstream.acked(told)
                parts.heads.heard()
            case Desired() if topic is topics.DESIRED and is_to_us:
                parts.commands.desired(told, data)
            case Order() if topic is topics.COMMAND and is_to_us:
                parts.counts["commands passed over"] += not parts.commands.ordered(told, data)
            case Offer() | Chunk() if topic is topics.UPDATE and is_to_us:
                parts.counts["offers passed over"] += not parts.progress.take(told)
            case _:
                raise MessageRefused(f"a {type(told).__name__} does not belong on {topic.leaf}")

    def _judged(self, stream: str, verdict: Verdict) -> None:
        parts = self._parts
        parts.counts[verdict.value] += 1
        if verdict in (Verdict.APPLIED, Verdict.DIFFERS, Verdict.STAGED):
            parts.heads.heard()
        if verdict is Verdict.DIFFERS:
            self.ask(parts.repair.differs(stream))
        elif verdict is Verdict.APPLIED and not parts.heads.differs(stream):
            parts.repair.agrees(stream)
        if verdict not in (Verdict.STAGED, Verdict.OLD, Verdict.REFUSED):
            parts.reporter.want()
        if stream == parts.own_stream and verdict in (Verdict.APPLIED, Verdict.DIFFERS):
            parts.served.look()
            self._connection.subscribe(parts.readable())

    def _head(self, head: Head, is_own: bool, data: bytes) -> None:
        parts = self._parts
        if head.site != parts.config.site:
            raise MessageRefused("a head of another site")
        body = parts.keyring.head(head)
        if not parts.heads.take(head, body):
            return
        parts.served.heard(head.stream, body)
        if is_own and body.session == parts.session:
            self._answered(head, body, data)
        if parts.heads.is_behind(head.stream):
            parts.reporter.want()
        elif parts.heads.differs(head.stream):
            self.ask(parts.repair.differs(head.stream))

    def _answered(self, head: Head, body: HeadBody, data: bytes) -> None:
        """The hub has said this since the start of this run: it vouches for a snapshot, and tells the time."""
        parts = self._parts
        self.offset_s = round(body.issued_ms / 1000 - milliseconds(parts.clock.now()) / 1000, 3)
        if head.stream == parts.own_stream:
            parts.handover.put_head(data, {})
        verdict = parts.downstream.vouch(head, body)
        if verdict is not None:
            self._judged(head.stream, verdict)
