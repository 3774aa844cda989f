"""Whether anything moves in front of the camera; what lets an empty scene cost next to nothing.

Called by `face.pipeline` on every frame. It looks at every eighth pixel of one channel, averaged over cells of
4 × 4 of those.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from device.frame import Pixels

STRIDE, CELL = 8, 4
LEAST_CHANGE = 6.0
"""Grey levels by which a cell must change: 16 samples of a noisy camera (deviation 8 per pixel) differ by
8·√2/4 = 2.8 from frame to frame, and this is more than twice as much."""

LEAST_CELLS = 2


class Motion:
    """Compares each frame with a slowly following background."""

    def __init__(self) -> None:
        self._background: npt.NDArray[np.float32] | None = None

    def seen(self, pixels: Pixels) -> bool:
        """Whether at least two cells (32 × 32 pixels) differ from the background; true on the first frame.

        A change that all cells share (a lamp, the camera's own exposure) is none.
        """
        samples = np.ascontiguousarray(pixels[::STRIDE, ::STRIDE, 1])
        rows, columns = samples.shape
        size = (max(columns // CELL, 1), max(rows // CELL, 1))
        cells = cv2.resize(samples, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        if self._background is None or self._background.shape != cells.shape:
            self._background = cells
            return True
        change = cells - self._background
        # Follows within some ten frames, so that what comes to rest is background again.
        self._background += np.float32(0.1) * change
        change -= np.median(change)
        return int(np.count_nonzero(np.abs(change) > LEAST_CHANGE)) >= LEAST_CELLS
