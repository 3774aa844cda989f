"""FireLatch: that fire has freed the door and nobody has reset it at the door, kept over restarts of doord.

One empty file, there or not, written on the door thread at the moment that the door becomes free or is reset. Where
it cannot be written the door is free all the same, and only a restart would forget it.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)


class FireLatch:
    """`path` is the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def is_set(self) -> bool:
        return self._path.exists()

    def set(self, is_fire: bool) -> None:
        """On the medium when it returns, as far as that can be had."""
        try:
            if is_fire:
                self._path.touch(0o660)
            else:
                self._path.unlink(missing_ok=True)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            log.error("%s: cannot be %s: %s", self._path, "written" if is_fire else "removed", error.strerror)
