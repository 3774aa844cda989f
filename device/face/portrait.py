"""Faces of a still picture, seen with the same stages as at the door.

Called by enrolment, `identify`, `compare`, evaluation and the hub.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import floor

from device.errors import EnrolmentRefused
from device.face.landmarks import LEAST_PRESENCE
from device.face.models import Models
from device.face.quality import Gates, Inspector
from device.face.types import Face, Floats, Probe, Quality
from device.frame import Pixels

BACKGROUND = 3.0
"""A face so many times smaller than the largest one stands at three times its distance."""


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """One face of a still picture. `probe` is None where the recogniser gave no vector, or was not asked."""

    face: Face
    quality: Quality
    probe: Probe | None


class Examiner:
    """Looks at stills; used on one thread at a time.

    mirror  second pass over the mirrored face, always at enrolment
    """

    def __init__(self, models: Models, gates: Gates, mirror: bool = True) -> None:
        self._models = models
        self._inspector = Inspector(gates)
        self._mirror = mirror

    def examine(self, pixels: Pixels) -> list[Finding]:
        """Every face of an H×W×3 BGR picture, the largest first; a face that fails a gate has its probe too."""
        return [self._probed(pixels, finding) for finding in self.survey(pixels)]

    def survey(self, pixels: Pixels) -> list[Finding]:
        """The same without vectors."""
        faces = [self._models.landmarks.of_face(pixels, face) for face in self._models.finder.survey(pixels)]
        present = [face for face in faces if face.presence >= LEAST_PRESENCE]
        present.sort(key=lambda face: -face.box.area)
        return [Finding(face, self._inspector.inspect(pixels, face), None) for face in present]

    def one(self, pixels: Pixels, name: str) -> Probe:
        """The probe of the only face of an enrolment picture; EnrolmentRefused says why there is none.

        Faces in the background (less than a third as large as the largest) are not counted.
        """
        findings = self.survey(pixels)
        if not findings:
            raise EnrolmentRefused(f"{name}: no face found; use a picture of the face from the front")
        near = sum(finding.face.box.area * BACKGROUND**2 >= findings[0].face.box.area for finding in findings)
        if near > 1:
            raise EnrolmentRefused(f"{name}: {near} faces; use a picture of this person alone")
        if not findings[0].quality.is_usable:
            raise EnrolmentRefused(f"{name}: {explain(findings[0].quality, self._inspector.gates)}")
        finding = self._probed(pixels, findings[0])
        if finding.probe is None:
            raise EnrolmentRefused(f"{name}: the recogniser gives no vector for this face; use another picture")
        return finding.probe

    def vector(self, pixels: Pixels, face: Face, mirror: bool) -> Floats | None:
        """The vector of one face of that picture, D float32 at unit length; None where the recogniser gives none.

        mirror  whether a second pass over the mirrored face is taken
        """
        if face.mesh is None:
            return None
        return self._models.extractor.vector(self._models.aligner.chip(pixels, face.mesh), mirror)

    def _probed(self, pixels: Pixels, finding: Finding) -> Finding:
        vector = self.vector(pixels, finding.face, self._mirror)
        if vector is None:
            return finding
        return replace(finding, probe=Probe(0, 0.0, vector, self._models.model_id, finding.quality))


def explain(quality: Quality, gates: Gates) -> str:
    """The first failed gate in words, with the figure and its limit."""
    q, g = quality, gates
    words = {
        "no_landmarks": "the face cannot be made out; look straight into the camera",
        "cut_off": f"only {floor(q.completeness * 100)}% of the face is in the picture; show the whole face",
        "too_far": f"{q.interocular_px:.0f} pixels between the eyes, not {g.min_interocular_px:.0f}; come closer",
        "too_near": f"{q.interocular_px:.0f} pixels between the eyes, at most {g.max_interocular_px:.0f}; step back",
        "turned_aside": f"the face is turned aside by {abs(q.yaw):.0f} degrees, at most {g.max_yaw:.0f}; "
                        "look straight into the camera",
        "looking_up_or_down": f"the face looks {'up' if q.pitch > 0 else 'down'} by {abs(q.pitch):.0f} degrees, "
                              f"at most {g.max_pitch:.0f}; look straight into the camera",
        "head_tilted": f"the head is tilted by {abs(q.roll):.0f} degrees, at most {g.max_roll:.0f}; hold it upright",
        "too_dark": f"the face is too dark ({q.exposure:.2f}, at least {g.min_exposure:.2f}); give it more light",
        "too_bright": f"the face is too bright ({q.exposure:.2f}, at most {g.max_exposure:.2f}); give it less light",
        "no_contrast": f"too little contrast ({q.contrast:.2f}, at least {g.min_contrast:.2f}); give it even light",
        "covered": f"the {_most_covered(q)} seem to be covered; show the whole face",
        "blurred": f"the picture is blurred ({q.sharpness:.0f}, at least {g.min_sharpness:.0f}); hold still",
    }
    return words[quality.reasons[0]] if quality.reasons else "fit for recognition"


def _most_covered(quality: Quality) -> str:
    regions = [region for region in quality.occlusion if region != "chin"]
    return max(regions, key=lambda region: quality.occlusion[region], default="face")
