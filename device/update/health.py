"""How the terminal is, as far as a release can be blamed for it: from what doord and door-syncd say of themselves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.clock import Clock
from device.status import STALE_S, read_status
from device.update.layout import Layout

BLAMED = frozenset({
    "model_mismatch", "no_passive_network", "camera_lost", "camera_frozen", "infrared_lost", "vision_silent",
    "gallery_rebuilt", "gallery_unreadable", "journal_failed", "journal_set_aside", "relay_lost", "reader_lost",
    "controller_lost",
})
"""Of the faults that doord states, those that a new release may have brought. A dark hall is none of them."""

NEVER_TOLERATED = frozenset({"doord_silent", "doord_not_restarted"})
_SEEING = frozenset({"camera_fine", "camera_dark", "camera_bright", "camera_covered"})


@dataclass(frozen=True, slots=True)
class Health:
    """One look. pid: doord's, 0 where it does not answer."""

    pid: int
    faults: frozenset[str]


class Watch:
    """Looks at one terminal."""

    def __init__(self, layout: Layout, clock: Clock) -> None:
        self._layout, self._clock = layout, clock

    def look(self, since_mono: float = 0.0) -> Health:
        """How it is now. doord must have started after `since_mono`, when the release was switched to."""
        status = self._fresh(read_status(self._layout.runtime / "status.json"))
        if status is None:
            return Health(0, frozenset({"doord_silent"}) | self._sync())
        pid = int(status["pid"])
        faults = set(BLAMED.intersection(map(str, status.get("degraded", ())))) | self._sync()
        if float(status["started_mono"]) < since_mono:
            faults.add("doord_not_restarted")
        if status.get("camera_state") not in _SEEING:
            faults.add("camera_lost")
        if not status.get("relay_alive"):
            faults.add("relay_lost")
        if not status.get("journal_entries"):
            faults.add("journal_failed")
        return Health(pid, frozenset(faults))

    def _sync(self) -> frozenset[str]:
        """door-syncd's faults, where the terminal is tied to a hub."""
        if not self._layout.link.exists():
            return frozenset()
        found = self._fresh(_table(self._layout.runtime / "sync.json"))
        if found is None:
            return frozenset({"sync_silent"})
        return frozenset() if found.get("is_up") is True else frozenset({"sync_not_connected"})

    def _fresh(self, found: dict[str, Any] | None) -> dict[str, Any] | None:
        mono = found.get("mono") if found is not None else None
        if not isinstance(mono, (int, float)) or not 0 <= self._clock.mono() - mono < STALE_S:
            return None
        return found


def _table(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
