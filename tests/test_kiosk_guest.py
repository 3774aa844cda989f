"""Somebody who tries the terminal on a machine without a camera: the show as `make run` plays it, for ever, and a
browser in which the newcomer enrols. A rendered guest stands before the camera, and is let in.

    .venv/bin/pytest -m slow -s tests/test_kiosk_guest.py
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_chromium import chromium, watched
from browser_door import within
from playwright.sync_api import expect

from device.face.card import Card
from device.kiosk.enrolment.booth import Progress, Stage
from device.rehearsal.guest import AHEAD, GUESTS, Guest, doing, wanted
from device.rehearsal.scenes import Scene

TRY = "import sys; from {module} import main; sys.exit(main())"
PROGRAMS = {"with a hub": ("sync.hub.cli", "try", "--rehearsal"),
            "alone": ("device.cli", "run", "--try", "--rehearsal")}
PATIENCE_S = 120.0


def test_a_guest_does_what_the_page_asks_for_once_each_time() -> None:
    shown: list[Scene] = []
    guest = Guest(shown.append)
    for progress in (Progress(), Progress(advice="hint.turn_a_little"), Progress(advice="hint.turn_a_little"),
                     Progress(advice="action.blink"), Progress(Stage.POSING, 1), Progress(Stage.POSING, 2),
                     Progress(Stage.REVIEW), None):
        guest.follow(progress)
    assert [scene.name for scene in shown] == [
        doing(GUESTS[0], what).name for what in (AHEAD, "turn_left", "blink", "left", "right", AHEAD)] + ["empty"]
    assert wanted(Progress(Stage.REFUSED)) == AHEAD


def test_each_guest_is_somebody_else() -> None:
    guest = Guest(lambda scene: None)
    guest.is_enrolled()
    assert guest.who == GUESTS[1]


class Told:
    """What a program has said so far."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def line(self, pattern: str, seconds: float) -> str:
        """The first line that matches, within so many seconds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            said = self._path.read_text(encoding="utf-8")
            if found := re.search(f"^.*(?:{pattern}).*$", said, re.MULTILINE):
                return found[0]
            time.sleep(0.1)
        raise AssertionError(f"{pattern}: not said in\n{said}")


@pytest.fixture(params=PROGRAMS)
def told(request: pytest.FixtureRequest, pack: Card, tmp_path: Path) -> Iterator[Told]:
    """The program, while it runs."""
    module, *arguments = PROGRAMS[request.param]
    with (tmp_path / "said").open("wb") as said:
        program = subprocess.Popen([sys.executable, "-uc", TRY.format(module=module), *arguments], cwd=tmp_path,
                                   stdout=said, stderr=said, env=os.environ | {"DOOR_SECONDS": ""})
    yield Told(tmp_path / "said")
    program.send_signal(signal.SIGTERM)
    program.wait(60)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_whoever_has_no_camera_enrols_on_the_screen_and_sees_a_guest_let_in(told: Told) -> None:
    address = re.search(r"http://\S+/enrol", told.line("enrol somebody there", 120.0))
    assert address is not None
    complaints: list[str] = []
    with chromium() as browser:
        page = watched(browser, complaints)
        begun = time.monotonic()
        page.goto(address[0])
        page.locator("#agree").check()
        page.locator("#begin").click()
        expect(page.locator("#review")).to_be_visible(timeout=PATIENCE_S * 1000)
        page.locator("#label").fill("Eileen")
        page.locator("#keep").click()
        expect(page.locator("#kept")).to_be_visible(timeout=60_000)
        page.locator("#kept a").click()
        told.line("-- the guest, enrolled on the screen", 30.0)
        within(lambda: page.locator("body").get_attribute("data-shape") == "granted", 60)
    told.line("RELEASED.*the guest", 30.0)
    print(f"let in after {time.monotonic() - begun:.0f} s")
    assert complaints == []
