"""The card of one door: what commissioning found of liveness there, and whether the door still is as it was then.

Written by `doorctl commission` beside the configuration; read by it and by the terminal, which compares its visitors
with it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from device.errors import ConfigError

CARD_NAME = "liveness.json"
STALE = timedelta(days=180)
"""After that, or after a change of camera or lamps, commissioning should be repeated."""

DRIFTED = 0.15
"""Change of the median live score that is worth a word."""

LEAST_RECENT = 30
"""Visitors whose scores are compared; the median of so many live scores moves by .03 from draw to draw (NUAA)."""

LIGHT_BEYOND, MOST_BEYOND = 0.08, 0.5
"""How far beyond what was commissioned the light on a face may lie, and for which share of the visitors more."""

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class SiteCard:
    """What commissioning found; `proposed` is None where live people and pictures cannot be told apart by score.

    live_scores  of the passive networks, one for each live try, ascending: what later visitors are compared with
    exposure_least, exposure_most  mean grey level of the faces, 0..1
    """

    made_at: str
    camera: str
    model_id: str
    level: str
    threshold: float | None
    proposed: float | None
    live_tries: int
    bpcer: float
    bpcer_interval: Interval
    attacks: dict[str, int]
    apcer: dict[str, float]
    apcer_worst: float
    apcer_interval: Interval
    live_scores: tuple[float, ...]
    latency_median_s: float | None
    latency_p95_s: float | None
    exposure_least: float
    exposure_most: float
    warnings: tuple[str, ...]

    @property
    def live_median(self) -> float | None:
        return median(self.live_scores) if self.live_scores else None

    def write(self, path: Path) -> None:
        """Beside the configuration; ConfigError where it cannot be written."""
        write_whole(path, asdict(self))


def drift(card: SiteCard, scores: Sequence[float], exposures: Sequence[float] = ()) -> str:
    """What has changed since the card was made, as one line that ends with what to do; "" where nothing to speak of,
    or too few visitors to tell.

    scores     the passive networks' last word on each of the newest visitors who were let in
    exposures  mean grey level of their faces, 0..1
    """
    least, most = card.exposure_least - LIGHT_BEYOND, card.exposure_most + LIGHT_BEYOND
    if card.live_median is not None and len(scores) >= LEAST_RECENT:
        change = median(scores) - card.live_median
        if abs(change) > DRIFTED:
            return f"live scores have moved by {change:+.2f} since {card.made_at[:10]}: commission again"
    if len(exposures) >= LEAST_RECENT:
        beyond = sum(not least <= exposure <= most for exposure in exposures)
        if beyond > MOST_BEYOND * len(exposures):
            return f"the light on faces is not what it was on {card.made_at[:10]}: commission again"
    return ""


def changed(old: SiteCard, new: SiteCard) -> str:
    """What differs between two cards of one door; "" where nothing to speak of."""
    if old.model_id != new.model_id or old.camera != new.camera:
        return "camera or pack have changed since the last time"
    if old.live_median is None or new.live_median is None:
        return ""
    change = new.live_median - old.live_median
    return f"live scores have moved by {change:+.2f} since {old.made_at[:10]}" if abs(change) > DRIFTED else ""


def is_stale(card: SiteCard, now: datetime) -> bool:
    """Whether commissioning should be repeated for its age."""
    return now - datetime.fromisoformat(card.made_at) > STALE


def read_card(path: Path) -> SiteCard | None:
    """The stored card; None where there is none; ConfigError where it is damaged."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        spans = {name: tuple(table[name]) for name in ("bpcer_interval", "apcer_interval", "live_scores", "warnings")}
        card = SiteCard(**{**table, **spans})
        datetime.fromisoformat(card.made_at)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError):
        raise ConfigError(f"{path}: is damaged or of an older release; delete it and commission again") from None
    return card


def write_whole(path: Path, table: dict[str, Any]) -> None:
    """Write a JSON file so that a power cut leaves the old one or the new one; ConfigError where it cannot be."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or 'cannot be written'}") from None
