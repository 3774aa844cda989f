"""Which streams this terminal shares with others, as its own stream says: those of the groups that it serves and of
the areas that its doors join; and which groups hold no longer for want of the hub's word.

A group may be given a time for which it holds offline, counted from the hub's last signed head of it. What time it is
now is what the heads say that came, going on by the monotonic clock, or the wall clock where that is later and
trusted; it is kept over restarts. So neither a clock that was lost nor heads that are held back lengthen the time.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator

from device.clock import Clock
from device.errors import SealBroken
from device.store.cache_writer import CacheWriter
from device.store.handover import Handover
from device.store.orders import HeadBody
from device.store.policy_records import joined_areas
from device.store.records import DoorSides
from device.store.terminal_records import served_groups
from sync.agent.moments import milliseconds
from sync.wire.streams import GROUP, area_stream, group_stream, scope_of

log = logging.getLogger(__name__)

HEARD, NOW = "heads_heard", "heads_now"  # signs under which it is kept
SAVE_S = 60.0


class Served:
    """Owned by the agent's main thread. is_trusted: whether the wall clock may be gone by."""

    def __init__(self, site: str, writer: CacheWriter, handover: Handover, clock: Clock,
                 is_trusted: Callable[[], bool]) -> None:
        self._site, self._writer, self._handover = site, writer, handover
        self._clock, self._is_trusted = clock, is_trusted
        self._limits: dict[str, int] | None = None
        self._areas: frozenset[str] = frozenset()
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
            areas = joined_areas(self._writer.records("door", DoorSides))
        except SealBroken as error:
            log.error("%s", error)
            return
        self._areas = frozenset(stream for area in areas for stream in _area_stream(self._site, area))

    def streams(self) -> tuple[str, ...] | None:
        """The shared streams that are to be held; None where the hub has not said yet."""
        return None if self._limits is None else (*map(group_stream, sorted(self._limits)), *sorted(self._areas))

    def heard(self, stream: str, body: HeadBody) -> None:
        """A head has come that is later than any before it."""
        if scope_of(stream) != GROUP:
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
        issued_ms = self._issued.get(group_stream(group))
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


def _area_stream(site: str, name: str) -> Iterator[str]:
    """None where no stream can have that name: the hub has none of it then."""
    with contextlib.suppress(ValueError):
        yield area_stream(site, name)


def _kept(text: str) -> dict[str, int]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return {str(name): value for name, value in found.items() if type(value) is int} if type(found) is dict else {}
