"""Who is in which area: from what doors saw to what every other door knows."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
from hub_samples import Client, li_wei, open_hub
from store_samples import KEY
from sync_samples import enrol
from sync_world import World

from device.clock import HandClock
from device.store import body
from device.store.cache import CacheReader
from device.store.records import NewEntry, Position
from sync.hub import cli
from sync.hub.api import application
from sync.hub.ledger import group_stream
from sync.hub.times import EARLIEST
from sync.wire.messages import JournalRow

AREAS = """
[[rule]]
id = "staff"
group = "staff"
passback = "hard"

[[area]]
id = "hall"
limit = 2

[[door]]
id = "main"
inside = "hall"
"""
ONE, TWO = f"{1:032x}", f"{2:032x}"


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def hub(tmp_path, tmp_path_factory, clock):
    made = open_hub(tmp_path / "hub", tmp_path_factory, clock)
    made.fleet.add("door-1", "hq", ["staff"])
    made.policies.put("door-1", AREAS)
    enrol(made, 2)
    yield made
    made.close()


def passage(person_id: str | None, at: datetime, area: str | None = "hall", reason: str = "entered",
            quality: str = "synced") -> JournalRow:
    at_us = (at - EARLIEST) // timedelta(microseconds=1)
    return JournalRow(1, at_us, 1.0, "b", quality, "passage", reason, person_id, (("area", area),), "", "")


def follows(hub, *rows: JournalRow, terminal_id: str = "door-1") -> None:
    with hub.storage.write() as tx:
        hub.positions.follow(tx, terminal_id, "j", rows)


def told(hub, group: str = "staff") -> dict[str, Position]:
    return {one.key: body.decode(Position, one.body)
            for one in hub.ledger.living(group_stream(group)).changes if one.kind == "position"}


def test_whoever_enters_is_told_to_the_doors_of_their_groups_and_whoever_leaves_is_outside(hub, clock):
    at = clock.now()
    follows(hub, passage(ONE, at), passage(TWO, at, None, "left"))
    assert told(hub) == {ONE: Position(ONE, "hall", at), TWO: Position(TWO, "", at)}
    assert [(one.person_id, one.area_id, one.terminal_id) for one in hub.positions.present()] == [
        (ONE, "hall", "door-1")]
    clock.advance(5)
    follows(hub, passage(ONE, clock.now(), None, "left"))
    assert told(hub)[ONE].area_id == ""
    assert hub.positions.present() == []


def test_the_newest_passage_counts_however_late_another_arrives(hub, clock):
    at = clock.now()
    follows(hub, passage(ONE, at))
    before = hub.ledger.head(group_stream("staff")).seq
    follows(hub, passage(ONE, at - timedelta(hours=1), None, "left"))
    follows(hub, passage(ONE, at, "hall"))
    assert hub.ledger.head(group_stream("staff")).seq == before
    follows(hub, passage(TWO, at, "hall"), passage(TWO, at - timedelta(hours=1), None, "left"))
    assert told(hub)[TWO].area_id == "hall"


def test_a_clock_that_is_wrong_keeps_nobody_in_an_area_for_years(hub, clock):
    follows(hub, passage(ONE, datetime(2099, 1, 1, tzinfo=timezone.utc)))
    assert told(hub)[ONE].at == clock.now()
    follows(hub, passage(TWO, clock.now(), quality="untrusted"))
    assert set(told(hub)) == {ONE}
    clock.advance(1)
    follows(hub, passage(ONE, clock.now(), None, "left"))
    assert told(hub)[ONE].area_id == ""


@pytest.mark.parametrize("rows", [
    [], [passage("f" * 32, EARLIEST)], [passage(None, EARLIEST)], [passage(ONE, EARLIEST, reason="granted_face")]])
def test_what_moves_nobody_says_nothing(hub, rows):
    before = hub.ledger.head(group_stream("staff"))
    follows(hub, *rows)
    follows(hub, *rows, terminal_id="nosuch")
    assert hub.ledger.head(group_stream("staff")) == before


def test_a_door_without_areas_moves_nobody_out_of_one(hub, clock):
    hub.fleet.add("inner", "hq", ["staff"])
    follows(hub, passage(ONE, clock.now()))
    clock.advance(1)
    follows(hub, passage(ONE, clock.now(), None), terminal_id="inner")
    assert told(hub)[ONE].area_id == "hall"


def test_a_position_goes_with_the_person_and_comes_with_them_to_a_new_group(hub, clock):
    follows(hub, passage(ONE, clock.now()), passage(TWO, clock.now()))
    hub.people.set_groups(ONE, ["lab"])
    assert set(told(hub)) == {TWO}
    assert set(told(hub, "lab")) == {ONE}
    hub.people.remove([ONE, TWO])
    assert told(hub) == told(hub, "lab") == {}
    assert hub.positions.present() == []
    assert {kind for kind, *_ in hub.ledger.drops_after(group_stream("lab"), 0)} == {"person", "template", "position"}


def test_another_site_is_told_nothing(hub, clock):
    hub.groups.add_site("plant")
    hub.groups.add("workers", "plant")
    person_id = hub.people.add(li_wei(groups=("staff", "workers")))
    follows(hub, passage(person_id, clock.now()))
    assert set(told(hub)) == {person_id}
    assert told(hub, "workers") == {}


def test_a_door_knows_who_came_in_by_another_one(tmp_path, tmp_path_factory):
    world = World(tmp_path, tmp_path_factory)
    try:
        world.enrol(2)
        front, back = world.add_door("t1"), world.add_door("t2")
        for name in ("t1", "t2"):
            world.hub.policies.put(name, AREAS)
        world.settle()
        assert front.journal.append(NewEntry("passage", "entered", ONE, (("area", "hall"),)))
        until(world, lambda: positions_at(back).get(ONE) == "hall")
        assert back.journal.append(NewEntry("passage", "left", ONE, (("area", None),)))
        until(world, lambda: positions_at(front).get(ONE) == "")
        world.hub.people.remove([ONE])
        until(world, lambda: positions_at(front) == positions_at(back) == {})
        world.settle()
    finally:
        world.close()


def until(world: World, is_so) -> None:
    for _ in range(120):
        world.round()
        if is_so():
            return
    raise AssertionError("it did not come to be so within a simulated minute")


def positions_at(door) -> dict[str, str]:
    """What a terminal's roster reads: person -> area."""
    reader = CacheReader.open(door.where.gallery_db, KEY)
    try:
        found, _ = reader.records_since("position", Position, -1)
    finally:
        reader.close()
    return {person_id: position.area_id for person_id, position in found.items()}


def test_who_is_there_over_http_and_from_the_command_line(hub, clock, tmp_path, capsys):
    follows(hub, passage(ONE, clock.now()), passage(TWO, clock.now()))
    client = Client(application(hub), hub.tokens.make("read")[0])
    listed = client.get("/api/v1/areas").json()
    assert [(one["person_id"], one["label"], one["area_id"]) for one in listed] == [
        (ONE, "CANARY 1", "hall"), (TWO, "CANARY 2", "hall")]
    assert client.get("/api/v1/areas", params={"site": "hq", "area": "hall"}).json() == listed
    assert client.get("/api/v1/areas", params={"area": "attic"}).json() == []
    state = ["--state", str(tmp_path / "hub"), "area"]
    assert cli.main(state) == 0
    assert capsys.readouterr().out.splitlines()[0] == "hq hall: 2"
    assert cli.main([*state, "hall", "--json"]) == 0
    assert [one["person_id"] for one in json.loads(capsys.readouterr().out)] == [ONE, TWO]
    assert cli.main([*state, "attic"]) == 0
    assert "nobody" in capsys.readouterr().out
