"""Commissioning at one door: what its camera makes of a few live people and of pictures of them.

Called by `doorctl commission`. In the terms of ISO/IEC 30107-3, and honest about its size: ten tries give an
interval as wide as .3, so this tells whether the camera suits the networks, and proposes a threshold; it is no rate
of attacks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from device.config import FaceConfig
from device.errors import ConfigError
from device.evaluate.intervals import wilson
from device.face.liveness import Liveness
from device.face.lookout import Lookout
from device.face.models import Models
from device.face.pad.fusion import LivenessPanel
from device.face.pad.passive import NAME as PASSIVE
from device.face.pad.sitecard import SiteCard
from device.face.quality import DOOR, Inspector
from device.face.types import Quality
from device.frame import Frame
from device.sighting import Demand, Hint, Level, Outcome

LIVE = "live"
LEAST_TRIES = 4
"""Live ones and attacks each, without which there is no card."""

GUARD = 0.05
"""The proposed threshold keeps so far from the lowest live score and from the highest of an attack, where it can."""

SETTLE_S = 1.0
"""After its verdict a try is watched for so long still: a live person may yet be called an attack."""

Prompt = Callable[[Hint, str], None]
"""Told what the visitor is asked to do now: the hint, and the action where it is a challenge."""


@dataclass(frozen=True, slots=True)
class Try:
    """One presentation.

    species    "live", or the instrument: "print", "phone"
    light      "dark" or "bright"
    score      the passive networks' last word on it, None where they abstained
    is_passed  whether the level asked for was reached
    latency_s  from the first usable frame to that
    exposure   mean grey level of the face, 0..1
    """

    species: str
    light: str
    score: float | None
    is_passed: bool
    latency_s: float | None
    exposure: float | None


@dataclass(slots=True)
class _Seen:
    """One presentation while it goes on."""

    begun_mono: float | None = None
    passed_mono: float | None = None
    decided_mono: float = float("inf")
    is_attack: bool = False
    score: float | None = None
    exposures: list[float] = field(default_factory=list)

    def take(self, frame: Frame, quality: Quality, live: Liveness) -> None:
        self.begun_mono = frame.mono if self.begun_mono is None else self.begun_mono
        self.is_attack = self.is_attack or live.outcome is Outcome.ATTACK
        if live.outcome is None and self.passed_mono is None:
            self.passed_mono = frame.mono
        if live.outcome in (None, Outcome.ATTACK):
            self.decided_mono = min(self.decided_mono, frame.mono)
        self.exposures.append(quality.exposure)
        scores = [one.score for one in live.judgements if one.judge == PASSIVE and one.score is not None]
        self.score = scores[0] if scores else self.score


def watch(frames: Iterable[Frame], models: Models, config: FaceConfig, panel: LivenessPanel, level: Level,
          species: str, light: str, prompt: Prompt = lambda hint, action: None) -> Try | None:
    """One presentation before the camera, to SETTLE_S after its verdict or to the end of `frames`; None where no
    usable face was seen. CameraLost where the camera is."""
    lookout = Lookout(models)
    inspector = Inspector(replace(DOOR, min_interocular_px=config.min_interocular_px,
                                  max_interocular_px=config.max_interocular_px))
    seen, asked = _Seen(), (Hint.NONE, "")
    for frame in frames:
        for track in lookout.see(frame)[:1]:
            quality = inspector.inspect(frame.pixels, track.face)
            if quality.is_usable:
                live = panel.judge(frame, track.face, quality, Demand(level))
                seen.take(frame, quality, live)
                if (live.hint, live.action) != asked:
                    asked = live.hint, live.action
                    prompt(*asked)
        if frame.mono - seen.decided_mono > SETTLE_S:
            break
    if seen.begun_mono is None:
        return None
    # Where an attack has passed the door is open, whatever is seen of it later.
    is_passed = seen.passed_mono is not None and not (species == LIVE and seen.is_attack)
    latency = seen.passed_mono - seen.begun_mono if seen.passed_mono is not None and is_passed else None
    return Try(species, light, seen.score, is_passed, latency, float(np.median(seen.exposures)))


def card_of(tries: Sequence[Try], *, camera: str, model_id: str, level: Level, threshold: float | None,
            at: datetime) -> SiteCard:
    """The card of these tries; ConfigError where there are too few of either kind."""
    live = [one for one in tries if one.species == LIVE]
    attacks = [one for one in tries if one.species != LIVE]
    if len(live) < LEAST_TRIES or len(attacks) < LEAST_TRIES:
        raise ConfigError(f"{len(live)} live tries and {len(attacks)} attacks were seen; {LEAST_TRIES} of each are "
                          "needed: commission again")
    rejected = sum(not one.is_passed for one in live)
    species = sorted({one.species for one in attacks})
    passed = {name: sum(one.is_passed for one in attacks if one.species == name) for name in species}
    counts = {name: sum(one.species == name for one in attacks) for name in species}
    apcer = {name: passed[name] / counts[name] for name in species}
    worst = max(species, key=lambda name: apcer[name])
    live_scores = [one.score for one in live if one.score is not None]
    attack_scores = [one.score for one in attacks if one.score is not None]
    latencies = [one.latency_s for one in live if one.latency_s is not None]
    exposures = [one.exposure for one in live if one.exposure is not None] or [0.0]
    proposed = proposal(live_scores, attack_scores)
    return SiteCard(
        made_at=at.isoformat(timespec="seconds"), camera=camera, model_id=model_id, level=level.value,
        threshold=threshold, proposed=proposed, live_tries=len(live), bpcer=rejected / len(live),
        bpcer_interval=wilson(rejected, len(live)) or (0.0, 1.0), attacks=counts, apcer=apcer,
        apcer_worst=apcer[worst], apcer_interval=wilson(passed[worst], counts[worst]) or (0.0, 1.0),
        live_scores=tuple(sorted(live_scores)),
        latency_median_s=float(np.median(latencies)) if latencies else None,
        latency_p95_s=float(np.quantile(latencies, 0.95)) if latencies else None,
        exposure_least=min(exposures), exposure_most=max(exposures),
        warnings=tuple(_warnings(live, attacks, proposed, live_scores, threshold)))


def proposal(live: Sequence[float], attacks: Sequence[float]) -> float | None:
    """A threshold between the scores of pictures and of live people, nearer to the pictures, since live people vary
    more from day to day than a few tries show; None where they overlap or there are none."""
    if not live or not attacks or min(live) - max(attacks) < 2 * GUARD:
        return None
    low, high = max(attacks) + GUARD, min(live) - GUARD
    return round(min(max(low + (high - low) / 3, 0.05), 0.95), 2)


def _warnings(live: Sequence[Try], attacks: Sequence[Try], proposed: float | None, live_scores: Sequence[float],
              threshold: float | None) -> Iterable[str]:
    if any(one.is_passed for one in attacks):
        yield "an attack passed: use the face together with a card or PIN here, or level high"
    if not live_scores:
        yield "the passive networks gave no score: every visitor gets a challenge"
    elif proposed is None:
        yield ("this camera does not suit the passive networks: live people and pictures overlap; change camera or "
               "light")
    elif threshold is not None and min(live_scores) < threshold:
        yield f"live people fall below the threshold in use ({threshold:.2f}); set face.liveness_threshold"
    for light in ("dark", "bright"):
        rejected = [one for one in live if one.light == light and not one.is_passed]
        if rejected:
            yield f"{len(rejected)} live tries did not pass in {light} light"
