"""The values that the stages of vision hand to one another.

Coordinates are pixels of the frame, x to the right, y down, as floats; pixel centres lie at .5.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from device.sighting import Hint

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Box:
    """An upright rectangle in frame pixels."""

    left: float
    top: float
    width: float
    height: float

    @property
    def area(self) -> float:
        return max(self.width, 0.0) * max(self.height, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """A face found in one frame.

    keypoints  6×2: right eye, left eye, nose tip, mouth centre, right ear, left ear (the subject's sides)
    mesh       468×3 landmarks in frame pixels (z on the same scale, towards the camera negative), or None
    presence   0..1, the mesh's own belief that a face is there
    score      0..1 of the detector
    track_id   from `face.track`, 0 while untracked
    """

    box: Box
    keypoints: Floats
    score: float
    mesh: Floats | None = None
    presence: float = 0.0
    track_id: int = 0

    def __repr__(self) -> str:
        return f"Face(track {self.track_id}, {self.box}, score={self.score:.2f})"


@dataclass(frozen=True, slots=True)
class Quality:
    """Whether a face picture is fit for recognition, in the terms of ISO/IEC 29794-5.

    interocular_px  distance of the eye centres in pixels of the frame
    sharpness       variance of the second derivative over the aligned chip, across or down, whichever is less
                    (grey levels squared)
    yaw pitch roll  degrees; positive yaw = the subject looks to the image's right, pitch = up, roll = clockwise
    exposure        mean grey level of the face, 0..1; `contrast` its standard deviation, 0..1
    occlusion       region -> 0 (free) .. 1 (covered), for eyes, nose, mouth, chin, cheeks
    completeness    0..1, how much of the face lies inside the frame
    value           0..1, one figure for choosing the better of two pictures
    reasons         names of the gates that failed; empty where usable
    hint            what would help the visitor
    """

    is_usable: bool
    interocular_px: float
    sharpness: float
    yaw: float
    pitch: float
    roll: float
    exposure: float
    contrast: float
    occlusion: dict[str, float]
    completeness: float
    value: float
    reasons: tuple[str, ...] = ()
    hint: Hint = Hint.NONE


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """A fresh vector from one frame; never stored.

    vector     D float32 at unit length
    pad_score  fused liveness of this frame, None where not judged
    """

    track_id: int
    mono: float
    vector: Floats = field(repr=False)
    model_id: str
    quality: Quality
    pad_score: float | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One person whom a probe resembles; score = cosine, higher = more alike."""

    person_id: str
    template_id: str
    score: float
