"""The door compares its visitors with the card of its commissioning."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from test_commission import NOW, made

from device.clock import ClockQuality
from device.door.claim import FaceClaim
from device.door.decision import Claim, Decision
from device.door.decision import Now as Moment
from device.drift import MOST_RECENT, DriftWatch
from device.face.pad.sitecard import CARD_NAME, LEAST_RECENT
from device.store.records import Method

AT = Moment(NOW, 1.0, ClockQuality.SYNCED)


class Door:
    """A watch over two folders, and what it tells."""

    def __init__(self, folder: Path) -> None:
        self.told: list[tuple[bool, str]] = []
        self.folders = (folder / "etc", folder / "lib")
        for one in self.folders:
            one.mkdir()
        self.watch = DriftWatch(self.folders, lambda code, is_so, why: self.told.append((is_so, why)))

    def visited(self, count: int, score: float | None = 0.85, exposure: float | None = 0.45,
                granted: bool = True) -> None:
        for _ in range(count):
            claim = FaceClaim("p", frozenset({Method.FACE}), live_score=score, exposure=exposure)
            self.watch.decided(Decision(granted, "face_granted", "p", claim=claim), AT)


@pytest.fixture
def door(tmp_path: Path) -> Door:
    door = Door(tmp_path)
    made().write(door.folders[0] / CARD_NAME)
    return door


def test_a_door_as_it_was_says_nothing(door: Door) -> None:
    door.visited(3 * MOST_RECENT)
    assert door.told == []


def test_scores_that_have_moved_are_told_once_and_taken_back_once_they_return(door: Door) -> None:
    door.visited(LEAST_RECENT - 1, score=0.6)
    assert door.told == []
    door.visited(20, score=0.6)
    assert len(door.told) == 1
    assert door.told[0][0]
    assert door.told[0][1].endswith("commission again")
    door.visited(MOST_RECENT)
    assert door.told[-1] == (False, "")


def test_other_light_is_told(door: Door) -> None:
    door.visited(LEAST_RECENT, exposure=0.85)
    assert [is_so for is_so, _ in door.told] == [True]
    assert "light" in door.told[0][1]


def test_only_faces_that_were_let_in_count(door: Door) -> None:
    door.visited(LEAST_RECENT, score=0.1, granted=False)
    for _ in range(LEAST_RECENT):
        door.watch.decided(Decision(True, "granted", "p", claim=Claim("p", frozenset({Method.CARD}))), AT)
    door.visited(LEAST_RECENT, score=None, exposure=None)
    assert door.told == []


def test_a_new_card_counts_from_then_on(door: Door) -> None:
    door.visited(LEAST_RECENT, score=0.6)
    card = made()
    fresh = door.folders[1] / CARD_NAME
    replace(card, live_scores=tuple(score - 0.25 for score in card.live_scores)).write(fresh)
    os.utime(fresh, (2e9, 2e9))
    door.visited(1, score=0.6)
    assert [is_so for is_so, _ in door.told] == [True, False]
    door.visited(LEAST_RECENT, score=0.6)
    assert len(door.told) == 2


def test_without_a_card_or_with_a_damaged_one_there_is_nothing_to_compare(door: Door) -> None:
    (door.folders[0] / CARD_NAME).write_text("{")
    door.visited(LEAST_RECENT, score=0.1)
    (door.folders[0] / CARD_NAME).unlink()
    door.visited(LEAST_RECENT, score=0.1)
    assert door.told == []


def test_a_folder_that_may_not_be_looked_into_stops_no_door(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refused)
    door.visited(LEAST_RECENT, score=0.1)
    assert door.told == []
