"""Somebody who sees the terminal for the first time: hub, broker, door-syncd and door as `make run` starts them, a
camera that films a rendered person, and a browser. The person knows the printed address and what the page says.

    .venv/bin/pytest -m slow -s tests/test_kiosk_newcomer.py
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_chromium import chromium, watched
from browser_door import within
from playwright.sync_api import Page, expect
from rehearsal_samples import stage

from device.clock import SystemClock
from device.commands.run import TRIED
from device.config import parse_config
from device.face.card import Card
from device.face.pad.action import Action
from device.kiosk.words import catalogue
from device.rehearsal.camera import RehearsalCamera
from device.rehearsal.people import SITTER
from device.rehearsal.pose import Pose
from device.rehearsal.scenes import Scene, empty, performs, stands, walks_up
from device.terminal import Terminal
from sync.tryout import HubRegistrar, fleet

PATIENCE_S = 240.0
AHEAD = stands(SITTER, Pose(z=0.75))
POSES = {"enrol.pose_front": AHEAD, "enrol.pose_left": stands(SITTER, Pose(z=0.75, yaw=14.0)),
         "enrol.pose_right": stands(SITTER, Pose(z=0.75, yaw=-14.0)), "hint.turn_a_little": performs("turn_left"),
         "hint.look_at_camera": AHEAD, **{f"action.{action.value}": performs(action.value) for action in Action}}
OBEYED = {catalogue()[key]["en"]: scene for key, scene in POSES.items()}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Newcomer:
    """Stands before the camera and does what is read."""

    def __init__(self, camera: RehearsalCamera) -> None:
        self._camera = camera
        self._read = ""

    def obey(self, words: str) -> None:
        """Do it when it is said for the first time, and not again before something else was said."""
        scene = OBEYED.get(words)
        if words != self._read and scene is not None:
            self.show(scene)
        self._read = words

    def show(self, scene: Scene) -> None:
        """Whatever was said before."""
        self._camera.show(scene)


@pytest.fixture
def tried(pack: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Terminal, RehearsalCamera]]:
    """The try-out of a machine with a camera."""
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    config = parse_config(TRIED, "the built-in configuration")
    with fleet(tmp_path, lambda line: None) as running:
        camera = RehearsalCamera(stage(), empty(), 15.0, SystemClock())
        with Terminal(config, running.where, SystemClock(), camera=lambda: camera,
                      registrar=HubRegistrar(running.hub)) as terminal:
            terminal.start()
            is_over = threading.Event()
            thread = threading.Thread(target=lambda: terminal.run(until=is_over.is_set))
            thread.start()
            yield terminal, camera
            is_over.set()
            thread.join()


def test_whoever_sees_the_screen_for_the_first_time_enrols_and_is_let_in(
        tried: tuple[Terminal, RehearsalCamera]) -> None:
    terminal, camera = tried
    assert terminal.kiosk is not None
    complaints: list[str] = []
    with chromium() as browser:
        page = watched(browser, complaints)
        begun = time.monotonic()
        page.goto(terminal.kiosk.address)
        page.locator("#more-open").click()
        page.locator("#to-enrol").click()
        page.locator("#agree").check()
        page.locator("#begin").click()
        _pose(page, Newcomer(camera))
        camera.show(empty())  # whoever stays is let in as soon as the door has heard of it
        page.locator("#label").fill("Eileen")
        page.locator("#keep").click()
        expect(page.locator("#kept")).to_be_visible(timeout=60_000)
        enrolled = time.monotonic()
        assert terminal.relay_pulses == 0
        within(lambda: terminal.status().templates == 3)
        page.locator("#kept a").click()
        _pass(page, Newcomer(camera))
        within(lambda: terminal.relay_pulses)
        opened = time.monotonic()
    print(f"enrolled after {enrolled - begun:.0f} s, let in after {opened - begun:.0f} s")
    assert complaints == []


def _pose(page: Page, person: Newcomer) -> None:
    """Until the page shows the pictures for review."""
    person.show(AHEAD)
    deadline = time.monotonic() + PATIENCE_S
    while not page.locator("#review").is_visible():
        assert time.monotonic() < deadline, page.locator("main").inner_text()
        person.obey(page.locator("#pose").inner_text())
        page.wait_for_timeout(100)


def _pass(page: Page, person: Newcomer) -> None:
    """Until the page shows that the door is open."""
    expect(page.locator("#title")).not_to_be_empty()
    person.show(walks_up(SITTER))
    deadline = time.monotonic() + PATIENCE_S
    while page.locator("body").get_attribute("data-shape") != "granted":
        assert time.monotonic() < deadline, page.locator("#outcome").inner_text()
        person.obey(page.locator("#title").inner_text())
        page.wait_for_timeout(50)
