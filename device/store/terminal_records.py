"""What the hub tells one terminal about itself, as records of the kind "config" in the terminal's own stream.

    groups    which groups it serves, and for how long each holds without a word of the hub: a JSON object of seconds
              by group (0 = without end), or a list of groups
    terminal  settings as the text of a TOML document, under a first line `# version N`

Read by door-syncd (groups) and doord (terminal); written by the hub.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from device.errors import SealBroken
from device.store.cache import CacheReader

KIND = "config"
GROUPS, TERMINAL = "groups", "terminal"
HEADING = "# version "


@dataclass(frozen=True, slots=True)
class TerminalConfig:
    """Settings that the desired state names by their version. They may hold a camera's password: no repr shows
    them."""

    version: int
    text: str

    def __repr__(self) -> str:
        return f"TerminalConfig(version {self.version})"


def served_groups(reader: CacheReader) -> dict[str, int] | None:
    """Group -> seconds since the hub's last signed head of it after which its persons count as unknown; 0 = they stay
    known however long the hub is away. None where the hub has not said; SealBroken where what it said does not open
    or is something else."""
    body = _body(reader, GROUPS)
    if body is None:
        return None
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    limits = dict.fromkeys(found, 0) if _is_list_of_names(found) else found
    if not isinstance(limits, dict) or not all(type(value) is int and value >= 0 for value in limits.values()):
        raise _wrong(GROUPS)
    return limits


def terminal_config(reader: CacheReader) -> TerminalConfig | None:
    """None where the hub has sent none; errors as `served_groups`."""
    body = _body(reader, TERMINAL)
    return None if body is None else parse_terminal_config(body)


def parse_terminal_config(body: bytes) -> TerminalConfig:
    """SealBroken where it is something else."""
    try:
        first, _, text = body.decode().partition("\n")
    except UnicodeDecodeError:
        raise _wrong(TERMINAL) from None
    digits = first.removeprefix(HEADING)
    if digits == first or not digits.isdecimal() or len(digits) > 18:
        raise _wrong(TERMINAL)
    return TerminalConfig(int(digits), text)


def _body(reader: CacheReader, key: str) -> bytes | None:
    rows = reader._all("SELECT sealed FROM records WHERE kind = ? AND key = ?", [KIND, key])
    return reader._unseal(rows[0][0], KIND, key) if rows else None


def _is_list_of_names(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(name, str) for name in found)


def _wrong(key: str) -> SealBroken:
    return SealBroken(f"the sealed {KIND} {key} holds something else")
