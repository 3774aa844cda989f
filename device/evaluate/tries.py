"""The tries of a commissioning that goes on: what an installer is led through, and what is kept of it step by step.

Called by `doorctl commission`. A camera may be lost and a battery run down in ten minutes; so each try is written
down when it is over, and the next call goes on after the last one.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timedelta
from pathlib import Path

from device.errors import ConfigError
from device.evaluate.site import LIVE, Try
from device.face.pad.sitecard import write_whole

KEPT_FOR = timedelta(days=1)
"""After that the light is another one, and it is begun anew."""


@dataclass(frozen=True, slots=True)
class Step:
    """One presentation that the installer is led through; `species` and `light` as of `Try`."""

    species: str
    light: str
    text: str


def plan(people: int) -> list[Step]:
    """The presentations: each person twice in either light, and prints and a phone in both."""
    steps: list[Step] = []
    for light, words in (("bright", "with all lamps on"), ("dark", "as dark as it gets here")):
        for number in range(1, people + 1):
            for turn in ("", ", again"):
                steps.append(Step(LIVE, light, f"person {number}{turn}, {words}: walk up and look into the camera"))
        for held in ("held still", "moved a little"):
            steps.append(Step("print", light, f"a printed photo of a face, {held}, {words}"))
            steps.append(Step("phone", light, f"a phone that shows a face, {held}, {words}"))
    return steps


@dataclass(frozen=True, slots=True)
class Tries:
    """What has been seen so far: one entry for each step that is over, None where no usable face was seen.

    model_id, level, people  what it was begun with; with another pack, level or plan it cannot go on
    """

    begun_at: str
    model_id: str
    level: str
    people: int
    seen: tuple[Try | None, ...] = field(default=())

    def after(self, seen: Try | None) -> Tries:
        return replace(self, seen=(*self.seen, seen))

    @property
    def made(self) -> list[Try]:
        return [one for one in self.seen if one is not None]

    def can_go_on(self, fresh: Tries) -> bool:
        """Whether what `fresh` would begin is this, not finished and not of another day."""
        age = datetime.fromisoformat(fresh.begun_at) - datetime.fromisoformat(self.begun_at)
        return (timedelta(0) <= age <= KEPT_FOR and len(self.seen) < len(plan(self.people))
                and (self.model_id, self.level, self.people) == (fresh.model_id, fresh.level, fresh.people))

    def write(self, path: Path) -> None:
        """ConfigError where it cannot be written."""
        write_whole(path, asdict(self))


def partial_path(card: Path) -> Path:
    """Where the tries for that card are kept while they are not finished."""
    return card.with_name(f"{card.stem}.partial{card.suffix}")


def read_tries(path: Path) -> Tries | None:
    """What was kept; None where there is nothing; ConfigError where it is damaged."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        tries = Tries(**{**table, "seen": tuple(_try(one) for one in table["seen"])})
        datetime.fromisoformat(tries.begun_at)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError):
        raise ConfigError(f"{path}: is damaged; delete it and begin anew") from None
    return tries


def _try(table: dict[str, object] | None) -> Try | None:
    if table is None:
        return None
    if set(table) != {one.name for one in fields(Try)}:
        raise ValueError(sorted(table))
    return Try(**table)  # type: ignore[arg-type]
