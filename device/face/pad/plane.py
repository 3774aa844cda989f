"""The rigid-plane test: over a turn of the head or a step closer a picture stays flat and a head does not.

Called by `face.pad.fusion`. Each frame of a track is compared with two earlier ones of it (`face.pad.parallax`), so
that one of them lies a fair way back. While nothing moves that tells the two apart, the judge abstains.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from device.face.pad.judge import Memories, View, abstain
from device.face.pad.parallax import Parallax, Patch, Reference, measure
from device.sighting import Judgement

NAME = "plane"
NO_MOTION, LITTLE_MOTION = "no_motion", "little_motion"
"""Why the test abstains: nothing has spoken for a head lately, or too little has."""


@dataclass(frozen=True, slots=True)
class Limits:
    """From what a comparison speaks for a head or for a picture.

    A comparison with `seen` and `share` and `beyond` of at least these speaks for a head, and `relief_frames` of the
    newest `within` comparisons make one: on a head they come in a row, on a picture by chance. Measured on the
    rehearsal at 640×480 and 1280×720. Of 228 attacks (ten instruments still, waved, carried up and tilted, filling
    the frame and in other lights; sheets bent by .5 to 1.2 radians, waved and carried) with 18,300 comparisons none
    had three in ten, four had two; those of flat pictures had a `share` up to .6 where pixel grids beat with the
    camera's, else up to .45, those of bent sheets up to .8 with `beyond` below .25. Heads that walk up, turn by five
    degrees or more or stand and sway had the three within a third of a second in most scenes by day. Waved attacks
    had gains of -.2 to .3, heads .6 to 1.4.
    """

    least_points: int = 30
    least_seen: float = 0.12
    least_share: float = 0.5
    least_beyond: float = 0.25
    telling_expected: float = 0.6
    least_gain: float = 0.6
    most_gain: float = 2.0
    flat_expected: float = 1.0
    flat_gain: float = 0.3
    flat_share: float = 0.5
    flat_noise: float = 0.8
    flat_scale: float = 1.0
    relief_frames: int = 3
    within: int = 10
    flat_frames: int = 5


LIMITS = Limits()

KEPT = 2
GROWN, STEP = 1.45, 1.2
"""A face that has come so much nearer is no longer compared with the older frame, which shows less than is there now;
and a new one is kept each time that it has come nearer by so much."""

APART_S = 0.4
REFERENCE_S = 3.0
"""Seconds between two kept frames of a face that stays where it is; and the age at which one goes: the light and the
face have changed."""

MOST_MISMATCHES = 5
"""Comparisons in a row that find nothing to follow, after which a kept frame was a bad one."""

SETTLED_FRAMES = 8
SETTLED_EVERY = 3
"""After so many comparisons that spoke for a head, only every third frame is compared."""

_TELLING = 30


@dataclass(slots=True, eq=False)
class _Kept:
    """An earlier frame of the track, and how often in a row nothing of it was found again."""

    reference: Reference
    since_mono: float
    mismatches: int = 0

    def is_good(self, patch: Patch, mono: float) -> bool:
        return (self.reference.patch.scale <= patch.scale * GROWN and self.mismatches < MOST_MISMATCHES
                and mono - self.since_mono <= REFERENCE_S)


@dataclass(slots=True, eq=False)
class _Track:
    """What is known of one track.

    newest    of the newest comparisons, which spoke for a head
    telling   of the newest that spoke at all, which did so
    is_head   whether enough have spoken for a head within a short time
    """

    newest: deque[bool]
    telling: deque[bool] = field(default_factory=lambda: deque(maxlen=_TELLING))
    kept: list[_Kept] = field(default_factory=list)
    frames: int = 0
    relief: int = 0
    flat: int = 0
    is_head: bool = False


class PlaneTest:
    """The judge. Its score is the share of comparisons for a head among the newest that said anything; 0 while too
    few have spoken for one within a short time."""

    name = NAME
    threshold = 0.5

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._limits = limits
        self._tracks = Memories(lambda: _Track(deque(maxlen=limits.within)))

    def judge(self, view: View) -> Judgement:
        track = self._tracks.of(view.track_id)
        track.frames += 1
        if track.is_head and track.relief >= SETTLED_FRAMES and track.frames % SETTLED_EVERY:
            return self._judgement(track)
        patch = Patch.of(view.frame.pixels, view.mesh)
        track.kept = [kept for kept in track.kept if kept.is_good(patch, view.mono)]
        for kept in track.kept:
            self._weigh(track, kept, measure(kept.reference, patch), patch)
        if _needs_another(track.kept, patch, view.mono):
            track.kept = [*track.kept[1 - KEPT:], _Kept(Reference.of(patch), view.mono)]
        return self._judgement(track)

    def forget(self, track_id: int) -> None:
        self._tracks.forget(track_id)

    def _weigh(self, track: _Track, kept: _Kept, parallax: Parallax | None, patch: Patch) -> None:
        if parallax is None or parallax.points < self._limits.least_points:
            kept.mismatches += 1
            return
        kept.mismatches = 0
        is_for_head, is_for_picture = is_relief(parallax, self._limits), is_flat(parallax, patch, self._limits)
        track.newest.append(is_for_head)
        if is_for_head or is_for_picture:
            track.telling.append(is_for_head)
        track.relief += is_for_head
        track.flat += is_for_picture
        track.is_head = track.is_head or sum(track.newest) >= self._limits.relief_frames

    def _judgement(self, track: _Track) -> Judgement:
        if not track.is_head and track.flat < self._limits.flat_frames:
            return abstain(NAME, LITTLE_MOTION if any(track.newest) else NO_MOTION)
        score = sum(track.telling) / len(track.telling) if track.is_head else 0.0
        return Judgement(NAME, score, "relief" if score >= self.threshold else "flat")


def _needs_another(kept: list[_Kept], patch: Patch, mono: float) -> bool:
    """Whether this frame should be kept too: the face has come nearer, or there is only one and that a while ago."""
    if not kept or kept[-1].reference.patch.scale > patch.scale * STEP:
        return True
    return len(kept) < KEPT and mono - kept[-1].since_mono > APART_S


def is_relief(parallax: Parallax, limits: Limits = LIMITS) -> bool:
    """Whether the points moved as those of a head: their relief explains most of it, and as much as the pose says."""
    is_as_expected = limits.least_gain <= parallax.gain <= limits.most_gain
    return (parallax.seen >= limits.least_seen and parallax.share >= limits.least_share
            and parallax.beyond >= limits.least_beyond
            and (parallax.expected < limits.telling_expected or is_as_expected))


def is_flat(parallax: Parallax, patch: Patch, limits: Limits = LIMITS) -> bool:
    """Whether the face turned and its points moved as those of a picture; never said of faces too small for it."""
    return (parallax.expected >= limits.flat_expected and parallax.gain < limits.flat_gain
            and parallax.share < limits.flat_share and parallax.noise < limits.flat_noise
            and patch.scale <= limits.flat_scale)
