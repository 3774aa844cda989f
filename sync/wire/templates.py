"""Templates as they travel: one canonical body each, which digests are made of, and columns of many.

Hub and terminal compute the same body for the same template, so quality and moment of making travel rounded, to a
byte and to a millisecond, and the scale as the float32 that it is at rest. Numbers are little-endian.

    body = template id (16) | person id (16) | u16 length, model id (UTF-8) | u16 D | D int8 | f32 scale
           | u8 quality (0..255) | u64 created (ms)
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from device.store.records import Template
from device.store.trust import MessageRefused
from sync.wire.messages import TemplateColumns

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LAST_MS = 253_402_300_799_999  # the end of the year 9999
_ID = re.compile(r"[0-9a-f]{32}")
_U16 = struct.Struct("<H")
_TAIL = struct.Struct("<fBQ")
_WIDTHS = (("seqs", 8), ("template_ids", 16), ("person_ids", 16), ("scales", 4), ("qualities", 1), ("created", 8))


class Row(NamedTuple):
    """One template of `TemplateColumns`: its seq, ids as 32 hex digits, and the numbers as they travel."""

    seq: int
    template_id: str
    person_id: str
    vector: bytes
    scale: float
    quality: int
    created_ms: int
    body: bytes


def template_body(template: Template) -> bytes:
    """The canonical bytes; ValueError where an id is not 32 hex digits or a number is out of range."""
    try:
        model = _model_part(template.model_id, len(template.vector))
        tail = _TAIL.pack(template.scale, _quality(template), _created_ms(template))
        return b"".join((_id(template.template_id), _id(template.person_id), model, template.vector, tail))
    except (struct.error, OverflowError):
        raise ValueError(f"template {template.template_id} holds a number out of range") from None


def from_body(body: bytes) -> Template:
    """The template whose canonical bytes these are; MessageRefused where they are none."""
    try:
        (name_length,) = _U16.unpack_from(body, 32)
        (width,) = _U16.unpack_from(body, 34 + name_length)
        start = 36 + name_length
        scale, quality, created_ms = _TAIL.unpack(body[start + width:])
        model_id = body[34:34 + name_length].decode()
        return Template(body[:16].hex(), body[16:32].hex(), model_id, body[start:start + width], scale, quality / 255,
                        _EPOCH + timedelta(milliseconds=created_ms))
    except (struct.error, UnicodeDecodeError, OverflowError):
        raise MessageRefused("not a template's body") from None


def to_columns(templates: Sequence[tuple[int, Template]]) -> TemplateColumns:
    """(seq, template) of one model, in columns; ValueError where they differ in model or length, or are none."""
    if not templates:
        raise ValueError("no templates to put into columns")
    model_id, dimensions = templates[0][1].model_id, len(templates[0][1].vector)
    if any(t.model_id != model_id or len(t.vector) != dimensions for _, t in templates):
        raise ValueError("templates of several models or lengths need columns each")
    try:
        return _columns(model_id, dimensions, templates)
    except (struct.error, OverflowError):
        raise ValueError(f"a template of {model_id} holds a number out of range") from None


def _columns(model_id: str, dimensions: int, templates: Sequence[tuple[int, Template]]) -> TemplateColumns:
    count = len(templates)
    return TemplateColumns(
        model_id=model_id, dimensions=dimensions, count=count,
        seqs=struct.pack(f"<{count}Q", *(seq for seq, _ in templates)),
        template_ids=b"".join(_id(t.template_id) for _, t in templates),
        person_ids=b"".join(_id(t.person_id) for _, t in templates),
        vectors=b"".join(t.vector for _, t in templates),
        scales=struct.pack(f"<{count}f", *(t.scale for _, t in templates)),
        qualities=bytes(_quality(t) for _, t in templates),
        created=struct.pack(f"<{count}Q", *(_created_ms(t) for _, t in templates)))


def from_columns(columns: TemplateColumns) -> list[tuple[int, Template]]:
    """(seq, template) of each row; MessageRefused as `rows`."""
    return [(row.seq, template_of(row, columns.model_id)) for row in rows(columns)]


def rows(columns: TemplateColumns) -> Iterator[Row]:
    """Each row with its canonical body; MessageRefused, before the first one, where the columns' lengths disagree
    with their count or a number is none that a template can have."""
    _check(columns)
    return _rows(columns)


def template_of(row: Row, model_id: str) -> Template:
    """The record that a row stands for."""
    return Template(row.template_id, row.person_id, model_id, row.vector, row.scale, row.quality / 255,
                    _EPOCH + timedelta(milliseconds=row.created_ms))


def _rows(columns: TemplateColumns) -> Iterator[Row]:
    count, width = columns.count, columns.dimensions
    model = _model_part(columns.model_id, width)
    templates, persons = columns.template_ids.hex(), columns.person_ids.hex()
    numbers = zip(struct.unpack(f"<{count}Q", columns.seqs), struct.unpack(f"<{count}f", columns.scales),
                  columns.qualities, struct.unpack(f"<{count}Q", columns.created), strict=True)
    for i, (seq, scale, quality, created_ms) in enumerate(numbers):
        vector = columns.vectors[i * width:(i + 1) * width]
        body = b"".join((columns.template_ids[i * 16:i * 16 + 16], columns.person_ids[i * 16:i * 16 + 16], model,
                         vector, _TAIL.pack(scale, quality, created_ms)))
        yield Row(seq, templates[i * 32:i * 32 + 32], persons[i * 32:i * 32 + 32], vector, scale, quality,
                  created_ms, body)


def _check(columns: TemplateColumns) -> None:
    for name, width in (*_WIDTHS, ("vectors", columns.dimensions)):
        if len(getattr(columns, name)) != columns.count * width:
            raise MessageRefused(f"columns of {columns.count} templates: {name} has {len(getattr(columns, name))} "
                                 f"bytes instead of {columns.count * width}")
    if not columns.model_id or "\0" in columns.model_id:
        raise MessageRefused("columns of templates name no model")
    if not all(map(math.isfinite, struct.unpack(f"<{columns.count}f", columns.scales))):
        raise MessageRefused("columns of templates hold a scale that is no number")
    if any(created > _LAST_MS for created in struct.unpack(f"<{columns.count}Q", columns.created)):
        raise MessageRefused("columns of templates hold a moment that is none")
    if any(seq > 2**62 for seq in struct.unpack(f"<{columns.count}Q", columns.seqs)):
        raise MessageRefused("columns of templates hold a sequence number out of range")


def _model_part(model_id: str, dimensions: int) -> bytes:
    name = model_id.encode()
    return b"".join((_U16.pack(len(name)), name, _U16.pack(dimensions)))


def _quality(template: Template) -> int:
    if not 0.0 <= template.quality <= 1.0:
        raise ValueError(f"template {template.template_id} has a quality outside 0..1")
    return round(template.quality * 255)


def _created_ms(template: Template) -> int:
    return (template.created_at - _EPOCH) // timedelta(milliseconds=1)


def _id(name: str) -> bytes:
    raw = bytes.fromhex(name) if _ID.fullmatch(name) else b""
    if not raw:
        raise ValueError(f"a template's and its person's id must be 32 lower-case hex digits, not {name[:40]!r}")
    return raw
