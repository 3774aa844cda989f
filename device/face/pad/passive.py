"""The passive judge: two networks that look for the traces of paper and screens around the face.

MiniFASNetV2 sees the face with a little of its surroundings, V1SE with more. They judge single frames, and even of a
live person one frame in ten may look bad; so the score of a track is a median over its newest frames.
Called by `face.pad.fusion` at the door and by `evaluate.pad`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import cv2
import numpy as np

from device.face.card import Card
from device.face.landmarks import bounds
from device.face.pad.judge import Memories, View, abstain
from device.face.runtime import Network
from device.face.types import Box, Face, Floats
from device.frame import Pixels
from device.sighting import Judgement

NAME = "passive"
TEXTURE = "texture"
SIDE = 80
LEAST_FRAMES = 5
"""Before so many frames the judge abstains."""

FULL_REACH = 1.8
"""Times the box that must fit into the picture. Where only 1.6 times do, the networks refuse 13 % of live people at
a threshold of 0.4, 4 % at 1.8 and none at 2.4 (159 live and 160 print frames of NUAA, cropped about the face)."""
CONVICTING = 0.05
"""What still is an attack where fewer surroundings are in view: none of those live frames lies below it, and 94 % of
the prints do."""

PRINT, LIVE, SCREEN = 0, 1, 2
"""The networks' classes, in their order. Upstream gives the two of attacks no names; which is which was measured: the
first has nine tenths of what is not live on 476 of NUAA's 480 prints and on the one print of paper among the stills,
the third on the still of a tablet. Two more stills of screens and one of a glossy page are left open."""

CLEAR_SHARE = 0.9
"""Share of what is not live from which a class names the species."""

_WINDOW = 15


@dataclass(frozen=True, slots=True, eq=False)
class Sense:
    """One of the two networks; `scale` is how many times the face's box it sees."""

    network: Network
    scale: float

    def classes(self, pixels: Pixels, box: Box) -> Floats:
        """3: how much the face in the box looks like a print, a live one and a screen; the sum is 1."""
        chip = surroundings(pixels, box, self.scale).astype(np.float32)
        found: Floats = self.network.run(chip[np.newaxis])[0][0]
        return found


class PassiveNetworks:
    """The two networks of one pack and their threshold; used on one thread."""

    def __init__(self, card: Card) -> None:
        """ModelMismatch where the pack has none; ask `Card.passive` first."""
        self.senses = (Sense(Network(card.path("pad_v2")), 2.7), Sense(Network(card.path("pad_v1se")), 4.0))
        self.threshold = card.passive.threshold if card.passive else 1.0

    def look(self, pixels: Pixels, face: Face) -> Judgement:
        """What both say of one picture that stands alone."""
        boxes = [face.box] if reach(pixels, face.box) >= FULL_REACH else [face.box, _tight(face)]
        found: Floats = np.mean([sense.classes(pixels, box) for box in boxes for sense in self.senses], axis=0)
        return verdict(float(found[LIVE]), len(boxes) == 1, self.threshold, species(found))


@dataclass(slots=True)
class _Seen:
    """The newest classes of either network on one track, and how many frames it has had."""

    looks: tuple[deque[Floats], deque[Floats]] = field(
        default_factory=lambda: (deque(maxlen=_WINDOW), deque(maxlen=_WINDOW)))
    frames: int = 0

    def score(self) -> float:
        """The mean of both networks' medians, over all these looks or over the newest, the lesser.

        The newest five count for themselves, so that what is held before a live face is noticed within three looks.
        """
        live = [[float(look[LIVE]) for look in looks] for looks in self.looks]
        whole: float = sum(float(np.median(each)) for each in live)
        newest: float = sum(float(np.median(each[-LEAST_FRAMES:])) for each in live)
        return min(whole, newest) / len(live)

    def species(self) -> str:
        """What the newest looks took it for, were it an attack."""
        return species(np.mean([look for looks in self.looks for look in list(looks)[-LEAST_FRAMES:]], axis=0))


class PassiveJudge:
    """The passive networks over the frames of a track.

    On the first LEAST_FRAMES frames both networks look, afterwards they take turns: half the cost. It abstains with
    "too_few_frames" or "surroundings_out_of_view" (the face is too near).
    """

    name = NAME

    def __init__(self, networks: PassiveNetworks, threshold: float | None = None) -> None:
        """threshold: one measured at this very door, instead of the card's"""
        self._networks = networks
        self._threshold = networks.threshold if threshold is None else threshold
        self._tracks: Memories[_Seen] = Memories(_Seen)

    @property
    def threshold(self) -> float:
        return self._threshold

    def judge(self, view: View) -> Judgement:
        seen, pixels = self._tracks.of(view.track_id), view.frame.pixels
        is_full = reach(pixels, view.face.box) >= FULL_REACH
        for index, sense in enumerate(self._networks.senses):
            if seen.frames < LEAST_FRAMES or seen.frames % 2 == index:
                # Of a face too near for its surroundings to show, every other look takes the tighter box.
                box = view.face.box if is_full or len(seen.looks[index]) % 2 == 0 else _tight(view.face)
                seen.looks[index].append(sense.classes(pixels, box))
        seen.frames += 1
        if seen.frames < LEAST_FRAMES:
            return abstain(self.name, "too_few_frames")
        return verdict(seen.score(), is_full, self._threshold, seen.species())

    def score_of(self, track_id: int) -> float | None:
        """The track's score, sure or not; None before LEAST_FRAMES frames."""
        seen = self._tracks.known(track_id)
        return seen.score() if seen is not None and seen.frames >= LEAST_FRAMES else None

    def forget(self, track_id: int) -> None:
        self._tracks.forget(track_id)


def verdict(score: float, has_surroundings: bool, threshold: float, kind: str = TEXTURE) -> Judgement:
    """The judgement on a fused score: an attack below the threshold, and where the surroundings are not in view only
    well below it; between the two the judge abstains.

    kind  the attack's species, should it be one
    """
    if score >= threshold:
        return Judgement(NAME, score)
    if has_surroundings or score < CONVICTING:
        return Judgement(NAME, score, kind)
    return abstain(NAME, "surroundings_out_of_view")


def species(classes: Floats) -> str:
    """"print" or "screen" where the networks are clear about what is not live, else "texture"."""
    attack = max(float(classes[PRINT] + classes[SCREEN]), 1e-9)
    if float(classes[PRINT]) >= CLEAR_SHARE * attack:
        return "print"
    return "screen" if float(classes[SCREEN]) >= CLEAR_SHARE * attack else TEXTURE


def reach(pixels: Pixels, box: Box) -> float:
    """How many times the box fits into the picture."""
    height, width = pixels.shape[:2]
    return float(min((height - 1) / max(box.height, 1.0), (width - 1) / max(box.width, 1.0)))


def surroundings(pixels: Pixels, box: Box, scale: float) -> Pixels:
    """80×80×3 BGR: the box and what lies around it, `scale` times as large but never larger than the picture.

    Where it would reach beyond an edge it is shifted back, not clipped, so that the proportions stay. As the networks
    were trained: whole pixels, last row and column included, plain bilinear.
    """
    height, width = pixels.shape[:2]
    left, top = int(box.left), int(box.top)
    across, down = max(int(box.left + box.width) - left + 1, 1), max(int(box.top + box.height) - top + 1, 1)
    scale = min((height - 1) / down, (width - 1) / across, scale)
    x, x_end = _span(left + across / 2, across * scale, width)
    y, y_end = _span(top + down / 2, down * scale, height)
    chip: Pixels = cv2.resize(pixels[y:y_end + 1, x:x_end + 1], (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    return chip


def _span(centre: float, length: float, limit: int) -> tuple[int, int]:
    """First and last pixel of a stretch about `centre`, shifted into 0..limit−1."""
    first = max(min(centre - length / 2, limit - 1 - length), 0.0)
    return int(first), min(int(first + length), limit - 1)


def _tight(face: Face) -> Box:
    """The bounds of the landmarks: tighter than the detector's box."""
    return face.box if face.mesh is None else bounds(face.mesh[:, :2])
