"""The scan as machine code that this machine's own C compiler made, where it has one.

A coarse scan reads memory as fast as the processor can only if the next rows are asked for before they are needed,
and if its sums use the processor's own dot products; a compiler that knows the processor gets both from a few lines.
Made by whoever commissions the terminal (`face.kernel_choice`), never by doord, which only loads what is there.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from device.face.template import Int8s
from device.face.types import Floats

SOURCE = r"""
#include <pthread.h>
#include <stdint.h>

struct part { const int8_t *rows, *probe; float *out; long count; };

static void *scan_part(void *given)
{
    const struct part *part = given;
    const int8_t *restrict probe = part->probe;
    int32_t sum = 0;
    for (int j = 0; j < DIMENSIONS; j++)
        sum += probe[j];
    for (long i = 0; i < part->count; i++) {
        const int8_t *restrict row = part->rows + i * DIMENSIONS;
        uint8_t raised[DIMENSIONS];  /* dot-product instructions multiply unsigned by signed bytes */
        int32_t total = 0;
        for (int j = 0; j < DIMENSIONS; j += 64)
            __builtin_prefetch(row + j + 4096);
        for (int j = 0; j < DIMENSIONS; j++)
            raised[j] = (uint8_t)row[j] ^ 0x80;
        for (int j = 0; j < DIMENSIONS; j++)
            total += (int32_t)raised[j] * probe[j];
        part->out[i] = (float)(total - 128 * sum);
    }
    return 0;
}

void scan(const int8_t *rows, const int8_t *probe, float *out, long count, int threads)
{
    long first = threads > 1 ? count / 2 : 0;
    struct part one = {rows, probe, out, first};
    struct part other = {rows + first * DIMENSIONS, probe, out + first, count - first};
    pthread_t helper;
    int is_helped = first > 0 && pthread_create(&helper, 0, scan_part, &one) == 0;
    scan_part(&other);
    if (is_helped)
        pthread_join(helper, 0);
    else if (first > 0)
        scan_part(&one);
}
"""
_FLAGS = (("-O3", "-march=native"), ("-O3",))
_COMPILERS = ("cc", "gcc", "clang")
_PATIENCE_S = 60.0
_CPUINFO = Path("/proc/cpuinfo")
_LASTING = ("model", "flags", "features", "cpu", "vendor", "stepping")


class CompiledKernel:
    """A library that `build` made; safe to call from several threads, others run meanwhile."""

    name = "compiled"

    def __init__(self, path: Path, dimensions: int) -> None:
        """ImportError where there is no such library, where it cannot be loaded, or where it may not be trusted."""
        if not _is_ours(path):
            raise ImportError(f"{path}: not a library of this account's or root's own")
        try:
            self._scan: Any = ctypes.CDLL(str(path)).scan
        except (OSError, AttributeError) as error:
            raise ImportError(f"{path}: cannot be loaded ({error})") from None
        self._scan.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long, ctypes.c_int]
        self._scan.restype = None
        self._dimensions = dimensions

    def scan(self, rows: Int8s, probe: Int8s, threads: int = 1) -> Floats:
        if rows.shape[1] != self._dimensions or probe.shape != (self._dimensions,):
            raise ValueError(f"made for {self._dimensions} dimensions, not for {rows.shape[1]} and {probe.shape}")
        rows, probe = np.ascontiguousarray(rows), np.ascontiguousarray(probe)
        out = np.empty(len(rows), np.float32)
        self._scan(rows.ctypes.data, probe.ctypes.data, out.ctypes.data, len(rows), threads)
        return out


def library_path(folder: Path, dimensions: int) -> Path:
    """Where the library for templates of that size lies. One of another source or for another processor, as in a
    folder that was copied from another board, has another name: it might hold instructions that this one has not."""
    made_of = hashlib.sha256(f"{SOURCE}{processor()}".encode()).hexdigest()[:12]
    return folder / f"scan-{dimensions}-{made_of}.so"


@functools.cache
def processor() -> str:
    """A digest of the first core's model and abilities; of the machine's kind where the system does not say."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines()
    except OSError:
        lines = []
    told = [line for line in lines if line.lower().startswith(_LASTING) and not line.lower().startswith("cpu mhz")]
    return hashlib.sha256("\n".join((platform.machine(), *told)).encode()).hexdigest()[:16]


def build(folder: Path, dimensions: int) -> bool:
    """Make the library anew; whether that succeeded. False where there is no compiler or nothing can be written."""
    compiler = compiler_here()
    return compiler is not None and any(_compile(compiler, flags, folder, dimensions) for flags in _FLAGS)


def compiler_here() -> str | None:
    """The machine's own C compiler; None where it has none."""
    return next((found for found in map(shutil.which, _COMPILERS) if found), None)


def _compile(compiler: str, flags: tuple[str, ...], folder: Path, dimensions: int) -> bool:
    path = library_path(folder, dimensions)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".scan-", dir=folder) as work:
            fresh = Path(work) / path.name
            command = [compiler, *flags, f"-DDIMENSIONS={dimensions}", "-shared", "-fPIC", "-pthread", "-x", "c", "-",
                       "-o", str(fresh)]
            done = subprocess.run(command, input=SOURCE, text=True, capture_output=True, check=False,
                                  timeout=_PATIENCE_S)
            if done.returncode != 0:
                return False
            fresh.chmod(0o755)
            os.replace(fresh, path)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return True


def _is_ours(path: Path) -> bool:
    """Whether only this account, or root, can have written the file: it will run with our rights."""
    try:
        stat = path.stat()
    except OSError:
        return False
    return stat.st_uid in (0, os.geteuid()) and not stat.st_mode & 0o022
