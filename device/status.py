"""What the running terminal says of itself, for `doorctl status`, the service manager and the kiosk.

doord writes it as a small JSON file in its runtime folder (memory, not flash); no name, picture or template in it.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from device.clock import Clock, boot_id
from device.store.places import Places

STALE_S = 5.0


@dataclass(frozen=True, slots=True)
class Status:
    """One moment of doord. Times are monotonic seconds of this boot; rates are per second.

    boot     identity of the machine's boot, which `mono` counts from
    foreign  templates of other models, which are not compared
    outbox   journal entries that the hub has not acknowledged; all of them on a terminal that stands alone
    """

    pid: int
    boot: str
    mono: float
    started_mono: float
    ready_s: float
    door_id: str
    phase: str
    mode: str
    degraded: tuple[str, ...]
    camera: str
    camera_state: str
    fps: float
    frames_dropped: int
    sightings_dropped: int
    model_id: str
    runtime: str
    templates: int
    people: int
    rejected: int
    foreign: int
    threshold: float
    fpir_asked: float
    fpir_stated: float
    fpir_met: bool
    threshold_why: str
    rates: tuple[tuple[str, float, float], ...]
    liveness: str
    clock: str
    journal_entries: int
    journal_waiting: int
    relay_alive: bool
    memory_mb: float
    outbox: int = 0
    relay_pulses: int = 0
    watchdog_kicks: int = 0

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)


def write_status(path: Path, status: Status) -> None:
    """Replace the file; a full or missing folder is not worth stopping for."""
    fresh = path.with_name(path.name + ".new")
    with contextlib.suppress(OSError):
        fresh.write_text(status.to_json(), encoding="utf-8")
        os.replace(fresh, path)


def read_status(path: Path) -> dict[str, Any] | None:
    """The newest status; None where there is none, or where it is not one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "pid" in found else None


_NEEDED = frozenset(field.name for field in fields(Status) if field.default is MISSING)


def running_status(path: Path, clock: Clock) -> dict[str, Any] | None:
    """The status of a doord that runs now; None where it is old, of an earlier boot or of a process that ended."""
    found = read_status(path)
    if found is None or not found.keys() >= _NEEDED or found["boot"] != boot_id() or type(found["pid"]) is not int:
        return None
    mono = found["mono"]
    is_fresh = type(mono) in (int, float) and 0 <= clock.mono() - mono < STALE_S
    return found if is_fresh and Path(f"/proc/{found['pid']}").is_dir() else None


def status_path(where: Places) -> Path:
    """Where doord says how it is: the service's runtime folder, or the state folder in development."""
    runtime = Path("/run/door")
    if "DOOR_STATE" not in os.environ and runtime.is_dir():
        return runtime / "status.json"
    return where.root / "status.json"


def memory_mb() -> float:
    """Resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
