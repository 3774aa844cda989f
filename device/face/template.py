"""A template's two shapes: the unit vector that a network gives, and the int8 row that is stored.

The stored row *is* the template: whatever the rounding took away is gone, and every score is the cosine
with the row itself. A cosine has no scale, so the scale serves only to give the unit vector back and as a check
that the row is whole. Called by enrolment, `face.gallery` and `face.match`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from device.errors import TemplateRefused
from device.face.types import Floats

Int8s = npt.NDArray[np.int8]
Keys = npt.NDArray[np.uint64]

MAX_DIMENSIONS = 1024  # up to here a sum of int8 products stays below 2**24 and is exact in float32
# A row rounded to int8 is off unit length by at most sqrt(D) / 254 of its largest element: 0.055 at 192 dimensions
# for a vector with one single large element, 0.001 for what networks give.
UNIT_TOLERANCE = 0.1


def quantise(vector: Floats) -> tuple[bytes, float]:
    """The int8 row of a unit vector and its scale (element i of the vector is about row[i] * scale).

    TemplateRefused where the vector is not finite or not of unit length.
    """
    values = np.asarray(vector, dtype=np.float32)
    if unit(values, values.size) is None:
        raise TemplateRefused("a template must be a finite vector of unit length; take the picture again")
    scale = np.float32(np.abs(values).max()) / np.float32(127)
    row = np.rint(values.astype(np.float64) / float(scale)).clip(-127, 127).astype(np.int8)
    return row.tobytes(), float(scale)


def dequantise(row: bytes, scale: float) -> Floats:
    """The vector that a stored row stands for, D float32, of unit length but for the rounding."""
    vector: Floats = np.frombuffer(row, dtype=np.int8).astype(np.float32) * np.float32(scale)
    return vector


def unit(vector: npt.ArrayLike, dimensions: int) -> npt.NDArray[np.float64] | None:
    """The vector as float64 at exactly unit length; None where it cannot be a probe.

    It cannot where it has another dimension, is not finite, or is off unit length by more than UNIT_TOLERANCE,
    as zero and denormal vectors are.
    """
    try:
        values = np.asarray(vector, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    if values.shape != (dimensions,) or not np.isfinite(values).all():
        return None
    length = math.hypot(*values.tolist())
    if not abs(length - 1.0) <= UNIT_TOLERANCE:
        return None
    return values / length


def row_scales(rows: Int8s, scales: npt.ArrayLike) -> Floats:
    """1 / length of each row, float32: the factors that make the rows unit vectors.

    TemplateRefused, naming the first bad row's place, where a row and its stated scale are no unit vector.
    """
    stated = np.asarray(scales, dtype=np.float64)
    lengths = np.sqrt(squares(rows))
    with np.errstate(invalid="ignore", over="ignore"):
        good = (stated > 0) & (np.abs(lengths * stated - 1.0) <= UNIT_TOLERANCE)
    if not good.all():
        place = int(np.flatnonzero(~good)[0])
        raise TemplateRefused(f"template {place + 1} of {len(rows)} is damaged: it is no unit vector; enrol it again")
    return (1.0 / lengths).astype(np.float32)


def squares(rows: Int8s) -> npt.NDArray[np.float64]:
    """Squared length of each row, exact."""
    total = np.empty(len(rows))
    for start in range(0, len(rows), 4096):  # in slices, so that a large gallery needs no float copy of itself
        part = rows[start : start + 4096].astype(np.float32)
        total[start : start + 4096] = np.einsum("ij,ij->i", part, part)
    return total


def pack_ids(ids: Sequence[str]) -> Keys:
    """Ids of 32 lower-case hex digits as a 2×n array of their halves; TemplateRefused for any other id."""
    joined = "".join(ids)
    try:
        packed = bytes.fromhex(joined)
    except ValueError:
        packed = b""
    if packed.hex() != joined or any(len(an_id) != 32 for an_id in ids):
        raise TemplateRefused("ids of templates and persons must be 32 hex digits in lower case")
    halves = np.frombuffer(packed, dtype=">u8").reshape(-1, 2)
    return np.ascontiguousarray(halves.T, dtype=np.uint64)


def unpack_id(key: Keys) -> str:
    """The id behind one column of `pack_ids`."""
    return f"{int(key[0]):016x}{int(key[1]):016x}"
