"""The people of the rehearsal: the sitter of the portrait, and strangers reshaped from her.

Called by `rehearsal.stage` and by whoever needs enrolment photos.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from device.errors import PictureRefused
from device.face.detect import Finder
from device.face.landmarks import LEAST_PRESENCE, Landmarks
from device.frame import Pixels
from device.rehearsal import reshape, torso
from device.rehearsal.figure import Figure, Part, join
from device.rehearsal.head import Scale, face, lids, rings
from device.rehearsal.render import Floats, Texture

SITTER = "sitter"
STRANGERS = tuple(f"stranger-{number}" for number in range(1, 12))


class People:
    """Makes figures from one portrait, each once.

    portrait  512×512×3 BGR, the picture that the outlines were traced on
    mesh      its 468×3 landmarks
    """

    def __init__(self, portrait: Pixels, mesh: Floats) -> None:
        if portrait.shape != (torso.SIDE, torso.SIDE, 3):
            raise PictureRefused("the rehearsal's portrait is astronaut.png of scikit-image, 512×512")
        self.portrait = portrait
        self.mesh = mesh.astype(np.float32)
        self._made: dict[str, Figure] = {}

    def figure(self, name: str) -> Figure:
        """`sitter`, or `stranger-1` .. `stranger-11`."""
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def _make(self, name: str) -> Figure:
        scale = Scale(self.mesh)
        head = join((torso.neck(self.mesh, scale), rings(self.mesh, scale), face(self.mesh, scale),
                     lids(self.mesh, scale)))
        portrait = self.portrait
        if name != SITTER:
            number = STRANGERS.index(name) + 1
            head = reshape.reshaped(head, scale.head(self.mesh), reshape.measures(number))
            portrait = reshape.recoloured(portrait, self.mesh, reshape.colours(number))
        texture = Texture.of(torso.picture(portrait, self.mesh))
        return Figure.of(_enlarged(torso.torso(scale)), _enlarged(head), texture)


def people_of(portrait_png: bytes, finder: Finder, landmarks: Landmarks) -> People:
    """The people in the portrait's file; PictureRefused where it shows no face."""
    data = np.frombuffer(portrait_png, np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if pixels is None:
        raise PictureRefused("the rehearsal's portrait cannot be decoded; delete the cached archive and build again")
    faces = [landmarks.of_face(pixels, found) for found in finder.find(pixels)]
    if not faces or faces[0].mesh is None or faces[0].presence < LEAST_PRESENCE:
        raise PictureRefused("no face found in the rehearsal's portrait; check the pack with `doorctl models verify`")
    return People(pixels, faces[0].mesh)


def _enlarged(part: Part) -> Part:
    return replace(part, texels=part.texels * np.float32(torso.ENLARGED))
