"""The rigid-plane test: over a turn of the head or a step closer a picture stays flat and a head does not.

Called by `face.pad.fusion`. Each frame of a track is compared with an earlier one of it (`face.pad.parallax`). While
nothing moves that tells the two apart, the judge abstains.
"""

from __future__ import annotations

from dataclasses import dataclass

from device.face.pad.judge import Memories, View, abstain
from device.face.pad.parallax import Parallax, Patch, Reference, measure
from device.sighting import Judgement

NAME = "plane"


@dataclass(frozen=True, slots=True)
class Limits:
    """From what a comparison speaks for a head or for a picture.

    Measured on the rehearsal at 1280×720 (9 walks of 4 people in 6 lights: 920 comparisons; 24 attacks, two kinds,
    ten instruments, still and waved: 1,490) and at 640×480 with sheets bent by .6 to 1.2 radians (600). Of attacks
    with `seen` of .15 and more flat ones had a `share` up to .55, bent ones up to .81; bent ones that looked like a
    head otherwise had `beyond` up to .14, heads .25 to .9 (nine in ten, by scene; the least scene .14). Heads that
    stood and swayed by one or two degrees had a `share` above .72 in four of five. Waved attacks had gains of -.2 to
    .3, heads .6 to 1.4. On NUAA's sequences (frames half a second and more apart) none of 80 prints, moved and bent
    by hand, was a head (1 of 480 frames spoke for one, three are needed), nor any of 17 of live people a picture;
    three of those were heads, though all look ahead.
    """

    least_points: int = 30
    least_seen: float = 0.15
    least_share: float = 0.7
    least_beyond: float = 0.22
    telling_expected: float = 0.6
    least_gain: float = 0.6
    most_gain: float = 2.0
    flat_expected: float = 1.0
    flat_gain: float = 0.3
    flat_share: float = 0.5
    flat_noise: float = 0.8
    flat_scale: float = 1.0
    relief_frames: int = 3
    flat_frames: int = 5


LIMITS = Limits()

GROWN = 1.3
"""A face that has come so much nearer is compared with a newer frame: the older one shows less than is there now."""

REFERENCE_S = 3.0
"""Age at which a reference is replaced: the light and the face have changed."""

MOST_MISMATCHES = 5
"""Comparisons in a row that find nothing to follow, after which the reference was a bad one."""


SETTLED_FRAMES = 8
SETTLED_EVERY = 3
"""After so many frames that spoke for a head, only every third one is compared."""


@dataclass(slots=True, eq=False)
class _Track:
    """What is known of one track: frames that spoke for a head, and for a picture."""

    reference: Reference | None = None
    since_mono: float = 0.0
    mismatches: int = 0
    frames: int = 0
    relief: int = 0
    flat: int = 0


class PlaneTest:
    """The judge. Its score is the share of frames for a head among those that said anything."""

    name = NAME
    threshold = 0.5

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._limits = limits
        self._tracks = Memories(_Track)

    def judge(self, view: View) -> Judgement:
        track = self._tracks.of(view.track_id)
        track.frames += 1
        if track.relief >= SETTLED_FRAMES and track.frames % SETTLED_EVERY:
            return self._judgement(track)
        patch = Patch.of(view.frame.pixels, view.mesh)
        if self._needs_reference(track, patch, view.mono):
            track.reference, track.since_mono, track.mismatches = Reference.of(patch), view.mono, 0
            return self._judgement(track)
        assert track.reference is not None  # noqa: S101
        self._weigh(track, measure(track.reference, patch), patch)
        return self._judgement(track)

    def forget(self, track_id: int) -> None:
        self._tracks.forget(track_id)

    def _needs_reference(self, track: _Track, patch: Patch, mono: float) -> bool:
        return (track.reference is None or track.reference.patch.scale > patch.scale * GROWN
                or track.mismatches >= MOST_MISMATCHES or mono - track.since_mono > REFERENCE_S)

    def _weigh(self, track: _Track, parallax: Parallax | None, patch: Patch) -> None:
        if parallax is None or parallax.points < self._limits.least_points:
            track.mismatches += 1
            return
        track.mismatches = 0
        track.relief += is_relief(parallax, self._limits)
        track.flat += is_flat(parallax, patch, self._limits)

    def _judgement(self, track: _Track) -> Judgement:
        limits = self._limits
        if track.relief < limits.relief_frames and track.flat < limits.flat_frames:
            return abstain(NAME, "no_motion")
        score = track.relief / (track.relief + track.flat)
        return Judgement(NAME, score, "relief" if score >= self.threshold else "flat")


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
