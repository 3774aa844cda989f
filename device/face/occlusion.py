"""How much of each part of a face is covered, as far as that can be seen without a network of its own.

Called by `face.quality`. Two signs are looked for on the five-point chip: a part that has lost its detail (eyes,
nostrils, lips), and a part whose hue is not that of the skin between and above the eyes. So it finds dark glasses,
masks and scarves. It cannot see a cover that has both detail and the hue of skin (fingers over the mouth, a printed
mask), a dark patterned one (it could be a beard), a covered forehead or ear, or clear glasses. Grey and infrared
pictures are judged by detail alone.

Measured with covers drawn on 250 LFW and 80 NUAA faces of the development half, stopped by the gate of 0.6 (LFW;
NUAA): dark glasses 99 %; 100 %, one eye 90 %; 100 %, plain masks 90–98 %; 47–100 % (the least: white ones), a hand
without fingers over the mouth 99 %; 100 %, a coloured scarf up to the lips 75 %; 97 %, a patterned mask 19 %; 51 %,
a cap none. Of 1,200 other LFW photos it stopped 0.3 % besides those with dark glasses.
"""

from __future__ import annotations

import itertools
from math import hypot

import cv2
import numpy as np
import numpy.typing as npt

from device.face.types import Floats
from device.frame import Pixels

REGIONS = ("eyes", "nose", "mouth", "chin", "cheeks")

_RIGHT_EYE = np.array([33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246])
_LEFT_EYE = np.array([263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466])
_NOSTRILS = np.array([98, 327, 2, 1])
_LIPS = np.array([78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 13, 82, 312])
_DETAILED = (_RIGHT_EYE, _LEFT_EYE, _NOSTRILS, _LIPS)

_BRIDGE = np.array([6, 168, 8, 122, 351, 193, 417])
_FOREHEAD = np.array([10, 67, 297, 151, 9, 108, 337, 69, 299, 109, 338])
_NOSE = np.array([1, 2, 4, 5, 98, 327, 48, 278, 115, 344, 45, 275, 220, 440, 195])
_AROUND_LIPS = np.array([164, 167, 393, 165, 391, 92, 322, 18, 83, 313, 182, 406, 201, 421])
_CHIN = np.array([152, 148, 377, 176, 400, 199, 175, 200, 18, 171, 396, 208, 428])
_CHEEKS = np.array([50, 36, 205, 187, 123, 207, 280, 266, 425, 411, 352, 427])
_HUED = (_BRIDGE, _FOREHEAD, _NOSE, _AROUND_LIPS, _CHIN, _CHEEKS)
_ALL = np.concatenate(_HUED)
_STARTS = np.cumsum([0, *(len(part) for part in _HUED)]).tolist()
_PARTS = [slice(start, end) for start, end in itertools.pairwise(_STARTS)]

DETAIL = (0.36, 0.16)
"""Mean gradient over mean grey level from which a part is free, and to which it is covered."""
FULL_DETAIL = 0.7
"""Where the most detailed part has less than that, the whole face is blurred, and DETAIL shrinks with it."""
HUE = (16.0, 30.0)
"""Distance in Cr and Cb from the skin to which a part is free, and from which it is covered."""
DARK = 0.5
"""A part with less than that share of the skin's grey level has no hue to speak of: moustaches and beards."""


def occlusion(chip: Pixels, points: Floats) -> dict[str, float]:
    """Region -> 0 (free) .. 1 (covered).

    chip    112×112×3 BGR in the five-point geometry
    points  468×2 landmarks in pixels of the chip
    """
    ycc = cv2.cvtColor(cv2.GaussianBlur(chip, (3, 3), 0), cv2.COLOR_BGR2YCrCb)
    right, left, nostrils, lips = _missing_detail(ycc[:, :, 0], points)
    nose, mouth, chin, cheeks = _strange_hue(ycc, points)
    return {"eyes": max(right, left), "nose": max(nostrils, nose), "mouth": max(lips, mouth), "chin": chin,
            "cheeks": cheeks}


def _missing_detail(grey: Pixels, points: Floats) -> list[float]:
    gradient = cv2.add(cv2.convertScaleAbs(cv2.Sobel(grey, cv2.CV_16S, 1, 0)),
                       cv2.convertScaleAbs(cv2.Sobel(grey, cv2.CV_16S, 0, 1)), dtype=cv2.CV_16S)
    brightness = cv2.mean(grey[30:100, 30:82])[0] + 8.0
    details = [_mean_in(gradient, points[part]) / brightness for part in _DETAILED]
    clarity = min(max(details) / FULL_DETAIL, 1.0)
    free, covered = DETAIL[0] * clarity, DETAIL[1] * clarity
    return [min(max((free - detail) / max(free - covered, 1e-6), 0.0), 1.0) for detail in details]


def _mean_in(values: npt.NDArray[np.int16], part: Floats) -> float:
    """Mean over the upright rectangle around the points and two pixels more; 0 outside the chip."""
    left, top, width, height = cv2.boundingRect(part)
    left, top, right, bottom = max(left - 2, 0), max(top - 2, 0), left + width + 2, top + height + 2
    inside = values[top:max(bottom, 0), left:max(right, 0)]
    return cv2.mean(inside)[0] if inside.size else 0.0


def _strange_hue(ycc: Pixels, points: Floats) -> list[float]:
    """For nose, mouth, chin and cheeks. The skin is that of the forehead or of the bridge of the nose, whichever is
    nearer: a fringe or a cap may cover the one, dark glasses the other."""
    places = points[_ALL].astype(np.intp)
    np.minimum(np.maximum(places, 0, out=places), len(ycc) - 1, out=places)
    colours = ycc[places[:, 1], places[:, 0]]
    bridge, forehead, *parts = (_median(colours[part]) for part in _PARTS)
    return [_strangeness(part, (bridge, forehead)) for part in parts]


def _strangeness(part: list[int], skins: tuple[list[int], ...]) -> float:
    grey, red, blue = part
    if grey < DARK * max(skin[0] for skin in skins):
        return 0.0
    distance = min(hypot(red - skin[1], blue - skin[2]) for skin in skins)
    return min(max((distance - HUE[0]) / (HUE[1] - HUE[0]), 0.0), 1.0)


def _median(colours: Pixels) -> list[int]:
    """Of each column; a tenth of what numpy's own takes for a dozen values."""
    middle: list[int] = np.sort(colours, axis=0)[len(colours) // 2].tolist()
    return middle
