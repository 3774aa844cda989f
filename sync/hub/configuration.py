"""A terminal's configuration as the hub hands it out: TOML text, checked, in the terminal's own stream, and wanted.

The record is the text under a first line that names its version; desired state names that version, so that a
terminal takes over neither text without its version nor version without its text. Called by the API and the CLI.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from device.config import parse_config
from device.errors import ConfigError
from sync.hub.errors import FieldRefused
from sync.hub.fleet import Fleet
from sync.hub.ledger import Ledger, Put
from sync.hub.orders import Orders
from sync.hub.storage import Storage
from sync.wire.streams import terminal_stream

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KIND, KEY = "config", "terminal"
LONGEST = 64_000
_HEADING = "# version "


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a terminal is to apply. It may hold a camera's password, so no repr shows it."""

    version: int
    text: str

    def __repr__(self) -> str:
        return f"Configuration(version {self.version})"


class Configurations:
    """Of every terminal of one hub."""

    def __init__(self, storage: Storage, ledger: Ledger, fleet: Fleet, orders: Orders) -> None:
        self._storage, self._ledger, self._fleet, self._orders = storage, ledger, fleet, orders

    def put(self, terminal_id: str, text: str) -> int:
        """Have a terminal apply this text; the version that it gets. FieldRefused where it is no configuration."""
        check(text)
        with self._storage.write() as tx:
            versions = self._fleet.get(terminal_id).config
            version = max(versions.wanted, versions.reported) + 1
            body = f"{_HEADING}{version}\n{text}".encode()
            self._ledger.append(terminal_stream(terminal_id), [Put(KIND, KEY, body)], tx)
            self._orders.want(terminal_id, config_version=version)
        return version

    def get(self, terminal_id: str) -> Configuration | None:
        """What a terminal is to apply; None where nothing was ever put."""
        with self._storage.read():
            wanted = self._fleet.get(terminal_id).config.wanted
            living = self._ledger.living(terminal_stream(terminal_id)).changes
        bodies = [one.body.decode() for one in living if (one.kind, one.key) == (KIND, KEY)]
        return Configuration(wanted, bodies[0].partition("\n")[2]) if bodies else None


def check(text: str) -> None:
    """FieldRefused where a terminal could not use it. What it leaves out stays as the terminal has it: only a text
    that names the lock is a whole configuration."""
    if len(text) > LONGEST:
        raise FieldRefused("config", f"at most {LONGEST} characters")
    try:
        table: dict[str, Any] = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise FieldRefused("config", f"no TOML: {error}") from None
    door = table.get("door", {})
    if isinstance(door, dict) and "lock" not in door:
        table = {**table, "door": {"lock": "strike", **door}}
    try:
        parse_config(table, "the text")
    except ConfigError as error:
        raise FieldRefused("config", str(error)) from None
