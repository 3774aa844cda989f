"""Outcome: what came of the last update, for whoever asks; kept until the next one.

The updater writes it; doord may note it in its journal, door-syncd may report it. It trusts nobody, so anybody may
read it.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path

from device.update.disk import write_durably
from device.update.manifest import read_moment, write_moment

_LONGEST = 400


class Result(Enum):
    """REFUSED: nothing was changed. TRYING: switched, on trial. UPDATED: it has shown that it works. ROLLED_BACK: it
    has not, and the release before runs. CUT: it was cut off before the switch, and the release before runs."""

    REFUSED = "refused"
    TRYING = "trying"
    UPDATED = "updated"
    ROLLED_BACK = "rolled_back"
    CUT = "cut"


@dataclass(frozen=True, slots=True)
class Outcome:
    """at: UTC, as far as the clock knew; version: of the update, empty where that was not found out; runs: the
    release that runs from then on; why: one line."""

    at: datetime
    result: Result
    version: str
    runs: str
    why: str = ""


def write_outcome(path: Path, outcome: Outcome) -> None:
    """A full card is not worth failing for."""
    found = asdict(outcome) | {"at": write_moment(outcome.at), "result": outcome.result.value,
                               "why": outcome.why[:_LONGEST]}
    with contextlib.suppress(OSError):
        write_durably(path, json.dumps(found, indent=1).encode() + b"\n")


def read_outcome(path: Path) -> Outcome | None:
    """None where there was no update yet."""
    try:
        found = json.loads(path.read_bytes())
        return Outcome(read_moment(found["at"]), Result(found["result"]), str(found["version"]), str(found["runs"]),
                       str(found["why"])[:_LONGEST])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
