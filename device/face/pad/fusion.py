"""The panel: the judges' opinions on one track, weighed to what the demanded level asks for.

Called by `face.pipeline` for every usable frame. The levels:

    none    everybody passes
    low     the passive networks take the face for a live one, over at least five frames
    normal  low, and the rigid-plane test saw a head. While it abstains the visitor is asked to turn a little, and
            after that gets a challenge
    high    normal, and a random challenge; where the door has a screen, its light must be followed first

Any judge that is sure of an attack ends it, at every level. No judge's silence lets anybody pass: without the passive
networks a challenge takes their place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from device.face.card import Card
from device.face.liveness import Liveness
from device.face.pad.action import Action
from device.face.pad.challenge import Challenge, Chance
from device.face.pad.context import context_judges
from device.face.pad.infrared import Infrared, Pairing
from device.face.pad.judge import Judge, Memories, View
from device.face.pad.light_challenge import LightChallenge, Screen, Standing
from device.face.pad.passive import NAME as PASSIVE
from device.face.pad.passive import PassiveJudge, PassiveNetworks
from device.face.pad.plane import NO_MOTION, PlaneTest
from device.face.types import Face, Quality
from device.frame import Frame
from device.sighting import Demand, Hint, Judgement, Level, Outcome

OUT_OF_VIEW = "surroundings_out_of_view"
"""Why the passive judge abstains before a face that fills the picture."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the panel waits, and how sure it must be.

    watch_s        that the plane test may abstain before the visitor is told to do something: a walker's sway and a
                   glance to the side decide it within half a second
    soon_s         the same where nothing at all has spoken for a head yet
    turn_s         that the visitor is asked to turn a little before being given a challenge
    attack_frames  in a row that must look like an attack, with no doubt, before it is called one
    doubt_frames   the same where a judge's score lies only a little below its threshold
    sure_share     share of its threshold below which a score leaves no doubt
    rounds         challenges that may fail before the door refuses; after a rest the visitor may try again
    """

    watch_s: float = 1.0
    soon_s: float = 0.6
    turn_s: float = 3.0
    attack_frames: int = 3
    doubt_frames: int = 20
    sure_share: float = 0.4
    rounds: int = 2


@dataclass(slots=True)
class _Track:
    """Where one track stands. What has been called an attack stays one until the track ends."""

    begun_mono: float = -1.0
    bad_frames: int = 0
    sure_frames: int = 0
    is_attack: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """The judgements of one frame, by name, and the thresholds of those judges that may call an attack."""

    judgements: tuple[Judgement, ...]
    thresholds: dict[str, float]

    def is_bad(self, share: float = 1.0) -> bool:
        """Whether a judge's score lies below that share of its threshold."""
        return any(one.score is not None and one.score < self.thresholds.get(one.judge, 0.0) * share
                   for one in self.judgements)

    def has_said(self, reason: str) -> bool:
        """Whether a judge abstains for that reason."""
        return any(one.score is None and one.reason == reason for one in self.judgements)

    def is_good(self, name: str) -> bool:
        return any(one.judge == name and one.score is not None and one.score >= self.thresholds[name]
                   for one in self.judgements)


class LivenessPanel:
    """Implements `face.liveness.Panel`; used on the vision thread.

    judges     those that only watch: passive networks, context, infrared, whatever there is
    plane      the rigid-plane test
    challenge  what visitors are asked for
    light      the screen's light, where there is a screen
    """

    def __init__(self, judges: Sequence[Judge], plane: PlaneTest, challenge: Challenge,
                 patience: Patience | None = None, light: LightChallenge | None = None) -> None:
        self._watching, self._plane, self._challenge = tuple(judges), plane, challenge
        self._light = light
        self._patience = patience or Patience()
        self._has_passive = any(judge.name == PASSIVE for judge in judges)
        self._thresholds = {judge.name: judge.threshold for judge in (*judges, plane, challenge)}
        self._tracks = Memories(_Track)

    @property
    def has_passive(self) -> bool:
        """Whether the passive networks are there."""
        return self._has_passive

    def judge(self, frame: Frame, face: Face, quality: Quality, demand: Demand) -> Liveness:
        if demand.level is Level.NONE:
            return Liveness()
        view = View(frame, face, quality)
        track = self._tracks.of(view.track_id)
        if track.begun_mono < 0:
            track.begun_mono = view.mono
        seen = self._ask_judges(view, demand.level)
        self._count(track, seen)
        if track.is_attack:
            return Liveness(Outcome.ATTACK, seen.judgements)
        if seen.is_bad():
            return Liveness(Outcome.PENDING, seen.judgements)
        return self._by_light(view, seen, demand) or self._weigh(view, track, seen, demand)

    def forget(self, track_id: int) -> None:
        self._tracks.forget(track_id)
        for judge in (*self._watching, self._plane, self._challenge):
            judge.forget(track_id)
        if self._light is not None:
            self._light.forget(track_id)

    def prompt(self, track_id: int) -> Action | None:
        """What the visitor of that track is asked to do now."""
        return self._challenge.prompt(track_id)

    def _ask_judges(self, view: View, level: Level) -> _Seen:
        judgements = [judge.judge(view) for judge in self._watching]
        is_head = False
        if level is not Level.LOW or not self._has_passive:
            plane = self._plane.judge(view)
            is_head = plane.score is not None and plane.score >= self._plane.threshold
            judgements.append(plane)
        if self._challenge.is_asked(view.track_id):
            judgements.append(self._challenge.judge(view, may_turn=is_head))
        if self._light is not None and level is Level.HIGH:
            judgements.append(self._light.judge(view))
        return _Seen(tuple(judgements), self._thresholds)

    def _count(self, track: _Track, seen: _Seen) -> None:
        patience = self._patience
        track.bad_frames = track.bad_frames + 1 if seen.is_bad() else 0
        track.sure_frames = track.sure_frames + 1 if seen.is_bad(patience.sure_share) else 0
        if track.sure_frames >= patience.attack_frames or track.bad_frames >= patience.doubt_frames:
            track.is_attack = True

    def _by_light(self, view: View, seen: _Seen, demand: Demand) -> Liveness | None:
        """What the screen's light has to say before the others are weighed; None where nothing, or no more."""
        if self._light is None or demand.level is not Level.HIGH:
            return None
        standing = self._light.standing(view.track_id)
        if standing is Standing.FAILED:
            return Liveness(Outcome.UNPROVED, seen.judgements)
        return Liveness(Outcome.PENDING, seen.judgements, Hint.HOLD_STILL) if standing is Standing.OPEN else None

    def _weigh(self, view: View, track: _Track, seen: _Seen, demand: Demand) -> Liveness:
        is_met = seen.is_good(self._challenge.name)
        needs_challenge = demand.level is Level.HIGH or demand.challenge is not None or not self._has_passive
        if needs_challenge and not is_met:
            return self._demand_action(view, seen, demand)
        if self._has_passive and not seen.is_good(PASSIVE):
            return Liveness(Outcome.PENDING, seen.judgements,
                            Hint.STEP_BACK if seen.has_said(OUT_OF_VIEW) else Hint.NONE)
        if demand.level is Level.LOW or seen.is_good(self._plane.name) or is_met:
            return Liveness(None, seen.judgements)
        waited_s, patience = view.mono - track.begun_mono, self._patience
        if waited_s < (patience.soon_s if seen.has_said(NO_MOTION) else patience.watch_s):
            return Liveness(Outcome.PENDING, seen.judgements)
        if waited_s < patience.watch_s + patience.turn_s:
            return Liveness(Outcome.PENDING, seen.judgements, Hint.TURN_A_LITTLE)
        return self._demand_action(view, seen, demand)

    def _demand_action(self, view: View, seen: _Seen, demand: Demand) -> Liveness:
        wanted = next((action for action in Action if action.value == demand.challenge), None)
        self._challenge.ask(view.track_id, view.mono, wanted)
        prompt = self._challenge.prompt(view.track_id)
        if self._challenge.is_resting(view.track_id) and (
                self._challenge.failures(view.track_id) >= self._patience.rounds):
            return Liveness(Outcome.UNPROVED, seen.judgements)
        return Liveness(Outcome.PENDING, seen.judgements,
                        Hint.DO_CHALLENGE if prompt is not None else Hint.LOOK_AT_CAMERA,
                        prompt.value if prompt is not None else "")


def open_panel(card: Card, chance: Chance, threshold: float | None = None,
               infrared_place: tuple[float, float, float, float] = (1.0, 1.0, 0.0, 0.0),
               screen: Screen | None = None) -> LivenessPanel:
    """The panel of a terminal with that pack; without the passive networks where the pack has none.

    threshold       of the passive networks, as measured at this door; None for the pack's
    infrared_place  where a second camera sees what the first does (see `infrared.Pairing`)
    screen          the screen at the door, which can shine in colours; None where there is none
    """
    judges: list[Judge] = [*context_judges(), Infrared(Pairing(*infrared_place))]
    if card.passive is not None:
        judges.append(PassiveJudge(PassiveNetworks(card), threshold))
    return LivenessPanel(judges, PlaneTest(), Challenge(chance),
                         light=LightChallenge(screen, chance) if screen is not None else None)
