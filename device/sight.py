"""Everything that sees: the camera, the pipeline and their threads, as the terminal holds them.

    camera thread  frames into a one-slot mailbox
    vision thread  the newest frame -> sightings, and the frame itself to whoever looks on
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from device.camera.camera import Camera, open_camera
from device.camera.keeper import CameraEvent, CameraKeeper
from device.camera.source import shown_source
from device.camera.watch import CameraState
from device.clock import Clock
from device.config import Config
from device.face.card import Card
from device.face.kernel_choice import recall
from device.face.models import Models
from device.face.pad.fusion import LivenessPanel, open_panel
from device.face.pad.light_challenge import Screen
from device.face.pipeline import Pipeline
from device.frame import Frame
from device.inbox import Inbox
from device.packs.cache import cache_folder
from device.roster import Roster
from device.sighting import Demand
from device.threads import Latest, Worker
from device.vision import Onlooker, Vision, calm


class Sight:
    """One camera and what is made of its pictures.

    camera   makes the camera; None = the configured one
    screen   the screen at the door, where it can shine in colours
    degrade  told of faults of camera and models and why they are there, and that they are over
    """

    def __init__(self, config: Config, card: Card, clock: Clock, degrade: Callable[[str, bool, str], None],
                 camera: Callable[[], Camera] | None = None, screen: Screen | None = None) -> None:
        self._config, self._degrade = config, degrade
        self.kernel = recall(cache_folder(), card.recogniser.dimensions, clock).name
        self.models = Models.load(card)
        self.liveness = _liveness(config, card, screen)
        self._frames: Latest[Frame] = Latest()
        opener = camera or (lambda: open_camera(
            config.camera, clock, infrared_lost=lambda is_lost, reason: degrade("infrared_lost", is_lost, reason)))
        self.keeper = CameraKeeper(opener, self._frames, self._camera_changed, clock,
                                   name=shown_source(config.camera.source), asked_fps=config.camera.fps)
        self._pipeline = Pipeline(self.models, config.face, clock, self.liveness)
        if self.liveness is not None and not self.liveness.has_passive:
            degrade("no_passive_network", True, "doorctl models build")

    def bodies(self, roster: Callable[[], Roster], demand: Callable[[], Demand], inbox: Inbox,
               onlooker: Onlooker) -> dict[str, Callable[[Worker], None]]:
        """Name -> body of the threads, which are to begin now."""
        calm()
        vision = Vision(self._pipeline, self._frames, roster, demand, inbox, onlooker, self.keeper.rest)
        return {"vision": vision.body, "camera": self.keeper}

    @property
    def frames_dropped(self) -> int:
        return self._frames.dropped

    @property
    def liveness_words(self) -> str:
        """What proof of a live person is asked for, for status and report."""
        if self.liveness is None:
            return "none: a printed photo or a screen is not told from a face"
        if self.liveness.has_passive:
            return self._config.face.liveness
        return (f"{self._config.face.liveness}, but no passive network: every visitor gets a challenge "
                "(doorctl models build)")

    def _camera_changed(self, event: CameraEvent) -> None:
        for state in CameraState:
            if state not in (CameraState.OPENING, CameraState.FINE):
                is_so = state is event.state
                self._degrade(state.value, is_so, event.detail if is_so else "")


def _liveness(config: Config, card: Card, screen: Screen | None) -> LivenessPanel | None:
    if config.face.liveness == "none":
        return None
    return open_panel(card, secrets.randbelow, config.face.liveness_threshold, config.camera.infrared_place,
                      screen if config.kiosk.screen_light else None)
