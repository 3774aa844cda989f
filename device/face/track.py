"""Which face of this frame is which of the last: tracks with ids of their own.

Called by `face.pipeline`. A track holds one person's face: where its landmarks jump, where two tracks come to lie on
one face, or where the face was lost, the track ends or is marked `is_doubtful`, and the pipeline lets it go on only
if the recogniser finds the same face in it. Ids are never used twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from device.face.detect import iou
from device.face.landmarks import LEAST_PRESENCE, bounds, interocular_px, keypoints
from device.face.types import Box, Face, Floats

MOST_TRACKS = 5
ABSENCE_S = 0.3
"""A face that is not seen for so long is gone: nine frames at 30 frames/s."""

LEAST_OVERLAP = 0.4
"""IoU of a face's landmark bounds from one frame to the next. At 12.5 frames/s walking people keep above 0.6."""

SAME_PLACE = 0.4
"""IoU from which two tracks are on one face."""

MOST_MISSES = 3
"""Detections in a row that may miss a face whose landmarks are still seen."""


@dataclass(slots=True, eq=False)
class Track:
    """One face over time; changed by its Tracker only, save `is_doubtful`, which the pipeline clears.

    seen_mono    of the newest frame in which the face was seen
    is_doubtful  whether it must be shown that the face is still the same person's
    is_seen      whether it was seen in the newest frame
    misses       detections in a row that did not find it
    growth       relative growth of the eye distance per second, smoothed
    """

    track_id: int
    face: Face
    seen_mono: float
    is_doubtful: bool = False
    is_seen: bool = True
    misses: int = 0
    growth: float = 0.0


class Tracker:
    """All tracks of one camera."""

    def __init__(self) -> None:
        self.tracks: list[Track] = []
        self._last_id = 0

    def follow(self, track: Track, mesh: Floats, presence: float, mono: float) -> bool:
        """Take the landmarks found where the track's face was; False, and the face is lost, where it is not there."""
        before = track.face.mesh
        track.is_seen = (presence >= LEAST_PRESENCE and before is not None and _goes_on(before, mesh))
        if track.is_seen and before is not None:
            self._place(track, _carried(track.face, before, mesh, presence), mono)
        return track.is_seen

    def owner(self, found: Face) -> Track | None:
        """The track whose face that detection is, if any: the one that overlaps it most."""
        best = max(self.tracks, key=lambda track: iou(track.face.box, found.box), default=None)
        return best if best is not None and iou(best.face.box, found.box) >= SAME_PLACE else None

    def find_again(self, track: Track, face: Face, mono: float) -> None:
        """A lost face is seen where it was: it goes on, but doubtful."""
        track.is_doubtful = track.is_seen = True
        self._place(track, replace(face, track_id=track.track_id), mono)

    def admit(self, face: Face, mono: float) -> Track | None:
        """A new track; None where the face is one that is tracked already, or where there are too many."""
        if len(self.tracks) >= MOST_TRACKS or any(_same_place(face, track.face) for track in self.tracks):
            return None
        self._last_id += 1
        track = Track(self._last_id, replace(face, track_id=self._last_id), mono)
        self.tracks.append(track)
        return track

    def renew(self, track: Track) -> None:
        """Another person's face is in this track: from now on it is another track."""
        self._last_id += 1
        track.track_id = self._last_id
        track.face = replace(track.face, track_id=self._last_id)
        track.is_doubtful = False

    def part(self) -> None:
        """End all tracks that have come to lie on one face: whose it is cannot be told from its place."""
        seen = [track for track in self.tracks if track.is_seen]
        merged = {track.track_id for track in seen for other in seen
                  if other is not track and _same_place(track.face, other.face)}
        self.tracks = [track for track in self.tracks if track.track_id not in merged]

    def end(self, mono: float) -> None:
        """End what has been gone too long, and what detection keeps missing."""
        self.tracks = [track for track in self.tracks
                       if mono - track.seen_mono <= ABSENCE_S and track.misses < MOST_MISSES]

    def _place(self, track: Track, face: Face, mono: float) -> None:
        if mono > track.seen_mono and face.mesh is not None and track.face.mesh is not None:
            ratio = interocular_px(face.mesh) / max(interocular_px(track.face.mesh), 1.0)
            track.growth += 0.2 * ((ratio - 1.0) / (mono - track.seen_mono) - track.growth)
        track.face, track.seen_mono = face, mono


def _goes_on(before: Floats, mesh: Floats) -> bool:
    return iou(bounds(before), bounds(mesh)) >= LEAST_OVERLAP


def _same_place(face: Face, other: Face) -> bool:
    if face.mesh is None or other.mesh is None:
        return iou(face.box, other.box) >= SAME_PLACE
    return iou(bounds(face.mesh), bounds(other.mesh)) >= SAME_PLACE


def _carried(face: Face, before: Floats, mesh: Floats, presence: float) -> Face:
    """The face with its detector's box moved and scaled as the bounds of its mesh were."""
    old, new, box = bounds(before), bounds(mesh), face.box
    across, down = new.width / max(old.width, 1e-6), new.height / max(old.height, 1e-6)
    carried = Box(new.left + (box.left - old.left) * across, new.top + (box.top - old.top) * down,
                  box.width * across, box.height * down)
    return replace(face, box=carried, keypoints=keypoints(mesh), mesh=mesh, presence=presence)
