"""What the door does about attacks: it journals species and scores, alarms, and asks for more proof for a while."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from device.clock import ClockQuality, HandClock, boot_id
from device.door.decision import Decision, Now
from device.door.rules import Rules, Site
from device.door.types import Timing
from device.face.gallery import Gallery
from device.gatekeeper import Gatekeeper, Vigilance
from device.inbox import Inbox
from device.passages import Positions
from device.roster import Roster
from device.sighting import Demand, Hint, Judgement, Level, Outcome, Sighting
from device.store.journal import Journal, JournalReader
from device.store.keeper import JournalKeeper


class Bolt:
    """A lock that counts."""

    def __init__(self) -> None:
        self.releases = 0

    def release(self, seconds: float) -> int:
        self.releases += 1
        return self.releases

    def secure(self) -> int:
        return 0


class Watcher:
    def __init__(self) -> None:
        self.decisions: list[Decision] = []
        self.waiting: list[Sighting] = []

    def decided(self, decision: Decision, at: Now) -> None:
        self.decisions.append(decision)

    def signalled(self, reason: str) -> None:
        """Not looked at here."""

    def awaited(self, sighting: Sighting) -> None:
        self.waiting.append(sighting)


class Door:
    """A gatekeeper with a real journal and nobody enrolled."""

    def __init__(self, folder: Path, vigilance: Vigilance) -> None:
        self.clock, self.lock, self.watcher = HandClock(), Bolt(), Watcher()
        self.path = folder / "journal.db"
        self.keeper = JournalKeeper(lambda: Journal.open(self.path, self.clock, boot_id()), self.clock)
        self.inbox = Inbox()
        rules = cast(Roster, _Rules(Rules((), (), Site(lockout_after=3))))
        self.gatekeeper = Gatekeeper(
            self.inbox, lambda: rules, lambda person_id: None, self.lock, lambda reason: None, self.keeper, Timing(),
            self.clock, lambda: ClockQuality.SYNCED, (self.watcher,), vigilance)

    def show(self, track_id: int, outcome: Outcome = Outcome.ATTACK, hint: Hint = Hint.NONE) -> None:
        judgements = (Judgement("passive", 0.031, "print"), Judgement("plane", 0.2, "flat"),
                      Judgement("border", None, "no_border"))
        self.inbox.see(Sighting(track_id, self.clock.mono(), outcome, "model", judgements=judgements, hint=hint))
        self.gatekeeper.turn(0.0)
        self.clock.advance(1.0)

    def entries(self) -> list[dict[str, object]]:
        self.keeper.close()
        reader = JournalReader.open(self.path)
        try:
            return [{"kind": one.kind, "code": one.reason, **dict(one.detail)} for one in reader.last(20)]
        finally:
            reader.close()


class _Rules:
    """As much of a roster as a decision on nobody needs."""

    def __init__(self, rules: Rules) -> None:
        self.rules, self.gallery, self.positions = rules, Gallery.empty("model", 4), Positions()


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path, Vigilance(Level.NORMAL, 60.0))


def test_an_attack_is_journalled_with_its_species_and_scores(door: Door) -> None:
    door.show(1)
    assert door.lock.releases == 0
    entry = next(one for one in door.entries() if one["code"] == "attack")
    assert entry["species"] == "print"
    assert entry["judges"] == "passive=0.03:print plane=0.20:flat border=no_border"


def test_one_track_is_one_attack(door: Door) -> None:
    for _ in range(10):
        door.show(1)
    assert [decision.reason for decision in door.watcher.decisions] == ["attack"]
    assert door.gatekeeper.demand == Demand(Level.NORMAL)


def test_several_attacks_raise_the_alarm_and_the_level_for_a_while(door: Door) -> None:
    for track_id in (1, 2):
        door.show(track_id)
    assert door.gatekeeper.demand.level is Level.NORMAL
    door.show(3)
    assert door.watcher.decisions[-1].alarms == ("lockout_alarm",)
    assert door.gatekeeper.demand.level is Level.HIGH
    door.clock.advance(58.0)
    assert door.gatekeeper.demand.level is Level.HIGH
    door.clock.advance(2.0)
    assert door.gatekeeper.demand.level is Level.NORMAL
    assert "lockout_alarm" in {one["code"] for one in door.entries()}


def test_strangers_raise_no_level(door: Door) -> None:
    for track_id in range(1, 8):
        door.show(track_id, Outcome.UNKNOWN)
    assert door.gatekeeper.demand.level is Level.NORMAL


def test_a_site_without_liveness_stays_without(tmp_path: Path) -> None:
    door = Door(tmp_path, Vigilance(Level.NONE, 60.0))
    for track_id in range(1, 6):
        door.show(track_id)
    assert door.gatekeeper.demand.level is Level.NONE


def test_whoever_looks_on_learns_what_the_visitor_is_asked(door: Door) -> None:
    door.show(1, Outcome.PENDING, Hint.TURN_A_LITTLE)
    assert [sighting.hint for sighting in door.watcher.waiting] == [Hint.TURN_A_LITTLE]
    assert door.watcher.decisions == []
