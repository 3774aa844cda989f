"""The door thread's queue: facts keep their place, sightings give way.

Vision may say so much that it hides a door contact; so a Sighting is dropped and counted while many wait, and a
fact (contact, REX, fire, command, fault) never is.
"""

from __future__ import annotations

import contextlib
import queue

from device.door.decision import Claim
from device.door.types import DoorInput, Tick
from device.sighting import Sighting
from device.store.records import NewEntry

Arrival = Sighting | Claim | DoorInput | NewEntry

SIGHTINGS_MAY_WAIT = 32
FACTS_MAY_WAIT = 4096


class Inbox:
    """Many put, the door thread takes."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Arrival] = queue.Queue(FACTS_MAY_WAIT)
        self.dropped = 0

    def see(self, sighting: Sighting) -> None:
        """Put a sighting, unless the door is behind."""
        if self._queue.qsize() >= SIGHTINGS_MAY_WAIT:
            self.dropped += 1
            return
        self.put(sighting)

    def put(self, fact: Arrival) -> None:
        """Put a fact; waits while 4 096 others do, which only a door thread that has died lets come about."""
        self._queue.put(fact)

    def offer(self, fact: Arrival) -> bool:
        """Put a fact that may be refused; False where many wait already."""
        if self._queue.qsize() >= SIGHTINGS_MAY_WAIT:
            return False
        self.put(fact)
        return True

    def note(self, new: NewEntry) -> None:
        """Have something written into the journal, which only the door thread does."""
        self.put(new)

    def wake(self, mono: float) -> None:
        """Have the door thread look around now; not needed where it has something to do anyway."""
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(Tick(mono))

    @property
    def is_empty(self) -> bool:
        return self._queue.empty()

    def take(self, timeout_s: float) -> Arrival | None:
        """The next arrival; None when none came in time."""
        try:
            return self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return None
