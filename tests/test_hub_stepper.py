"""The thread behind catching up and deliveries: works while there is work, rests, goes on after errors, ends."""

from __future__ import annotations

import threading

import pytest
from sync_samples import wait_until

from device.clock import SystemClock
from device.errors import StoreError
from sync.hub.stepper import Stepper


class Work:
    """Steps that are waiting; an exception among them is raised."""

    def __init__(self) -> None:
        self.waiting: list[BaseException | None] = []
        self.done = self.failures = self.rests = 0
        self.thread = Stepper("work", self.step, self.rest_s, self.failed, SystemClock())

    def step(self) -> bool:
        if not self.waiting:
            return False
        found = self.waiting.pop(0)
        if found is not None:
            raise found
        self.done += 1
        return True

    def rest_s(self) -> float:
        self.rests += 1
        return 60.0

    def failed(self) -> None:
        self.failures += 1

    def bring(self, *steps: BaseException | None) -> None:
        with self.thread.changed:
            self.waiting += steps
            self.thread.changed.notify()


@pytest.fixture
def work():
    made = Work()
    yield made
    made.thread.stop()


def test_it_does_all_that_there_is_and_is_woken_from_its_rest(work):
    work.bring(None, None, None)
    work.thread.start()
    wait_until(lambda: work.done == 3 and work.rests)
    assert not work.thread.is_stopping
    work.bring(None)
    wait_until(lambda: work.done == 4)
    assert work.failures == 0


def test_an_error_of_ours_is_counted_and_one_of_the_disk_is_not_and_both_leave_it_at_work(work):
    work.bring(ValueError("ours"), StoreError("full"), None)
    work.thread.start()
    wait_until(lambda: work.done == 1, 10)
    assert work.failures == 1


def test_it_ends_at_once_although_it_rests_for_a_minute_and_may_be_ended_twice(work):
    work.thread.start()
    wait_until(lambda: work.rests == 1)
    ending = threading.Thread(target=work.thread.stop)
    ending.start()
    ending.join(5)
    assert not ending.is_alive()
    work.thread.stop()
    work.bring(None)
    assert (work.done, work.thread.is_stopping) == (0, False)
