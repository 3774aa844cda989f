"""The mailbox and the worker."""

from __future__ import annotations

import threading

from device.clock import HandClock, SystemClock
from device.threads import Latest, Worker


def test_the_newest_value_wins_and_the_replaced_is_counted() -> None:
    box: Latest[int] = Latest()
    for value in (1, 2, 3):
        box.put(value)
    assert box.dropped == 2
    assert box.take(0) == 3
    assert box.take(0) is None


def test_a_waiting_taker_is_woken() -> None:
    box: Latest[str] = Latest()
    timer = threading.Timer(0.02, box.put, ["frame"])
    timer.start()
    assert box.take(5) == "frame"
    timer.join()


def test_a_worker_beats_and_stops_when_asked() -> None:
    def body(worker: Worker) -> None:
        while not worker.stopping.wait(0.001):
            worker.beat()

    worker = Worker("test", body, SystemClock())
    worker.start()
    worker.stop()
    assert not worker.is_alive()
    assert worker.error is None


def test_silence_is_measured_on_the_injected_clock() -> None:
    clock = HandClock()
    worker = Worker("test", lambda _: None, clock)
    clock.advance(3)
    assert worker.silent_s() == 3
    worker.beat()
    assert worker.silent_s() == 0


def test_an_error_ends_the_worker_and_is_kept() -> None:
    def body(_: Worker) -> None:
        raise ValueError("broken")

    worker = Worker("test", body, SystemClock())
    worker.start()
    worker.join(5)
    assert isinstance(worker.error, ValueError)
