"""Changes of a stream as the bodies of pages: a delta or repair whole, a snapshot in parts of about 256 KB. Pure.

Templates go in columns, cut from their canonical bodies (`sync.wire.templates`) without a look at each. Called by
the carrier.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from sync.wire.codec import encode_body
from sync.wire.messages import Change, PageBody, TemplateColumns

PART_BYTES = 256_000
DELTA_BYTES = 1_400_000  # a delta is one message; what is larger goes as a snapshot
_OVERHEAD = 24  # a change's own bytes around key and body
_IDS = 32
_TAIL = 13  # f32 scale, u8 quality, u64 created


def delta(changes: Sequence[Change]) -> bytes | None:
    """The encoded body of one page with all of them; None where it would be too large for a message."""
    if sum(len(change.body) for change in changes) > DELTA_BYTES:
        return None
    drops = tuple(change for change in changes if change.op == "drop")
    body = encode_body(PageBody(drops, _puts(changes), tuple(_columns(_templates(changes)))))
    return body if len(body) <= DELTA_BYTES else None


def snapshot(living: Sequence[Change]) -> list[bytes]:
    """The encoded bodies of all parts, persons before what belongs to them; one empty part where nothing lives."""
    parts = [encode_body(PageBody((), _puts(part), tuple(_columns(_templates(part)))))
             for part in _cut((*_puts(living), *_templates(living)))]
    return parts or [encode_body(PageBody())]


def repair(living: Sequence[Change], buckets: Sequence[int]) -> bytes | None:
    """The encoded body of one page with all that lives in these buckets; None where a snapshot serves better.

    One page, because a template may need a person of another bucket: all of it holds, or nothing.
    """
    if sum(len(change.body) for change in living) > DELTA_BYTES:
        return None
    body = encode_body(PageBody((), _puts(living), tuple(_columns(_templates(living))), tuple(buckets)))
    return body if len(body) <= DELTA_BYTES else None


def _puts(changes: Sequence[Change]) -> tuple[Change, ...]:
    found = [change for change in changes if change.op == "put" and change.kind != "template"]
    return tuple(sorted(found, key=lambda change: (change.kind != "person", change.seq)))


def _templates(changes: Sequence[Change]) -> tuple[Change, ...]:
    return tuple(change for change in changes if change.op == "put" and change.kind == "template")


def _cut(changes: Sequence[Change]) -> Iterator[tuple[Change, ...]]:
    part: list[Change] = []
    size = 0
    for change in changes:
        part.append(change)
        size += len(change.body) + (_OVERHEAD + len(change.key) if change.kind != "template" else 0)
        if size >= PART_BYTES:
            yield tuple(part)
            part, size = [], 0
    if part:
        yield tuple(part)


def _columns(changes: Sequence[Change]) -> Iterator[TemplateColumns]:
    by_model: dict[bytes, list[Change]] = {}
    for change in changes:
        by_model.setdefault(_model_part(change.body), []).append(change)
    for part, of_model in by_model.items():
        yield _model_columns(part, of_model)


def _model_part(body: bytes) -> bytes:
    """u16 length, model id, u16 D: the same for all templates of one model."""
    end = _IDS + 2 + int.from_bytes(body[_IDS:_IDS + 2], "little") + 2
    return body[_IDS:end]


def _model_columns(model_part: bytes, changes: Sequence[Change]) -> TemplateColumns:
    dimensions = int.from_bytes(model_part[-2:], "little")
    begin = _IDS + len(model_part)
    end = begin + dimensions
    rows = np.frombuffer(b"".join(change.body for change in changes), np.uint8).reshape(len(changes), end + _TAIL)
    return TemplateColumns(
        model_id=model_part[2:-2].decode(), dimensions=dimensions, count=len(changes),
        seqs=np.array([change.seq for change in changes], "<u8").tobytes(),
        template_ids=rows[:, :16].tobytes(), person_ids=rows[:, 16:32].tobytes(),
        vectors=rows[:, begin:end].tobytes(), scales=rows[:, end:end + 4].tobytes(),
        qualities=rows[:, end + 4].tobytes(), created=rows[:, end + 5:].tobytes())
