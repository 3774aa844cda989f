"""Settings that the hub sends: laid over terminal.toml and the site's own, within limits, kept beside the journal.

What is wired, where the camera is, which keys count and what is reachable is the installer's, and stays in
terminal.toml; so does whether a photo opens the door. A version is checked as a whole before it is kept, and is in
force from the next start. Written by the door thread, read at the start.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from device.config import Config, parse_config, table_of
from device.errors import ConfigError, SealBroken
from device.site_settings import laid_over, with_site_settings
from device.store.terminal_records import HEADING, TerminalConfig, parse_terminal_config

log = logging.getLogger(__name__)

FILE = "hub_settings.toml"
ALLOWED: dict[str, frozenset[str]] = {
    "door": frozenset({"release_s", "release_accessible_s", "rex_release_s", "relock_on_open", "held_warning_s",
                       "held_alarm_s", "time_zone", "lockout_after"}),
    "face": frozenset({"fpir", "min_interocular_px", "max_interocular_px", "zone", "lane_guard", "liveness",
                       "attack_high_s"}),
    "screen": frozenset({"language", "names", "sound", "voice", "volume"}),
    "kiosk": frozenset({"card", "pin", "qr", "bell", "attendance", "own", "purpose", "retention", "contact"}),
    "evidence": frozenset({"days"}),
}
"""What the hub may set, by section."""


class HubSettings:
    """terminal.toml, and what the hub has laid over it.

    own      the path of terminal.toml
    config   both together, as they were at the start
    version  of the hub's part that is in force; 0 = none
    """

    def __init__(self, own: Path, folder: Path) -> None:
        """folder  where the hub's part is kept. ConfigError where terminal.toml cannot be used; a part of the hub's
        that no longer fits it is left out, and the log says so."""
        self.own, self._path = own, folder / FILE
        self._table = with_site_settings(own, folder)
        self.config, self.version = parse_config(self._table, str(own)), 0
        kept = self._kept()
        if kept is None:
            return
        try:
            self.config, self.version = self._together(kept), kept.version
        except ConfigError as error:
            log.error("settings of the hub are left out: %s", error)

    def take(self, wanted: TerminalConfig) -> None:
        """Keep a version, to be in force from the next start. ConfigError, and what was kept stays, where it names
        what is not the hub's to set, or does not fit."""
        self._together(wanted)
        fresh = self._path.with_name(self._path.name + ".new")
        try:
            fresh.touch(0o600)
            with fresh.open("w", encoding="utf-8") as file:
                file.write(f"{HEADING}{wanted.version}\n{wanted.text}")
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as error:
            raise ConfigError(f"{self._path}: {error.strerror}") from None

    def _together(self, wanted: TerminalConfig) -> Config:
        where = f"settings of the hub, version {wanted.version}"
        over = table_of(wanted.text, where)
        for section, found in over.items():
            _check(section, found, where)
        return parse_config(laid_over(self._table, over), where)

    def _kept(self) -> TerminalConfig | None:
        try:
            return parse_terminal_config(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, SealBroken) as error:
            log.error("settings of the hub are left out: %s: %s", self._path, error)
            return None


def _check(section: str, found: Any, where: str) -> None:
    allowed = ALLOWED.get(section, frozenset())
    if not isinstance(found, dict) or not allowed:
        raise ConfigError(f"{where}: {section} is not the hub's to set; it may set {', '.join(ALLOWED)}")
    for key in found:
        if key not in allowed:
            raise ConfigError(f"{where}: {section}.{key} is the installer's, in terminal.toml")
    if found.get("liveness") == "none":
        raise ConfigError(f"{where}: face.liveness = none can be set at the terminal only")
