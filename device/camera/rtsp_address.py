"""RtspAddress: a network camera's address, taken apart, with its password kept out of everything shown."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from device.errors import ConfigError

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?\Z|[0-9A-Fa-f:.]{2,45}\Z")
_PRINTABLE = re.compile(r"[!-~]{1,1024}\Z")
_MOST_CREDENTIALS = 127  # FFmpeg keeps "name:password" in 128 bytes and cuts what is longer without a word
_WANTED = "write rtsp://NAME:PASSWORD@HOST:554/PATH, with special signs of the password as %XX"


@dataclass(frozen=True, slots=True)
class RtspAddress:
    """name and password are decoded; path begins with a slash and holds the query too."""

    host: str
    port: int = 554
    path: str = field(default="/", repr=False)
    name: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def shown(self) -> str:
        """For logs and people: neither name nor password, nor the query and the parts of the path that set something
        (`/user=admin_password=..._channel=1`), in which some cameras take them."""
        parts = self.path.partition("?")[0].split("/")
        return f"rtsp://{self._place}{'/'.join('...' if '=' in part else part for part in parts)}"

    @property
    def request(self) -> str:
        """The address as it stands in a request: without credentials."""
        return f"rtsp://{self._place}{self.path}"

    @property
    def secret_url(self) -> str:
        """The whole address for the decoder; never to be shown or logged."""
        if not self.name:
            return self.request
        return f"rtsp://{quote(self.name, safe='')}:{quote(self.password, safe='')}@{self._place}{self.path}"

    @property
    def _place(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 554 else f"{host}:{self.port}"


def parse_address(text: str) -> RtspAddress:
    """The address in `text`; ConfigError, without quoting it, where it is none.

    Where a name but no password is given, the password is read from the systemd credential `camera-password`.
    """
    if not _PRINTABLE.match(text):
        raise ConfigError(f"camera.source: the rtsp address holds blanks or signs beyond ASCII; {_WANTED}")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port or 554
    except ValueError:
        raise ConfigError(f"camera.source: the rtsp address has no valid host and port; {_WANTED}") from None
    if "@" in text and "@" not in parts.netloc:
        # A slash in the password ends the host: what follows would be taken for the path, and shown.
        raise ConfigError(f"camera.source: the rtsp address has an @ behind its host; {_WANTED}")
    if parts.scheme.lower() != "rtsp" or not _HOST.match(host):
        raise ConfigError(f"camera.source: the rtsp address has no valid host; {_WANTED}")
    name, password = unquote(parts.username or ""), unquote(parts.password or "")
    if name and parts.password is None:
        password = _credential()
    if len(quote(name, safe="")) + len(quote(password, safe="")) + 1 > _MOST_CREDENTIALS:
        raise ConfigError(f"camera.source: name and password are longer than {_MOST_CREDENTIALS} signs together")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return RtspAddress(host, port, path, name, password)


def _credential() -> str:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return ""
    try:
        return (Path(folder) / "camera-password").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
