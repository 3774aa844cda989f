"""Kernels of the coarse scan: dot products of one int8 probe with every int8 row of a gallery.

All are exact, so that they can be tested against each other and the fastest may be taken. Which that is depends on
the processor: on one without dot-product instructions simsimd's int8 is scalar code and slower than numba's. So
`choose` measures those that are installed, once per process. Called by `face.match` and by the benchmark.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from device.clock import Clock, SystemClock
from device.errors import ConfigError
from device.face.template import Int8s
from device.face.types import Floats

TRIAL_ROWS = 4096
TRIAL_S = 0.005  # per kernel; 20 ms for all of them


class Kernel(Protocol):
    """One way of scanning; safe to call from several threads."""

    @property
    def name(self) -> str: ...

    def scan(self, rows: Int8s, probe: Int8s, out: Floats) -> None:
        """out[i] = rows[i] · probe, exactly; rows n×D C-contiguous, probe D, out n, n >= 1, D <= 1024."""
        ...


class NumpyKernel:
    """float32 products of slices: integers below 2**24 are exact in float32, in whatever order they are added."""

    name = "numpy"

    def scan(self, rows: Int8s, probe: Int8s, out: Floats) -> None:
        wanted = probe.astype(np.float32)
        slice_rows = max(1, 262_144 // rows.shape[1])  # 1 MB of float32: stays in the second-level cache
        buffer = np.empty((min(slice_rows, len(rows)), rows.shape[1]), np.float32)
        for start in range(0, len(rows), slice_rows):
            part = rows[start : start + slice_rows]
            floats = buffer[: len(part)]
            np.copyto(floats, part)
            np.dot(floats, wanted, out=out[start : start + len(part)])


class SimsimdKernel:
    """simsimd's int8 dot product: one native call that lets other threads run."""

    name = "simsimd"

    def __init__(self) -> None:
        import simsimd

        self._dot: Any = simsimd.dot  # its type stubs leave out int8

    def scan(self, rows: Int8s, probe: Int8s, out: Floats) -> None:
        self._dot(probe, rows, "int8", out=out, out_dtype="float32")


class NumbaKernel:
    """Compiled on the spot for this processor; only where numba is installed already (it costs 100 MB of memory)."""

    name = "numba"

    def __init__(self) -> None:
        import numba  # noqa: F401  whoever has not got it is to know now, not at the first scan

    def scan(self, rows: Int8s, probe: Int8s, out: Floats) -> None:
        _compiled(rows.shape[1])(rows, probe, out)


@functools.cache
def _compiled(dimensions: int) -> Callable[[Int8s, Int8s, Floats], None]:
    """A scan for rows of exactly that size: with the size known the compiler unrolls, 0.67 ms instead of 1.0."""
    import numba

    def dots(rows: Int8s, probe: Int8s, out: Floats) -> None:
        for i in range(rows.shape[0]):
            total = np.int32(0)
            for j in range(dimensions):
                # The outer int32 keeps the sum at 32 bits, which is what dot-product instructions add up in.
                total = np.int32(total + np.int32(rows[i, j]) * np.int32(probe[j]))
            out[i] = total

    signature = "void(Array(int8, 2, 'C', readonly=True), Array(int8, 1, 'C', readonly=True), float32[::1])"
    compiled: Callable[[Int8s, Int8s, Floats], None] = numba.njit(signature, nogil=True)(dots)
    return compiled


_KINDS: tuple[Callable[[], Kernel], ...] = (SimsimdKernel, NumbaKernel, NumpyKernel)


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


@functools.cache
def choose(dimensions: int) -> Kernel:
    """The fastest kernel for templates of that size, among those that are exact on this processor.

    Measured once in this process, in about 20 ms (with numba half a second more, for compiling).
    """
    exact = tuple(kernel for kernel in installed() if is_exact(kernel, dimensions))
    return fastest(exact, dimensions, SystemClock())


def fastest(kernels: tuple[Kernel, ...], dimensions: int, clock: Clock) -> Kernel:
    """The kernel whose best round of a small gallery is shortest; each gets TRIAL_S."""
    rows = _pattern(TRIAL_ROWS, dimensions)
    out = np.empty(TRIAL_ROWS, np.float32)
    return min(kernels, key=lambda kernel: _best_round_s(kernel, rows, out, clock))


def is_exact(kernel: Kernel, dimensions: int) -> bool:
    """Whether the kernel gives exact integers, for the extremes of int8 too."""
    rows = _pattern(67, dimensions)
    rows[0], rows[1], rows[2] = 127, -128, -127
    out = np.empty(len(rows), np.float32)
    for probe in (rows[0], rows[1], rows[40]):
        kernel.scan(rows, probe.copy(), out)
        if not np.array_equal(out, rows.astype(np.int64) @ probe.astype(np.int64)):
            return False
    return True


def _best_round_s(kernel: Kernel, rows: Int8s, out: Floats, clock: Clock) -> float:
    kernel.scan(rows, rows[0], out)
    begin = mono = clock.mono()
    best = float("inf")
    while mono - begin < TRIAL_S:
        kernel.scan(rows, rows[0], out)
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
