"""Finds out where a stream differs from the hub's, and asks for just that: ranges, then buckets, then their records.

A repair that did not help (the terminal refuses a record, say) is tried again ever more rarely.
"""

from __future__ import annotations

from dataclasses import dataclass

from device.clock import Clock
from sync.agent.streams import Streams
from sync.wire.digest import differing_ranges
from sync.wire.messages import RangeHashes, RepairRequest

FIRST_S = 5.0
LONGEST_S = 3600.0


@dataclass(slots=True)
class _Try:
    """When this difference may be asked about again; root is ours, which a repair that helped has changed."""

    root: bytes
    next_mono: float
    pause_s: float


class Repair:
    """Owned by the agent's main thread."""

    def __init__(self, terminal_id: str, streams: Streams, clock: Clock) -> None:
        self._terminal_id, self._streams, self._clock = terminal_id, streams, clock
        self._tries: dict[str, _Try] = {}
        self.asked = 0

    def differs(self, stream: str) -> RepairRequest | None:
        """The first question about a stream that differs; None where it was asked only just."""
        now, root = self._clock.mono(), self._streams.tree(stream).root()
        last = self._tries.get(stream)
        if last is not None and last.root == root:
            if now < last.next_mono:
                return None
            pause_s = min(2 * last.pause_s, LONGEST_S)
        else:
            pause_s = FIRST_S
        self._tries[stream] = _Try(root, now + pause_s, pause_s)
        self.asked += 1
        return self._request(stream, ranges=self._streams.tree(stream).ranges())

    def agrees(self, stream: str) -> None:
        """The stream is equal to the hub's again."""
        self._tries.pop(stream, None)

    def narrowed(self, hashes: RangeHashes) -> RepairRequest | None:
        """The second question: the buckets that differ; None where none does, or the hub speaks of a state that
        this terminal is not at."""
        at = self._streams.position(hashes.stream)
        if hashes.epoch != at.epoch or hashes.seq < at.seq or not self._tries.get(hashes.stream):
            return None
        tree, buckets = self._streams.tree(hashes.stream), list[int]()
        for index, theirs in hashes.ranges:
            if index >= 64 or len(theirs) != 64:
                return None
            buckets += [64 * index + place for place in differing_ranges(tree.buckets_of(index), theirs)]
        return self._request(hashes.stream, buckets=tuple(buckets)) if buckets else None

    def _request(self, stream: str, ranges: tuple[bytes, ...] = (), buckets: tuple[int, ...] = ()) -> RepairRequest:
        at = self._streams.position(stream)
        return RepairRequest(terminal_id=self._terminal_id, stream=stream, epoch=at.epoch, seq=at.seq, ranges=ranges,
                             buckets=buckets)
