"""Which groups this terminal serves, as its own stream says, and which of them hold no longer for want of the hub's
word.

A group may be given a time for which it holds offline, counted from the hub's last signed head of it. What time it is
now is what the heads say that came, going on by the monotonic clock, or the wall clock where that is later and
trusted; it is kept over restarts. So neither a clock that was lost nor heads that are held back lengthen the time.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from device.clock import Clock
from device.errors import SealBroken
from device.store.cache_writer import CacheWriter
from device.store.handover import Handover
from device.store.orders import HeadBody
from device.store.terminal_records import served_groups
from sync.agent.moments import milliseconds

log = logging.getLogger(__name__)

HEARD, NOW = "heads_heard", "heads_now"  # signs under which it is kept
SAVE_S = 60.0
GROUP = "group/"


class Served:
    """Owned by the agent's main thread. is_trusted: whether the wall clock may be gone by."""

    def __init__(self, writer: CacheWriter, handover: Handover, clock: Clock, is_trusted: Callable[[], bool]) -> None:
        self._writer, self._handover, self._clock, self._is_trusted = writer, handover, clock, is_trusted
        self._limits: dict[str, int] | None = None
        self._issued = _kept(handover.sign(HEARD))  # stream -> when its last head was issued, by the hub's clock
        kept = handover.sign(NOW)
        self._ahead_ms = (int(kept) if kept.isdecimal() else 0) - self._mono_ms()  # of the hub's clock
        self._waited: dict[str, float] = {}  # groups of which no head ever came, and since when
        self._save_at = clock.mono()
        self.look()

    def look(self) -> None:
        """Read anew what the terminal's own stream says."""
        try:
            self._limits = served_groups(self._writer)
        except SealBroken as error:
            log.error("%s", error)

    def groups(self) -> tuple[str, ...] | None:
        """The groups that are served; None where the hub has not said yet."""
        return None if self._limits is None else tuple(sorted(self._limits))

    def heard(self, stream: str, body: HeadBody) -> None:
        """A head has come that is later than any before it."""
        if not stream.startswith(GROUP):
            return
        ahead_ms = body.issued_ms - self._mono_ms()
        if body.issued_ms < self._issued.get(stream, 0):
            self._ahead_ms = ahead_ms  # later, and yet dated earlier: the hub's clock was set right
        self._ahead_ms = max(self._ahead_ms, ahead_ms)
        self._issued[stream] = body.issued_ms

    def lapsed(self) -> tuple[str, ...]:
        """Groups whose time is up."""
        limits = {group: limit_s for group, limit_s in (self._limits or {}).items() if limit_s}
        if limits:
            self._save()
        return tuple(sorted(group for group, limit_s in limits.items() if self._age_s(group) > limit_s))

    def _age_s(self, group: str) -> float:
        """Seconds since the hub's last head of the group."""
        issued_ms = self._issued.get(GROUP + group)
        if issued_ms is None:
            return self._clock.mono() - self._waited.setdefault(group, self._clock.mono())
        now_ms = self._mono_ms() + self._ahead_ms
        if self._is_trusted():
            now_ms = max(now_ms, milliseconds(self._clock.now()))
        return (now_ms - issued_ms) / 1000

    def _save(self) -> None:
        if self._clock.mono() >= self._save_at:
            self._save_at = self._clock.mono() + SAVE_S
            self._handover.put_signs({HEARD: json.dumps(self._issued, sort_keys=True),
                                      NOW: str(max(self._mono_ms() + self._ahead_ms, 0))})

    def _mono_ms(self) -> int:
        return int(1000 * self._clock.mono())


def _kept(text: str) -> dict[str, int]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return {str(name): value for name, value in found.items() if type(value) is int} if type(found) is dict else {}
