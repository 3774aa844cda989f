"""Trial: a release that was switched to and has still to show that it works, as a small file that outlives a cut.

While it lies there, each boot counts down, and the release before comes back where nobody has ended the trial.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from device.update.disk import remove, write_durably
from device.update.version import Version

BOOTS = 3
START_S = 150.0
"""Within so long after its start the release must be well,"""
STAY_S = 60.0
"""and then stay so for this long."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One release on trial.

    previous       what to go back to
    boots_left     at zero it is gone back to
    boot_id        the boot that deadline_mono belongs to
    deadline_mono  until when the release must be well, monotonic seconds of that boot; START_S after it was started
    tolerated      faults that were there before the switch, and so are not the release's
    is_incoming    whether it came by the spool, whose bundle has had its turn then
    """

    version: Version
    previous: Version
    boots_left: int
    boot_id: str
    deadline_mono: float
    tolerated: tuple[str, ...] = ()
    is_incoming: bool = False

    @property
    def since_mono(self) -> float:
        """When it was switched to, or the machine started with it."""
        return self.deadline_mono - START_S


def read_trial(path: Path) -> Trial | None:
    """The trial under way, None where there is none; ValueError where the file is damaged."""
    try:
        found = json.loads(path.read_bytes())
        return Trial(Version.parse(found["version"]), Version.parse(found["previous"]), int(found["boots_left"]),
                     str(found["boot_id"]), float(found["deadline_mono"]), tuple(map(str, found["tolerated"])),
                     bool(found["is_incoming"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{path}: damaged ({type(error).__name__})") from None


def write_trial(path: Path, trial: Trial) -> None:
    found = asdict(trial) | {"version": str(trial.version), "previous": str(trial.previous)}
    write_durably(path, json.dumps(found, indent=1).encode() + b"\n")


def end_trial(path: Path) -> None:
    remove(path)
