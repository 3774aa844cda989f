"""The commissioning wizard: one presentation after the other before this door's camera, and what comes of it.

What is measured, and how the card is made, is `device.evaluate.site`'s; here is only the order, for a page. The door
goes on meanwhile: what is held up to it is refused and written as by any visitor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from device.frame import Frame
from device.kiosk.form import PageRefused

TRY_S = 14.0
"""A visitor who must be asked to turn and then do two actions takes so long; most presentations end sooner."""

MOST_PEOPLE = 6


class Presentation(Protocol):
    """One step of the plan: what is held before the camera, in which light."""

    @property
    def species(self) -> str: ...
    @property
    def light(self) -> str: ...


class Shown(Protocol):
    """What came of one presentation."""

    @property
    def score(self) -> float | None: ...
    @property
    def is_passed(self) -> bool: ...


class Commissioning(Protocol):
    """The core, as the wizard needs it."""

    def plan(self, people: int) -> Sequence[Presentation]:
        """The presentations for so many persons at hand."""
        ...

    def watch(self, frames: Iterable[Frame], step: Presentation, advise: Callable[[str], None]) -> Shown | None:
        """One presentation, at most to the end of the frames; None where no usable face was seen.

        advise  told the catalogue's key of what the visitor is asked to do
        """
        ...

    def conclude(self, tries: Sequence[Any]) -> dict[str, Any]:
        """The card as plain values, stored; ConfigError where the tries are too few or it cannot be."""
        ...

    def stored(self) -> dict[str, Any] | None:
        """The card that is stored; None where there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Round:
    """Where the wizard stands.

    is_watching  while a presentation goes on; advice is then the key of what the visitor is asked to do
    last         what came of the one before: passed, not_passed, unseen, or ""
    """

    steps: tuple[tuple[str, str], ...] = ()
    place: int = 0
    is_watching: bool = False
    advice: str = ""
    last: str = ""
    score: float | None = None
    is_done: bool = False


class Wizard:
    """One run at a time; `watch` is called on a thread that may wait, one call at a time."""

    def __init__(self, core: Callable[[], Commissioning], frames: Callable[[float], Iterator[Frame]]) -> None:
        """core    made at the first use: it loads networks
        frames  the camera's frames for so many seconds"""
        self._make, self._frames = core, frames
        self._core: Commissioning | None = None
        self._plan: Sequence[Presentation] = ()
        self._tries: list[Shown] = []
        self.round = Round()

    @property
    def core(self) -> Commissioning:
        if self._core is None:
            self._core = self._make()
        return self._core

    def begin(self, people: int) -> Round:
        """A new run with so many persons."""
        if self.round.is_watching:
            raise PageRefused("a presentation is going on", "page.busy", 409)
        self._plan, self._tries = self.core.plan(people), []
        self.round = Round(tuple((step.species, step.light) for step in self._plan))
        return self.round

    def watch(self) -> Round:
        """The next presentation; it takes TRY_S at most. One in which nobody was seen is repeated."""
        before = self.round
        if before.is_watching or before.place >= len(self._plan):
            raise PageRefused("begin a run first", "page.refused", 409)
        self.round = Round(before.steps, before.place, is_watching=True)
        try:
            seen = self.core.watch(self._frames(TRY_S), self._plan[before.place], self._advise)
        except BaseException:
            self.round = before
            raise
        self.round = self._after(before, seen)
        return self.round

    def conclude(self) -> dict[str, Any]:
        """The card, once every presentation was seen."""
        if not self.round.is_done:
            raise PageRefused("there are presentations to come", "page.refused", 409)
        return self.core.conclude(self._tries)

    def end(self) -> None:
        """Forget the run, and let go of the networks."""
        self._core, self._plan, self._tries, self.round = None, (), [], Round()

    def _advise(self, key: str) -> None:
        self.round = replace(self.round, advice=key)

    def _after(self, before: Round, seen: Shown | None) -> Round:
        if seen is None:
            return Round(before.steps, before.place, last="unseen")
        self._tries.append(seen)
        place = before.place + 1
        return Round(before.steps, place, last="passed" if seen.is_passed else "not_passed", score=seen.score,
                     is_done=place == len(before.steps))
