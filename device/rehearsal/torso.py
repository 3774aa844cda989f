"""Torso: neck, collar and shoulders behind and below the head, and the picture that covers the whole figure.

Called by `rehearsal.stage` beside `rehearsal.head`. The outline was traced by hand on the same portrait. The helmet
in the sitter's arm is replaced by the other arm, mirrored; where the head was, the collar's dark cloth goes on, and
below the picture's edge the suit goes on mirrored.
"""

from __future__ import annotations

import cv2
import numpy as np

from device.frame import Pixels
from device.rehearsal.figure import Part
from device.rehearsal.head import OVAL, Scale, band
from device.rehearsal.render import Floats

ENLARGED = 2
"""The texture has this many texels per pixel of the portrait."""

SIDE = 512
"""The portrait's side in pixels; in the texture the body's picture lies to the right of the head's."""

EDGES = (
    # y, left, right
    (148, 168, 206), (154, 152, 236), (162, 138, 250), (178, 125, 266), (192, 119, 280), (205, 113, 291),
    (215, 100, 297), (232, 82, 304), (245, 69, 321), (258, 58, 336), (275, 48, 346), (300, 38, 354), (330, 28, 359),
    (370, 22, 364), (410, 20, 366), (450, 24, 362), (480, 28, 358), (510, 34, 352), (620, 40, 346), (800, 52, 334),
    (1100, 60, 326),
)
_AXIS = 193.0
_COLUMNS = (-1.0, -0.97, -0.88, -0.72, -0.5, -0.25, 0.0, 0.25, 0.5, 0.72, 0.88, 0.97, 1.0)


def torso(scale: Scale) -> Part:
    """Collar ring, shoulders and chest: a sheet bent round, leaning back at the collar."""
    ys = np.array([edge[0] for edge in EDGES], np.float32)
    left, right = np.array([e[1] for e in EDGES], np.float32), np.array([e[2] for e in EDGES], np.float32)
    across = np.array(_COLUMNS, np.float32)
    x = left[:, None] + (right - left)[:, None] * (1 + across) / 2
    y = np.repeat(ys[:, None], len(across), axis=1)
    front = np.interp(ys, (148, 200, 290, 420, 1100), (92, 55, -30, -38, -20))
    z = 55.0 + (front[:, None] - 55.0) * np.sqrt(np.clip(1 - across**2, 0.0, 1.0))
    inner = left[:, None] + 3 + (right - left - 6)[:, None] * (1 + across) / 2
    # Below the picture its lower part goes on upside down, stretched.
    drawn = np.where(y <= 510, y, 510 - (y - 510) * (190.0 / 590.0))
    points = np.stack([x, y, z], axis=-1).reshape(-1, 3).astype(np.float32)
    texels = np.stack([inner + SIDE, drawn], axis=-1).reshape(-1, 2).astype(np.float32)
    count = len(points)
    dim = np.where(y <= 510, 1.0, 0.9).reshape(-1)
    return Part.still(scale.upright(points), texels, band(len(ys), len(across)), 0, np.zeros(count, np.float32),
                      dim.astype(np.float32))


def neck(mesh: Floats, scale: Scale) -> Part:
    """A cylinder from inside the head down into the collar; its top turns with the head."""
    angles = np.radians(np.arange(-100.0, 101.0, 20.0))
    rows = np.array([146.0, 158.0, 170.0, 180.0, 190.0, 204.0, 220.0, 240.0])
    jaw = mesh[list(OVAL[9:28]), :2]
    jaw = jaw[np.argsort(jaw[:, 0])]
    points, texels, follow, dim = [], [], [], []
    for y in rows:
        wide = np.interp(y, (146, 190, 240), (33.0, 34.5, 42.0))
        x = 221.0 + wide * np.sin(angles)
        z = 48.0 - (wide + 2.0) * np.cos(angles) + (y - 180.0) * 0.15
        points.append(np.column_stack([x, np.full_like(x, y), z]))
        drawn_x = 221.0 + 31.0 * np.sin(np.clip(angles, -1.45, 1.45))
        # What the chin hides in the portrait is the strip of skin below it, stretched.
        under = np.interp(drawn_x, jaw[:, 0], jaw[:, 1]) + 4.0
        texels.append(np.column_stack([drawn_x, np.maximum(under, y)]))
        follow.append(np.full_like(x, np.interp(y, (160, 225), (1.0, 0.0))))
        dim.append(np.full_like(x, np.interp(y, (165, 190), (0.72, 1.0))))
    return Part.still(
        scale.upright(np.concatenate(points).astype(np.float32)), np.concatenate(texels).astype(np.float32),
        band(len(rows), len(angles)), 2, np.concatenate(follow).astype(np.float32),
        np.concatenate(dim).astype(np.float32),
    )


def picture(portrait: Pixels, mesh: Floats) -> Pixels:
    """The texture: the portrait as it is beside the portrait without head and helmet, both enlarged and sharpened."""
    both = np.hstack([portrait, _body(portrait, mesh)])
    size = (both.shape[1] * ENLARGED, both.shape[0] * ENLARGED)
    large = cv2.resize(both, size, interpolation=cv2.INTER_CUBIC)
    soft = cv2.GaussianBlur(large, (0, 0), 1.6)
    sharp: Pixels = cv2.addWeighted(large, 1.5, soft, -0.5, 0.0)
    return sharp


def _body(portrait: Pixels, mesh: Floats) -> Pixels:
    body = portrait.copy()
    rows, columns = body.shape[:2]
    mirrored_x = np.broadcast_to(2 * _AXIS - np.arange(columns, dtype=np.float32), (rows, columns))
    y = np.broadcast_to(np.arange(rows, dtype=np.float32)[:, None], (rows, columns))
    mirrored = cv2.remap(portrait, np.ascontiguousarray(mirrored_x), np.ascontiguousarray(y), cv2.INTER_LINEAR,
                         borderMode=cv2.BORDER_REPLICATE)
    helmet = np.zeros((rows, columns), np.uint8)
    cv2.fillPoly(helmet, [np.array([(276, 511), (276, 470), (284, 430), (300, 392), (322, 362), (350, 343),
                                    (372, 320), (511, 300), (511, 511)], np.int32)], 255)
    body = _over(body, mirrored, cv2.GaussianBlur(helmet, (0, 0), 4))
    head = np.zeros((rows, columns), np.uint8)
    cv2.fillPoly(head, [np.array([(140, 0), (150, 120), (178, 140), (184, 182), (200, 194), (240, 197), (258, 184),
                                  (272, 140), (310, 120), (310, 0)], np.int32)], 255)
    cloth = cv2.resize(portrait[200:232, 200:250], (columns, rows), interpolation=cv2.INTER_AREA)
    return _over(body, cv2.blur(cloth, (61, 61)), cv2.GaussianBlur(head, (0, 0), 2))


def _over(below: Pixels, above: Pixels, alpha: Pixels) -> Pixels:
    share = cv2.cvtColor(alpha, cv2.COLOR_GRAY2BGR).astype(np.float32) / 255.0
    mixed: Pixels = np.round(below * (1 - share) + above * share).astype(np.uint8)
    return mixed
