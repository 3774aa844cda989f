"""Whether two chips of one track look alike at a glance: cheap enough for every frame.

Called by `face.pipeline`. A face that is swapped for another in the same place keeps its landmarks but not its looks;
where this says that something changed, the recogniser is asked.
"""

from __future__ import annotations

import cv2
import numpy as np

from device.face.types import Floats
from device.frame import Pixels

SIDE = 16
LEAST_LIKENESS = 0.93
"""From one frame to the next. Measured: two strangers reach it once in 40,000 (500 LFW faces, all pairs); faces that
walk up or turn before a camera of 12.5 frames/s stay above .97 in 98 of 100 frames, but for one clip of quick turns.
"""


def glance(chip: Pixels) -> Floats:
    """The chip as 16 × 16 grey values, without its brightness and contrast (zero mean, unit length)."""
    small = cv2.resize(chip, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    values = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.float32).reshape(-1)
    values -= values.mean()
    scaled: Floats = values / np.float32(max(float(np.sqrt(np.vdot(values, values))), 1e-6))
    return scaled


def likeness(one: Floats, other: Floats) -> float:
    """Correlation of two glances, -1..1."""
    return float(np.vdot(one, other))
