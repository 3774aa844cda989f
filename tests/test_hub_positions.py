"""Who is in which area: from what doors saw to what every other door of the area knows."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from hub_samples import Client, li_wei, open_hub
from sync_samples import enrol
from sync_world import World

from device.clock import HandClock
from device.store import body
from device.store.handover import HandoverReader
from device.store.records import Position
from sync.hub import cli
from sync.hub.api import application
from sync.hub.schema import terminal_areas
from sync.hub.times import EARLIEST
from sync.wire.messages import JournalRow
from sync.wire.streams import area_stream, owner_of, position_key
from sync.wire.topics import AREA_PAGES

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
INNER = """
[[rule]]
id = "staff"
group = "staff"

[[area]]
id = "lab"

[[area]]
id = "hall"

[[door]]
id = "inner"
outside = "hall"
inside = "lab"
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


def told(hub, area: str = "hall", site: str = "hq") -> dict[str, Position]:
    """What an area's stream says, by person."""
    stream = area_stream(site, area)
    found = {one.key: body.decode(Position, one.body) for one in hub.ledger.living(stream).changes}
    assert set(found) == {position_key(one.person_id, stream) for one in found.values()}
    return {one.person_id: one for one in found.values()}


def test_whoever_enters_or_leaves_is_told_to_the_doors_of_the_area_and_to_no_other(hub, clock):
    before, at = hub.ledger.head("group/staff"), clock.now()
    follows(hub, passage(ONE, at), passage(TWO, at, None, "left"))
    assert told(hub) == {ONE: Position(ONE, "hall", at), TWO: Position(TWO, "", at)}
    assert [(one.person_id, one.area_id, one.terminal_id) for one in hub.positions.present()] == [
        (ONE, "hall", "door-1")]
    clock.advance(5)
    follows(hub, passage(ONE, clock.now(), None, "left"))
    assert told(hub)[ONE] == Position(ONE, "", clock.now())
    assert hub.positions.present() == []
    assert hub.ledger.head("group/staff") == before


def test_both_areas_hear_of_whoever_goes_from_one_to_the_other_and_a_third_does_not(hub, clock):
    hub.fleet.add("inner", "hq", ["staff"])
    hub.policies.put("inner", INNER)
    hub.fleet.add("vault", "hq", ["staff"])
    hub.policies.put("vault", INNER.replace("lab", "vault").replace("hall", "attic"))
    follows(hub, passage(ONE, clock.now()))
    clock.advance(5)
    follows(hub, passage(ONE, clock.now(), "lab"), terminal_id="inner")
    assert told(hub)[ONE] == told(hub, "lab")[ONE] == Position(ONE, "lab", clock.now())
    clock.advance(5)
    follows(hub, passage(ONE, clock.now(), "hall", "left"), terminal_id="inner")
    assert told(hub)[ONE] == told(hub, "lab")[ONE] == Position(ONE, "hall", clock.now())
    assert told(hub, "vault") == told(hub, "attic") == {}


def test_the_newest_passage_counts_however_late_another_arrives(hub, clock):
    at, stream = clock.now(), area_stream("hq", "hall")
    follows(hub, passage(ONE, at))
    before = hub.ledger.head(stream).seq
    follows(hub, passage(ONE, at - timedelta(hours=1), None, "left"))
    follows(hub, passage(ONE, at, "hall"))
    assert hub.ledger.head(stream).seq == before
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
    [], [passage("f" * 32, EARLIEST)], [passage(None, EARLIEST)], [passage(ONE, EARLIEST, reason="granted_face")],
    [passage(ONE, EARLIEST, "vault")], [passage(ONE, EARLIEST, "x" * 5000)], [passage(ONE, EARLIEST, "#/+")]])
def test_what_moves_nobody_says_nothing(hub, rows):
    before = hub.ledger.streams()
    follows(hub, *rows)
    follows(hub, *rows, terminal_id="nosuch")
    assert hub.ledger.streams() == before
    assert hub.positions.present() == []


def test_a_door_without_areas_moves_nobody_out_of_one(hub, clock):
    hub.fleet.add("inner", "hq", ["staff"])
    follows(hub, passage(ONE, clock.now()))
    clock.advance(1)
    follows(hub, passage(ONE, clock.now(), None), terminal_id="inner")
    assert told(hub)[ONE].area_id == "hall"


def test_a_position_stays_while_the_person_belongs_to_the_site_and_goes_with_them(hub, clock):
    hub.groups.add_site("plant")
    hub.groups.add("workers", "plant")
    follows(hub, passage(ONE, clock.now()), passage(TWO, clock.now()))
    hub.people.set_groups(ONE, ["lab"])
    assert set(told(hub)) == {ONE, TWO}
    hub.people.set_groups(ONE, ["workers"])
    assert set(told(hub)) == {TWO}
    assert [one.person_id for one in hub.positions.present()] == [TWO]
    hub.people.remove([ONE, TWO])
    assert told(hub) == {}
    assert hub.positions.present() == []
    keys = {key for _, key, *_ in hub.ledger.drops_after(area_stream("hq", "hall"), 0)}
    assert keys == {position_key(one, area_stream("hq", "hall")) for one in (ONE, TWO)}
    assert {owed.stream for owed in hub.fleet.open_deletions("door-1")} >= {area_stream("hq", "hall")}


def test_an_area_of_the_same_name_at_another_site_is_another_area(hub, clock):
    hub.groups.add_site("plant")
    hub.groups.add("workers", "plant")
    hub.fleet.add("gate", "plant", ["workers"])
    hub.policies.put("gate", AREAS.replace("staff", "workers"))
    person_id = hub.people.add(li_wei(groups=("staff", "workers")))
    follows(hub, passage(person_id, clock.now()))
    assert set(told(hub)) == {person_id}
    assert told(hub, site="plant") == {}
    hub.people.set_groups(person_id, ["staff"])
    assert set(told(hub)) == {person_id}


def test_whoever_begins_to_follow_an_area_learns_who_is_in_there_and_the_last_to_leave_empties_it(hub, clock):
    follows(hub, passage(ONE, clock.now()), passage(TWO, clock.now(), None, "left"))
    hub.policies.remove("door-1")
    assert told(hub) == {}
    assert area_stream("hq", "hall") not in hub.fleet.streams_of("door-1")
    hub.policies.put("door-1", AREAS)
    assert set(told(hub)) == {ONE}
    key = hub.keys.of_stream(area_stream("hq", "hall")).key_id
    hub.fleet.add("inner", "hq", ["staff"])
    hub.policies.put("inner", INNER)
    hub.fleet.remove("door-1")
    assert set(told(hub)) == {ONE}
    assert hub.keys.of_stream(area_stream("hq", "hall")).key_id != key
    hub.fleet.remove("inner")
    assert told(hub) == told(hub, "lab") == {}


def test_policies_from_before_areas_had_streams_are_followed_when_the_hub_is_opened(hub, tmp_path, clock):
    with hub.storage.write() as tx:
        tx.run(sa.delete(terminal_areas))
    assert hub.fleet.streams_of("door-1") == ["group/staff", "terminal/door-1"]
    hub.policies.follow_areas()
    assert hub.fleet.streams_of("door-1") == ["group/staff", area_stream("hq", "hall"), "terminal/door-1"]
    before = hub.ledger.streams()
    hub.policies.follow_areas()
    assert hub.ledger.streams() == before


@pytest.fixture
def world(tmp_path, tmp_path_factory):
    made = World(tmp_path, tmp_path_factory)
    yield made
    made.close()


def test_a_door_knows_who_came_in_by_another_one_whatever_groups_either_serves(world):
    world.enrol(2)
    front, back = world.add_door("t1"), world.add_door("t2", ("lab",))
    world.add_door("t3")
    for name in ("t1", "t2"):
        world.hub.policies.put(name, AREAS)
    world.settle()
    world.seen.clear()
    front.passes(ONE, "hall")
    until(world, lambda: back.positions().get(ONE) == "hall")
    world.settle()
    topic = AREA_PAGES.of("hq", owner_of(area_stream("hq", "hall")))
    assert [name for name, _ in world.seen if name.endswith("/pages")] == [topic]
    back.passes(ONE, None)
    until(world, lambda: front.positions().get(ONE) == "")
    world.hub.people.remove([ONE])
    until(world, lambda: front.positions() == back.positions() == {})
    world.settle()
    assert world.doors["t3"].positions() == {}


def test_a_door_that_leaves_an_area_lets_go_of_it_and_reads_no_more_of_it(world):
    world.enrol(2)
    front, back = world.add_door("t1"), world.add_door("t2")
    for name in ("t1", "t2"):
        world.hub.policies.put(name, AREAS)
    world.settle()
    front.passes(ONE, "hall")
    until(world, lambda: back.positions().get(ONE) == "hall")
    world.hub.policies.remove("t2")
    until(world, lambda: back.positions() == {})
    stream = area_stream("hq", "hall")
    until(world, lambda: stream not in back.agent.streams.names())
    world.settle()
    assert stream not in back.agent.keyring.streams()
    assert not any(topic.startswith("door/v1/hq/area/") for topic in back.net.topics)
    front.passes(TWO, "hall")
    until(world, lambda: front.positions().get(TWO) == "hall")
    assert back.positions() == {}


def test_a_broker_that_withholds_an_area_is_noticed_so_that_its_doors_are_soft(world):
    world.enrol(1)
    door = world.add_door("t1")
    world.hub.policies.put("t1", AREAS)
    world.settle()
    world.mischief = lambda topic, data: [] if "/area/" in topic else [(topic, data)]
    for _ in range(400):
        world.round(1.0)
    assert door.agent.heads.stale() == [area_stream("hq", "hall")]
    assert HandoverReader(door.agent.writer).sign("stale") == area_stream("hq", "hall")
    world.mischief = None
    until(world, lambda: door.agent.heads.stale() == [])


def until(world: World, is_so) -> None:
    for _ in range(120):
        world.round()
        if is_so():
            return
    raise AssertionError("it did not come to be so within a simulated minute")


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
