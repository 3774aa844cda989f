"""Where releases, the updater's own state and what is handed over lie; `firmware_scripts/UPDATES.md` draws it.

Everything of the updater takes its paths from here, so that a whole terminal fits into a folder for a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from device.update.version import Version


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one terminal.

    opt        releases/<version>/ and the links `current` and `previous`
    state      the updater's own: trusted metadata, time floor, trial, outcome, staging; written by root alone
    spool      where door-syncd leaves a bundle
    bootstrap  the first root of trust, put there by whoever installed the terminal
    link       there where the terminal is tied to a hub
    runtime    where doord and door-syncd say how they are
    """

    opt: Path
    state: Path
    spool: Path
    bootstrap: Path
    link: Path
    runtime: Path

    @property
    def releases(self) -> Path:
        return self.opt / "releases"

    @property
    def current(self) -> Path:
        return self.opt / "current"

    @property
    def previous(self) -> Path:
        return self.opt / "previous"

    @property
    def metadata(self) -> Path:
        """A link to the folder of trusted metadata that is in force."""
        return self.state / "metadata"

    @property
    def floor(self) -> Path:
        return self.state / "floor"

    @property
    def trial(self) -> Path:
        return self.state / "trial.json"

    @property
    def outcome(self) -> Path:
        return self.state / "outcome.json"

    @property
    def staging(self) -> Path:
        return self.state / "staging"

    @property
    def lock(self) -> Path:
        return self.state / "lock"

    @property
    def incoming(self) -> Path:
        """The bundle that door-syncd left, whole."""
        return self.spool / "incoming.bundle"

    def release(self, version: Version) -> Path:
        return self.releases / str(version)


def layout(root: Path = Path("/")) -> Layout:
    """The layout of an installed terminal, under `root`."""
    return Layout(root / "opt/door", root / "var/lib/door-update", root / "var/spool/door-update",
                  root / "etc/door/update-root.json", root / "etc/door/link.toml", root / "run/door")
