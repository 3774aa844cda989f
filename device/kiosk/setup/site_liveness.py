"""The wizard's core: commissioning as `doorctl commission` does it, with frames that the kiosk has anyway."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from device.clock import Clock
from device.config import Config
from device.errors import ConfigError
from device.evaluate.site import Try, card_of, watch
from device.evaluate.tries import Step, plan
from device.face.card import Card
from device.face.models import Models
from device.face.pad.fusion import open_panel
from device.face.pad.sitecard import CARD_NAME, is_stale, read_card
from device.frame import Frame
from device.kiosk.setup.wizard import Presentation
from device.kiosk.visitor.words import hint_key
from device.sighting import Level


class SiteLiveness:
    """Commissioning of one terminal.

    folder  the configuration's, where the card lies
    camera  what to call the camera in the card
    """

    def __init__(self, config: Config, card: Card, folder: Path, camera: Callable[[], str], clock: Clock) -> None:
        self._config, self._card, self._camera, self._clock = config, card, camera, clock
        self._path = folder / CARD_NAME
        self._models = Models.load(card)

    def plan(self, people: int) -> Sequence[Step]:
        return plan(people)

    def watch(self, frames: Iterable[Frame], step: Presentation, advise: Callable[[str], None]) -> Try | None:
        face = self._config.face
        panel = open_panel(self._card, secrets.randbelow, face.liveness_threshold, self._config.camera.infrared_place)
        return watch(frames, self._models, face, panel, self._level, step.species, step.light,
                     lambda hint, action: advise(hint_key(hint, action)))

    def conclude(self, tries: Sequence[Try]) -> dict[str, Any]:
        threshold = self._config.face.liveness_threshold
        if threshold is None and self._card.passive is not None:
            threshold = self._card.passive.threshold
        found = card_of(tries, camera=self._camera(), model_id=self._card.model_id, level=self._level,
                        threshold=threshold, at=self._clock.now())
        found.write(self._path)
        return asdict(found)

    def stored(self) -> dict[str, Any] | None:
        return stored(self._path.parent, self._clock)

    @property
    def _level(self) -> Level:
        return Level(self._config.face.liveness) if self._config.face.liveness != "none" else Level.NORMAL


def stored(folder: Path, clock: Clock) -> dict[str, Any] | None:
    """The card beside the configuration, with whether it is too old; None where there is none that can be read."""
    try:
        found = read_card(folder / CARD_NAME)
    except ConfigError:
        return None
    return None if found is None else asdict(found) | {"is_stale": is_stale(found, clock.now())}
