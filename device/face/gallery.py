"""Gallery: the immutable matrix of int8 templates that probes are compared with.

Whoever searches holds one Gallery and sees one consistent set, whatever is inserted, replaced or deleted
meanwhile: `next` gives the following generation and leaves this one as it is. Generations share one contiguous
matrix, because the scan must be a single call: cut into 25 blocks, a search of 100 000 templates beside a busy
Python thread took 140 ms, in one piece 15 ms (every native call waits up to 5 ms to retake the interpreter lock).
So a new row goes to a place that no living generation reads, and what a generation sees is told by its own
vector of scales, in which 0 means vacant. A deleted row is wiped as soon as the last generation that sees it is
gone. One thread at a time calls `next` (the gallery thread); any thread may search.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from device.errors import ModelMismatch, TemplateRefused
from device.face.template import (
    MAX_DIMENSIONS,
    Int8s,
    Keys,
    dequantise,
    pack_ids,
    quantise,
    row_scales,
    unpack_id,
)
from device.face.types import Floats
from device.store.records import Template

__all__ = ["Gallery", "dequantise", "quantise"]

Rows = npt.NDArray[np.intp]
SPARE = 1024  # vacant rows kept at the end, at least; one eighth of the gallery where that is more


class _Shelf:
    """The rows that successive generations share; `used` of them have ever been given out, `free` are wiped."""

    def __init__(self, dimensions: int, used: int) -> None:
        capacity = used + max(SPARE, used // 8)
        self.rows = np.empty((capacity, dimensions), np.int8)
        self.templates = np.empty((2, capacity), np.uint64)
        self.persons = np.empty((2, capacity), np.uint64)
        self.used = used
        self.newest = 0
        self.free: deque[int] = deque()

    def take(self, count: int) -> Rows | None:
        """Places for `count` rows that no living generation reads; None where the shelf is full."""
        places: list[int] = []
        while self.free and len(places) < count:
            places.append(self.free.pop())
        fresh = count - len(places)
        if self.used + fresh > len(self.rows):
            self.free.extend(places)
            return None
        places.extend(range(self.used, self.used + fresh))
        self.used += fresh
        return np.array(places, dtype=np.intp)

    def put(self, places: Rows, rows: Int8s, templates: Keys, persons: Keys) -> None:
        self.rows[places] = rows
        self.templates[:, places] = templates
        self.persons[:, places] = persons

    def wipe(self, places: Rows) -> None:
        self.rows[places] = 0
        self.templates[:, places] = 0
        self.persons[:, places] = 0
        self.free.extend(places.tolist())


class _Epoch:
    """Lives as long as its generation or any older one does; then wipes what its successor has dropped."""

    __slots__ = ("dropped", "later", "shelf")

    def __init__(self, shelf: _Shelf) -> None:
        self.shelf = shelf
        self.dropped: Rows | None = None
        self.later: _Epoch | None = None

    def __del__(self) -> None:
        if self.dropped is not None:
            self.shelf.wipe(self.dropped)


class Gallery:
    """One generation of templates of one model. Made by `empty`, `build` and `next`.

    rows    n×D int8, read-only; a vacant row's content means nothing
    scales  n float32, 1 / length of the row, 0 where vacant
    """

    __slots__ = ("__weakref__", "_count", "_epoch", "_serial", "_shelf", "dimensions", "generation", "model_id",
                 "rows", "scales")

    def __init__(self, model_id: str, dimensions: int, generation: int, shelf: _Shelf, scales: Floats) -> None:
        self.model_id = model_id
        self.dimensions = dimensions
        self.generation = generation
        self.rows: Int8s = shelf.rows[: len(scales)]
        self.rows.flags.writeable = False
        self.scales = scales
        self.scales.flags.writeable = False
        self._count = int(np.count_nonzero(scales))
        self._shelf = shelf
        self._serial = shelf.newest
        self._epoch = _Epoch(shelf)

    @classmethod
    def empty(cls, model_id: str, dimensions: int) -> Gallery:
        return cls.build(model_id, dimensions, (), (), b"", ())

    @classmethod
    def build(
        cls,
        model_id: str,
        dimensions: int,
        template_ids: Sequence[str],
        person_ids: Sequence[str],
        vectors: Int8s | bytes,
        scales: Sequence[float] | npt.NDArray[np.floating],
        generation: int = 0,
    ) -> Gallery:
        """A gallery of n templates; vectors n×D int8 (or its n·D bytes), ids of 32 hex digits.

        TemplateRefused where a row is no unit vector, an id is malformed or a template comes twice.
        """
        if not 1 <= dimensions <= MAX_DIMENSIONS:
            raise TemplateRefused(f"templates of {dimensions} dimensions cannot be held (1 to {MAX_DIMENSIONS})")
        rows = _matrix(vectors, len(template_ids), dimensions)
        if len(person_ids) != len(rows) or len(scales) != len(rows):
            raise TemplateRefused(f"{len(rows)} templates, but {len(person_ids)} persons and {len(scales)} scales")
        _refuse_twice(template_ids)
        shelf = _Shelf(dimensions, len(rows))
        shelf.put(np.arange(len(rows)), rows, pack_ids(template_ids), pack_ids(person_ids))
        return cls(model_id, dimensions, generation, shelf, row_scales(rows, scales))

    def next(
        self, put: Iterable[Template] = (), drop: Iterable[str] = (), generation: int | None = None
    ) -> Gallery:
        """The following generation: `drop` (template ids; unknown ones are ignored) gone, then `put` inserted or,
        where its template_id is there already, replaced. This generation stays as it is, for whoever searches it.

        ModelMismatch for a template of another model; TemplateRefused as in `build`. Nothing changes then.
        """
        fresh = list(put)
        for template in fresh:
            if template.model_id != self.model_id:
                raise ModelMismatch(f"template {template.template_id} was made by {template.model_id}, this terminal "
                                    f"uses {self.model_id}; enrol the person again or change the pack")
        ids = [template.template_id for template in fresh]
        _refuse_twice(ids)
        rows = _matrix(b"".join(template.vector for template in fresh), len(fresh), self.dimensions, fresh)
        lengths = row_scales(rows, [template.scale for template in fresh])
        templates, persons = pack_ids(ids), pack_ids([template.person_id for template in fresh])
        gone = self._places(self._shelf.templates, np.hstack([templates, pack_ids(list(drop))]))
        places, following = self._successor(gone, lengths, self.generation + 1 if generation is None else generation)
        following._shelf.put(places, rows, templates, persons)
        return following

    def __len__(self) -> int:
        return self._count

    def __contains__(self, template_id: object) -> bool:
        if not isinstance(template_id, str):
            return False
        try:
            return len(self._places(self._shelf.templates, pack_ids([template_id]))) > 0
        except TemplateRefused:
            return False

    def __repr__(self) -> str:
        return f"Gallery(generation {self.generation}, {len(self)} templates of {self.model_id})"

    @property
    def lingering(self) -> int:
        """Deleted rows that an older generation, still held by somebody, keeps from being wiped."""
        return self._shelf.used - len(self._shelf.free) - self._count

    def live_rows(self) -> Rows:
        """Places of all templates."""
        return np.flatnonzero(self.scales)

    def rows_of(self, person_id: str) -> Rows:
        """Places of a person's templates; none for a malformed id."""
        try:
            wanted = pack_ids([person_id])
        except TemplateRefused:
            return np.empty(0, np.intp)
        return self._places(self._shelf.persons, wanted)

    def templates_of(self, person_id: str) -> list[str]:
        """Ids of a person's templates."""
        return [self.template_id(row) for row in self.rows_of(person_id)]

    def has_person(self, person_id: str) -> bool:
        return len(self.rows_of(person_id)) > 0

    def template_id(self, row: int | np.intp) -> str:
        return unpack_id(self._shelf.templates[:, row])

    def person_id(self, row: int | np.intp) -> str:
        return unpack_id(self._shelf.persons[:, row])

    def template_keys(self, rows: Rows) -> Keys:
        """Ids of the templates at these places as a 2×n array; in the order of the ids."""
        return self._shelf.templates[:, rows]

    def person_keys(self, rows: Rows) -> Keys:
        """Ids of the persons at these places as a 2×n array."""
        return self._shelf.persons[:, rows]

    def _places(self, keys: Keys, wanted: Keys) -> Rows:
        """Live places whose key is among the wanted."""
        if wanted.shape[1] == 0:
            return np.empty(0, np.intp)
        # 16 bits of the random ids leave few to look at closely, in one pass however many are wanted.
        is_near = np.zeros(65536, bool)
        is_near[_low_bits(wanted)] = True
        near = np.flatnonzero(is_near[_low_bits(keys[:, : len(self.scales)])])
        known = set(zip(wanted[0].tolist(), wanted[1].tolist(), strict=True))
        pairs = zip(keys[0, near].tolist(), keys[1, near].tolist(), strict=True)
        same = np.fromiter((pair in known for pair in pairs), dtype=bool, count=len(near))
        return near[same & (self.scales[near] > 0)]

    def _successor(self, gone: Rows, lengths: Floats, generation: int) -> tuple[Rows, Gallery]:
        """The following generation without the rows `gone`, and the places of its new rows, still to be filled."""
        shelf, scales, more = self._shelf, self.scales.copy(), len(lengths)
        scales[gone] = 0.0
        places = shelf.take(more) if self._may_grow(more - len(gone)) else None
        is_shared = places is not None
        if places is None:
            shelf, scales = self._repacked(scales, more)
            places = np.arange(len(scales) - more, len(scales))
        elif shelf.used > len(scales):
            scales = np.concatenate([scales, np.zeros(shelf.used - len(scales), np.float32)])
        scales[places] = lengths
        shelf.newest += 1
        following = Gallery(self.model_id, self.dimensions, generation, shelf, scales)
        if is_shared:
            self._epoch.dropped, self._epoch.later = gone, following._epoch
        return places, following

    def _may_grow(self, more: int) -> bool:
        # Two successors of one generation must not share places; and a shelf that is mostly vacant is repacked.
        return self._serial == self._shelf.newest and 2 * (self._count + more) + SPARE >= self._shelf.used

    def _repacked(self, scales: Floats, more: int) -> tuple[_Shelf, Floats]:
        """A shelf of its own with the rows that `scales` shows, without gaps, and room for `more` behind them."""
        kept = np.flatnonzero(scales)
        shelf = _Shelf(self.dimensions, len(kept) + more)
        shelf.put(np.arange(len(kept)), self.rows[kept], self.template_keys(kept), self.person_keys(kept))
        return shelf, np.concatenate([scales[kept], np.zeros(more, np.float32)])


def _matrix(
    vectors: Int8s | bytes, count: int, dimensions: int, templates: Sequence[Template] = ()
) -> Int8s:
    for template in templates:
        if len(template.vector) != dimensions:
            raise TemplateRefused(f"template {template.template_id} has {len(template.vector)} elements instead of "
                                  f"{dimensions}; enrol it again")
    rows = np.frombuffer(vectors, dtype=np.int8) if isinstance(vectors, bytes) else np.asarray(vectors)
    if rows.dtype != np.int8 or rows.size != count * dimensions or (rows.ndim == 2 and rows.shape[1] != dimensions):
        raise TemplateRefused(f"{count} templates of {dimensions} int8 elements were expected, but the matrix has "
                              f"{rows.size} of {rows.dtype}")
    return rows.reshape(count, dimensions)


def _low_bits(keys: Keys) -> npt.NDArray[np.uint16]:
    """16 of the bits of each key, without a copy."""
    bits: npt.NDArray[np.uint16] = keys[1].view(np.uint16)[::4]
    return bits


def _refuse_twice(template_ids: Collection[str]) -> None:
    if len(set(template_ids)) != len(template_ids):
        raise TemplateRefused("a template comes twice; every template_id may be there once")
