"""Changing terminal.toml from the installer's page: a few keys, judged like the whole file, written beside it.

The file is a person's, with their comments: only the lines of the changed keys are touched. What comes of it is
parsed again and must differ from before in nothing but these keys; then it takes the file's place in one step, the
old one stays as `terminal.toml.before`, and doord reads it at its next start.
"""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from device.config import Config, known_keys, parse_config, read_table
from device.errors import ConfigError
from device.site_settings import CHANGEABLE, check, laid_over

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LONGEST_TEXT = 400
_HEADER = re.compile(r"\s*\[\s*([A-Za-z0-9_-]+)\s*\]\s*(#.*)?")
_ANY_HEADER = re.compile(r"\s*\[")

Value = str | bool | int | float | list[float]


def changed(text: str, changes: Mapping[str, Value], where: str) -> tuple[str, Config]:
    """The file's text with the changes, and what it then says; ConfigError where it would be no configuration.

    changes  key -> value, e.g. "screen.language" -> "zh"
    """
    _check_keys(changes, where)
    before = _table(text, where)
    fresh = text
    for key, value in changes.items():
        section, name = key.split(".")
        fresh = _with(fresh, section, name, _toml(key, value))
    after = _table(fresh, where)
    for key, value in changes.items():
        section, name = key.split(".")
        before.setdefault(section, {})[name] = value
    if _plain(before) != _plain(after):
        raise ConfigError(f"{where}: is not written the usual way; change it by hand")
    return fresh, parse_config(after, where)


def write(path: Path, changes: Mapping[str, Value]) -> Config:
    """Change the file; ConfigError where it cannot be, and then nothing has changed."""
    try:
        text = path.read_text(encoding="utf-8")
        fresh, config = changed(text, changes, str(path))
        _replace(path, fresh)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "cannot be read"
        raise ConfigError(f"{path}: {reason}; change it by hand") from None
    return config


def write_beside(own: Path, beside: Path, changes: Mapping[str, Value]) -> Config:
    """Change the file that is laid over terminal.toml where that is not doord's to write; errors as `write`."""
    try:
        _check_keys(changes, str(own))
        text = beside.read_text(encoding="utf-8") if beside.exists() else ""
        for key, value in changes.items():
            section, _, name = key.partition(".")
            text = _with(text, section, name, _toml(key, value))
        over = _table(text, str(beside))
        check(over, str(beside))
        config = parse_config(laid_over(read_table(own), over), str(beside))
        beside.touch(0o600)
        _replace(beside, text)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "cannot be read"
        raise ConfigError(f"{beside}: {reason}; change {own} by hand") from None
    return config


def choices() -> dict[str, list[str]]:
    """Key -> what it may be, for the keys that are chosen from a list."""
    return {key: allowed.split(", ") for key, _, allowed, _ in known_keys()
            if key in CHANGEABLE and allowed and " to " not in allowed}


def values(config: Config) -> dict[str, Any]:
    """Key -> what it is now."""
    return {key: getattr(getattr(config, key.split(".")[0]), key.split(".")[1]) for key in CHANGEABLE}


def _check_keys(changes: Mapping[str, Value], where: str) -> None:
    for key in changes:
        if key not in CHANGEABLE:
            raise ConfigError(f"{key[:60]!r} is not changed here: edit {where}")


def _with(text: str, section: str, name: str, value: str) -> str:
    """The text with that key in its section: its line replaced, or one added."""
    lines = text.split("\n")
    start = next((number for number, line in enumerate(lines) if (found := _HEADER.fullmatch(line))
                  and found[1] == section), None)
    if start is None:
        ending = [] if not text or text.endswith("\n\n") else [""] if text.endswith("\n") else ["", ""]
        return text + "\n".join([*ending, f"[{section}]", f"{name} = {value}", ""])
    end = next((number for number in range(start + 1, len(lines)) if _ANY_HEADER.match(lines[number])), len(lines))
    key = re.compile(rf"(\s*){re.escape(name)}\s*=.*")
    for number in range(start + 1, end):
        if found := key.fullmatch(lines[number]):
            lines[number] = f"{found[1]}{name} = {value}"
            return "\n".join(lines)
    lines.insert(start + 1, f"{name} = {value}")
    return "\n".join(lines)


def _toml(key: str, value: Value) -> str:
    """The value as TOML. A basic string is a JSON string, but for DEL, which no printable text holds."""
    if isinstance(value, str):
        if len(value) > LONGEST_TEXT or not value.isprintable():
            raise ConfigError(f"{key} must be one line of at most {LONGEST_TEXT} printable characters")
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list) and len(value) == 4 and all(map(_is_number, value)):
        return "[" + ", ".join(f"{float(one):.3f}" for one in value) + "]"
    if _is_number(value):
        return repr(value)
    raise ConfigError(f"{key} must be a text, a number, true, false or four numbers")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _table(text: str, where: str) -> dict[str, Any]:
    try:
        table: dict[str, Any] = tomllib.loads(text)
        return table
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{where}: {str(error).splitlines()[0]}") from None


def _plain(table: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Numbers as they are written: three decimals of a zone are enough."""
    return {section: {name: [round(float(one), 3) for one in value] if isinstance(value, list) else value
                      for name, value in dict(found).items()} for section, found in table.items()}


def _replace(path: Path, text: str) -> None:
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        kept = path.stat()
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, text.encode())
            os.fchmod(fd, kept.st_mode & 0o777)
            os.fsync(fd)
        finally:
            os.close(fd)
        shutil.copy2(path, path.with_name(path.name + ".before"))
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
