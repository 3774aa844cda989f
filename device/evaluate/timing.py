"""How long things take, measured so that the answers can be compared: in turns, and by the median."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from statistics import median

import numpy as np

from device.clock import Clock

# More than the last-level cache of any board or server that this runs on.
FLUSH_BYTES = 96_000_000

Task = Callable[[], object]


class Flush:
    """Fills the processor's caches with something else, so that the next read comes from memory."""

    def __init__(self, size: int = FLUSH_BYTES) -> None:
        self._waste = np.zeros(size // 8, np.int64)

    def __call__(self) -> None:
        self._waste += 1


def in_turns(tasks: Mapping[str, Task], rounds: int, clock: Clock, before: Task = lambda: None) -> dict[str, float]:
    """Median seconds of each task. Every round runs them all, each time in another order, `before` ahead of each."""
    order = list(tasks)
    shuffle = random.Random(1).shuffle  # noqa: S311 - only the order of measurements
    seconds: dict[str, list[float]] = {name: [] for name in order}
    for task in tasks.values():
        task()
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            before()
            begin = clock.mono()
            tasks[name]()
            seconds[name].append(clock.mono() - begin)
    return {name: median(values) for name, values in seconds.items()}
