"""Frame: the one thing that a camera tells vision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Frame:
    """One picture from the camera.

    seq      counts up by one per frame of a camera, from 0; it goes on over a reconnection
    mono     monotonic seconds at which the picture was taken (or received, where the camera cannot say)
    pixels   H×W×3 uint8, BGR, read-only
    infrared H×W uint8 of a second, near-infrared camera taken at the same moment, where there is one
    """

    seq: int
    mono: float
    pixels: Pixels
    infrared: Pixels | None = None

    def __repr__(self) -> str:
        height, width = self.pixels.shape[:2]
        return f"Frame(seq={self.seq}, mono={self.mono:.3f}, {width}x{height})"
