"""The infrared judge: a second, near-infrared camera with its own lamps sees what a face is made of.

Called by `face.pad.fusion` for frames that carry an infrared picture. Skin of every tone reflects near infrared much
alike and evenly (Jacquez and others 1955; about 850 nm), so a lit face stands out bright and soft; a screen gives off
no near infrared and is dark; ink lets it through or swallows it, so that a print loses its eyes and brows or stays
flat. Abstains where the lamps do not reach.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from device.face.pad.judge import Memories, View, abstain
from device.face.types import Floats
from device.frame import Pixels
from device.sighting import Judgement

NAME = "infrared"
FRAMES = 5

Grey = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Pairing:
    """Where the second camera sees what the first does: x' = a x + c, y' = b y + d in shares of either picture.

    As set at commissioning with the two cameras side by side; the default is two cameras of one field of view.
    """

    a: float = 1.0
    b: float = 1.0
    c: float = 0.0
    d: float = 0.0

    def place(self, mesh: Floats, pixels: Pixels, infrared: Grey) -> Floats:
        """468×2 of the mesh in the infrared picture."""
        height, width = pixels.shape[:2]
        rows, columns = infrared.shape
        x = (mesh[:, 0] / width * self.a + self.c) * columns
        y = (mesh[:, 1] / height * self.b + self.d) * rows
        return np.stack([x, y], axis=1).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Limits:
    """Grey levels of the infrared picture.

    dark       a face whose skin lies below it gives nothing back
    lit        brightness of the brightest twentieth around it from which the lamps do reach
    near_share distance of the eyes as a share of the picture's width from which they reach in any case: 0.9 m
    contrast   ratio of skin to the eyes' pupils and brows; skin is soft, so below it there is no face
    likeness   correlation with the visible face's features at the same place
    """

    dark: float = 28.0
    lit: float = 20.0
    near_share: float = 0.055
    contrast: float = 1.12
    likeness: float = 0.35


LIMITS = Limits()

_SKIN = ((50, 101, 118, 205), (280, 330, 347, 425), (67, 297, 109, 338, 151))
_EYES = ((33, 133, 159, 145), (263, 362, 386, 374))
_SIDE = 48


@dataclass(slots=True)
class _Track:
    scores: deque[float] = field(default_factory=lambda: deque(maxlen=15))
    reason: str = ""


class Infrared:
    """The judge. Its score is the share of the track's frames that looked like skin."""

    name = NAME
    threshold = 0.5

    def __init__(self, pairing: Pairing | None = None, limits: Limits = LIMITS) -> None:
        self._pairing, self._limits = pairing or Pairing(), limits
        self._tracks = Memories(_Track)

    def judge(self, view: View) -> Judgement:
        infrared = view.frame.infrared
        if infrared is None:
            return abstain(NAME, "no_second_camera")
        track = self._tracks.of(view.track_id)
        reason = examine(view, infrared, self._pairing, self._limits)
        if reason is not None:
            track.scores.append(float(reason == "skin"))
            track.reason = reason if reason != "skin" else track.reason
        if len(track.scores) < FRAMES:
            return abstain(NAME, "too_few_frames" if reason is not None else "lamps_too_weak")
        score = sum(track.scores) / len(track.scores)
        return Judgement(NAME, score, "skin" if score >= self.threshold else track.reason)

    def forget(self, track_id: int) -> None:
        self._tracks.forget(track_id)


def examine(view: View, infrared: Grey, pairing: Pairing, limits: Limits = LIMITS) -> str | None:
    """What the infrared picture shows where the visible one shows a face: "skin", "screen" (dark), "print" (no eyes
    in it) or "elsewhere" (something, but not that face); None where it is too dark everywhere to tell."""
    places = pairing.place(view.mesh, view.frame.pixels, infrared)
    if not _is_inside(places, infrared):
        return None
    skin = [_mean(infrared, places[list(place)]) for place in _SKIN]
    brightness = float(np.median(skin))
    if brightness < limits.dark:
        is_near = view.quality.interocular_px >= limits.near_share * view.frame.pixels.shape[1]
        return "screen" if is_near or _around(infrared, places) > limits.lit else None
    if brightness < limits.contrast * max(_darkest(infrared, places[list(place)]) for place in _EYES):
        return "print"
    return "skin" if _likeness(view, infrared, places) >= limits.likeness else "elsewhere"


def _likeness(view: View, infrared: Grey, places: Floats) -> float:
    """Correlation of both pictures of the face after taking off the slow change of light over it."""
    visible = cv2.cvtColor(view.frame.pixels, cv2.COLOR_BGR2GRAY)
    ours, theirs = (_detail(_square(picture, corners)) for picture, corners in (
        (visible, view.mesh[:, :2]), (infrared, places)))
    both = float(np.linalg.norm(ours) * np.linalg.norm(theirs))
    return float((ours * theirs).sum()) / both if both > 0.0 else 0.0


def _square(picture: Grey, corners: Floats) -> Floats:
    low = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
    high = np.minimum(np.ceil(corners.max(axis=0)), picture.shape[::-1]).astype(int)
    square: Floats = cv2.resize(picture[low[1]:high[1], low[0]:high[0]].astype(np.float32), (_SIDE, _SIDE),
                                interpolation=cv2.INTER_AREA)
    return square


def _detail(square: Floats) -> Floats:
    detail: Floats = cv2.GaussianBlur(square, (0, 0), 1.0) - cv2.GaussianBlur(square, (0, 0), 8.0)
    levelled: Floats = detail - np.float32(detail.mean())
    return levelled


def _is_inside(places: Floats, infrared: Grey) -> bool:
    rows, columns = infrared.shape
    low, high = places.min(axis=0), places.max(axis=0)
    return bool(low[0] >= 0 and low[1] >= 0 and high[0] < columns and high[1] < rows)


def _mean(infrared: Grey, corners: Floats) -> float:
    return float(_cut(infrared, corners).mean())


def _darkest(infrared: Grey, corners: Floats) -> float:
    return float(np.quantile(_cut(infrared, corners), 0.1))


def _cut(infrared: Grey, corners: Floats) -> Grey:
    low, high = np.floor(corners.min(axis=0)).astype(int), np.ceil(corners.max(axis=0)).astype(int)
    return infrared[low[1]:max(high[1], low[1] + 1), low[0]:max(high[0], low[0] + 1)]


def _around(infrared: Grey, places: Floats) -> float:
    """Brightness of what lies beside the face (hands, clothes, a bezel's edge, the room): the lamps' proof."""
    low, high = places.min(axis=0), places.max(axis=0)
    reach = (high - low) * 0.6
    rows, columns = infrared.shape
    top, left = max(int(low[1] - reach[1]), 0), max(int(low[0] - reach[0]), 0)
    bottom, right = min(int(high[1] + reach[1]), rows), min(int(high[0] + reach[0]), columns)
    return float(np.quantile(infrared[top:bottom, left:right], 0.95))
