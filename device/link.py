"""`link.toml` -> frozen Link: which hub this terminal belongs to, and whose word it takes.

Written by `door-syncd claim`, read by doord (whose orders to obey) and door-syncd (where to connect). Private keys
lie in files of their own, 32 raw bytes each, or come as the service manager's credentials of the same file name.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,47}")
_KEY = re.compile(r"[0-9a-f]{64}")
MAX_BYTES = 64_000
MAX_AGE_S = 10 * 366 * 86400.0


@dataclass(frozen=True, slots=True)
class Link:
    """The tie to one hub.

    hub_url                      where certificates are claimed and renewed
    hub_signing                  the hub's public Ed25519 keys, raw; more than one while one replaces the other
    hub_sealing                  the hub's public X25519 key, raw
    ca, certificate, key         PEM files of the TLS connection to the broker
    signing_key, sealing_key     files of this terminal's private keys
    stale_after_s                silence of the hub after which the terminal says that it is cut off
    """

    terminal_id: str
    site: str
    broker_host: str
    broker_port: int
    hub_url: str
    hub_signing: tuple[bytes, ...]
    hub_sealing: bytes
    ca: Path
    certificate: Path
    key: Path
    signing_key: Path
    sealing_key: Path
    stale_after_s: float = 300.0

    def topic(self, leaf: str) -> str:
        """One of this terminal's own topics, as `sync.wire.topics` has them."""
        return f"door/v1/{self.site}/terminal/{self.terminal_id}/{leaf}"


def read_link(path: Path) -> Link:
    """ConfigError where the file is missing, unreadable or not a link; the message names the key and the remedy."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        found = tomllib.loads(data.decode())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; claim this terminal with `door-syncd claim`") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: {str(error).splitlines()[0]}") from None
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: too large for a link")
    return parse_link(found, path.parent, str(path))


def parse_link(found: Mapping[str, Any], folder: Path, where: str = "link.toml") -> Link:
    """The link in a TOML document; relative paths are taken from `folder`."""
    read = _Reader(dict(found), where)
    signing = read.keys("hub_signing")
    link = Link(
        terminal_id=read.name("terminal_id"), site=read.name("site"), broker_host=read.text("broker_host"),
        broker_port=read.number("broker_port", 1, 65535), hub_url=read.text("hub_url", ""),
        hub_signing=signing, hub_sealing=read.key("hub_sealing"),
        ca=folder / read.text("ca", "ca.pem"), certificate=folder / read.text("certificate", "terminal.pem"),
        key=folder / read.text("key", "tls.key"), signing_key=folder / read.text("signing_key", "signing.key"),
        sealing_key=folder / read.text("sealing_key", "sealing.key"),
        stale_after_s=float(read.number("stale_after_s", 1, MAX_AGE_S, 300)))
    read.nothing_left()
    return link


def load_private(path: Path, environment: Mapping[str, str] | None = None) -> bytes:
    """A private key's 32 bytes, from the service manager's credentials where they hold it, else from the file;
    ConfigError where it is missing, of another length, or readable for others."""
    given = (os.environ if environment is None else environment).get("CREDENTIALS_DIRECTORY")
    credential = Path(given) / path.name if given else None
    chosen = credential if credential is not None and credential.is_file() else path
    try:
        if chosen is path and path.stat().st_mode & 0o007:
            raise ConfigError(f"{path}: others may read it; chmod 600 it")
        with chosen.open("rb") as file:
            secret = file.read(33)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; claim this terminal anew with `door-syncd claim`") from None
    if len(secret) != 32:
        raise ConfigError(f"{path}: a private key has 32 bytes; claim this terminal anew with `door-syncd claim`")
    return secret


class _Reader:
    """Takes keys out of a table, each checked; what is left over is an error."""

    def __init__(self, found: dict[str, Any], where: str) -> None:
        self._found, self._where = found, where

    def text(self, name: str, default: str | None = None) -> str:
        value = self._found.pop(name, default)
        if type(value) is not str or (default is None and not value) or len(value) > 400 or "\0" in value:
            raise self._wrong(name, "a text")
        return value

    def name(self, name: str) -> str:
        value = self.text(name)
        if not _NAME.fullmatch(value):
            raise self._wrong(name, "1 to 48 letters, digits, '-', '_' or '.'")
        return value

    def number(self, name: str, least: float, most: float, default: int | None = None) -> int:
        value = self._found.pop(name, default)
        if type(value) is not int or not least <= value <= most:
            raise self._wrong(name, f"a whole number from {least:g} to {most:g}")
        return value

    def key(self, name: str) -> bytes:
        return self._hex(name, self._found.pop(name, None))

    def keys(self, name: str) -> tuple[bytes, ...]:
        value = self._found.pop(name, None)
        if type(value) is not list or not 1 <= len(value) <= 8:
            raise self._wrong(name, "a list of 1 to 8 keys")
        return tuple(self._hex(name, item) for item in value)

    def nothing_left(self) -> None:
        if self._found:
            raise ConfigError(f"{self._where}: unknown key {min(self._found)[:60]!r}; claim this terminal anew, or "
                              "remove it")

    def _hex(self, name: str, value: Any) -> bytes:
        if type(value) is not str or not _KEY.fullmatch(value):
            raise self._wrong(name, "64 hex digits a key")
        return bytes.fromhex(value)

    def _wrong(self, name: str, wanted: str) -> ConfigError:
        return ConfigError(f"{self._where}: {name} must be {wanted}; claim this terminal anew with "
                           "`door-syncd claim`")
