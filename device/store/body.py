"""Records as bytes and back: the plain text inside a seal. JSON, keys sorted, read strictly by the record's types.

Used by `store.cache`. A field with a default may be absent and an unknown one is skipped, so that a release reads
what its predecessor and its successor wrote.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

T = TypeVar("T")


def encode(record: Any) -> bytes:
    """A record (a dataclass of plain values) as UTF-8 JSON."""
    return json.dumps(_plain(record), sort_keys=True, separators=(",", ":"), ensure_ascii=False,
                      allow_nan=False).encode()


def decode(kind: type[T], body: bytes) -> T:
    """The record that `encode` wrote; ValueError, which quotes nothing, where the bytes are no such record."""
    try:
        record: T = _build(kind, json.loads(body))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ValueError(f"not a {kind.__name__}") from None
    return record


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {entry.name: _plain(getattr(value, entry.name)) for entry in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


@functools.cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _build(hint: Any, value: Any) -> Any:
    if isinstance(hint, types.UnionType):
        options = typing.get_args(hint)
        if value is None and type(None) in options:
            return None
        return _build(next(option for option in options if option is not type(None)), value)
    if typing.get_origin(hint) is tuple:
        return _build_tuple(typing.get_args(hint), value)
    if dataclasses.is_dataclass(hint):
        return _build_record(hint, value)
    return _build_plain(hint, value)


def _build_tuple(items: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise TypeError
    if len(items) == 2 and items[1] is Ellipsis:
        return tuple(_build(items[0], item) for item in value)
    if len(items) != len(value):
        raise ValueError
    return tuple(_build(item, part) for item, part in zip(items, value, strict=True))


def _build_record(kind: Any, value: Any) -> Any:
    if not isinstance(value, dict):
        raise TypeError
    hints = _hints(kind)
    return kind(**{name: _build(hint, value[name]) for name, hint in hints.items() if name in value})


def _build_plain(hint: Any, value: Any) -> Any:
    if hint is datetime:
        at = datetime.fromisoformat(value)
        if at.tzinfo is None:
            raise ValueError
        return at
    if hint is bytes:
        return bytes.fromhex(value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    if hint is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if type(value) is not hint:
        raise TypeError
    return value
