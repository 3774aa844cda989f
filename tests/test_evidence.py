"""Pictures of attacks: sealed, bounded, gone after their time, and none at all unless the site wants them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest
from store_samples import KEY
from sync_samples import wait_until

from device.cli import main
from device.clock import HandClock, SystemClock
from device.door.decision import Decision, Now
from device.errors import SealBroken, UsageError
from device.frame import Frame
from device.store import evidence as module
from device.store.evidence import Evidence
from device.store.places import places
from device.store.records import NewEntry
from device.store.seal import load_key
from device.witness import Witness

NOW = datetime(2026, 1, 5, 8, 0, tzinfo=timezone.utc)
JPEG = b"\xff\xd8 a picture \xff\xd9"


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    return Evidence(tmp_path / "evidence", KEY, 7.0)


def test_a_picture_is_sealed_and_comes_back(evidence: Evidence, tmp_path: Path) -> None:
    name = evidence.keep(NOW, JPEG)
    (path,) = (tmp_path / "evidence").iterdir()
    assert JPEG not in path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0
    assert evidence.picture(name) == JPEG
    assert [(one.name, one.at) for one in evidence.kept()] == [(name, NOW)]


def test_an_altered_or_renamed_picture_does_not_open(evidence: Evidence, tmp_path: Path) -> None:
    name = evidence.keep(NOW, JPEG)
    other = name.replace("2026", "2025")
    (tmp_path / "evidence" / other).write_bytes((tmp_path / "evidence" / name).read_bytes())
    with pytest.raises(SealBroken, match="does not open"):
        evidence.picture(other)


def test_pictures_go_after_their_days(evidence: Evidence) -> None:
    evidence.keep(NOW - timedelta(days=8), JPEG)
    kept = evidence.keep(NOW - timedelta(days=6), JPEG)
    assert evidence.sweep(NOW) == 1
    assert [one.name for one in evidence.kept()] == [kept]


def test_the_oldest_go_where_there_are_too_many(evidence: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KEPT", 3)
    names = [evidence.keep(NOW + timedelta(seconds=number), JPEG) for number in range(5)]
    evidence.sweep(NOW)
    assert [one.name for one in evidence.kept()] == names[2:]


def test_what_a_kill_left_half_written_goes(evidence: Evidence, tmp_path: Path) -> None:
    evidence.keep(NOW, JPEG)
    (tmp_path / "evidence" / ".20260105T080000000000Z.sealed").write_bytes(b"half")
    evidence.sweep(NOW)
    assert len(list((tmp_path / "evidence").iterdir())) == 1


@pytest.mark.parametrize("name", ["", "../terminal.key", "x.sealed", "20260105T080000000000Z.sealed/../../k"])
def test_a_name_that_is_none_is_refused(evidence: Evidence, name: str) -> None:
    for act in (evidence.picture, evidence.remove):
        act: Callable[[str], object]
        with pytest.raises(UsageError, match="no picture"):
            act(name)


def witness(evidence: Evidence) -> tuple[Witness, list[NewEntry]]:
    notes: list[NewEntry] = []
    found = Witness(evidence, notes.append, SystemClock())
    found.look(Frame(0, 0.0, np.full((48, 64, 3), 90, np.uint8)), ())
    found.start()
    return found, notes


@pytest.mark.parametrize("reason", ["attack", "not_proved"])
def test_an_attack_is_kept_and_the_journal_names_the_file_only(tmp_path: Path, reason: str) -> None:
    kept = Evidence(tmp_path, KEY, 7.0)
    one, notes = witness(kept)
    one.decided(Decision(False, reason), Now(SystemClock().now(), 0.0))
    wait_until(lambda: notes)
    one.close()
    (picture,) = kept.kept()
    assert dict(notes[0].detail) == {"file": picture.name}
    shown = cv2.imdecode(np.frombuffer(kept.picture(picture.name), np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (48, 64, 3)


def test_nobody_else_is_pictured(tmp_path: Path) -> None:
    kept = Evidence(tmp_path, KEY, 7.0)
    one, notes = witness(kept)
    for decision in (Decision(True, "face_granted"), Decision(False, "unknown_face"), Decision(False, "locked_out")):
        one.decided(decision, Now(NOW, 0.0))
    one.decided(Decision(False, "attack"), Now(SystemClock().now(), 0.0))
    wait_until(lambda: notes)
    one.close()
    assert len(kept.kept()) == 1


def test_the_command_lists_shows_and_removes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DOOR_STATE", str(tmp_path))
    where = places()
    name = Evidence(where.evidence, load_key(where), 7.0).keep(HandClock().now(), JPEG)
    assert main(["evidence", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == name
    assert main(["evidence", "show", name, "--to", str(tmp_path / "a.jpg")]) == 0
    assert (tmp_path / "a.jpg").read_bytes() == JPEG
    assert main(["evidence", "show", name]) == 2
    assert main(["evidence", "remove", name]) == 0
    assert main(["evidence", "remove", name]) == 2
    assert capsys.readouterr().err.count("\n") == 2
