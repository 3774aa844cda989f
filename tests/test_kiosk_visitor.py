"""What a visitor's page does besides showing: coming and going, the screen as a lamp, the voice."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from device.clock import HandClock
from device.door.decision import Decision, Now
from device.errors import StoreError
from device.face.pad.light_challenge import LEAD_S, Shining
from device.face.pad.screenlight import FLASH_S, Flashes
from device.kiosk.visitor.attendance import AFTER_S, WAITS_S, Attendance
from device.kiosk.visitor.lamp import LATE_S, Lamp
from device.kiosk.visitor.voice import is_spoken, prompts, record, recording, spoken
from device.kiosk.words import catalogue
from device.store.records import NewEntry

PERSON = "a" * 32
GRANTED = Decision(True, "face_granted", PERSON, 5.0)


class Book:
    """Attendance with a clock moved by hand, and what it wanted written."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.kept: list[NewEntry] = []
        self.attendance = Attendance(self.clock, self._note)

    def _note(self, entry: NewEntry) -> bool:
        self.kept.append(entry)
        return True

    def admitted(self, decision: Decision = GRANTED) -> None:
        self.attendance.decided(decision, Now(self.clock.now(), self.clock.mono()))


def test_a_key_and_then_a_face_are_kept_together() -> None:
    book = Book()
    assert book.attendance.press("in") is False
    assert book.attendance.pressed == "in"
    book.admitted()
    (kept,) = book.kept
    assert (kept.reason, kept.person_id, dict(kept.detail)["direction"]) == ("attendance", PERSON, "in")
    assert book.attendance.pressed == ""


def test_a_face_and_then_a_key_are_kept_together_once() -> None:
    book = Book()
    book.admitted()
    book.clock.advance(AFTER_S - 0.1)
    assert book.attendance.press("out") is True
    assert book.attendance.press("out") is False
    assert len(book.kept) == 1


def test_a_key_that_nobody_comes_for_is_forgotten() -> None:
    book = Book()
    book.attendance.press("in")
    book.clock.advance(WAITS_S + 0.1)
    book.admitted()
    assert not book.kept


def test_whoever_is_refused_has_no_time_recorded() -> None:
    book = Book()
    book.attendance.press("in")
    book.admitted(Decision(False, "outside_schedule", PERSON))
    book.admitted(Decision(False, "unknown_face"))
    assert not book.kept
    assert book.attendance.pressed == "in"


class Screen:
    """A lamp and a page that can show colours."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.lamp = Lamp(self.clock)
        self.lamp.able(100.0)

    def ask(self, lead_s: float = LEAD_S + 0.1) -> tuple[Flashes, int | None]:
        flashes = Flashes.at_random(lambda below: below - 1, self.clock.mono() + lead_s)
        return flashes, self.lamp.shine(flashes)

    def paint(self, flashes: Flashes, number: int, late_s: float = 0.03) -> None:
        """Every colour, each so late."""
        for place in range(len(flashes.colours)):
            self.lamp.painted(number, place, flashes.begun_mono + place * FLASH_S + late_s)


def test_colours_that_came_in_time_were_shown() -> None:
    screen = Screen()
    flashes, number = screen.ask()
    assert number is not None
    assert screen.lamp.shining(number) is Shining.GOING
    screen.paint(flashes, number)
    assert screen.lamp.shining(number) is Shining.SHOWN


def test_a_colour_that_came_late_or_not_at_all_proves_nothing() -> None:
    late, absent = Screen(), Screen()
    flashes, number = late.ask()
    assert number is not None
    late.paint(flashes, number, LATE_S + 0.01)
    assert late.lamp.shining(number) is Shining.MISSED
    flashes, number = absent.ask()
    assert number is not None
    absent.lamp.painted(number, 0, flashes.begun_mono)
    absent.clock.advance(20.0)
    assert absent.lamp.shining(number) is Shining.MISSED


def test_a_colour_told_twice_or_for_another_flash_changes_nothing() -> None:
    screen = Screen()
    flashes, number = screen.ask()
    assert number is not None
    screen.paint(flashes, number)
    screen.paint(flashes, number, 5.0)
    screen.lamp.painted(number + 1, 0, 0.0)
    screen.lamp.painted(number, 99, 0.0)
    assert screen.lamp.shining(number) is Shining.SHOWN


def test_no_flash_is_taken_that_no_page_can_show_in_time() -> None:
    screen = Screen()
    assert screen.ask(LEAD_S / 2)[1] is None
    assert screen.ask()[1] is not None
    assert screen.ask()[1] is None  # one goes on already
    screen.clock.advance(200.0)
    assert not screen.lamp.is_there
    assert screen.ask()[1] is None


def test_no_colour_flickers_faster_than_what_makes_people_ill() -> None:
    assert 1.0 / FLASH_S < 3.0  # flashes a second (WCAG 2.2, 2.3.1)


def test_a_name_is_never_spoken() -> None:
    words = catalogue()
    assert spoken(words["screen.welcome"]["en"]) == "Welcome"
    assert spoken(words["screen.welcome"]["zh"]) == "欢迎"
    assert not [text for _, text in prompts(words) if "{" in text]


def test_what_is_asked_and_answered_is_spoken_and_the_terminals_faults_are_not() -> None:
    assert all(map(is_spoken, ("reason.face_granted", "reason.unknown_face", "action.blink", "hint.come_closer")))
    assert not any(map(is_spoken, ("reason.disk_full", "reason.gallery_loaded", "setup.pin", "own.delete")))


def test_the_installation_records_each_prompt_once(tmp_path: Path) -> None:
    program = tmp_path / "espeak-ng"
    program.write_text('#!/bin/sh\nwhile [ "$1" != -w ]; do shift; done\nprintf RIFF > "$2"\n')
    program.chmod(0o755)
    words = {key: catalogue()[key] for key in ("action.blink", "screen.welcome", "setup.pin")}
    assert record(tmp_path / "voice", words, str(program)) == 4
    assert record(tmp_path / "voice", words, str(program)) == 0
    assert recording(tmp_path / "voice", "zh", spoken(words["screen.welcome"]["zh"])).read_bytes() == b"RIFF"
    assert len(list((tmp_path / "voice").rglob("*.wav"))) == 4


def test_a_program_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="apt-get install espeak-ng"):
        record(tmp_path, {"action.blink": catalogue()["action.blink"]}, "espeak-ng-is-not-here")
    assert not os.path.lexists(tmp_path / "en" / "new")
