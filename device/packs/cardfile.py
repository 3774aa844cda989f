"""Writes card.toml: plain TOML of strings, numbers, lists, tables and lists of tables.

Called by `packs.build`, `packs.addition` and `evaluate.calibrate`, which adds measured operating points.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from device.errors import ModelMismatch
from device.packs import cache

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Table = dict[str, Any]

_WIDTH = 110


def read_table(path: Path) -> Table:
    """The TOML file as a table; ModelMismatch, naming it, where it is missing or damaged."""
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise ModelMismatch(f"{path} is missing; build the pack with `doorctl models build`") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelMismatch(f"{path} is not a model card ({error}); rebuild it with `doorctl models build`") from None


def parse(text: str, where: str) -> Table:
    """The TOML text as a table; ModelMismatch, naming `where`, if it is none."""
    try:
        table: Table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ModelMismatch(f"{where} is not a model card ({error}); rebuild it with `doorctl models "
                            "build`") from None
    return table


def write_table(path: Path, table: Table) -> None:
    """`table` as TOML at `path`, in one step: a reader sees the old card or the new one."""
    cache.write_text(path, dump(table))


def dump(table: Table) -> str:
    """`table` as TOML text that reads back as the same table."""
    return "\n".join(_lines(table, "")).lstrip("\n") + "\n"


def model_id(name: str, recogniser: Table) -> str:
    """"<name>-<12 hex>" from what makes two vectors comparable, not from the converted file's bytes.

    Those may differ in the last bit between machines; source, conversion, alignment and mirror do not.
    """
    recipe = {key: value for key, value in recogniser.items() if key != "colour"}
    text = json.dumps(recipe, sort_keys=True, separators=(",", ":"))
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _lines(table: Table, path: str) -> list[str]:
    plain = [f"{_key(key)} = {_value(value)}" for key, value in table.items() if not _is_table(value)]
    lines = [*plain]
    for key, value in table.items():
        full = f"{path}.{_key(key)}" if path else _key(key)
        if isinstance(value, dict):
            lines += ["", f"[{full}]", *_lines(value, full)]
        elif _is_table(value):
            for entry in value:
                lines += ["", f"[[{full}]]", *_lines(entry, full)]
    return lines


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _key(key: str) -> str:
    is_bare = key.replace("_", "").replace("-", "").isalnum() and key.isascii()
    return key if is_bare else json.dumps(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return _list([_value(item) for item in value])
    raise TypeError(f"a card cannot hold {type(value).__name__}")


def _list(items: list[str]) -> str:
    joined = ", ".join(items)
    if len(joined) <= _WIDTH:
        return f"[{joined}]"
    lines, line = [], ""
    for item in items:
        if line and len(line) + len(item) > _WIDTH:
            lines.append(line)
            line = ""
        line += f"{item}, "
    return "[\n" + "".join(f"    {each.rstrip()}\n" for each in [*lines, line]) + "]"
