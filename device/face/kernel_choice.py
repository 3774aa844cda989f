"""Which kernel this machine's matcher uses: measured at commissioning, kept in the cache folder, read at every start.

The choice is kept with what it rests on (processor, versions); where that has changed it is measured anew.
"""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from device.clock import Clock
from device.face.compiled import CompiledKernel, build, compiler_here, library_path, processor
from device.face.kernels import Kernel, fastest, installed, is_exact, settle

FOLDER = "kernels"


@dataclass(frozen=True, slots=True)
class KernelChoice:
    """name of the kernel; `measured` lists those that were compared, or is empty where the kept choice was taken."""

    name: str
    measured: tuple[str, ...] = ()


def commission(cache: Path, dimensions: int, clock: Clock) -> KernelChoice:
    """Have a kernel compiled where there is a compiler, measure all of them and keep the choice. About half a second.

    Called by `doorctl models build` and `use`, and by the benchmark; doord itself calls no compiler.
    """
    build(cache / FOLDER, dimensions)
    return _measured(cache / FOLDER, dimensions, clock)


def is_commissioned(cache: Path, dimensions: int) -> bool:
    """Whether the kept choice is of this machine, and of all the kernels that it could have."""
    folder = cache / FOLDER
    kept = _read(_place(folder, dimensions))
    is_compiled = CompiledKernel.name in str(kept.get("measured")) and library_path(folder, dimensions).exists()
    return kept.get("machine") == _machine() and (is_compiled or compiler_here() is None)


def recall(cache: Path, dimensions: int, clock: Clock) -> KernelChoice:
    """Take the kept choice; where there is none that fits this machine, measure what is there (10 ms) and keep it."""
    folder = cache / FOLDER
    kept = _read(_place(folder, dimensions))
    if kept.get("machine") == _machine():
        for kernel in _present(folder, dimensions):
            if kernel.name == kept.get("kernel") and is_exact(kernel, dimensions):
                settle(dimensions, kernel)
                return KernelChoice(kernel.name)
    return _measured(folder, dimensions, clock)


def _measured(folder: Path, dimensions: int, clock: Clock) -> KernelChoice:
    exact = tuple(kernel for kernel in _present(folder, dimensions) if is_exact(kernel, dimensions))
    kernel = fastest(exact, dimensions, clock)
    settle(dimensions, kernel)
    choice = KernelChoice(kernel.name, tuple(each.name for each in exact))
    _write(_place(folder, dimensions), {"kernel": choice.name, "measured": choice.measured, "machine": _machine()})
    return choice


def _present(folder: Path, dimensions: int) -> tuple[Kernel, ...]:
    try:
        return (CompiledKernel(library_path(folder, dimensions), dimensions), *installed())
    except ImportError:
        return installed()


def _place(folder: Path, dimensions: int) -> Path:
    return folder / f"choice-{dimensions}.json"


def _machine() -> dict[str, str]:
    """What a measurement depends on."""
    return {"processor": processor(), "python": platform.python_version(), "numpy": np.__version__,
            "kernels": ",".join(kernel.name for kernel in installed())}


def _read(path: Path) -> dict[str, Any]:
    """What was kept; empty where nothing was, or nothing that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, kept: dict[str, Any]) -> None:
    """Keep it; a folder that cannot be written costs a measurement at the next start and nothing else."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        os.replace(fresh, path)
    except OSError:
        return
