"""How the terminal is, for its report: doord's own words from its status file, and door-syncd's counts."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from device.clock import Clock, ClockQuality, is_ntp_synced
from device.status import STALE_S, read_status, status_path
from device.store.cache_writer import CacheWriter
from device.store.places import Places
from sync.agent.intake import Intake
from sync.wire.messages import HealthBody

TRUSTED = (ClockQuality.SYNCED.value, ClockQuality.HOLDOVER.value)


class Health:
    """Owned by the agent's main thread."""

    def __init__(self, where: Places, writer: CacheWriter, clock: Clock, intake: Intake | None = None) -> None:
        self._where, self._writer, self._clock, self._intake = where, writer, clock, intake

    def model_ids(self) -> tuple[str, ...]:
        """The model that doord compares with, then those that the gallery holds templates of."""
        running = str(self._status().get("model_id", ""))[:200]
        held = [model_id[:200] for model_id in self._writer.models() if model_id != running]
        return tuple([running, *held] if running else held)[:20]

    def told(self, faults: tuple[str, ...], counts: Mapping[str, int], config: int,
             offset_s: float | None) -> HealthBody:
        """config: the version of the configuration that doord goes by; offset_s: by how much the hub's clock is ahead
        of this one, as last heard."""
        status = self._status()
        degraded = status.get("degraded")
        theirs = [str(reason)[:200] for reason in degraded] if isinstance(degraded, list) else []
        door, mode = self.door()
        numbers = {name: int(status[name]) for name in ("templates", "people", "rejected", "journal_waiting")
                   if isinstance(status.get(name), int)}
        if not status:
            theirs.append("doord_silent")
        intake = self._intake
        return HealthBody(versions={"open-door": _version(), "config": str(config), **self._release()},
                          clock_quality=str(status.get("clock", ""))[:200], clock_offset_s=offset_s,
                          degraded=(*theirs[:50], *faults),
                          counts={**counts, **(intake.counts if intake else {}), **numbers}, door=door, mode=mode,
                          update=intake.update if intake else None)

    def door(self) -> tuple[str, str]:
        """The door's phase and mode; empty while doord says nothing."""
        status = self._status()
        return str(status.get("phase", ""))[:200], str(status.get("mode", ""))[:200]

    def _release(self) -> dict[str, str]:
        """The release that runs, and what one must be for; nothing where none is installed."""
        intake = self._intake
        if intake is None or intake.release is None:
            return {}
        return {"release": str(intake.release.version), "machine": intake.machine.words}

    def is_clock_trusted(self) -> bool:
        """As doord judges it; by NTP alone while doord says nothing."""
        quality = str(self._status().get("clock", ""))
        return quality in TRUSTED if quality else is_ntp_synced()

    def _status(self) -> dict[str, Any]:
        status = read_status(status_path(self._where)) or {}
        mono = status.get("mono")
        is_fresh = isinstance(mono, (int, float)) and 0 <= self._clock.mono() - mono < STALE_S
        return status if is_fresh else {}


def _version() -> str:
    try:
        return version("open-door")
    except PackageNotFoundError:
        return "unknown"


