"""What the installer's page has set on a terminal whose terminal.toml is not doord's to write: laid over that file.

On an installed terminal /etc/door belongs to root, and doord sees it read-only. So the page's changes lie in a file
of doord's own beside the journal, of a few keys alone; what the hub sends is laid over both (`hub_settings`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from device.config import parse_config, read_table
from device.errors import ConfigError

log = logging.getLogger(__name__)

FILE = "site_settings.toml"
CHANGEABLE = ("door.id", "door.lock", "door.release_s", "door.time_zone", "face.zone", "face.liveness",
              "face.liveness_threshold", "screen.language", "screen.names", "screen.sound", "screen.voice",
              "screen.volume", "kiosk.card", "kiosk.pin", "kiosk.qr", "kiosk.bell", "kiosk.attendance", "kiosk.enrol",
              "kiosk.own", "kiosk.purpose", "kiosk.retention", "kiosk.contact")
"""Pins, ports and cameras are not here: whoever changes those has the wires before them and a keyboard."""


def laid_over(table: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of a configuration with the keys of another's in their place."""
    found = {section: dict(keys) for section, keys in table.items()}
    for section, keys in over.items():
        found.setdefault(section, {}).update(keys)
    return found


def with_site_settings(own: Path, folder: Path) -> dict[str, Any]:
    """terminal.toml's table with the page's settings over it. ConfigError where terminal.toml cannot be used;
    settings that no longer fit it are left out, and the log says so."""
    table, path = read_table(own), folder / FILE
    parse_config(table, str(own))
    if not path.exists():
        return table
    try:
        over = read_table(path)
        check(over, str(path))
        together = laid_over(table, over)
        parse_config(together, str(path))
    except ConfigError as error:
        log.error("settings of the installer's page are left out: %s", error)
        return table
    return together


def check(over: Mapping[str, Any], where: str) -> None:
    """ConfigError where there is a key that is not the page's to set."""
    for section, keys in over.items():
        if not isinstance(keys, dict):
            raise ConfigError(f"{where}: {section} is no section")
        for key in keys:
            if f"{section}.{key}" not in CHANGEABLE:
                raise ConfigError(f"{where}: {section}.{key} is not set there")
