"""Whether the door still is as it was when it was commissioned, seen in the visitors who are let in.

An observer of the door. Commissioning leaves a card beside the configuration (`face.pad.sitecard`); where the newest
visitors' liveness scores or the light on their faces have moved away from it, the terminal asks to be commissioned
again. A door that never was has nothing to compare with.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from device.door.claim import FaceClaim
from device.door.decision import Decision, Now
from device.errors import ConfigError
from device.face.pad.sitecard import CARD_NAME, LEAST_RECENT, SiteCard, drift, read_card
from device.sighting import Sighting

log = logging.getLogger(__name__)

MOST_RECENT = 2 * LEAST_RECENT
"""Visitors who are remembered; two figures of each, and not who they were."""


class DriftWatch:
    """folders  where the card may lie: with the configuration, or with the journal; the newest counts
    degrade  told whether the door has changed, and how
    """

    def __init__(self, folders: Sequence[Path], degrade: Callable[[str, bool, str], None]) -> None:
        self._paths, self._degrade = [folder / CARD_NAME for folder in folders], degrade
        self._card: SiteCard | None = None
        self._seen: tuple[int, Path] | None = None
        self._scores: deque[float] = deque(maxlen=MOST_RECENT)
        self._exposures: deque[float] = deque(maxlen=MOST_RECENT)
        self._said = ""

    def decided(self, decision: Decision, at: Now) -> None:
        claim = decision.claim
        if not decision.granted or not isinstance(claim, FaceClaim):
            return
        self._look_at_card()
        if claim.live_score is not None:
            self._scores.append(claim.live_score)
        if claim.exposure is not None:
            self._exposures.append(claim.exposure)
        said = drift(self._card, tuple(self._scores), tuple(self._exposures)) if self._card is not None else ""
        if said != self._said:
            self._said = said
            self._degrade("liveness_drifted", bool(said), said)

    def signalled(self, reason: str) -> None:
        """Of no interest here."""

    def awaited(self, sighting: Sighting) -> None:
        """Of no interest here."""

    def _look_at_card(self) -> None:
        """A card that was made anew counts from then on, with visitors who came after it."""
        there = [(mtime, path) for path in self._paths if (mtime := _written(path))]
        newest = max(there, default=None)
        if newest == self._seen:
            return
        self._seen, self._card = newest, None
        self._scores.clear()
        self._exposures.clear()
        try:
            self._card = read_card(newest[1]) if newest is not None else None
        except ConfigError as error:
            log.warning("%s", error)


def _written(path: Path) -> int:
    """When a file was written, nanoseconds since 1970; 0 where there is none, or none that may be looked at."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
