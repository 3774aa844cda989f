"""Changes of a stream as the bodies of pages: a delta or repair whole, a snapshot in parts of about 256 KB. Pure.

Templates go in columns, cut from their canonical bodies (`sync.wire.templates`) without a look at each. Called by
the carrier.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from sync.hub.ledger import Tally
from sync.wire.codec import encode_body
from sync.wire.messages import Change, PageBody, TemplateColumns

PART_BYTES = 256_000
DELTA_BYTES = 1_400_000  # a delta is one message; what is larger goes as a snapshot
_OVERHEAD = 24  # a change's own bytes around key and body
_IDS = 32
_TAIL = 13  # f32 scale, u8 quality, u64 created


class Body(bytes):
    """A page's body, encoded, which knows the models whose templates are in it."""

    models: tuple[str, ...] = ()

    @classmethod
    def of(cls, body: PageBody) -> Body:
        made = cls(encode_body(body))
        made.models = body.models
        return made


def delta(changes: Sequence[Change]) -> Body | None:
    """The encoded body of one page with all of them; None where it would be too large for a message."""
    if sum(len(change.body) for change in changes) > DELTA_BYTES:
        return None
    drops = tuple(change for change in changes if change.op == "drop")
    body = Body.of(PageBody(drops, _puts(changes), tuple(_columns(_templates(changes)))))
    return body if len(body) <= DELTA_BYTES else None


def parts_of(tallies: Iterable[Tally]) -> int:
    """How many parts a snapshot of so many records takes; at least one."""
    return max(1, -(-sum(map(_tally_weight, tallies)) // PART_BYTES))


def snapshot(living: Iterable[Change], parts: int) -> Iterator[Body]:
    """The encoded bodies of so many parts (`parts_of`), as they are made. `living` has persons first and templates
    last; a record goes into the part in which it begins, so that the number is known before the first is read."""
    read = iter(living)
    held, begun = next(read, None), 0
    for number in range(1, parts + 1):
        part: list[Change] = []
        while held is not None and (begun < number * PART_BYTES or number == parts):
            part.append(held)
            begun += _weight(held)
            held = next(read, None)
        yield Body.of(PageBody((), _puts(part), tuple(_columns(_templates(part)))))


def repair(living: Sequence[Change], buckets: Sequence[int]) -> Body | None:
    """The encoded body of one page with all that lives in these buckets; None where a snapshot serves better.

    One page, because a template may need a person of another bucket: all of it holds, or nothing.
    """
    if sum(len(change.body) for change in living) > DELTA_BYTES:
        return None
    body = Body.of(PageBody((), _puts(living), tuple(_columns(_templates(living))), tuple(buckets)))
    return body if len(body) <= DELTA_BYTES else None


def _puts(changes: Sequence[Change]) -> tuple[Change, ...]:
    found = [change for change in changes if change.op == "put" and change.kind != "template"]
    return tuple(sorted(found, key=lambda change: (change.kind != "person", change.seq)))


def _templates(changes: Sequence[Change]) -> tuple[Change, ...]:
    return tuple(change for change in changes if change.op == "put" and change.kind == "template")


def _weight(change: Change) -> int:
    """About how many bytes a record takes in a part."""
    return len(change.body) + (_OVERHEAD + len(change.key) if change.kind != "template" else 0)


def _tally_weight(tally: Tally) -> int:
    """The sum of `_weight` over the records of a kind."""
    beside = _OVERHEAD * tally.count + tally.key_bytes if tally.kind != "template" else 0
    return tally.body_bytes + beside


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
