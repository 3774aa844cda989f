"""What this terminal holds and runs, told to the hub: retained, so that it is known at any time.

It is published when a cursor has moved (at most five times a second), when something was refused for want of what
precedes it, when the door's phase or mode has changed, and every minute.
"""

from __future__ import annotations

from dataclasses import dataclass

from device.clock import Clock
from sync.agent.moments import milliseconds
from sync.agent.streams import Position, Streams
from sync.wire.messages import Cursor, HealthBody, Report

SHORTEST_S = 0.2
LONGEST_S = 60.0


@dataclass(frozen=True, slots=True)
class Held:
    """What goes into a report besides the cursors."""

    journal_id: str
    journal_seq: int
    acked_seq: int
    model_ids: tuple[str, ...]
    desired_version: int
    key_ids: tuple[str, ...]
    hub_keys: tuple[str, ...]


class Reporter:
    """Owned by the agent's main thread."""

    def __init__(self, terminal_id: str, boot_id: str, session: str, streams: Streams, clock: Clock) -> None:
        self._terminal_id, self._boot_id, self._session = terminal_id, boot_id, session
        self._streams, self._clock = streams, clock
        self._is_due = True
        self._last = -LONGEST_S

    def want(self) -> None:
        """Something has changed that the hub should know."""
        self._is_due = True

    def is_due(self) -> bool:
        passed = self._clock.mono() - self._last
        return passed >= LONGEST_S or (self._is_due and passed >= SHORTEST_S)

    def made(self, streams: tuple[str, ...], held: Held, health: HealthBody) -> Report:
        """The report as of now; `streams` are those that this terminal holds."""
        return Report(
            terminal_id=self._terminal_id, boot_id=self._boot_id, session=self._session,
            issued_ms=milliseconds(self._clock.now()),
            cursors=tuple(self._cursor(self._streams.position(stream)) for stream in streams),
            journal_id=held.journal_id or "none", journal_seq=held.journal_seq, acked_seq=held.acked_seq,
            model_ids=held.model_ids, desired_version=held.desired_version, key_ids=held.key_ids[-200:],
            hub_keys=held.hub_keys, health=health)

    def sent(self) -> None:
        self._is_due, self._last = False, self._clock.mono()

    def _cursor(self, at: Position) -> Cursor:
        return Cursor(at.stream, at.epoch, at.seq, self._streams.tree(at.stream).root())
