"""The screen-light challenge as the panel asks for it: flashes on the screen, a judgement, another round if need be.

Called by `face.pad.fusion` at the high level where the door has a screen (`Screen`; the kiosk's lamp is one). It only
ever adds to what is asked: a face that follows the colours still has to meet the challenge, one that contradicts them
twice is refused, and where nothing can be told (daylight, a page that lags) the challenge decides alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from device.face.pad.judge import Memories, View, abstain
from device.face.pad.screenlight import LONGEST_LAG_S, NAME, Chance, Flashes, ScreenLight
from device.sighting import Judgement

LEAD_S = 0.4
"""Flashes begin so long after they are asked for at the earliest: the page must hear of them first."""

AGE_S = 0.2
"""How old a frame is at most when it is judged (figures: `doorctl bench --only decision`), and some to spare."""

ROUNDS = 2
"""Flashes shown to one visitor before the challenge says what has come of them."""

REST_S = 5.0
"""After a failure: keeps a guesser to a few tries a minute."""


class Shining(Enum):
    """How the last flashes went."""

    NONE = "none"
    GOING = "going"
    SHOWN = "shown"
    MISSED = "missed"


class Screen(Protocol):
    """What vision needs of the screen; any thread may call it."""

    @property
    def is_there(self) -> bool:
        """Whether a page can show colours now."""
        ...

    def shine(self, flashes: Flashes) -> int | None:
        """Show these, which must begin LEAD_S from now or later; their number, None where they cannot be shown."""
        ...

    def shining(self, number: int) -> Shining:
        """How the flashes of that number went."""
        ...


class Standing(Enum):
    """Where one visitor stands: still to be judged, judged to follow, not to be told, or contradicted."""

    OPEN = "open"
    FOLLOWS = "follows"
    UNKNOWN = "unknown"
    FAILED = "failed"


@dataclass(slots=True, eq=False)
class _Track:
    standing: Standing = Standing.OPEN
    judgement: Judgement = field(default_factory=lambda: abstain(NAME, "no_flashes"))
    flashes: Flashes | None = None
    number: int = 0
    rounds: int = 0
    ended_mono: float = 0.0


class LightChallenge:
    """One for each panel. chance  where the colours come from."""

    name = NAME
    threshold = ScreenLight.threshold

    def __init__(self, screen: Screen, chance: Chance) -> None:
        self._screen, self._chance, self._judge = screen, chance, ScreenLight()
        self._tracks = Memories(_Track)

    def judge(self, view: View) -> Judgement:
        """Take one more frame of that visitor, to whom flashes are shown until something has come of them."""
        track = self._tracks.of(view.track_id)
        if track.standing is Standing.FAILED and view.mono - track.ended_mono >= REST_S:
            track.standing, track.rounds = Standing.OPEN, 0
        if track.standing is Standing.OPEN:
            if track.flashes is None:
                self._begin(track, view)
            else:
                self._watch(track, track.flashes, view)
        return track.judgement

    def standing(self, track_id: int) -> Standing:
        track = self._tracks.known(track_id)
        return track.standing if track is not None else Standing.OPEN

    def forget(self, track_id: int) -> None:
        self._tracks.forget(track_id)
        self._judge.forget(track_id)

    def _begin(self, track: _Track, view: View) -> None:
        if not self._screen.is_there:
            self._end(track, Standing.UNKNOWN, abstain(NAME, "no_screen"), view.mono)
            return
        flashes = Flashes.at_random(self._chance, view.mono + AGE_S + LEAD_S)
        number = self._screen.shine(flashes)
        if number is None:  # it shines for somebody else, or this frame is old: ask with the next
            return
        track.flashes, track.number = flashes, number
        track.rounds += 1
        track.judgement = abstain(NAME, "flashing")
        self._judge.shine(view.track_id, flashes)

    def _watch(self, track: _Track, flashes: Flashes, view: View) -> None:
        said = self._judge.judge(view)
        shining = self._screen.shining(track.number)
        if view.mono <= flashes.ends_mono + LONGEST_LAG_S and shining in (Shining.GOING, Shining.SHOWN):
            return
        track.flashes = None
        if shining is not Shining.SHOWN:
            said = abstain(NAME, "not_shown")
        if said.score is not None and said.score >= self.threshold:
            self._end(track, Standing.FOLLOWS, said, view.mono)
        elif track.rounds >= ROUNDS:
            self._end(track, Standing.UNKNOWN if said.score is None else Standing.FAILED, said, view.mono)
        elif said.reason == "too_bright_here":
            self._end(track, Standing.UNKNOWN, said, view.mono)

    @staticmethod
    def _end(track: _Track, standing: Standing, judgement: Judgement, mono: float) -> None:
        track.standing, track.judgement, track.ended_mono = standing, judgement, mono
