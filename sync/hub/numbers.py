"""Numbers that rise with every word of this hub, over restarts, restored backups and corrections of its clock.

By them a terminal tells a later head, key or acknowledgement from an earlier one. A number is the time in
milliseconds where that is later than the last; up to where they may have been given is kept beside the hub's keys.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from device.clock import Clock
from sync.hub.times import milliseconds

log = logging.getLogger(__name__)

AHEAD = 600_000


class Numbers:
    """Any thread may take one. path: None keeps nothing, for a hub that is not to outlive its process."""

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self._path, self._clock = path, clock
        # A queue of numbers would have to be filled by somebody: two threads take one about once a second.
        self._guard = threading.Lock()
        self._last = self._reserved = _kept(path)

    def next(self) -> int:
        with self._guard:
            self._last = max(self._last + 1, milliseconds(self._clock.now()))
            if self._last >= self._reserved:
                self._reserved = self._last + AHEAD
                self._keep()
            return self._last

    def _keep(self) -> None:
        if self._path is None:
            return
        fresh = self._path.with_name(self._path.name + ".new")
        try:
            fresh.write_text(f"{self._reserved}\n", encoding="ascii")
            fresh.replace(self._path)
        except OSError as error:
            log.error("%s: cannot be written: %s", self._path, error.strerror)


def _kept(path: Path | None) -> int:
    try:
        text = path.read_text(encoding="ascii").strip() if path is not None else ""
    except (OSError, ValueError):
        return 0
    return int(text) if text.isdecimal() and len(text) < 19 else 0
