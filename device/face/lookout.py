"""Which faces are in front of the camera: motion, detection, landmarks and tracks, none more often than needed.

Called by `face.pipeline` for every frame. The detector runs on every frame only while something moves and no face
is tracked; a tracked face is followed by its landmarks and confirmed by the detector now and then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from device.face.detect import Halves, distinct
from device.face.landmarks import LEAST_PRESENCE, roi_of_mesh
from device.face.models import Models
from device.face.motion import Motion
from device.face.stages import StageTimes
from device.face.track import Track, Tracker
from device.face.types import Box, Face
from device.frame import Frame, Pixels


@dataclass(frozen=True, slots=True)
class Cadence:
    """How often the detectors run.

    detect_every  frames between detections while faces are tracked: how long a second face may go unseen
    full_every    of the detections that find nothing, every so many are repeated with the full range
    linger_s      detection goes on for so long after the last motion: a visitor who stops is still looked for
    standby_s     seconds between detections without motion
    """

    detect_every: int = 5
    full_every: int = 3
    linger_s: float = 2.0
    standby_s: float = 0.5


ASTRAY = 0.6
"""Distance of the eyes' middle by the landmarks from that by the detector, in distances of the eyes. Heads of the
rehearsal that turn by 25 degrees stay below .5; landmarks that have slid lie at .8 and more."""


class Lookout:
    """The faces of one camera, as tracks."""

    def __init__(self, models: Models, cadence: Cadence | None = None) -> None:
        self.tracker = Tracker()
        self._finder, self._landmarks = models.finder, models.landmarks
        self._cadence = cadence or Cadence()
        self._motion = Motion()
        self._moved_mono = self._detected_mono = float("-inf")
        self._seen_mono = 0.0
        self._detected_seq = 0
        self._empty_rounds = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing moves and nobody is there: the camera may rest."""
        return not self.tracker.tracks and self._seen_mono - self._moved_mono > self._cadence.linger_s

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Of the faces that were seen in the newest frame."""
        return tuple(track.face.box for track in self.tracker.tracks if track.is_seen)

    def see(self, frame: Frame, times: StageTimes | None = None) -> list[Track]:
        """The tracks whose faces are seen in this frame, landmarks and all."""
        self._seen_mono = frame.mono
        is_due = self._is_due(frame)
        if times:
            times.mark("motion")
        self._follow(frame)
        if times:
            times.mark("follow")
        if is_due or any(not track.is_seen for track in self.tracker.tracks):
            self._detect(frame)
            if times:
                times.mark("detect")
        self.tracker.end(frame.mono)
        return [track for track in self.tracker.tracks if track.is_seen]

    def _is_due(self, frame: Frame) -> bool:
        if self.tracker.tracks:
            return frame.seq - self._detected_seq >= self._cadence.detect_every
        if self._motion.seen(frame.pixels):
            self._moved_mono = frame.mono
        return (frame.mono - self._moved_mono <= self._cadence.linger_s
                or frame.mono - self._detected_mono >= self._cadence.standby_s)

    def _follow(self, frame: Frame) -> None:
        for track in self.tracker.tracks:
            if track.face.mesh is not None:
                mesh, presence = self._landmarks.look(frame.pixels, roi_of_mesh(track.face.mesh))
                self.tracker.follow(track, mesh, presence, frame.mono)
        self.tracker.part()

    def _detect(self, frame: Frame) -> None:
        is_standby = frame.mono - self._detected_mono >= self._cadence.standby_s
        self._detected_mono, self._detected_seq = frame.mono, frame.seq
        found = self._find(frame.pixels, is_standby)
        owned = {owner.track_id for owner in (self._take(frame, face) for face in found) if owner is not None}
        for track in self.tracker.tracks:
            track.misses = 0 if track.track_id in owned else track.misses + 1

    def _find(self, pixels: Pixels, is_standby: bool) -> list[Face]:
        """The short range; the full range too where that suspects a face or misses a tracked one, and now and then
        where it finds nothing."""
        halves = Halves(pixels)
        found, is_suspecting = self._finder.find_near(pixels, halves)
        self._empty_rounds = 0 if found else self._empty_rounds + 1
        if self.tracker.tracks:
            owners = {owner.track_id for owner in map(self.tracker.owner, found) if owner is not None}
            is_wanted = len(owners) < len(self.tracker.tracks)
        else:
            is_wanted = not found and (is_standby or self._empty_rounds % self._cadence.full_every == 1)
        if is_wanted or is_suspecting:
            return distinct(found + self._finder.full.find(pixels, halves))
        return found

    def _take(self, frame: Frame, found: Face) -> Track | None:
        """The track that a detection belongs to: one that goes on, one found again, or a new one."""
        owner = self.tracker.owner(found)
        if owner is not None and owner.is_seen and not _is_astray(owner.face, found):
            owner.face = replace(owner.face, box=found.box, score=found.score)
            return owner
        face = self._landmarks.of_face(frame.pixels, found)
        if face.presence < LEAST_PRESENCE:
            return None
        if owner is None:
            return self.tracker.admit(face, frame.mono)
        self.tracker.find_again(owner, face, frame.mono)
        return owner


def _is_astray(tracked: Face, found: Face) -> bool:
    """Whether the landmarks have slid to another part of the face than the detector sees: a picture that is raised
    quickly carries them off, and presence alone does not tell."""
    gap = found.keypoints[1] - found.keypoints[0]
    off = (tracked.keypoints[:2] - found.keypoints[:2]).mean(axis=0)
    return float(np.hypot(*off)) > ASTRAY * float(np.hypot(*gap))
