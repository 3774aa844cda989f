"""How the terminal is, as far as a release can be blamed for it: from what doord and door-syncd say of themselves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.clock import Clock
from device.status import STALE_S
from device.update.layout import Layout

BLAMED = frozenset({
    "model_mismatch", "no_passive_network", "camera_lost", "camera_frozen", "infrared_lost", "vision_silent",
    "gallery_rebuilt", "gallery_unreadable", "journal_failed", "journal_set_aside", "relay_lost", "reader_lost",
    "controller_lost",
})
"""Of the faults that doord states, those that a new release may have brought. A dark hall is none of them."""

NEVER_TOLERATED = frozenset({"doord_silent", "doord_not_restarted"})
SYNC_STALE_S = 10.0
"""door-syncd says how it is between any two of its steps, of which one may take seconds."""
_SEEING = frozenset({"camera_fine", "camera_dark", "camera_bright", "camera_covered"})


@dataclass(frozen=True, slots=True)
class Health:
    """One look. pid: doord's, 0 where it does not answer."""

    pid: int
    faults: frozenset[str]


_SILENT = Health(0, frozenset({"doord_silent"}))


class Watch:
    """Looks at one terminal."""

    def __init__(self, layout: Layout, clock: Clock) -> None:
        self._layout, self._clock = layout, clock

    def look(self, since_mono: float = 0.0) -> Health:
        """How it is now. doord must have started after `since_mono`, when the release was switched to."""
        status = self._fresh(_table(self._layout.runtime / "status.json"), STALE_S)
        try:
            doord = _doord(status, since_mono) if status is not None else _SILENT
        except (KeyError, TypeError, ValueError, OverflowError):
            doord = _SILENT  # another release's words, or another account's
        return Health(doord.pid, doord.faults | self._sync())

    def _sync(self) -> frozenset[str]:
        """door-syncd's faults, where the terminal is tied to a hub."""
        if not self._layout.link.exists():
            return frozenset()
        found = self._fresh(_table(self._layout.runtime / "sync.json"), SYNC_STALE_S)
        if found is None:
            return frozenset({"sync_silent"})
        return frozenset() if found.get("is_up") is True else frozenset({"sync_not_connected"})

    def _fresh(self, found: dict[str, Any] | None, stale_s: float) -> dict[str, Any] | None:
        mono = found.get("mono") if found is not None else None
        if not isinstance(mono, (int, float)) or not 0 <= self._clock.mono() - mono < stale_s:
            return None
        return found


def _doord(status: dict[str, Any], since_mono: float) -> Health:
    """What doord says of itself; KeyError, TypeError or ValueError where that is not what it should be."""
    faults = set(BLAMED.intersection(map(str, status["degraded"])))
    if float(status["started_mono"]) < since_mono:
        faults.add("doord_not_restarted")
    if status["camera_state"] not in _SEEING:
        faults.add("camera_lost")
    if status["relay_alive"] is not True:
        faults.add("relay_lost")
    if not status["journal_entries"]:
        faults.add("journal_failed")
    return Health(int(status["pid"]), frozenset(faults))


def _table(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
