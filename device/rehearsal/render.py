"""Textured triangles in perspective, drawn fast enough for a camera that does not exist.

Called by `rehearsal.stage` for heads, bodies and for the sheets and screens of attacks. Triangles are filled into a
map of indices, each index stands for an affine step from the picture to the texture, and one `cv2.remap` fetches it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, log2, tan

import cv2
import numpy as np
import numpy.typing as npt

from device.frame import Pixels

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]

_SHIFT = 4
_NEIGHBOURS = np.ones((5, 5), np.uint8)


@dataclass(frozen=True, slots=True)
class Lens:
    """A pinhole camera: picture size in pixels, horizontal field of view in degrees; the axis meets the centre."""

    width: int
    height: int
    field_deg: float = 65.0

    @property
    def focal_px(self) -> float:
        return self.width / 2 / tan(np.radians(self.field_deg) / 2)

    def project(self, points: Floats) -> Floats:
        """N×3 in metres (x right, y down, z away from the camera) to N×2 in pixels, pixel centres at .5."""
        depth = np.maximum(points[:, 2:3], np.float32(0.02))
        centre = np.array([self.width / 2, self.height / 2], np.float32)
        projected: Floats = points[:, :2] * (np.float32(self.focal_px) / depth) + centre
        return projected


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Texture:
    """A picture with its halved copies, so that small faces do not flicker."""

    levels: tuple[Pixels, ...]

    @classmethod
    def of(cls, picture: Pixels, halvings: int = 3) -> Texture:
        levels = [np.ascontiguousarray(picture)]
        for _ in range(halvings):
            levels.append(cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
        return cls(tuple(levels))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Surface:
    """Triangles ready to be drawn.

    points     N×3 metres in the camera's space
    texels     N×2 pixels of the texture's first level, centres at .5
    shade      N, factor on the texture's brightness, 0..2
    triangles  T×3, clockwise as seen from the side that shows
    layers     T, higher layers cover lower ones; inside a layer the nearer covers the farther
    tint       factors on blue, green and red, 0..2 together with shade
    exact_px   over more pixels than that the map is worked out at every second pixel and interpolated
    """

    points: Floats
    texels: Floats
    shade: Floats
    triangles: Ints
    layers: Ints
    texture: Texture
    exact_px: int = 60_000
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Patch:
    """Where a surface came to lie in a picture: rows and columns."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def is_empty(self) -> bool:
        return self.top >= self.bottom or self.left >= self.right

    @property
    def window(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)


def draw(canvas: Pixels, surface: Surface, lens: Lens) -> Patch:
    """Draw a surface over the canvas (H×W×3 uint8, changed in place) and return where it lies."""
    screen = lens.project(surface.points)
    shown, area = _facing(surface, screen)
    patch = _patch(screen[surface.triangles[shown]].reshape(-1, 2), canvas)
    if not shown.size or patch.is_empty:
        return Patch(0, 0, 0, 0)
    step = 2 if (patch.bottom - patch.top) * (patch.right - patch.left) > surface.exact_px else 1
    local = (screen - np.array([patch.left, patch.top], np.float32)) / np.float32(step)
    rows, columns = -(-(patch.bottom - patch.top) // step), -(-(patch.right - patch.left) // step)
    index = _fill(local, surface.triangles[shown], rows, columns)
    inside = (index > 0).astype(np.uint8) * np.uint8(255)
    # Beyond the outline the nearest triangle goes on, so that the soft edge has a colour of its own.
    np.copyto(index, cv2.dilate(index, _NEIGHBOURS), where=index == 0)
    level = _level(surface, shown, area)
    steps = _affine(surface, shown, local, level)
    u, v, shade = _maps(index, steps)
    _paint(canvas[patch.window], surface.texture.levels[level], (u, v, shade, inside), step, surface.tint)
    return patch


def _facing(surface: Surface, screen: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """Indices of the triangles that show, farthest first by layer, and their doubled areas in pixels."""
    a, b, c = (screen[surface.triangles[:, k]] for k in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    depth = surface.points[surface.triangles, 2]
    shown = np.flatnonzero((area > 0.02) & (depth.min(axis=1) > 0.05))
    order = np.lexsort((-depth[shown].mean(axis=1), surface.layers[shown]))
    shown = shown[order]
    return shown, area[shown]


def _patch(corners: Floats, canvas: Pixels) -> Patch:
    if not corners.size:
        return Patch(0, 0, 0, 0)
    height, width = canvas.shape[:2]
    left, top = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 2, 0).tolist()
    right, bottom = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 3, (width, height)).tolist()
    return Patch(top, bottom, left, right)


def _fill(screen: Floats, triangles: Ints, rows: int, columns: int) -> npt.NDArray[np.int16]:
    """rows×columns map: 1 + position in `triangles` of the triangle that covers a pixel, 0 for none."""
    index = np.zeros((rows, columns), np.int16)
    # OpenCV counts pixel centres at whole numbers.
    fixed = np.round((np.clip(screen, -4e3, 8e3) - 0.5) * (1 << _SHIFT)).astype(np.int32)
    for number, corners in enumerate(fixed[triangles], start=1):
        cv2.fillConvexPoly(index, corners, number, cv2.LINE_8, _SHIFT)
    return index


def _level(surface: Surface, shown: npt.NDArray[np.int64], area: Floats) -> int:
    """Which halving of the texture has about one texel per pixel of the middle triangle."""
    a, b, c = (surface.texels[surface.triangles[shown, k]] for k in range(3))
    texels = np.abs((b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0]))
    ratio = float(np.median(texels / area))
    return min(max(floor(log2(max(ratio, 1e-3)) / 2 + 0.35), 0), len(surface.texture.levels) - 1)


def _affine(surface: Surface, shown: npt.NDArray[np.int64], screen: Floats, level: int) -> Floats:
    """9×(T+1): for texture x, texture y and shade the value at the origin and the steps along x and y."""
    corners = surface.triangles[shown]
    a, b, c = (screen[corners[:, k]] for k in range(3))
    ab, ac = b - a, c - a
    whole = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    values = np.column_stack([surface.texels * np.float32(0.5**level) - np.float32(0.5), surface.shade])
    first = values[corners[:, 0]]
    by_b, by_c = values[corners[:, 1]] - first, values[corners[:, 2]] - first
    along_x = (by_b * ac[:, 1:2] - by_c * ab[:, 1:2]) / whole[:, None]
    along_y = (by_c * ab[:, 0:1] - by_b * ac[:, 0:1]) / whole[:, None]
    # A sliver is filled half a pixel beyond its edges; its steps are softened so that it shows no foreign texels.
    longest = np.sqrt(np.maximum(np.maximum((ab**2).sum(1), (ac**2).sum(1)), ((c - b) ** 2).sum(1)))
    soften = np.clip(whole / longest / np.float32(2.0), 0.0, 1.0)[:, None]
    along_x *= soften
    along_y *= soften
    middle, mean = (a + b + c) / 3, (values[corners[:, 0]] + values[corners[:, 1]] + values[corners[:, 2]]) / 3
    origin = mean - along_x * middle[:, 0:1] - along_y * middle[:, 1:2]
    table = np.zeros((9, len(shown) + 1), np.float32)
    table[:, 1:] = np.concatenate([origin.T, along_x.T, along_y.T])
    return table


def _maps(index: npt.NDArray[np.int16], steps: Floats) -> tuple[Floats, Floats, Floats]:
    rows, columns = index.shape
    x = np.arange(columns, dtype=np.float32) + np.float32(0.5)
    y = (np.arange(rows, dtype=np.float32) + np.float32(0.5))[:, None]
    wide = index.astype(np.intp)
    maps = []
    for k in range(3):
        value = steps[k + 3].take(wide)
        value *= x
        value += steps[k].take(wide)
        value += steps[k + 6].take(wide) * y
        maps.append(value)
    return maps[0], maps[1], maps[2]


def _paint(window: Pixels, texture: Pixels, maps: tuple[Floats, Floats, Floats, Pixels], step: int,
           tint: tuple[float, float, float]) -> None:
    """Fetch the texture, shade it and lay it over the window with an edge one pixel soft."""
    u, v, shade, inside = maps
    light = np.clip(shade * np.float32(127.5), 0, 255).astype(np.uint8)
    rows, columns = window.shape[:2]
    if step > 1:
        size = (u.shape[1] * step, u.shape[0] * step)
        u, v, light, inside = (cv2.resize(m, size)[:rows, :columns] for m in (u, v, light, inside))
    picture = cv2.remap(texture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    coloured = [light if factor == 1.0 else cv2.convertScaleAbs(light, alpha=factor) for factor in tint]
    picture = cv2.multiply(picture, cv2.merge(coloured), scale=1 / 127.5)
    alpha = cv2.cvtColor(cv2.blur(inside, (3, 3)), cv2.COLOR_GRAY2BGR)
    cv2.multiply(picture, alpha, dst=picture, scale=1 / 255)
    behind = cv2.multiply(window, cv2.bitwise_not(alpha), scale=1 / 255)
    cv2.add(picture, behind, dst=window)
