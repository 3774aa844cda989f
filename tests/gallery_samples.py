"""Templates and galleries that the tests of matching share."""

from datetime import datetime, timezone

import numpy as np

from device.face.gallery import Gallery, quantise
from device.store.records import Template

D = 24
NOW = datetime(2026, 1, 5, tzinfo=timezone.utc)


def an_id(number):
    # Spread over all bits, as random ids are; injective, since the factor is odd.
    return f"{(int(number) + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128):032x}"


def a_template(number, person=None, seed=None, model_id="m", dimensions=D):
    vector = np.random.default_rng(number if seed is None else seed).standard_normal(dimensions).astype(np.float32)
    row, scale = quantise(vector / np.linalg.norm(vector))
    return Template(an_id(number), an_id(10_000 + (number if person is None else person)), model_id, row, scale, 1.0,
                    NOW)


def unit_rows(rng, count, dimensions):
    vectors = rng.standard_normal((count, dimensions)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def quantised(vectors):
    """int8 rows and scales of many vectors at once."""
    scales = np.abs(vectors).max(axis=1) / 127
    return np.rint(vectors / scales[:, None]).astype(np.int8), scales


def gallery_of_rows(rows, persons=None):
    """Template i is an_id(i), of person a_person(persons[i])."""
    persons = range(len(rows)) if persons is None else persons
    return Gallery.build("m", rows.shape[1], [an_id(i) for i in range(len(rows))], [a_person(p) for p in persons],
                         rows, 1 / np.linalg.norm(rows.astype(np.float64), axis=1))


def a_person(number):
    return an_id(7_000_000 + int(number))
