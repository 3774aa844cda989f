"""How quickly the screen follows the door, and what the live picture costs; printed, and kept on request.

    DOOR_WRITE_FIGURES=1 .venv/bin/pytest -m slow tests/test_kiosk_figures.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
from browser_chromium import chromium, watched
from browser_door import Door, configuration, within
from playwright.sync_api import Page, expect
from rehearsal_samples import stage

from device.door.decision import Decision
from device.face.types import Box
from device.frame import Frame
from device.rehearsal.people import SITTER
from device.rehearsal.pose import Pose
from device.rehearsal.scenes import stands

FIGURES = Path(__file__).parent / "figures" / "kiosk.json"
DECISIONS = 200
WATCHED_S = 8.0
VIEWER = """
import sys, time, urllib.request
until, count = time.monotonic() + float(sys.argv[2]), 0
with urllib.request.urlopen(sys.argv[1] + "/preview") as stream:
    while time.monotonic() < until:
        count += stream.read(16384).count(b"\\xff\\xd8\\xff")
print(count)
"""
# The moment at which the outcome was painted: the frame after the one in which the page took it over.
PAINTED = """() => { window.painted = {}; new MutationObserver(() => {
  const shape = document.body.dataset.shape;
  requestAnimationFrame(() => requestAnimationFrame(() => { window.painted[shape] = Date.now(); }));
}).observe(document.body, { attributes: true, attributeFilter: ["data-shape"] }); }"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    """A door whose camera yields 30 pictures of 1280x720 a second."""
    door, stop = Door(tmp_path / "state", configuration()), threading.Event()
    scene = stands(SITTER, Pose(z=0.8)).at(1.0)
    stage(1280, 720).prepare(scene)
    frame = Frame(0, door.clock.mono(), stage(1280, 720).render(scene, 0))

    def film() -> None:
        while not stop.wait(1 / 30):
            door.look(replace(frame, mono=door.clock.mono()), Box(540.0, 210.0, 200.0, 260.0))

    thread = threading.Thread(target=film, daemon=True)
    thread.start()
    within(lambda: door.get("").status_code == 200)
    yield door
    stop.set()
    thread.join()
    door.close()


def test_a_decision_is_on_the_screen_and_the_picture_is_cheap(door: Door) -> None:
    load = os.getloadavg()[0]  # over the minute before: what else kept the machine busy
    waits = sorted(_waits(door))
    pictures, share = _picture(door)
    p95 = waits[round(0.95 * (len(waits) - 1))]
    rows = [
        {"what": "decision to painted screen, in Chromium", "to_reach": "≤ 100 ms",
         "measured": f"median {median(waits):.0f} ms, 95th percentile {p95:.0f} ms of {len(waits)}"},
        {"what": "live picture from 1280×720, one viewer", "to_reach": "≥ 15 frames/s at ≤ 15 % of a core",
         "measured": f"{pictures:.1f} frames/s at {share:.1%} of a core"},
    ]
    command = "pytest -m slow tests/test_kiosk_figures.py"
    kept = {"machine": f"{os.cpu_count()} cores, {os.uname().machine}, load {load:.1f} before it began",
            "rows": [row | {"command": command} for row in rows]}
    print(json.dumps(kept, ensure_ascii=False, indent=2))
    assert len(waits) == DECISIONS
    assert pictures > 0
    if os.environ.get("DOOR_WRITE_FIGURES"):
        FIGURES.write_text(json.dumps(kept, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _waits(door: Door) -> Iterator[float]:
    """Milliseconds from each decision to the frame in which the browser has painted it."""
    with chromium() as browser:
        page: Page = watched(browser, [])
        page.goto(door.address)
        expect(page.locator("#title")).not_to_be_empty()
        page.evaluate(PAINTED)
        for number in range(DECISIONS):
            granted = number % 2 == 0
            shape = "granted" if granted else "refused"
            page.evaluate("shape => { delete window.painted[shape]; }", shape)
            begun = time.time() * 1000
            door.decided(Decision(granted, "face_granted" if granted else "unknown_face"))
            expect(page.locator("body")).to_have_attribute("data-shape", shape, timeout=30_000)
            painted = None
            while painted is None:
                painted = page.evaluate("shape => window.painted[shape]", shape)
            yield painted - begun


def _picture(door: Door) -> tuple[float, float]:
    """Pictures per second that one viewer gets, and what that costs more than the camera alone, in cores."""
    shares = []
    count = 0
    for is_watched in (False, True):
        viewer = None
        if is_watched:
            viewer = subprocess.Popen([sys.executable, "-c", VIEWER, door.address, str(WATCHED_S + 1.0)],
                                      stdout=subprocess.PIPE, text=True)
            time.sleep(1.0)
        begun, used = time.monotonic(), time.process_time()
        time.sleep(WATCHED_S)
        shares.append((time.process_time() - used) / (time.monotonic() - begun))
        if viewer is not None:
            count = int(viewer.communicate(timeout=60)[0])
    return count / (WATCHED_S + 1.0), shares[1] - shares[0]
