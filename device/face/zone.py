"""Zone: whether a face is where a visitor of this door stands, and what to tell it if not.

Called by `face.pipeline` for each face before it is recognised.

The guard against the neighbouring gate works on metres to the side of the zone's middle line, with the distance of
the eyes as the ruler (63 mm on average, 52 to 78 mm in adults: Dodgson, 2004), so that it means the same near and
far and through any lens. Lanes of side-by-side gates are about 0.9 m apart, middle to middle, with a passage of
0.55 to 0.65 m between the cabinets.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians

from device.config import FaceConfig
from device.sighting import Hint

EYES_M = 0.063
_STEEPEST = 50.0  # degrees; a face turned further gives no ruler


@dataclass(frozen=True, slots=True)
class LaneGuard:
    """What one strength of the guard demands.

    aside_m    metres from the zone's middle line to the midpoint of the eyes, at most
    max_yaw    degrees that the face may be turned away from this camera: somebody in the next lane looks at theirs
    receding   whether a face that goes away is left out as well
    """

    aside_m: float
    max_yaw: float
    receding: bool


GUARDS = {
    "low": LaneGuard(aside_m=0.60, max_yaw=35.0, receding=False),
    "medium": LaneGuard(aside_m=0.45, max_yaw=25.0, receding=False),
    "high": LaneGuard(aside_m=0.33, max_yaw=18.0, receding=True),
}
"""low: two thirds of the way to the next lane; medium: half of it, the border of the two; high: the passage alone."""

RECEDING = -0.10
"""Growth of the eyes' distance per second below which a face goes away: 0.1 m/s at a distance of 1 m."""


class Zone:
    """Judges by `face.zone`, `min_interocular_px`, `max_interocular_px` and `lane_guard` of the configuration."""

    def __init__(self, config: FaceConfig) -> None:
        self._left, self._top, self._right, self._bottom = config.zone
        self._least = config.min_interocular_px
        self._most = config.max_interocular_px
        self._guard = GUARDS.get(config.lane_guard)

    def judge(self, eyes: tuple[float, float], interocular_px: float, frame_width: int, frame_height: int, *,
              yaw: float = 0.0, growth: float = 0.0) -> Hint | None:
        """None where the face counts. `Hint.NONE` where it is not this door's visitor: leave it out without a word.
        Any other hint is for this door's visitor, who cannot be recognised yet.

        eyes            midpoint of the eye centres, in pixels of the frame
        interocular_px  distance of the eye centres in pixels
        yaw             degrees, as in `Quality`
        growth          relative growth of `interocular_px` per second over the track; 0 where unknown
        """
        if not self._is_inside(eyes[0] / frame_width, eyes[1] / frame_height):
            return Hint.NONE
        if self._guard is not None:
            middle = (self._left + self._right) / 2 * frame_width
            if abs(aside_m(eyes[0] - middle, interocular_px, yaw)) > self._guard.aside_m:
                return Hint.NONE
            if self._guard.receding and growth < RECEDING:
                return Hint.NONE
        return self._ask(interocular_px, yaw)

    def _is_inside(self, x: float, y: float) -> bool:
        return self._left <= x <= self._right and self._top <= y <= self._bottom

    def _ask(self, interocular_px: float, yaw: float) -> Hint | None:
        if interocular_px < self._least:
            return Hint.COME_CLOSER
        if interocular_px > self._most:
            return Hint.STEP_BACK
        if self._guard is not None and abs(yaw) > self._guard.max_yaw:
            return Hint.LOOK_AT_CAMERA
        return None


def aside_m(offset_px: float, interocular_px: float, yaw: float) -> float:
    """Metres to the side, from pixels to the side. A turned face shows its eyes nearer together by cos(yaw)."""
    frontal_px = interocular_px / cos(radians(min(abs(yaw), _STEEPEST)))
    return offset_px * EYES_M / max(frontal_px, 1.0)
