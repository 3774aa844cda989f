"""The thread that tells edges: one for all watched lines of a factory, begun with the first of them.

What the kernel has counted up waits in the kernel, bounded; here nothing queues. A listener that raises is logged
once until it has worked again, and a chip that is gone is logged once and said in `lost`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
from collections.abc import Callable

from device.clock import Clock
from device.errors import HardwareMissing
from device.hardware.gpiod_line import Line, LineEdge
from device.threads import Worker

log = logging.getLogger(__name__)
# Kernels before 6.5 do not wake a waiter when a chip goes, so that a quiet second ends with a look at every line.
_LOOK_S = 1.0
_GONE = select.EPOLLHUP | select.EPOLLERR

Listener = Callable[[LineEdge], None]


class GpiodWatch:
    """Edges of lines, each told to the line's listener on the watch's thread."""

    def __init__(self, clock: Clock) -> None:
        self.lost: str | None = None
        self._clock = clock
        # The kernel's own set of descriptors: other threads may add to it and take from it during a wait.
        self._poll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._wake, select.EPOLLIN)
        self._listeners: dict[int, tuple[Line, Listener]] = {}
        self._failing: set[int] = set()
        self._worker: Worker | None = None

    def add(self, line: Line, listener: Listener) -> None:
        """Tell `listener` of the line's edges from now on; the line is held with edges."""
        descriptor = line.fileno()
        is_new = descriptor not in self._listeners
        self._listeners[descriptor] = (line, listener)
        if is_new:
            self._poll.register(descriptor, select.EPOLLIN)
        if self._worker is None:
            self._worker = Worker("gpiod", self._run, self._clock)
            self._worker.start()

    def drop(self, line: Line) -> None:
        """No more of this line; to be called before it is let go."""
        descriptor = line.fileno()
        if self._listeners.pop(descriptor, None) is not None:
            with contextlib.suppress(OSError):
                self._poll.unregister(descriptor)

    def close(self) -> None:
        """End the thread, where that is not the caller's own."""
        if self._poll.closed:
            return
        if self._worker is not None:
            self._worker.stopping.set()
            os.eventfd_write(self._wake, 1)
            self._worker.stop()
        self._listeners.clear()
        self._poll.close()
        os.close(self._wake)

    def _run(self, worker: Worker) -> None:
        while not worker.stopping.is_set():
            worker.beat()
            ready = self._poll.poll(_LOOK_S)
            for descriptor, events in ready:
                if watched := self._listeners.get(descriptor):
                    self._tell(*watched, bool(events & _GONE))
            if not ready:
                self._look()

    def _tell(self, line: Line, listener: Listener, is_gone: bool) -> None:
        try:
            for edge in line.read_edges():
                self._call(line, listener, edge)
            if is_gone:
                line.check()
        except HardwareMissing as error:
            self._lose(line, error)

    def _call(self, line: Line, listener: Listener, edge: LineEdge) -> None:
        try:
            listener(edge)
        except Exception:
            if line.offset not in self._failing:
                log.exception("%s: what listens to it fails; its edges go on", line)
            self._failing.add(line.offset)
        else:
            self._failing.discard(line.offset)

    def _look(self) -> None:
        for line, _ in tuple(self._listeners.values()):
            try:
                line.check()
            except HardwareMissing as error:
                self._lose(line, error)

    def _lose(self, line: Line, error: HardwareMissing) -> None:
        self.drop(line)
        if self.lost is None:
            log.error("%s", error)
        self.lost = str(error)
