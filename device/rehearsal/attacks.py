"""Presentation attacks made from the same portrait: paper and screens held to the camera.

Called by `rehearsal.stage`. The terms are those of ISO/IEC 30107: an attack belongs to a species, and its instrument
is the sheet or device. Sheets are planes (or, bent, cylinders) in space, so a flat one moves as a homography.
Halftone, pixel grid and moiré are painted on the instrument; glare and refresh bands are light on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import cv2
import numpy as np

from device.frame import Pixels
from device.rehearsal.head import band
from device.rehearsal.light import Light
from device.rehearsal.pose import Pose, rotation
from device.rehearsal.render import Floats, Surface, Texture

_ROWS, _COLUMNS = 33, 17


class Kind(Enum):
    PRINT = "print"
    SCREEN = "screen"


@dataclass(frozen=True, slots=True)
class Instrument:
    """A sheet or device.

    kind, width_m, height_m  the whole of it, border or bezel included
    margin    border or bezel as a share of the width
    crop      left, top, right, bottom of what it shows, in pixels of the portrait
    """

    name: str
    kind: Kind
    width_m: float
    height_m: float
    margin: float
    crop: tuple[float, float, float, float]


_TIGHT = (150.0, 10.0, 295.0, 215.0)
_WIDE = (80.0, 0.0, 370.0, 410.0)

INSTRUMENTS: dict[str, Instrument] = {i.name: i for i in (
    Instrument("print-photo", Kind.PRINT, 0.100, 0.150, 0.04, (158.0, 6.0, 294.0, 210.0)),
    Instrument("print-a5", Kind.PRINT, 0.148, 0.210, 0.05, _TIGHT),
    Instrument("print-a4", Kind.PRINT, 0.210, 0.297, 0.05, _TIGHT),
    Instrument("print-a3", Kind.PRINT, 0.297, 0.420, 0.04, _WIDE),
    Instrument("print-a2", Kind.PRINT, 0.420, 0.594, 0.03, _WIDE),
    Instrument("screen-phone", Kind.SCREEN, 0.072, 0.149, 0.045, (170.0, 10.0, 284.0, 246.0)),
    Instrument("screen-large-phone", Kind.SCREEN, 0.078, 0.163, 0.04, (170.0, 10.0, 284.0, 246.0)),
    Instrument("screen-small-tablet", Kind.SCREEN, 0.135, 0.195, 0.08, _TIGHT),
    Instrument("screen-tablet", Kind.SCREEN, 0.179, 0.248, 0.06, _TIGHT),
    Instrument("screen-laptop", Kind.SCREEN, 0.345, 0.215, 0.03, (20.0, 0.0, 440.0, 262.0)),
)}
"""Five sizes of either kind."""


@dataclass(frozen=True, slots=True)
class AttackPose:
    """An instrument before the camera: its centre and angles as of a `Pose`.

    bend    radians of the arc that the sheet makes across its width; 0 = flat
    glare   0..1, strength of a lamp's reflection
    bands   0..1, strength of refresh bands (screens)
    glow    brightness of a screen beside the portrait's
    phase   seconds, moves bands and glare's flicker
    held    whether thumbs show at its sides
    plays   the sitter's pose in the video that a screen plays at this moment; None = it shows the portrait
    """

    instrument: str
    pose: Pose
    bend: float = 0.0
    glare: float = 0.3
    bands: float = 0.5
    glow: float = 1.0
    phase: float = 0.0
    held: bool = True
    plays: Pose | None = None


def species(attack: AttackPose) -> str:
    """The attack's species, for reports: `print_flat`, `print_bent`, `screen_photo` or `screen_video`."""
    if INSTRUMENTS[attack.instrument].kind is Kind.SCREEN:
        return "screen_video" if attack.plays is not None else "screen_photo"
    return "print_bent" if attack.bend else "print_flat"


def picture(portrait: Pixels, instrument: Instrument) -> Texture:
    """What the instrument's face looks like from near."""
    left, top, right, bottom = instrument.crop
    tall = instrument.height_m / instrument.width_m
    width = 900 if tall > 1 else 1280
    height = round(width * tall)
    border = round(width * instrument.margin)
    inner = (width - 2 * border, height - 2 * border)
    shown = _crop(portrait, (left, top, right, bottom), inner)
    if instrument.kind is Kind.PRINT:
        sheet = np.full((height, width, 3), (236, 240, 240), np.uint8)
        sheet[border:-border, border:-border] = _printed(shown)
    else:
        sheet = np.full((height, width, 3), (16, 15, 15), np.uint8)
        cv2.rectangle(sheet, (1, 1), (width - 2, height - 2), (64, 62, 60), 5)
        sheet[border:-border, border:-border] = _displayed(shown)
    return Texture.of(sheet)


def surfaces(attack: AttackPose, texture: Texture, skin: Texture, light: Light) -> tuple[Surface, ...]:
    """The instrument, and the thumbs that hold it, in the camera's space."""
    instrument = INSTRUMENTS[attack.instrument]
    turn = rotation(attack.pose)
    place = np.array([attack.pose.x, attack.pose.y, attack.pose.z], np.float32)
    points, outwards, shares = _sheet(instrument, attack.bend)
    placed = points @ turn.T + place
    shade = _shade(attack, instrument, outwards @ turn.T, placed, shares, light)
    height, width = texture.levels[0].shape[:2]
    sheet = Surface(
        placed.astype(np.float32), (shares * np.array([width, height], np.float32)).astype(np.float32), shade,
        band(_ROWS, _COLUMNS), np.zeros((_ROWS - 1) * (_COLUMNS - 1) * 2, np.int32), texture, 80_000,
        light.tint if instrument.kind is Kind.PRINT else (1.0, 1.0, 1.0))
    if not attack.held:
        return (sheet,)
    thumbs = tuple(_thumb(instrument, side, turn, place, skin, light) for side in (-1.0, 1.0))
    return (sheet, *thumbs)


def skin_of(portrait: Pixels) -> Texture:
    """A patch of the sitter's cheek, for hands."""
    return Texture.of(cv2.resize(cv2.GaussianBlur(portrait[118:132, 190:204], (0, 0), 3), (64, 64)), 1)


def _crop(portrait: Pixels, crop: tuple[float, float, float, float], size: tuple[int, int]) -> Pixels:
    left, top, right, bottom = crop
    x = (left + (np.arange(size[0], dtype=np.float32) + 0.5) * ((right - left) / size[0]) - 0.5).astype(np.float32)
    y = (top + (np.arange(size[1], dtype=np.float32) + 0.5) * ((bottom - top) / size[1]) - 0.5).astype(np.float32)
    wide, high = np.meshgrid(x, y)
    shown: Pixels = cv2.remap(portrait, wide, high, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return shown


def _printed(shown: Pixels) -> Pixels:
    """Ink on paper: less contrast, and a halftone screen of its own angle for each ink."""
    rows, columns = shown.shape[:2]
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    ink = 34.0 + shown.astype(np.float32) * (196.0 / 255.0)
    # Screen angles of offset print: yellow 0, magenta 75, cyan 15 degrees (DIN 16547), here per BGR channel.
    for channel, angle in enumerate((0.0, 75.0, 15.0)):
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        dots = np.sin((x * c + y * s) * (2 * np.pi / 4.5)) * np.sin((y * c - x * s) * (2 * np.pi / 4.5))
        ink[..., channel] += 20.0 * dots
    printed: Pixels = np.clip(ink, 0, 255).astype(np.uint8)
    return printed


def _displayed(shown: Pixels) -> Pixels:
    """A lit panel: bluish, raised blacks, stripes of sub-pixels, and the slow coloured beat that cameras see."""
    rows, columns = shown.shape[:2]
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    lit = 12.0 + shown.astype(np.float32) * np.array([1.02, 0.97, 0.93], np.float32) * (243.0 / 255.0)
    for channel, offset in enumerate((2.0, 1.0, 0.0)):
        stripes = 0.5 + 0.5 * np.cos((x - offset) * (2 * np.pi / 3.0))
        lines = 0.9 + 0.1 * np.cos(y * (2 * np.pi / 3.0))
        beat = np.sin(x * 0.113 + y * 0.031 + channel * 2.1) * np.sin(y * 0.087 - x * 0.019 + channel * 1.3)
        lit[..., channel] *= (0.72 + 0.56 * stripes) * lines * (1.0 + 0.09 * beat)
    displayed: Pixels = np.clip(lit, 0, 255).astype(np.uint8)
    return displayed


def _sheet(instrument: Instrument, bend: float) -> tuple[Floats, Floats, Floats]:
    """Points in metres about the centre, outward normals, and places on the face as shares 0..1."""
    v, u = np.mgrid[0.0:1.0:complex(_ROWS), 0.0:1.0:complex(_COLUMNS)]
    shares = np.stack([u, v], axis=-1).reshape(-1, 2)
    x = (shares[:, 0] - 0.5) * instrument.width_m
    y = (shares[:, 1] - 0.5) * instrument.height_m
    if not bend:
        points = np.column_stack([x, y, np.zeros_like(x)])
        outwards = np.tile([0.0, 0.0, -1.0], (len(x), 1))
    else:
        radius = instrument.width_m / bend
        angle = x / radius
        points = np.column_stack([radius * np.sin(angle), y, radius * (1 - np.cos(angle))])
        outwards = np.column_stack([np.sin(angle), np.zeros_like(x), -np.cos(angle)])
    return points.astype(np.float32), outwards.astype(np.float32), shares.astype(np.float32)


def _shade(attack: AttackPose, instrument: Instrument, outwards: Floats, placed: Floats, shares: Floats,
           light: Light) -> Floats:
    """Paper takes the room's light, a screen gives its own; both mirror a lamp above the camera."""
    if instrument.kind is Kind.PRINT:
        base = light.on(outwards)
    else:
        row = placed[:, 1] / np.maximum(placed[:, 2], 0.05)
        wave = np.sin(row * 38.0 + attack.phase * 17.0)
        base = (attack.glow * (1.0 - 0.10 * attack.bands * (0.5 + 0.5 * wave))).astype(np.float32)
    lamp = np.array([0.35, -0.9, 0.4], np.float32)
    to_lamp, to_eye = lamp - placed, -placed
    half = _unit(_unit(to_lamp) + _unit(to_eye))
    gloss = np.clip((half * outwards).sum(axis=1), 0.0, 1.0) ** 60
    corner = np.exp(-(((shares - np.array([0.8, 0.12])) / np.array([0.16, 0.10])) ** 2).sum(axis=1))
    lit: Floats = np.clip(base + attack.glare * (1.2 * gloss + 0.55 * corner), 0.0, 1.98).astype(np.float32)
    return lit


def _unit(vectors: Floats) -> Floats:
    unit: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _thumb(instrument: Instrument, side: float, turn: Floats, place: Floats, skin: Texture, light: Light) -> Surface:
    """Half a capsule that reaches 1.5 cm over the edge."""
    length, radius = 0.120, 0.009
    along = np.array([0.0, 0.3, 0.6, 0.8, 0.9, 0.94, 0.97, 0.99, 1.0])
    around = np.linspace(-np.pi / 2, np.pi / 2, 9)
    points, outwards = [], []
    for share in along:
        # Rounded at the tip.
        wide = radius * np.sqrt(max(1.0 - max(share - 0.9, 0.0) ** 2 * 99.0, 0.0))
        x = side * (instrument.width_m / 2 + 0.105 - length * share)
        for angle in around:
            points.append((x, 0.34 * instrument.height_m + wide * np.sin(angle) - 0.010 * share,
                           0.002 - wide * np.cos(angle)))
            outwards.append((0.0, np.sin(angle), -np.cos(angle)))
    triangles = band(9, 9)
    if side < 0:
        triangles = triangles[:, [0, 2, 1]]
    placed = np.array(points, np.float32) @ turn.T + place
    shade = light.on(np.array(outwards, np.float32) @ turn.T) * np.float32(0.9)
    v, u = np.mgrid[4.0:60.0:9j, 4.0:60.0:9j]
    texels = np.stack([u, v], axis=-1).reshape(-1, 2).astype(np.float32)
    return Surface(placed.astype(np.float32), texels, shade, triangles, np.zeros(len(triangles), np.int32), skin,
                   tint=light.tint)
