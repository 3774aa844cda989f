"""From a frame to what the door is told of each face in it: the stages in order.

Called by the vision thread for every frame, and by nobody else at the same time:

    find, track, landmarks (`face.lookout`) ▶ align ▶ zone ▶ quality ▶ extract ▶ match ▶ evidence ▶ liveness

Each stage may stop a face with a named outcome. All that is known of a face (evidence, liveness, since when) hangs on
its track id and goes with it, so that one person's liveness never meets another one's identity.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from device.clock import Clock
from device.config import FaceConfig
from device.errors import ModelMismatch
from device.face.card import Card
from device.face.evidence import Evidence
from device.face.extract import unit
from device.face.gallery import Gallery
from device.face.likeness import LEAST_LIKENESS, glance, likeness
from device.face.liveness import Liveness, Panel
from device.face.lookout import Cadence, Lookout
from device.face.match import Match, identify, verify
from device.face.models import Models
from device.face.quality import DOOR, Inspector
from device.face.stages import StageTimes
from device.face.threshold import Threshold
from device.face.track import Track
from device.face.types import Box, Floats, Quality
from device.face.visit import Visit
from device.face.zone import Zone
from device.frame import Frame, Pixels
from device.sighting import Demand, Hint, Outcome, Sighting

SAME_FACE_FMR = 1e-3
"""Two vectors of one track must be as alike as one stranger in a thousand is; else the track is another person's."""


@dataclass(frozen=True, slots=True)
class _Against:
    """What a frame's faces are compared with."""

    gallery: Gallery
    threshold: Threshold
    demand: Demand


class Pipeline:
    """All stages, for one camera; used on one thread.

    panel    the judges of liveness; without one every face passes that stage
    cadence  how often detection runs
    """

    def __init__(self, models: Models, config: FaceConfig, clock: Clock, panel: Panel | None = None,
                 cadence: Cadence | None = None) -> None:
        self._models, self._config, self._clock, self._panel = models, config, clock, panel
        self._lookout = Lookout(models, cadence)
        self._inspector = Inspector(replace(DOOR, min_interocular_px=config.min_interocular_px,
                                            max_interocular_px=config.max_interocular_px))
        self._zone = Zone(config)
        self._shares_chip = models.aligner.geometry == self._inspector.aligner.geometry
        self._same_face = same_face_score(models.card)
        self._visits: dict[int, Visit] = {}
        self._times: StageTimes | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing moves and nobody is there."""
        return self._lookout.is_idle

    @property
    def faces(self) -> tuple[Box, ...]:
        """Where the newest frame's faces are."""
        return self._lookout.boxes

    def measure(self) -> StageTimes:
        """Time the stages from now on; the times are the caller's to read between frames."""
        self._times = StageTimes(self._clock)
        return self._times

    def look(self, frame: Frame, gallery: Gallery, threshold: Threshold, demand: Demand) -> list[Sighting]:
        """One Sighting for each face of this frame that stands before this door; empty where there is none.

        ModelMismatch where the gallery's vectors are another recogniser's.
        """
        if gallery.model_id != self._models.model_id:
            raise ModelMismatch(f"the gallery's templates are of {gallery.model_id}, the pack is "
                                f"{self._models.model_id}; enrol anew or choose the other pack")
        if self._times:
            self._times.start()
        against = _Against(gallery, threshold, demand)
        tracks = self._lookout.see(frame, self._times)
        sightings = [self._sight(frame, track, against) for track in tracks]
        self._forget()
        return [sighting for sighting in sightings if sighting is not None]

    def _sight(self, frame: Frame, track: Track, against: _Against) -> Sighting | None:
        quality, chip = self._inspect(frame.pixels, track)
        hint = self._ask(frame.pixels, track, quality)
        if hint is Hint.NONE:
            return None
        visit = self._visit(track, chip, against)
        if hint is not None:
            return self._sighting(frame, track, visit, Outcome.POOR, Liveness(hint=hint))
        vector = self._extract(chip) if track.is_doubtful or visit.is_read_due(frame.seq) else None
        visit = self._same_person(track, visit, vector, against)
        if visit.since_seq < 0:
            visit.since_seq, visit.since_mono = frame.seq, frame.mono
        if vector is not None:
            self._read(frame, visit, vector, against)
        visit.exposure = quality.exposure
        live = self._judge(frame, track, visit, quality, against.demand, vector is not None)
        if live.outcome is Outcome.ATTACK:
            return self._sighting(frame, track, visit, Outcome.ATTACK, live)
        if vector is None and _must_prove(visit, live):
            visit, live = self._prove(frame, track, visit, chip, live, against)
        return self._sighting(frame, track, visit, _outcome(visit, live), live)

    def _prove(self, frame: Frame, track: Track, visit: Visit, chip: Pixels, live: Liveness,
               against: _Against) -> tuple[Visit, Liveness]:
        """Read the face on the frame that shows a live one; PENDING where that shows another person, or nothing."""
        vector = self._extract(chip)
        before, visit = visit, self._same_person(track, visit, vector, against)
        if vector is not None:
            self._read(frame, visit, vector, against)
        return visit, live if vector is not None and visit is before else Liveness(Outcome.PENDING)

    def _inspect(self, pixels: Pixels, track: Track) -> tuple[Quality, Pixels]:
        mesh = track.face.mesh
        assert mesh is not None, "the lookout gives faces with landmarks"  # noqa: S101
        chip = self._models.aligner.chip(pixels, mesh)
        quality = self._inspector.inspect(pixels, track.face, chip if self._shares_chip else None)
        self._mark("quality")
        return quality, chip

    def _ask(self, pixels: Pixels, track: Track, quality: Quality) -> Hint | None:
        """None where the face can be recognised, `Hint.NONE` where it is not this door's visitor, else what to do."""
        right, left = track.face.keypoints[0], track.face.keypoints[1]
        eyes = (float(right[0] + left[0]) / 2, float(right[1] + left[1]) / 2)
        hint = self._zone.judge(eyes, quality.interocular_px, pixels.shape[1], pixels.shape[0], yaw=quality.yaw,
                                growth=track.growth)
        if hint is None and not quality.is_usable:
            return quality.hint
        return hint

    def _visit(self, track: Track, chip: Pixels, against: _Against) -> Visit:
        """The track's visit, its evidence still good; doubtful where the face looks otherwise than a frame ago."""
        visit = self._visits.get(track.track_id)
        if visit is None:
            visit = self._visits[track.track_id] = self._fresh(against)
        elif _is_outdated(visit, against):
            visit.evidence, visit.verdict, visit.is_bound = self._evidence(against), None, False
        visit.generation = against.gallery.generation
        looks = glance(chip)
        if visit.looks is not None and likeness(visit.looks, looks) < LEAST_LIKENESS:
            track.is_doubtful = True
        visit.looks = looks
        return visit

    def _same_person(self, track: Track, visit: Visit, vector: Floats | None, against: _Against) -> Visit:
        """The visit, if the vector shows the person whom its earlier vectors showed; else a fresh one on a new track.

        A doubt that the recogniser cannot settle, for want of an earlier vector or of this one, makes a new track.
        """
        is_proved = vector is not None and visit.newest is not None and self._is_alike(visit, vector)
        is_another = vector is not None and visit.newest is not None and not is_proved
        if is_another or (track.is_doubtful and not is_proved):
            self._lookout.tracker.renew(track)
            looks, visit = visit.looks, self._fresh(against)
            visit.looks = looks
            self._visits[track.track_id] = visit
        if track.is_doubtful:
            visit.proofs = 0
        track.is_doubtful = False
        return visit

    def _judge(self, frame: Frame, track: Track, visit: Visit, quality: Quality, demand: Demand,
               is_read: bool) -> Liveness:
        if self._panel is None:
            return Liveness()
        if visit.is_judging_due(frame.seq, demand, is_read):
            visit.note(self._panel.judge(frame, track.face, quality, demand), frame.seq, demand)
            self._mark("liveness")
        return visit.live

    def _read(self, frame: Frame, visit: Visit, vector: Floats, against: _Against) -> None:
        """One more reading for the visit's evidence."""
        visit.vectors = vector if visit.vectors is None else visit.vectors + vector
        visit.newest, visit.read_seq = vector, frame.seq
        visit.verdict = visit.evidence.add(self._match(vector, against), against.threshold, frame.mono)
        self._mark("match")

    def _extract(self, chip: Pixels) -> Floats | None:
        vector = self._models.extractor.vector(chip, self._config.mirror)
        self._mark("extract")
        return vector

    def _match(self, vector: Floats, against: _Against) -> Match:
        if against.demand.expect_person_id is None:
            return identify(against.gallery, vector)
        return Match(verify(against.gallery, vector, against.demand.expect_person_id))

    def _is_alike(self, visit: Visit, vector: Floats) -> bool:
        mean = None if visit.vectors is None else unit(visit.vectors)
        scores = [float(np.vdot(known, vector)) for known in (mean, visit.newest) if known is not None]
        return max(scores, default=-1.0) >= self._same_face

    def _fresh(self, against: _Against) -> Visit:
        return Visit(self._evidence(against), against.gallery.generation)

    def _evidence(self, against: _Against) -> Evidence:
        config = self._config
        return Evidence(config.agree, config.of, config.margin, against.demand.expect_person_id)

    def _forget(self) -> None:
        present = {track.track_id for track in self._lookout.tracker.tracks}
        for track_id in [known for known in self._visits if known not in present]:
            del self._visits[track_id]
            if self._panel is not None:
                self._panel.forget(track_id)

    def _mark(self, stage: str) -> None:
        if self._times:
            self._times.mark(stage)

    def _sighting(self, frame: Frame, track: Track, visit: Visit, outcome: Outcome, live: Liveness) -> Sighting:
        verdict = visit.verdict if outcome is not Outcome.POOR else None
        is_open = outcome in (Outcome.PENDING, Outcome.POOR)
        return Sighting(
            track_id=track.track_id, mono=frame.mono, outcome=outcome, model_id=self._models.model_id,
            person_id=verdict.person_id if verdict and outcome is Outcome.KNOWN else None,
            score=verdict.score if verdict else None, threshold=verdict.threshold if verdict else None,
            margin=verdict.margin if verdict else None, judgements=live.judgements,
            frames=verdict.frames if verdict else 0, hint=live.hint if is_open else Hint.NONE, frame_seq=frame.seq,
            action=live.action if is_open else "", exposure=visit.exposure,
            since_mono=visit.since_mono if visit.since_seq >= 0 else frame.mono,
            since_seq=visit.since_seq if visit.since_seq >= 0 else frame.seq)


def _must_prove(visit: Visit, live: Liveness) -> bool:
    """Whether the judges are content with somebody whose face has not been read on this frame: a known face passes
    only from a frame on that showed both, so that neither can be another's of a moment before."""
    return (live.outcome is None and visit.verdict is not None and visit.verdict.outcome is Outcome.KNOWN
            and not visit.is_bound)


def _outcome(visit: Visit, live: Liveness) -> Outcome:
    """What the sighting says, an attack apart. A stranger is one whether alive or not."""
    verdict = visit.verdict.outcome if visit.verdict else Outcome.PENDING
    visit.is_bound = live.outcome is None and verdict is Outcome.KNOWN
    return verdict if live.outcome is None or verdict is Outcome.UNKNOWN else live.outcome


def same_face_score(card: Card) -> float:
    """The cosine of SAME_FACE_FMR on the strictest of the card's populations; 1, so that every doubt makes a new
    track, where the card has measured none."""
    scores = [max(point.score for point in population.points if point.fmr >= SAME_FACE_FMR * 0.999)
              for population in card.populations
              if any(point.fmr >= SAME_FACE_FMR * 0.999 for point in population.points)]
    return max(scores, default=1.0)


def _is_outdated(visit: Visit, against: _Against) -> bool:
    """Whether evidence must be gathered anew: it is of another question, or the gallery's change may turn it round.

    Otherwise it stands while the gallery changes, or a long synchronisation would keep everybody waiting; evidence
    judges its frames by the newest threshold anyway.
    """
    if visit.evidence.expect_person_id != against.demand.expect_person_id:
        return True
    if visit.generation == against.gallery.generation or visit.verdict is None:
        return False
    if visit.verdict.outcome is Outcome.KNOWN:
        return visit.verdict.person_id is None or not against.gallery.has_person(visit.verdict.person_id)
    return visit.verdict.outcome is Outcome.UNKNOWN
