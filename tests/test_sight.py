"""Sight: what the camera's thread tells the door, and that an empty scene lets the camera rest."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from device.camera.camera import CameraSilent
from device.clock import HandClock, SystemClock
from device.config import parse_config
from device.errors import CameraLost
from device.face.gallery import Gallery
from device.face.kernels import installed
from device.face.threshold import threshold_for
from device.frame import Frame
from device.inbox import Inbox
from device.roster import Roster, rules_of
from device.sight import Sight
from device.sighting import Demand
from device.store.policy_records import PolicyRecords
from device.threads import Worker

CONFIG = parse_config({"door": {"lock": "strike"}, "face": {"liveness": "none"},
                       "camera": {"source": "rtsp://door:secret@10.0.0.9/live"}})


class Wall:
    """A camera before an empty wall, a tenth of a second from frame to frame; a shadow falls where it is told."""

    description = "wall"
    has_noise = True

    def __init__(self) -> None:
        self.rested: list[bool] = []
        self.has_rested, self.has_woken = threading.Event(), threading.Event()
        self._seq = 0
        self._noise = [np.random.default_rng(n).integers(100, 104, (240, 320, 3), np.uint8) for n in range(5)]

    def read(self, timeout_s: float) -> Frame:
        if threading.Event().wait(0.002):
            raise CameraSilent("never")
        self._seq += 1
        pixels = self._noise[self._seq % 5].copy()
        if self.has_rested.is_set():
            pixels[60:180, 80:200] = 20
        return Frame(self._seq, self._seq / 10, pixels)

    def rest(self, is_resting: bool) -> None:
        self.rested.append(is_resting)
        (self.has_rested if is_resting else self.has_woken).set()

    def close(self) -> None:
        return


def test_why_the_camera_is_lost_reaches_the_door_and_no_password_does(pack):
    told: list[tuple[str, bool, str]] = []
    clock = HandClock()

    def camera():
        raise CameraLost("rtsp://10.0.0.9/live: the camera refuses the name or the password; correct camera.source")

    sight = Sight(CONFIG, pack, clock, lambda *one: (told.append(one), worker.stopping.set()), camera)
    worker = Worker("camera", sight.keeper, clock)
    sight.keeper(worker)
    assert [(reason, detail) for reason, is_active, detail in told if is_active] == [
        ("camera_lost", "rtsp://10.0.0.9/live: the camera refuses the name or the password; correct camera.source")]
    assert all(detail == "" for _, is_active, detail in told if not is_active)
    assert sight.keeper.description == "rtsp://10.0.0.9/live"
    assert sight.keeper.detail.endswith("correct camera.source")


def test_liveness_networks_that_are_missing_are_told_where_liveness_is_wanted(pack):
    told: list[tuple[str, bool, str]] = []
    wanted = parse_config({"door": {"lock": "strike"}})
    for config, card in ((wanted, replace(pack, passive=None)), (CONFIG, replace(pack, passive=None))):
        Sight(config, card, HandClock(), lambda *one: told.append(one))
    assert told == [("no_passive_network", True, "doorctl models build")]


def test_the_kernel_is_settled_before_the_first_visitor(pack):
    sight = Sight(CONFIG, pack, HandClock(), lambda *ignored: None)
    assert sight.kernel in {"compiled", *(kernel.name for kernel in installed())}


def test_a_camera_before_an_empty_scene_rests_and_motion_wakes_it(pack):
    wall, clock = Wall(), SystemClock()
    sight = Sight(CONFIG, pack, clock, lambda *ignored: None, lambda: wall)
    gallery = Gallery.empty(pack.model_id, pack.recogniser.dimensions)
    roster = Roster(0, gallery, threshold_for(pack.populations, 1e-3, 1), rules_of(PolicyRecords(), CONFIG), 0)
    bodies: dict[str, Callable[[Worker], None]] = sight.bodies(lambda: roster, Demand, Inbox(),
                                                               lambda frame, faces: None)
    workers = [Worker(name, body, clock) for name, body in bodies.items()]
    for worker in workers:
        worker.start()
    try:
        assert wall.has_rested.wait(60)
        assert wall.has_woken.wait(60)
    finally:
        for worker in workers:
            worker.stop()
    assert wall.rested[:2] == [True, False]
    assert all(worker.error is None for worker in workers)


def test_nothing_that_was_loaded_makes_a_frame_wait(pack):
    sight = Sight(CONFIG, pack, HandClock(), lambda *ignored: None)
    had = cv2.getNumThreads()
    try:
        sight.bodies(lambda: None, Demand, Inbox(), lambda frame, faces: None)
        assert gc.get_freeze_count() > 10_000
        assert cv2.getNumThreads() == 1
    finally:
        gc.unfreeze()
        cv2.setNumThreads(had)
