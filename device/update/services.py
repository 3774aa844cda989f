"""Starts the terminal's services anew, so that they run the release that was switched to."""

from __future__ import annotations

import logging
import subprocess
from typing import Protocol

log = logging.getLogger(__name__)

# The relay first: doord takes its line over from it.
UNITS = ("door-relay.service", "doord.service", "door-syncd.service", "door-kiosk.service")
LIMIT_S = 100.0


class Services(Protocol):
    def restart(self) -> None:
        """Start anew what is installed; what does not start is for the gate to see."""
        ...


class Systemd:
    """With systemctl; a unit that is not enabled here is left alone."""

    def restart(self) -> None:
        for unit in UNITS:
            if self._systemctl("is-enabled", "--quiet", unit):
                self._systemctl("reset-failed", unit)
                if not self._systemctl("restart", unit):
                    log.error("%s did not start again", unit)

    def _systemctl(self, *words: str) -> bool:
        try:
            return subprocess.run(["systemctl", *words], check=False, stdin=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL, timeout=LIMIT_S).returncode == 0
        except (OSError, subprocess.TimeoutExpired) as error:
            log.error("systemctl %s: %s", " ".join(words), error)
            return False
