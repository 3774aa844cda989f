"""How Home Assistant's broker is reached, and what it may do: `home_assistant.toml` in the hub's state.

A file and not a row: who may have a door released from a house's automation is for whoever runs this machine, not
for whoever holds a token; and no backup of the database brings it back. Without the file nothing is sent anywhere.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import sys
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from device.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LONGEST_PASSWORD = 1000
_LEVEL = re.compile(r"[A-Za-z0-9_-]{1,48}")
_LEVELS = re.compile(r"[A-Za-z0-9_-]{1,48}(/[A-Za-z0-9_-]{1,48}){0,4}")
_NAMES = {str: "a string", int: "a whole number", bool: "true or false"}


def _key(about: str, default: Any = MISSING) -> Any:
    metadata = {"about": about}
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeSettings:
    """The whole of home_assistant.toml."""

    host: str = _key("name or address of Home Assistant's broker")
    port: int = _key("its port", 8883)
    tls: bool = _key("whether it is spoken to by TLS; without only on this very machine", True)
    ca: str = _key("file with the certificates (PEM) of its authority; empty for the system's", "")
    account: str = _key("the hub's account there, one of its own", "")
    password_file: str = _key("file with the account's password, which nobody else may read", "")
    discovery_prefix: str = _key("as it is set in Home Assistant", "homeassistant")
    node: str = _key("first level of the hub's own topics; each hub has its own", "open_door")
    allow_release: bool = _key("whether Home Assistant may have doors released", False)

    def password(self) -> str:
        """What the file holds, without the line's end. ConfigError where it cannot be read, or others may read it."""
        if not self.password_file:
            return ""
        path = Path(self.password_file)
        try:
            if path.stat().st_mode & 0o077:
                raise ConfigError(f"{path}: others may read it; chmod 600 it")
            with path.open(encoding="utf-8") as file:
                return file.read(LONGEST_PASSWORD).rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"{path}: cannot be read; write the account's password into it") from None


def read_settings(path: Path) -> HomeSettings | None:
    """None where there is no such file: then there is no Home Assistant. ConfigError where it cannot be used."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"{path}: cannot be read as text") from None
    try:
        return parse_settings(tomllib.loads(text), str(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())[:200]}") from None


def parse_settings(table: dict[str, Any], where: str) -> HomeSettings:
    """ConfigError names the first key that is wrong."""
    known = {entry.name: entry for entry in fields(HomeSettings)}
    for name in table:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            raise ConfigError(f"{where}: unknown key {name[:60]}" + (f"; did you mean {close[0]}?" if close else ""))
    kinds = {"port": int, "tls": bool, "allow_release": bool}
    for name, value in table.items():
        kind = kinds.get(name, str)
        if type(value) is not kind:
            raise ConfigError(f"{where}: {name} must be {_NAMES[kind]}")
    if "host" not in table:
        raise ConfigError(f"{where}: host is missing ({known['host'].metadata['about']})")
    return _checked(HomeSettings(**table), where)


def keys_table() -> str:
    """Every key as a Markdown table; the hub's README holds the same."""
    lines = ["| key | default | meaning |", "|---|---|---|"]
    for entry in fields(HomeSettings):
        default = "required" if entry.default is MISSING else _toml(entry.default)
        lines.append(f"| `{entry.name}` | {default} | {entry.metadata['about']} |")
    return "\n".join(lines)


def _checked(settings: HomeSettings, where: str) -> HomeSettings:
    faults = (
        (not settings.host or not settings.host.isprintable() or " " in settings.host, "host is no name or address"),
        (not 0 < settings.port < 65536, "port must lie between 1 and 65535"),
        (not settings.tls and not _is_here(settings.host), "tls = false is for a broker on this very machine alone"),
        (not _LEVEL.fullmatch(settings.node), "node: 1 to 48 letters, digits, _ or -"),
        (not _LEVELS.fullmatch(settings.discovery_prefix), "discovery_prefix: letters, digits, _ or -, parted by /"),
        (bool(settings.password_file) and not settings.account, "account is missing, and password_file given"),
    )
    for is_wrong, reason in faults:
        if is_wrong:
            raise ConfigError(f"{where}: {reason}")
    return settings


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _toml(value: str | int | bool) -> str:
    if isinstance(value, str):
        return f'`"{value}"`'
    return f"`{str(value).lower()}`"
