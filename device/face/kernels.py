"""Kernels of the coarse scan: dot products of one int8 probe with every int8 row of a gallery.

All are exact, so that they can be tested against each other and the fastest may be taken; which that is depends on
the processor: on one without dot-product instructions simsimd's int8 is scalar code. `face.kernel_choice` measures
them at commissioning; where nobody has, `choose` does so at the first search. Called by `face.match` and by the
benchmark.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from device.clock import Clock, SystemClock
from device.errors import ConfigError
from device.face.template import Int8s
from device.face.types import Floats

TRIAL_ROWS = 4096
TRIAL_S = 0.005  # per kernel
TWO_THREADS_BYTES = 48_000_000
"""From so large a gallery on the scan asks for two threads: one core reads 192 MB in 14 ms and two in half of that.
Below, a search takes 4 ms at most, and a second thread would only take a core from the camera."""


class Kernel(Protocol):
    """One way of scanning; safe to call from several threads."""

    @property
    def name(self) -> str: ...

    def scan(self, rows: Int8s, probe: Int8s, threads: int = 1) -> Floats:
        """rows[i] · probe of each row, exactly; rows n×D C-contiguous, n >= 1, D <= 1024.

        threads  how many it may use; the array is the caller's own
        """
        ...


class NumpyKernel:
    """float32 products of slices: integers below 2**24 are exact in float32, in whatever order they are added."""

    name = "numpy"

    def scan(self, rows: Int8s, probe: Int8s, threads: int = 1) -> Floats:
        wanted = probe.astype(np.float32)
        out = np.empty(len(rows), np.float32)
        slice_rows = max(1, 262_144 // rows.shape[1])  # 1 MB of float32: stays in the second-level cache
        buffer = np.empty((min(slice_rows, len(rows)), rows.shape[1]), np.float32)
        for start in range(0, len(rows), slice_rows):
            part = rows[start : start + slice_rows]
            floats = buffer[: len(part)]
            np.copyto(floats, part)
            np.dot(floats, wanted, out=out[start : start + len(part)])
        return out


class SimsimdKernel:
    """simsimd's int8 dot product: one native call that lets other threads run.

    Its `out=` is not used: each such call gives away a reference to None that it does not own, and under Python 3.10
    and 3.11 the process dies after some eight thousand of them (measured with 6.5.16).
    """

    name = "simsimd"

    def __init__(self) -> None:
        import simsimd

        # Their type stubs leave out int8.
        self._dot: Any = simsimd.dot
        self._pairs: Any = simsimd.cdist

    def scan(self, rows: Int8s, probe: Int8s, threads: int = 1) -> Floats:
        if threads == 1:
            found = self._dot(probe, rows, "int8", out_dtype="float32")
        else:
            found = self._pairs(probe[None], rows, "dot", dtype="int8", out_dtype="float32", threads=threads)
        dots: Floats = np.asarray(found).reshape(-1)
        return dots


_KINDS: tuple[Callable[[], Kernel], ...] = (SimsimdKernel, NumpyKernel)
_chosen: dict[int, Kernel] = {}


@functools.cache
def installed() -> tuple[Kernel, ...]:
    """The kernels that this installation has; numpy's always."""
    found: list[Kernel] = []
    for kind in _KINDS:
        try:
            found.append(kind())
        except ImportError:
            continue
    return tuple(found)


def named(name: str) -> Kernel:
    """The kernel of that name; ConfigError where it is not installed."""
    for kernel in installed():
        if kernel.name == name:
            return kernel
    known = ", ".join(kernel.name for kernel in installed())
    raise ConfigError(f"there is no matching kernel {name!r} here; installed: {known}")


def choose(dimensions: int) -> Kernel:
    """The kernel for templates of that size: the one that was settled on, else the fastest installed one that is
    exact on this processor, measured now in about 10 ms."""
    if dimensions not in _chosen:
        exact = tuple(kernel for kernel in installed() if is_exact(kernel, dimensions))
        settle(dimensions, fastest(exact, dimensions, SystemClock()))
    return _chosen[dimensions]


def settle(dimensions: int, kernel: Kernel) -> None:
    """From now on this process searches templates of that size with that kernel."""
    _chosen[dimensions] = kernel


def threads_for(rows: Int8s) -> int:
    """How many threads a scan of those rows is worth."""
    return 2 if rows.nbytes >= TWO_THREADS_BYTES and (os.cpu_count() or 1) > 1 else 1


def fastest(kernels: tuple[Kernel, ...], dimensions: int, clock: Clock) -> Kernel:
    """The kernel whose best round of a small gallery is shortest; each gets TRIAL_S."""
    rows = _pattern(TRIAL_ROWS, dimensions)
    return min(kernels, key=lambda kernel: _best_round_s(kernel, rows, clock))


def is_exact(kernel: Kernel, dimensions: int) -> bool:
    """Whether the kernel gives exact integers, for the extremes of int8 too, on one thread and on two."""
    rows = _pattern(67, dimensions)
    rows[0], rows[1], rows[2] = 127, -128, -127
    wide = rows.astype(np.int64)
    return all(np.array_equal(kernel.scan(rows, rows[place].copy(), threads), wide @ wide[place])
               for place in (0, 1, 40) for threads in (1, 2))


def _best_round_s(kernel: Kernel, rows: Int8s, clock: Clock) -> float:
    kernel.scan(rows, rows[0])
    begin = mono = clock.mono()
    best = float("inf")
    while mono - begin < TRIAL_S:
        kernel.scan(rows, rows[0])
        before, mono = mono, clock.mono()
        best = min(best, mono - before)
        if mono <= before:
            break
    return best


def _pattern(count: int, dimensions: int) -> Int8s:
    """Fixed bytes that look random enough for a trial (Knuth's multiplicative hash)."""
    index = np.arange(count * dimensions, dtype=np.uint32)
    high_bytes = ((index * np.uint32(2654435761)) >> np.uint32(24)).astype(np.uint8)
    pattern: Int8s = high_bytes.view(np.int8).reshape(count, dimensions)
    return pattern
