"""The screen's light from end to end: a terminal at level high, its page in a browser, and a camera that films a
rendered person on whom falls what the page has painted, or what another screen shows.

    .venv/bin/pytest -m slow -s tests/test_kiosk_light.py
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from browser_chromium import chromium, watched
from pad_scenes import lit, seeded
from playwright.sync_api import Page, expect
from rehearsal_samples import people, stage
from test_app import enrol_person
from test_kiosk_newcomer import AHEAD, Newcomer

from device.clock import SystemClock
from device.config import parse_config
from device.face.card import Card
from device.face.pad.screenlight import Flashes
from device.kiosk.visitor.lamp import Flash
from device.rehearsal.camera import RehearsalCamera
from device.rehearsal.people import SITTER
from device.rehearsal.scenes import Scene, empty
from device.rehearsal.stage import enrolment_photo
from device.store.journal import JournalReader
from device.store.places import places
from device.terminal import Terminal

PATIENCE_S = 120.0
LAG_S = 0.05
CONFIG = {"door": {"lock": "strike"}, "face": {"liveness": "high"}, "kiosk": {"enabled": True, "port": 0}}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass
class Room:
    """The terminal, its camera, and whose light falls on the visitor."""

    terminal: Terminal
    camera: RehearsalCamera
    clock: SystemClock = field(default_factory=SystemClock)
    other: Flashes | None = None

    def light(self, _: float) -> tuple[float, float, float]:
        """Of the page where it has painted a colour, else of the other screen."""
        mono = self.clock.mono() - LAG_S
        if self.other is not None:
            return self.other.colour_at(mono) or (0, 0, 0)
        assert self.terminal.kiosk is not None
        flash = self.terminal.kiosk.lamp.flash
        return painted(flash, mono) if flash is not None else (0, 0, 0)

    def lit(self, scene: Scene) -> Scene:
        return lit(scene, self.light)


def painted(flash: Flash, mono: float) -> tuple[int, int, int]:
    """The colour that was on the glass at that moment."""
    colours = [colour for colour, at in zip(flash.flashes.colours, flash.painted, strict=True)
               if at is not None and at <= mono]
    return colours[-1] if colours else (0, 0, 0)


@pytest.fixture
def room(liveness_pack: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    monkeypatch.setenv("DOOR_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    where = places()
    enrol_person(where, liveness_pack, enrolment_photo(people(), SITTER))
    camera = RehearsalCamera(stage(), empty(), 20.0, SystemClock())
    with Terminal(parse_config(CONFIG), where, SystemClock(), camera=lambda: camera) as terminal:
        terminal.start()
        is_over = threading.Event()
        thread = threading.Thread(target=lambda: terminal.run(until=is_over.is_set))
        thread.start()
        yield Room(terminal, camera)
        is_over.set()
        thread.join()


def test_whoever_reflects_the_page_and_does_what_it_says_is_let_in_at_level_high(room: Room) -> None:
    took = _visit(room, lambda page: bool(room.terminal.relay_pulses))
    entry = _entry(room, "face_granted")
    print(f"let in after {took:.1f} s: {entry}")
    assert re.search(r"screen_light=\S+:follows", entry)


def test_a_face_under_another_screens_colours_is_refused_though_it_does_all_that_is_asked(room: Room) -> None:
    room.other = Flashes.at_random(seeded(9), SystemClock().mono(), count=1000)
    _visit(room, lambda page: page.locator("body").get_attribute("data-shape") == "refused")
    assert not room.terminal.relay_pulses
    assert re.search(r"screen_light=\S+:screen", _entry(room, "not_proved"))


def _visit(room: Room, is_over: Callable[[Page], bool]) -> float:
    """Seconds until that came of it, while the visitor does what the page says."""
    assert room.terminal.kiosk is not None
    person, complaints = _Lit(room), list[str]()
    with chromium() as browser:
        page = watched(browser, complaints)
        page.goto(room.terminal.kiosk.address)
        expect(page.locator("#title")).not_to_be_empty()
        lamp = room.terminal.kiosk.lamp
        page.wait_for_timeout(500)
        assert lamp.is_there
        begun = time.monotonic()
        person.show(AHEAD)
        while not is_over(page):
            assert time.monotonic() < begun + PATIENCE_S, page.locator("#title").inner_text()
            person.obey(page.locator("#title").inner_text())
            page.wait_for_timeout(50)
        took = time.monotonic() - begun
    assert complaints == []
    return took


class _Lit(Newcomer):
    """A newcomer on whom a screen's light falls."""

    def __init__(self, room: Room) -> None:
        super().__init__(room.camera)
        self._room = room

    def show(self, scene: Scene) -> None:
        super().show(self._room.lit(scene))


def _entry(room: Room, reason: str) -> str:
    """What the newest entry of that reason says; entries may be written a moment after the relay moves."""
    time.sleep(1.0)
    with closing(JournalReader.open(room.terminal.places.journal_db)) as journal:
        found = [entry for entry in reversed(journal.last(50)) if entry.reason == reason]
    assert found, reason
    return str(found[0].detail)
