"""From a chip to a vector at unit length: the recogniser of the pack.

Called by `face.pipeline` and `face.portrait`.
"""

from __future__ import annotations

import cv2
import numpy as np

from device.errors import ModelMismatch
from device.face.card import Recogniser
from device.face.runtime import Network
from device.face.types import Floats
from device.frame import Pixels


class Extractor:
    """The recogniser with its input buffer; used on one thread at a time."""

    def __init__(self, network: Network, recogniser: Recogniser) -> None:
        expected = (1, recogniser.size, recogniser.size, 3)
        if network.input_shape != expected:
            raise ModelMismatch(f"the recogniser takes {network.input_shape}, its card says {expected}; "
                                "rebuild the pack with `doorctl models build`")
        self._network = network
        self._adds_unit_vectors = recogniser.mirror == "unit"
        self._values = np.empty(expected, np.float32)

    def vector(self, chip: Pixels, mirror: bool) -> Floats | None:
        """D float32 at unit length of a BGR chip; `mirror` adds a second pass over the flipped chip.

        None where the network gives no direction (zero, NaN, infinite): such a chip is never compared.
        """
        rgb = cv2.cvtColor(chip, cv2.COLOR_BGR2RGB)
        first = self._run(rgb)
        if not mirror:
            return unit(first)
        second = self._run(cv2.flip(rgb, 1))
        if not self._adds_unit_vectors:
            return unit(first + second)
        one, other = unit(first), unit(second)
        return None if one is None or other is None else unit(one + other)

    def _run(self, rgb: Pixels) -> Floats:
        self._values[0] = rgb
        raw: Floats = self._network.run(self._values)[0].reshape(-1).copy()
        return raw


def unit(vector: Floats) -> Floats | None:
    """The vector at length 1; None where it has no direction (zero, NaN or infinite)."""
    length = float(np.sqrt(np.vdot(vector, vector).astype(np.float64)))
    if not np.isfinite(length) or length < 1e-6:
        return None
    scaled: Floats = (vector / np.float32(length)).astype(np.float32)
    return scaled
