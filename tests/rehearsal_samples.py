"""The rehearsal's people and stages, made once for all tests that render."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from device.face.landmarks import LEAST_PRESENCE
from device.face.models import Models
from device.face.types import Face
from device.packs.archives import portrait
from device.packs.build import build
from device.rehearsal.people import People, people_of
from device.rehearsal.stage import Stage

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@cache
def models() -> Models:
    return Models.load(build())


@cache
def people() -> People:
    return people_of(portrait(), models().finder, models().landmarks)


@cache
def stage(width: int = 640, height: int = 480) -> Stage:
    return Stage(people(), (width, height))


def seen(pixels: Pixels) -> Face | None:
    """The best face of a picture with its mesh, or None."""
    for found in models().finder.find(pixels):
        face = models().landmarks.of_face(pixels, found)
        if face.presence >= LEAST_PRESENCE:
            return face
    return None


def mesh_of(pixels: Pixels) -> Floats:
    face = seen(pixels)
    assert face is not None
    assert face.mesh is not None
    return face.mesh


def vector_of(pixels: Pixels) -> Floats:
    vector = models().extractor.vector(models().aligner.chip(pixels, mesh_of(pixels)), mirror=True)
    assert vector is not None
    return vector
