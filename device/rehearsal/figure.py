"""Figure: a person as points, triangles and a texture, and how it moves.

`rehearsal.head` and `rehearsal.torso` make the parts, `rehearsal.reshape` makes other people of them,
`rehearsal.stage` poses and draws them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from device.rehearsal.light import Light
from device.rehearsal.pose import Pose, rotation
from device.rehearsal.render import Floats, Ints, Surface, Texture

_HEAD_PX = 240_000
_SHOULDERS_PX = 20_000
"""Up to this size in the picture every pixel is worked out, beyond it every second one."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Part:
    """A piece of a figure in metres: x to the image's right, y down, z away, origin at the neck's top.

    points     N×3 at rest, facing the camera
    texels     N×2 in the picture of the texture
    triangles  T×3, clockwise as seen from outside
    layers     T
    blink      N×3, added at closed eyes
    mouth      N×3, added at a wide open mouth
    follow     N, 1 turns with the head, 0 stays with the shoulders
    dim        N, 0..1, light that reaches the point (under the chin less)
    """

    points: Floats
    texels: Floats
    triangles: Ints
    layers: Ints
    blink: Floats
    mouth: Floats
    follow: Floats
    dim: Floats

    @classmethod
    def still(cls, points: Floats, texels: Floats, triangles: Ints, layer: int, follow: Floats, dim: Floats) -> Part:
        """A part without a face of its own."""
        none = np.zeros_like(points)
        return cls(points, texels, triangles, np.full(len(triangles), layer, np.int32), none, none, follow, dim)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Piece:
    """What is drawn in one go: a part with its outward unit normals (N×3, at rest)."""

    part: Part
    normals: Floats
    exact_px: int


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Figure:
    """A whole person, shoulders before head."""

    pieces: tuple[Piece, ...]
    texture: Texture

    @classmethod
    def of(cls, shoulders: Part, head: Part, texture: Texture) -> Figure:
        return cls((_piece(shoulders, _SHOULDERS_PX), _piece(head, _HEAD_PX)), texture)


def _piece(part: Part, exact_px: int) -> Piece:
    return Piece(part, normals(part.points, part.triangles), exact_px)


def join(parts: tuple[Part, ...]) -> Part:
    """Several parts as one."""
    starts = np.cumsum([0, *(len(part.points) for part in parts)])
    return Part(
        points=np.concatenate([part.points for part in parts]),
        texels=np.concatenate([part.texels for part in parts]),
        triangles=np.concatenate([p.triangles + int(start) for p, start in zip(parts, starts, strict=False)]),
        layers=np.concatenate([part.layers for part in parts]),
        blink=np.concatenate([part.blink for part in parts]),
        mouth=np.concatenate([part.mouth for part in parts]),
        follow=np.concatenate([part.follow for part in parts]),
        dim=np.concatenate([part.dim for part in parts]),
    )


def normals(points: Floats, triangles: Ints) -> Floats:
    """N×3 unit vectors: means over the adjoining triangles, weighted by their area."""
    a, b, c = (points[triangles[:, k]] for k in range(3))
    of_triangle = np.cross(c - a, b - a)
    total = np.zeros_like(points)
    for k in range(3):
        np.add.at(total, triangles[:, k], of_triangle)
    # Clockwise with y down and z away: this cross product points outwards, to the camera where the face does.
    unit: Floats = (total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    return unit


def posed(figure: Figure, pose: Pose, light: Light) -> tuple[Surface, ...]:
    """The figure in the camera's space, lit; to be drawn in this order."""
    turn = rotation(pose)
    return tuple(_posed(piece, figure.texture, pose, turn, light) for piece in figure.pieces)


def _posed(piece: Piece, texture: Texture, pose: Pose, turn: Floats, light: Light) -> Surface:
    part = piece.part
    own = part.points + part.blink * np.float32(pose.blink) + part.mouth * np.float32(pose.mouth)
    weight = part.follow[:, None]
    place = np.array([pose.x, pose.y, pose.z], np.float32)
    points = own + (own @ turn.T - own) * weight + place
    outwards = piece.normals + (piece.normals @ turn.T - piece.normals) * weight
    shade = light.on(outwards) * part.dim
    return Surface(points.astype(np.float32), part.texels, shade.astype(np.float32), part.triangles, part.layers,
                   texture, piece.exact_px, light.tint)
