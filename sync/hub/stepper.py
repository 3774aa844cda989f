"""A thread that does one step after another as long as there is one to do, and rests in between.

Used by `catchup` and `deliveries`, whose owners put work before it under the condition that it waits on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from device.clock import Clock
from device.errors import StoreError
from device.threads import Worker

log = logging.getLogger(__name__)

FAILED_PAUSE_S = 1.0


class Stepper:
    """changed is what `start` and whoever has new work notify.

    step     does one thing; whether there was one that could be done
    rest_s   how long to rest where there was none, unless notified
    failed   counts an error of ours
    """

    def __init__(self, name: str, step: Callable[[], bool], rest_s: Callable[[], float],
                 failed: Callable[[], None], clock: Clock) -> None:
        self.changed = threading.Condition()
        self._name, self._step, self._rest_s, self._failed, self._clock = name, step, rest_s, failed, clock
        self._worker: Worker | None = None

    @property
    def is_stopping(self) -> bool:
        """Whether what is under way should come to its end; never of one that runs by hand."""
        return self._worker is not None and self._worker.stopping.is_set()

    def start(self) -> None:
        self._worker = Worker(self._name, self._work, self._clock)
        self._worker.start()

    def stop(self) -> None:
        worker = self._worker
        if worker is not None:
            worker.stopping.set()
            with self.changed:
                self.changed.notify_all()
            worker.stop()
            self._worker = None

    def _work(self, worker: Worker) -> None:
        while not worker.stopping.is_set():
            worker.beat()
            try:
                if not self._step():
                    self._rest(worker)
            except StoreError as error:
                log.error("%s: %s", self._name, error)
                worker.stopping.wait(FAILED_PAUSE_S)
            except Exception:
                self._failed()
                log.exception("%s goes on after an error of its own", self._name)
                worker.stopping.wait(FAILED_PAUSE_S)

    def _rest(self, worker: Worker) -> None:
        with self.changed:
            if not worker.stopping.is_set():
                self.changed.wait(self._rest_s())
