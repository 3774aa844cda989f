"""Pictures of attacks: sealed, bounded, gone after their time, and none at all unless the site wants them."""

from __future__ import annotations

import json
import sys
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
from device.door.claim import claim_from, species_of
from device.door.decision import Claim, Decision, Now
from device.errors import SealBroken, UsageError
from device.frame import Frame
from device.sighting import Judgement, Outcome, Sighting
from device.store import evidence as module
from device.store.evidence import Evidence
from device.store.places import places
from device.store.records import Method, NewEntry
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


def frame(seq: int) -> Frame:
    """A frame whose brightness tells its number."""
    return Frame(seq, seq / 30, np.full((48, 64, 3), 10 * seq, np.uint8))


def refused(outcome: Outcome, seq: int = 9, reason: str = "") -> Decision:
    """What the policy says of a sighting that rests on that frame."""
    claim = claim_from(Sighting(1, 0.0, outcome, "m", frame_seq=seq))
    assert claim is not None
    return Decision(False, reason or claim.reason_if_none, claim=claim)


def witness(evidence: Evidence) -> tuple[Witness, list[NewEntry]]:
    """A witness that has seen frames 5 to 9 and begun."""
    notes: list[NewEntry] = []
    found = Witness(evidence, notes.append, SystemClock())
    for seq in range(5, 10):
        found.look(frame(seq), ())
    found.start()
    return found, notes


def seqs(evidence: Evidence) -> list[int]:
    """The numbers of the frames whose pictures were kept."""
    shown = [cv2.imdecode(np.frombuffer(evidence.picture(one.name), np.uint8), cv2.IMREAD_COLOR)
             for one in evidence.kept()]
    assert {picture.shape for picture in shown} <= {(48, 64, 3)}
    return [round(float(picture.mean()) / 10) for picture in shown]


@pytest.mark.parametrize("outcome", [Outcome.ATTACK, Outcome.UNPROVED])
def test_an_attack_is_kept_and_the_journal_names_the_file_only(tmp_path: Path, outcome: Outcome) -> None:
    kept = Evidence(tmp_path, KEY, 7.0)
    one, notes = witness(kept)
    one.decided(refused(outcome), Now(SystemClock().now(), 0.0))
    wait_until(lambda: notes)
    one.close()
    (picture,) = kept.kept()
    assert dict(notes[0].detail) == {"file": picture.name}
    assert seqs(kept) == [9]


def test_the_frame_that_was_judged_is_kept_and_not_the_newest(tmp_path: Path) -> None:
    kept = Evidence(tmp_path, KEY, 7.0)
    one, notes = witness(kept)
    one.decided(refused(Outcome.ATTACK, 7), Now(SystemClock().now(), 0.0))
    wait_until(lambda: notes)
    one.close()
    assert seqs(kept) == [7]


def test_a_judged_frame_that_has_not_come_yet_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[Witness.__module__], "AWAIT_S", 30.0)
    kept = Evidence(tmp_path, KEY, 7.0)
    one, notes = witness(kept)
    one.decided(refused(Outcome.ATTACK, 11), Now(SystemClock().now(), 0.0))
    for seq in (10, 11, 12):
        one.look(frame(seq), ())
    wait_until(lambda: notes)
    one.close()
    assert seqs(kept) == [11]


def test_where_the_judged_frame_has_gone_the_nearest_is_kept(tmp_path: Path) -> None:
    kept = Evidence(tmp_path, KEY, 7.0)
    one, notes = witness(kept)
    one.decided(refused(Outcome.ATTACK, 2), Now(SystemClock().now(), 0.0))
    wait_until(lambda: notes)
    one.close()
    assert seqs(kept) == [5]


def test_an_attack_is_kept_while_the_face_is_locked_out_too(tmp_path: Path) -> None:
    kept = Evidence(tmp_path, KEY, 7.0)
    one, notes = witness(kept)
    one.decided(refused(Outcome.ATTACK, reason="locked_out"), Now(SystemClock().now(), 0.0))
    wait_until(lambda: notes)
    one.close()
    assert len(kept.kept()) == 1


def test_nobody_else_is_pictured(tmp_path: Path) -> None:
    kept = Evidence(tmp_path, KEY, 7.0)
    one, notes = witness(kept)
    card = Claim("a" * 32, frozenset({Method.CARD}))
    for decision in (refused(Outcome.UNKNOWN), refused(Outcome.UNKNOWN, reason="locked_out"),
                     Decision(True, "face_granted", claim=card), Decision(False, "locked_out", claim=card),
                     Decision(False, "attack")):
        one.decided(decision, Now(NOW, 0.0))
    one.decided(refused(Outcome.ATTACK), Now(SystemClock().now(), 0.0))
    wait_until(lambda: notes)
    one.close()
    assert len(kept.kept()) == 1


@pytest.mark.parametrize(("judgements", "species"), [
    ((Judgement("passive", 0.03, "print"), Judgement("plane", 0.0, "flat")), "print"),
    ((Judgement("passive", 0.3, "print"), Judgement("grid", 0.0, "screen")), "screen"),
    ((Judgement("passive", 0.03, "texture"), Judgement("border", 0.0, "border")), "unknown"),
    ((Judgement("infrared", None, "print"), Judgement("plane", 0.1, "flat")), "unknown"),
    ((), "unknown"),
])
def test_a_species_is_named_by_the_surest_judge_that_can_tell(judgements: tuple[Judgement, ...],
                                                              species: str) -> None:
    assert species_of(judgements) == species


def test_the_judges_words_stand_beside_the_species() -> None:
    claim = claim_from(Sighting(1, 0.0, Outcome.ATTACK, "m", judgements=(
        Judgement("passive", 0.031, "print"), Judgement("plane", 1.0, "relief"),
        Judgement("border", None, "no_border"), Judgement("challenge", 1.0))))
    assert claim is not None
    assert (claim.species, claim.judges) == (
        "print", "passive=0.03:print plane=1.00:relief border=no_border challenge=1.00")


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
