"""The booth: one person's pictures for enrolment, taken by themselves once the face is alive and a pose is held.

Fed with the camera's frames on a thread of its own beside the door's vision. Pictures stay in memory and go with the
booth. A change of face begins anew; what the judges of liveness take for an attack ends it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from enum import Enum

from device.config import Config
from device.enrolment import Photo
from device.face.card import Card
from device.face.liveness import Liveness, Panel
from device.face.lookout import Lookout
from device.face.models import Models
from device.face.pad.fusion import open_panel
from device.face.portrait import BACKGROUND
from device.face.quality import DOOR, ENROLMENT, Inspector, judged
from device.face.track import Track
from device.face.types import Quality
from device.frame import Frame
from device.kiosk.enrolment.pose import FIRM, POSES, advice
from device.kiosk.visitor.words import hint_key
from device.sighting import Demand, Level, Outcome


class Stage(Enum):
    """PROVING until the face has shown to be alive, POSING until every picture is there, then REVIEW; or REFUSED."""

    PROVING = "proving"
    POSING = "posing"
    REVIEW = "review"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Progress:
    """What the page must show; advice is a key of the catalogue, firm counts towards FIRM."""

    stage: Stage = Stage.PROVING
    place: int = 0
    advice: str = "enrol.nobody"
    firm: int = 0


@dataclass(slots=True, eq=False)
class _Shots:
    """What is known of the one face before the camera."""

    track_id: int = -1
    photos: list[Photo] = field(default_factory=list)
    best: tuple[float, Frame] | None = None
    firm: int = 0
    is_alive: bool = False


class Booth:
    """Takes frames on one thread; `progress` and `photos` are read from any."""

    def __init__(self, models: Models, card: Card, config: Config) -> None:
        face = config.face
        self._lookout = Lookout(models)
        self._inspector = Inspector(replace(DOOR, min_interocular_px=face.min_interocular_px,
                                            max_interocular_px=face.max_interocular_px))
        self._level = Level(face.liveness)
        self._panel: Panel = open_panel(card, secrets.randbelow, face.liveness_threshold,
                                        config.camera.infrared_place)
        self._shots = _Shots()
        self.progress = Progress()

    @property
    def photos(self) -> tuple[Photo, ...]:
        return tuple(self._shots.photos)

    def look(self, frame: Frame) -> Progress:
        """One more frame; what the page must show after it."""
        if self.progress.stage in (Stage.POSING, Stage.PROVING):
            self.progress = self._looked(frame)
        return self.progress

    def _looked(self, frame: Frame) -> Progress:
        tracks = self._lookout.see(frame)
        near = _near(tracks)
        if len(near) != 1:
            self._shots.firm = 0
            return self._now("enrol.one_alone" if near else "enrol.nobody")
        track = near[0]
        if track.track_id != self._shots.track_id:
            self._shots = _Shots(track.track_id)
        quality = self._inspector.inspect(frame.pixels, track.face)
        live = self._judge(frame, track, quality)
        if live.outcome is Outcome.ATTACK or (live.outcome is Outcome.UNPROVED and not self._shots.is_alive):
            self._shots = _Shots()
            return Progress(Stage.REFUSED, advice=f"enrol.{live.outcome.value}")
        self._shots.is_alive = self._shots.is_alive or live.outcome is None
        if not self._shots.is_alive:
            return self._proving(quality, live)
        return self._posed(frame, judged(quality, ENROLMENT, track.face.presence))

    def _judge(self, frame: Frame, track: Track, quality: Quality) -> Liveness:
        """The judges watch every picture that they would get at the door."""
        if self._level is Level.NONE:
            return Liveness()
        if not quality.is_usable:
            return Liveness(Outcome.PENDING)
        return self._panel.judge(frame, track.face, quality, Demand(self._level))

    def _posed(self, frame: Frame, quality: Quality) -> Progress:
        shots, pose = self._shots, POSES[len(self._shots.photos)]
        wanted = advice(pose, quality)
        if wanted:
            shots.firm, shots.best = 0, None
            return self._now(wanted)
        shots.firm += 1
        if shots.best is None or quality.value > shots.best[0]:
            shots.best = (quality.value, frame)
        if shots.firm < FIRM:
            return self._now("hint.hold_still")
        shots.photos.append(Photo(pose.name, shots.best[1].pixels))
        shots.firm, shots.best = 0, None
        return Progress(Stage.REVIEW, len(POSES), "enrol.review") if len(shots.photos) == len(POSES) else (
            self._now("enrol.taken"))

    def _proving(self, quality: Quality, live: Liveness) -> Progress:
        """What helps the picture comes first: the judges see nothing in a poor one."""
        wanted = advice(POSES[0], quality) if quality.reasons else hint_key(live.hint, live.action)
        return Progress(Stage.PROVING, advice=wanted or "screen.looking")

    def _now(self, wanted: str) -> Progress:
        stage = Stage.POSING if self._shots.is_alive else Stage.PROVING
        return Progress(stage, len(self._shots.photos), wanted, self._shots.firm)


def _near(tracks: list[Track]) -> list[Track]:
    """The faces that stand before the camera, those in the background left out."""
    largest = max((track.face.box.area for track in tracks), default=0.0)
    return [track for track in tracks if track.face.box.area * BACKGROUND**2 >= largest]
