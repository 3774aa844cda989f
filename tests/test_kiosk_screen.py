"""What the screen shows at each moment, and that every word of it is in the catalogue in both languages."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timezone

import pytest

from device.clock import ClockQuality
from device.consent import KINDS, PURPOSES
from device.door.decision import Decision, Now
from device.door.reasons import REASONS
from device.door.types import DoorState, Mode, Phase
from device.face.quality import HINTS
from device.hardware.inputs import NAMES
from device.kiosk.enrolment.pose import POSES
from device.kiosk.server import STATIC
from device.kiosk.setup.settings import choices
from device.kiosk.visitor.screen import ASKED_S, BLINDING, OUTCOME_S, READY, Screen, Shape
from device.kiosk.visitor.words import hint_key
from device.kiosk.words import LANGUAGES, catalogue
from device.sighting import Hint, Outcome, Sighting
from device.site_settings import CHANGEABLE
from device.store.records import Method

NOW = Now(datetime(2026, 1, 5, 8, 0, tzinfo=timezone.utc), 100.0)
REST = DoorState()
GRANTED = Decision(True, "face_granted", "a" * 32, 5.0)
REFUSED = Decision(False, "unknown_face")


def screen(names: dict[str, str] | None = None) -> tuple[Screen, list[bool]]:
    told: list[bool] = []
    return Screen((names or {}).get if names else lambda _: "", lambda: told.append(True)), told


def pending(hint: Hint, action: str = "", mono: float = 100.0) -> Sighting:
    return Sighting(1, mono, Outcome.PENDING, "m", hint=hint, action=action)


def test_at_rest_it_asks_to_look_at_the_camera() -> None:
    assert screen()[0].view(REST, 0.0) == READY


def test_an_outcome_stands_for_its_seconds_and_is_told_at_once() -> None:
    shown, told = screen()
    shown.decided(REFUSED, NOW)
    assert told == [True]
    view = shown.view(REST, 100.0 + OUTCOME_S - 0.01)
    assert (view.shape, view.title) == (Shape.REFUSED, "reason.unknown_face")
    assert shown.view(REST, 100.0 + OUTCOME_S) == READY


def test_the_same_outcome_twice_is_seen_twice() -> None:
    shown, _ = screen()
    shown.decided(REFUSED, NOW)
    first = shown.view(REST, 100.0)
    shown.decided(REFUSED, NOW)
    assert shown.view(REST, 100.0) != first


def test_a_name_is_shown_only_where_there_is_one() -> None:
    shown, _ = screen()
    shown.decided(GRANTED, NOW)
    assert shown.view(REST, 100.0).title == "reason.face_granted"
    shown, _ = screen({"a" * 32: "Z*"})
    shown.decided(GRANTED, NOW)
    view = shown.view(REST, 100.0)
    assert (view.title, view.name) == ("screen.welcome", "Z*")


def test_a_second_proof_is_asked_for_by_its_name() -> None:
    shown, _ = screen()
    shown.decided(Decision(False, "more_needed", needs=frozenset({Method.PIN, Method.FACE})), NOW)
    view = shown.view(REST, 100.0)
    assert (view.shape, view.needs) == (Shape.ASK, ("face", "pin"))


def test_who_must_wait_for_company_is_asked_and_not_refused() -> None:
    shown, _ = screen()
    shown.decided(Decision(False, "escort_needed", "a" * 32), NOW)
    assert shown.view(REST, 100.0).shape is Shape.ASK


def test_what_the_visitor_is_asked_goes_when_the_face_has_left() -> None:
    shown, told = screen()
    shown.awaited(pending(Hint.DO_CHALLENGE, "blink"))
    shown.awaited(pending(Hint.DO_CHALLENGE, "blink", 100.2))
    assert told == [True]
    view = shown.view(REST, 100.3)
    assert (view.shape, view.title) == (Shape.ASK, "action.blink")
    assert shown.view(REST, 100.2 + ASKED_S) == READY


@pytest.mark.parametrize(("state", "shape", "title"), [
    (replace(REST, is_fire=True, phase=Phase.FORCED), Shape.FREE, "reason.fire_free"),
    (replace(REST, phase=Phase.FORCED, mode=Mode.FREE), Shape.ALARM, "reason.forced_open"),
    (replace(REST, is_tampered=True), Shape.ALARM, "reason.tamper"),
    (replace(REST, phase=Phase.HELD), Shape.ALARM, "reason.held_open"),
    (replace(REST, phase=Phase.OPEN, is_held_warned=True), Shape.ALARM, "reason.held_warning"),
    (replace(REST, mode=Mode.FREE), Shape.FREE, "reason.mode_free"),
    (replace(REST, mode=Mode.LOCKDOWN), Shape.LOCKED, "reason.mode_lockdown"),
    (replace(REST, degraded=frozenset({"camera_lost"})), Shape.FAULT, "screen.degraded"),
])
def test_what_stands_is_read_from_the_doors_state(state: DoorState, shape: Shape, title: str) -> None:
    view = screen()[0].view(state, 0.0)
    assert (view.shape, view.title) == (shape, title)


def test_fire_is_shown_over_everything() -> None:
    shown, _ = screen()
    shown.decided(REFUSED, NOW)
    assert shown.view(replace(REST, is_fire=True), 100.0).title == "reason.fire_free"


def test_the_faults_that_blind_the_terminal_are_in_the_table() -> None:
    assert set(REASONS) >= BLINDING


def test_every_key_that_a_page_uses_has_words_in_both_languages() -> None:
    words = catalogue()
    used: set[str] = set()
    for page in (*STATIC.glob("*.html"), *STATIC.glob("*.js")):
        text = page.read_text(encoding="utf-8")
        used |= set(re.findall(r'data-(?:word|label)="([\w.]+)"', text))
        used |= set(re.findall(r'"((?:page|screen|way|pin|bell|attendance|enrol|own|setup|keyboard)\.\w+)"', text))
    assert len(used) > 150  # the search itself works
    assert {key for key in used if key not in words and not key.endswith("_")} <= set(CHANGEABLE)
    for key, texts in words.items():
        assert set(texts) == set(LANGUAGES), key
        assert all(texts.values()), key


def test_no_text_lies_about_that_nobody_shows() -> None:
    sources = [*STATIC.glob("*.html"), *STATIC.glob("*.js"), *STATIC.parent.rglob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources if path.name != "words.py")
    named = set(re.findall(r"[\"']([a-z]+\.\w+)[\"']", text))
    begun = tuple(re.findall(r"[`\"']([a-z]+\.(?:\w+_)?)\$?\{", text))
    tables = ("reason.", "hint.", "action.", "consent.", "language.")
    assert [key for key in catalogue() if key not in named and not key.startswith((*begun, *tables))] == []


def test_both_languages_of_a_text_take_the_same_values() -> None:
    for key, texts in catalogue().items():
        wanted = {language: sorted(re.findall(r"\{(\w+)\}", text)) for language, text in texts.items()}
        assert wanted["en"] == wanted["zh"], key


def test_whatever_can_be_said_in_parts_of_a_key_is_there() -> None:
    words = set(catalogue())
    assert {f"enrol.why_{reason}" for reason in HINTS} <= words
    assert {f"enrol.{part}_{pose.name}" for pose in POSES for part in ("pose", "short")} <= words
    assert {f"shape.{shape.value}" for shape in Shape} <= words
    assert {f"consent.kind_{place}" for place in range(len(KINDS))} <= words
    assert {f"consent.purpose_{place}" for place in range(len(PURPOSES))} <= words
    assert {f"setup.key_{key.replace('.', '_')}" for key in CHANGEABLE
            if key not in ("face.zone", "face.liveness_threshold")} <= words
    assert {f"setup.value_{value}" for values in choices().values() for value in values} <= words
    assert {f"setup.wire_{name}" for name in NAMES} <= words
    assert {f"setup.clock_{quality.value}" for quality in ClockQuality} <= words
    assert {hint_key(hint) for hint in Hint if hint is not Hint.NONE} <= words


def test_every_shape_has_a_sign_of_its_own() -> None:
    signs = set(re.findall(r'symbol id="(\w+)"', (STATIC / "signs.svg").read_text(encoding="utf-8")))
    assert signs == {shape.value for shape in Shape}


def test_every_icon_that_a_page_uses_is_drawn() -> None:
    drawn = set(re.findall(r'symbol id="([\w-]+)"', (STATIC / "icons.svg").read_text(encoding="utf-8")))
    used = {name for page in STATIC.glob("*.html")
            for name in re.findall(r'icons\.svg#([\w-]+)"', page.read_text(encoding="utf-8"))}
    used |= {name for page in STATIC.glob("*.js")
             for name in re.findall(r'icon\("([\w-]+)"\)', page.read_text(encoding="utf-8"))}
    assert used | {"card", "pin", "qr", "bell"} <= drawn
