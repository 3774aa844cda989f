"""The newest head of each stream, and how long the hub has been silent: a broker that withholds pages is noticed.

Only a head with a later `issued_ms` than any before counts as heard; a repeated one proves nothing.
"""

from __future__ import annotations

from device.clock import Clock
from sync.agent.streams import Streams
from sync.wire.messages import Head


class Heads:
    """Owned by the agent's main thread.

    stale_after_s  silence, or standing behind, for longer than this is a fault to be told
    """

    def __init__(self, streams: Streams, clock: Clock, stale_after_s: float) -> None:
        self._streams, self._clock, self._stale_after_s = streams, clock, stale_after_s
        self._heads: dict[str, Head] = {}
        self._heard: dict[str, float] = {}
        self._behind: dict[str, float] = {}
        self._anything = clock.mono()

    def take(self, head: Head) -> bool:
        """Keep a head; false where a later one is known already."""
        known = self._heads.get(head.stream)
        if known is not None and head.issued_ms <= known.issued_ms:
            return False
        self._heads[head.stream] = head
        self._heard[head.stream] = self._anything = self._clock.mono()
        return True

    def heard(self) -> None:
        """Something else that is new came from the hub."""
        self._anything = self._clock.mono()

    def silent_s(self) -> float:
        """Seconds since anything new came from the hub."""
        return self._clock.mono() - self._anything

    def is_behind(self, stream: str) -> bool:
        """Whether the hub has said that the stream goes on further than what is held."""
        head, at = self._heads.get(stream), self._streams.position(stream)
        return head is not None and (head.epoch != at.epoch or head.seq > at.seq)

    def differs(self, stream: str) -> bool:
        """Whether the hub's digest at this very seq is another."""
        head, at = self._heads.get(stream), self._streams.position(stream)
        return (head is not None and (head.epoch, head.seq) == (at.epoch, at.seq)
                and head.digest != self._streams.tree(stream).root())

    def stale(self) -> list[str]:
        """Streams of which nothing was heard for too long, or which have stood behind for too long."""
        now, found = self._clock.mono(), []
        for stream in self._heads:
            if self.is_behind(stream):
                self._behind.setdefault(stream, now)
            else:
                self._behind.pop(stream, None)
            since = min(self._heard[stream], self._behind.get(stream, now))
            if now - since > self._stale_after_s:
                found.append(stream)
        if not found and self.silent_s() > self._stale_after_s:
            found.append("hub")
        return found
