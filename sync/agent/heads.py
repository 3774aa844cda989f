"""The newest head of each stream, and how long the hub has been silent: a broker that withholds pages is noticed.

A head is later than another by its number, which rises whatever becomes of the hub's clock; a repeated one proves
nothing. Streams that this terminal is to hold are waited for from the start on, whether a head ever came or not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from device.clock import Clock
from device.store.orders import Head, HeadBody
from sync.agent.streams import Streams


@dataclass(slots=True)
class _Known:
    """Of one stream: its newest head, when it came (or the stream was first waited for), and since when the stream
    has stood behind what was said."""

    heard_mono: float
    head: Head | None = None
    body: HeadBody | None = None
    behind_mono: float | None = None


class Heads:
    """Owned by the agent's main thread.

    expected       the streams that this terminal is to hold
    stale_after_s  silence, or standing behind, for longer than this is a fault to be told
    """

    def __init__(self, streams: Streams, expected: Callable[[], Collection[str]], clock: Clock,
                 stale_after_s: float) -> None:
        self._streams, self._expected = streams, expected
        self._clock, self._stale_after_s = clock, stale_after_s
        self._known: dict[str, _Known] = {}
        self._anything = clock.mono()

    def take(self, head: Head, body: HeadBody) -> bool:
        """Keep a head; false where a later one is known already."""
        known = self._of(head.stream)
        if known.body is not None and body.number <= known.body.number:
            return False
        known.head, known.body = head, body
        known.heard_mono = self._anything = self._clock.mono()
        return True

    def heard(self) -> None:
        """Something else that is new came from the hub."""
        self._anything = self._clock.mono()

    def silent_s(self) -> float:
        """Seconds since anything new came from the hub."""
        return self._clock.mono() - self._anything

    def is_behind(self, stream: str) -> bool:
        """Whether the hub has said that the stream goes on further than what is held."""
        head, at = self._of(stream).head, self._streams.position(stream)
        return head is not None and (head.epoch != at.epoch or head.seq > at.seq)

    def differs(self, stream: str) -> bool:
        """Whether the hub's digest at this very seq is another."""
        known, at = self._of(stream), self._streams.position(stream)
        return (known.head is not None and known.body is not None
                and (known.head.epoch, known.head.seq) == (at.epoch, at.seq)
                and known.body.digest != self._streams.tree(stream).root())

    def stale(self) -> list[str]:
        """Streams of which nothing was heard for too long, or which have stood behind for too long."""
        now, found, expected = self._clock.mono(), [], sorted(self._expected())
        for stream in self._known.keys() - set(expected):
            del self._known[stream]  # no longer to be held: nobody's fault
        for stream in expected:
            known = self._of(stream)
            known.behind_mono = None if not self.is_behind(stream) else (
                now if known.behind_mono is None else known.behind_mono)
            since = known.heard_mono if known.behind_mono is None else min(known.heard_mono, known.behind_mono)
            if now - since > self._stale_after_s:
                found.append(stream)
        if not found and self.silent_s() > self._stale_after_s:
            found.append("hub")
        return found

    def _of(self, stream: str) -> _Known:
        known = self._known.get(stream)
        if known is None:
            known = self._known[stream] = _Known(self._clock.mono())
        return known
