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
from collections.abc import Callable
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

T = TypeVar("T")
Reader = Callable[[Any], Any]


def encode(record: Any) -> bytes:
    """A record (a dataclass of plain values) as UTF-8 JSON."""
    return json.dumps(_plain(record), sort_keys=True, separators=(",", ":"), ensure_ascii=False,
                      allow_nan=False).encode()


def decode(kind: type[T], body: bytes) -> T:
    """The record that `encode` wrote; ValueError, which quotes nothing, where the bytes are no such record."""
    try:
        record: T = _read_record(kind, json.loads(body))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        raise ValueError(f"not a {kind.__name__}") from None
    return record


def _plain(value: Any) -> Any:
    if value is None or type(value) in _PLAIN:
        return value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    kind: Any = type(value)
    return {name: _plain(getattr(value, name)) for name in _readers(kind)}


@functools.cache
def _readers(kind: Any) -> dict[str, Reader]:
    """How each field of a record is read."""
    hints = typing.get_type_hints(kind)
    return {entry.name: _reader(hints[entry.name]) for entry in dataclasses.fields(kind)}


@functools.cache
def _reader(hint: Any) -> Reader:
    if isinstance(hint, types.UnionType):
        return _optional(_reader(next(item for item in typing.get_args(hint) if item is not type(None))))
    if typing.get_origin(hint) is tuple:
        items = typing.get_args(hint)
        return _run_of(_reader(items[0])) if items[-1] is Ellipsis else _row_of([_reader(item) for item in items])
    if dataclasses.is_dataclass(hint):
        return lambda value: _read_record(hint, value)
    if hint in _READERS:
        return _READERS[hint]
    if issubclass(hint, Enum):
        reader: Reader = hint
        return reader
    return lambda value: _exactly(hint, value)


def _optional(reader: Reader) -> Reader:
    return lambda value: None if value is None else reader(value)


def _run_of(reader: Reader) -> Reader:
    return lambda value: tuple(reader(item) for item in _exactly(list, value))


def _row_of(readers: list[Reader]) -> Reader:
    return lambda value: tuple(read(item) for read, item in zip(readers, _exactly(list, value), strict=True))


def _read_record(kind: Any, value: Any) -> Any:
    found = _exactly(dict, value)
    return kind(**{name: read(found[name]) for name, read in _readers(kind).items() if name in found})


def _exactly(kind: Any, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError
    return value


def _read_moment(value: Any) -> datetime:
    at = datetime.fromisoformat(value)
    if at.tzinfo is None:
        raise ValueError
    return at


def _read_number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise TypeError
    return float(value)


_PLAIN = (str, int, float, bool)
_READERS: dict[Any, Reader] = {datetime: _read_moment, bytes: bytes.fromhex, float: _read_number}
