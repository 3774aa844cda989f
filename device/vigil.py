"""Vigil: whether the threads that see still answer. Only while they do is the watchdog told that all is well; a
native call that hangs for good takes the process with it, which comes back fresh.

Owned by the door thread.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping

from device.notify import notify
from device.sight import Sight
from device.threads import Worker

log = logging.getLogger(__name__)

SILENT_S = 2.0
DEAD_S = 5.0  # a hung native call cannot be ended in a thread: then the whole process goes and comes back
WATCHED = ("vision", "gallery", "credentials")


class Vigil:
    """sight None = a terminal without camera. degrade begins or ends a degraded mode; secure lets the lock fall."""

    def __init__(self, sight: Sight | None, workers: Mapping[str, Worker], degrade: Callable[[str, bool], None],
                 secure: Callable[[], object]) -> None:
        self._sight, self._workers, self._degrade, self._secure = sight, workers, degrade, secure
        self._is_silent = False
        self.kicks = 0

    def each_second(self) -> None:
        """Look at the threads; tell the watchdog where they answer."""
        if self._sight is not None:
            self._look(self._sight)
        if not self._is_silent:
            self.kicks += 1
            notify("WATCHDOG=1")

    def _look(self, sight: Sight) -> None:
        silent_s = max(self._workers[name].silent_s() for name in WATCHED)
        is_silent = silent_s > SILENT_S or any(not worker.is_alive() and not sight.keeper.has_ended
                                               for worker in self._workers.values())
        if is_silent is not self._is_silent:
            self._is_silent = is_silent
            self._degrade("vision_silent", is_silent)
        if silent_s > DEAD_S:
            log.critical("vision has not answered for %.0f s; ending, to be started again", silent_s)
            self._secure()
            os._exit(1)
