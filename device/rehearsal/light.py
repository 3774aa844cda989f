"""Light: what falls on people and room, and what the camera makes of it.

Used by `rehearsal.stage`. The portrait was taken in soft frontal light, which its texture keeps; `Light` varies it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from device.frame import Pixels
from device.rehearsal.render import Floats


@dataclass(frozen=True, slots=True)
class Light:
    """One lighting of the scene.

    ambient     light from everywhere, as a share of the portrait's
    key         light from one side, as a share of the portrait's
    from_deg    where that comes from: 0 from the camera, 90 from the image's right
    from_above  its height, degrees over the camera
    room        brightness of the background
    warmth      -1 bluish .. 1 yellowish
    gain        the camera's exposure
    noise       standard deviation of the sensor's noise in grey levels
    """

    ambient: float = 0.70
    key: float = 0.34
    from_deg: float = 15.0
    from_above: float = 30.0
    room: float = 1.0
    warmth: float = 0.0
    gain: float = 1.0
    noise: float = 2.0

    def on(self, outwards: Floats) -> Floats:
        """N brightness factors for N×3 outward normals."""
        side, above = np.radians(self.from_deg), np.radians(self.from_above)
        towards = np.array([np.sin(side) * np.cos(above), -np.sin(above), -np.cos(side) * np.cos(above)], np.float32)
        # Half-Lambert: the light wraps round, as it does from lamps and walls of some size.
        wrapped = (0.5 + 0.5 * (outwards @ towards)) ** 2
        lit: Floats = np.clip((self.ambient + self.key * wrapped) * self.gain, 0.0, 1.98).astype(np.float32)
        return lit

    @property
    def tint(self) -> tuple[float, float, float]:
        """Factors on blue, green and red."""
        return 1.0 - 0.18 * self.warmth, 1.0, 1.0 + 0.12 * self.warmth


DAY = Light()
DARK = Light(ambient=0.22, key=0.10, room=0.24, gain=1.3, warmth=0.25, noise=4.5)
BRIGHT = Light(ambient=0.95, key=0.50, room=1.25, gain=1.05, warmth=-0.1, noise=1.2)
SIDE = Light(ambient=0.32, key=0.85, from_deg=75.0, from_above=15.0, room=0.8, warmth=0.15, noise=2.5)
BACKLIT = Light(ambient=0.34, key=0.12, room=1.55, gain=1.0, noise=3.0)
WARM = Light(ambient=0.62, key=0.30, warmth=0.7, room=0.85, noise=3.0)

LIGHTS: dict[str, Light] = {
    "day": DAY, "dark": DARK, "bright": BRIGHT, "side": SIDE, "backlit": BACKLIT, "warm": WARM,
}


class Sensor:
    """Noise of an image sensor, from one seed: the same seed and frame number give the same noise."""

    def __init__(self, width: int, height: int, seed: int) -> None:
        self._size = (width, height)
        self._seed = seed
        grain = np.random.default_rng(seed).normal(0.0, 1.0, (height + 64, width + 64)).astype(np.float32)
        # Neighbouring pixels share noise after demosaicing.
        grain = cv2.GaussianBlur(grain, (3, 3), 0.6)
        grain *= 40.0 / float(grain.std())
        self._grain = cv2.cvtColor(np.clip(grain + 128.0, 0, 255).astype(np.uint8), cv2.COLOR_GRAY2BGR)

    def expose(self, picture: Pixels, light: Light, number: int) -> Pixels:
        """The picture as the sensor gives it at frame `number`."""
        width, height = self._size
        y, x = np.random.default_rng((self._seed, number)).integers(0, 64, 2).tolist()
        grain = self._grain[y:y + height, x:x + width]
        share = light.noise / 40.0
        exposed: Pixels = cv2.addWeighted(picture, 1.0, grain, share, -128.0 * share)
        return exposed
