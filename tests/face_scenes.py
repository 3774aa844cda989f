"""Frames made of pictures pasted into a room, and galleries of one; shared by the tests of `device.face`."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from device.face.gallery import Gallery
from device.face.models import Models
from device.face.template import quantise
from device.face.threshold import Threshold, threshold_for
from device.face.types import Floats
from device.frame import Frame

Pixels = npt.NDArray[np.uint8]

PORTRAIT_FACE = (150, 40, 300, 230)
"""left, top, right, bottom of the head in the portrait, hair and chin included."""


def room(width: int = 1280, height: int = 720) -> Pixels:
    """An empty scene with some structure."""
    y, x = np.mgrid[0:height, 0:width]
    grey = 90 + 30 * np.sin(x / 90.0) + 20 * np.cos(y / 70.0)
    return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)


def pasted(scene: Pixels, picture: Pixels, left: float, top: float, scale: float = 1.0) -> Pixels:
    """A copy of the scene with the picture in it, at any (sub-pixel) place and size."""
    matrix = np.array([[scale, 0, left], [0, scale, top]], np.float64)
    size = (scene.shape[1], scene.shape[0])
    shown: Pixels = cv2.warpAffine(picture, matrix, size, dst=scene.copy(), flags=cv2.INTER_LINEAR,
                                   borderMode=cv2.BORDER_TRANSPARENT)
    return shown


def head(portrait: Pixels) -> Pixels:
    """The head of the portrait alone."""
    left, top, right, bottom = PORTRAIT_FACE
    return np.ascontiguousarray(portrait[top:bottom, left:right])


def frame(seq: int, pixels: Pixels, fps: float = 30.0) -> Frame:
    return Frame(seq, 100.0 + seq / fps, pixels)


def person(number: int) -> str:
    return f"{number:032x}"


def gallery_of(models: Models, vectors: list[Floats], generation: int = 1) -> Gallery:
    """Persons 1, 2, 3... with one template each."""
    rows = [quantise(vector) for vector in vectors]
    ids = [person(number) for number in range(1, len(rows) + 1)]
    gallery = Gallery.build(models.model_id, len(vectors[0]), ids, ids,
                            np.array([np.frombuffer(row, np.int8) for row, _ in rows]),
                            np.array([scale for _, scale in rows], np.float32), generation)
    return gallery


def threshold_of(models: Models, size: int) -> Threshold:
    return threshold_for(models.card.populations, 1e-3, size)
