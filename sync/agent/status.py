"""How door-syncd is, for `door-syncd status`: a small file in the runtime folder, in memory, not on flash."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from device.status import status_path
from device.store.places import Places


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """One moment. streams: name -> [epoch, seq]; waiting: journal entries that the hub has not acknowledged."""

    pid: int
    mono: float
    terminal_id: str
    is_up: bool
    silent_s: float
    streams: dict[str, tuple[str, int]]
    waiting: int
    faults: tuple[str, ...]
    counts: dict[str, int]
    memory_mb: float


def sync_status_path(where: Places) -> Path:
    return status_path(where).with_name("sync.json")


def write(path: Path, status: SyncStatus) -> None:
    """Replace the file; a full or missing folder is not worth stopping for."""
    fresh = path.with_name(path.name + ".new")
    with contextlib.suppress(OSError):
        fresh.write_text(json.dumps(asdict(status)), encoding="utf-8")
        os.replace(fresh, path)


def read(path: Path) -> dict[str, Any] | None:
    """The newest status; None where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "terminal_id" in found else None
