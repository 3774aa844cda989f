"""How long things take, measured so that the answers can be compared: in turns, and by the median."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import numpy as np

from device.clock import Clock

LEAST_BYTES, MOST_BYTES = 96_000_000, 400_000_000
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")

Task = Callable[[], object]


def flush_bytes(caches: Path = _CACHES) -> int:
    """A quarter more than the processor's largest cache, between LEAST_BYTES and MOST_BYTES."""
    sizes = [0]
    for file in caches.glob("index*/size"):
        try:
            sizes.append(int(file.read_text().strip().removesuffix("K")) * 1024)
        except (OSError, ValueError):
            continue
    return min(max(LEAST_BYTES, max(sizes) * 5 // 4), MOST_BYTES)


class Flush:
    """Fills the processor's caches with something else, so that the next read comes from memory."""

    def __init__(self) -> None:
        self._waste = np.zeros(flush_bytes() // 8, np.int64)

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
