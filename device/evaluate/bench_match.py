"""1:N search beside plain numpy and beside one read of the matrix: `doorctl bench --only match`.

Run as a program of its own, so that numpy's products can be held to one thread; the door's search takes a second one
for the largest galleries alone. Templates and probes are random directions with planted matches, which leaves the
exact search more to do than faces do.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from device.clock import Clock, SystemClock
from device.errors import TerminalError
from device.evaluate.timing import Flush, in_turns
from device.face.gallery import Gallery
from device.face.kernel_choice import commission
from device.face.match import identify
from device.face.template import Int8s
from device.packs.cache import cache_folder

Floats = npt.NDArray[np.float32]

DIMENSIONS = 192
ROUNDS = 31
PROBES = 40
# Bytes per template while it is measured: float32 and int8 matrix, ids as text and as numbers, with room to spare.
BYTES_EACH = 5 * DIMENSIONS + 700
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


def bench_match(sizes: tuple[int, ...], dimensions: int = DIMENSIONS, rounds: int = ROUNDS) -> dict[str, Any]:
    """Figures for each size, measured in a process of its own."""
    code = f"from device.evaluate.bench_match import main; main({sizes!r}, {dimensions}, {rounds})"
    environment = {**os.environ, **dict.fromkeys(_THREADS, "1")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TerminalError(f"the search could not be measured: {(done.stderr.strip() or 'killed').splitlines()[-1]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main(sizes: tuple[int, ...], dimensions: int, rounds: int) -> None:
    """Print the figures of all sizes as one line of JSON."""
    choice = commission(cache_folder(), dimensions, SystemClock())
    figures: dict[str, Any] = {"search_dimensions": dimensions, "search_kernel": choice.name,
                               "search_kernels": ", ".join(choice.measured)}
    for size in sizes:
        figures |= measure(size, dimensions, rounds, SystemClock())
        gc.collect()
    sys.stdout.write(json.dumps(figures) + "\n")


def measure(size: int, dimensions: int, rounds: int, clock: Clock) -> dict[str, Any]:
    """Median milliseconds of the door's search, of numpy's, and of one read; None where memory does not suffice."""
    name = f"search_{size}"
    keys = ("ms", "numpy_ms", "read_ms", "ratio_to_read", "numpy_ratio_to_read", "probes", "identical")
    if memory_free() < size * BYTES_EACH:
        return {f"{name}_{key}": None for key in keys}
    gallery, matrix = random_gallery(size, dimensions)
    probes = random_probes(matrix, PROBES)
    turn = iter(range(10**9))
    flat = matrix.reshape(-1)
    seconds = in_turns({
        "door": lambda: identify(gallery, probes[next(turn) % PROBES]),
        "numpy": lambda: int(np.argmax(matrix @ probes[next(turn) % PROBES])),
        "read": lambda: float(flat.max()),
        "read as sum": lambda: float(np.dot(flat, flat)),
    }, rounds, clock, before=Flush())
    read = min(seconds["read"], seconds["read as sum"])
    same = sum(is_identical(gallery, matrix, probe) for probe in probes)
    values = (_ms(seconds["door"]), _ms(seconds["numpy"]), _ms(read), round(seconds["door"] / read, 3),
              round(seconds["numpy"] / read, 3), len(probes), same)
    return {f"{name}_{key}": value for key, value in zip(keys, values, strict=True)}


def random_gallery(size: int, dimensions: int) -> tuple[Gallery, Floats]:
    """A gallery of random directions, one template per person, and its rows as float32 unit vectors."""
    chance = np.random.default_rng(size)
    matrix = np.empty((size, dimensions), np.float32)
    rows = np.empty((size, dimensions), np.int8)
    scales = np.empty(size, np.float32)
    for start in range(0, size, 20_000):
        part = chance.standard_normal((min(20_000, size - start), dimensions), np.float32)
        rows[start:start + len(part)], scales[start:start + len(part)] = _quantised(part)
        whole = rows[start:start + len(part)].astype(np.float32)
        matrix[start:start + len(part)] = whole / np.linalg.norm(whole, axis=1, keepdims=True)
    ids = [f"{number:032x}" for number in range(size)]
    return Gallery.build("bench", dimensions, ids, ids, rows, scales), matrix


def random_probes(matrix: Floats, count: int) -> list[Floats]:
    """Half of them strangers, half near some row: cosine about 0.6, as a probe of an enrolled person has."""
    chance = np.random.default_rng(7)
    probes = []
    for number in range(count):
        probe = chance.standard_normal(matrix.shape[1], np.float32)
        probe /= np.linalg.norm(probe)
        if number % 2:
            probe = 0.6 * matrix[chance.integers(len(matrix))] + 0.8 * probe
        probes.append((probe / np.linalg.norm(probe)).astype(np.float32))
    return probes


def is_identical(gallery: Gallery, matrix: Floats, probe: Floats) -> bool:
    """Whether the door's best row is the best of all rows, compared one by one in float64 where float32 is near."""
    scores = matrix @ probe
    near = np.flatnonzero(scores >= scores.max() - 1e-5)
    rows = gallery.rows[near].astype(np.float64)
    exact = (rows @ probe.astype(np.float64)) / np.linalg.norm(rows, axis=1)
    best = identify(gallery, probe).best
    return best is not None and best.person_id == gallery.person_id(near[int(np.argmax(exact))])


def memory_free() -> int:
    """Bytes that may be used without swapping; a great many where the system does not say."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 1 << 62


def _quantised(vectors: Floats) -> tuple[Int8s, Floats]:
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    scales = (np.abs(units).max(axis=1) / 127).astype(np.float32)
    return np.rint(units / scales[:, None]).clip(-127, 127).astype(np.int8), scales


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 4)
