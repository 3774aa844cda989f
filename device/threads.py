"""The two shapes in which threads meet, and the thread that everyone uses.

`Latest` is a one-slot mailbox in which the newest wins; facts that must keep their order go through a
bounded `queue.Queue` instead. `Worker` is a named thread that can be stopped and whose pulse can be felt.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from device.clock import Clock

log = logging.getLogger(__name__)
T = TypeVar("T")


class Latest(Generic[T]):
    """One slot; putting replaces what nobody has taken. `dropped` counts what was replaced."""

    def __init__(self) -> None:
        # A condition, not a queue: a queue would have to be emptied and refilled to keep only the newest.
        self._changed = threading.Condition()
        self._value: T | None = None
        self.dropped = 0

    def put(self, value: T) -> None:
        with self._changed:
            if self._value is not None:
                self.dropped += 1
            self._value = value
            self._changed.notify()

    def take(self, timeout: float) -> T | None:
        """The newest value, removed; None when none came within `timeout` seconds."""
        with self._changed:
            if self._value is None:
                self._changed.wait(timeout)
            value, self._value = self._value, None
            return value

    def peek(self) -> T | None:
        """The newest value, left in place."""
        return self._value


class Worker(threading.Thread):
    """A named daemon thread that runs `body(worker)` until it returns or is asked to stop.

    The body waits with `worker.stopping.wait(seconds)` and calls `worker.beat()` on every round, so that
    silence can be told from work. An exception ends the worker, is kept in `error` and logged once.
    """

    def __init__(self, name: str, body: Callable[[Worker], None], clock: Clock) -> None:
        super().__init__(name=name, daemon=True)
        self.stopping = threading.Event()
        self.error: BaseException | None = None
        self._body = body
        self._clock = clock
        self._beat_mono = clock.mono()

    def run(self) -> None:
        try:
            self._body(self)
        except Exception as error:
            self.error = error
            log.exception("worker %s ended by an error", self.name)

    def beat(self) -> None:
        self._beat_mono = self._clock.mono()

    def silent_s(self) -> float:
        """Seconds since the last beat."""
        return self._clock.mono() - self._beat_mono

    def stop(self, timeout: float = 5.0) -> None:
        self.stopping.set()
        if self is not threading.current_thread() and self.is_alive():
            self.join(timeout)
