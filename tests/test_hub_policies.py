"""Policies at the hub: which rules a terminal has, what is refused, and that doors go by them."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import msgspec
import pytest
import sqlalchemy as sa
from hub_samples import Client, open_hub
from store_samples import KEY
from sync_samples import enrol
from sync_world import World

from device.clock import ClockQuality, HandClock
from device.config import parse_config
from device.door.decision import Claim, Memory, Now
from device.door.policy import decide
from device.policy_file import parse_policy
from device.roster import rules_of
from device.store import body
from device.store.cache import CacheReader
from device.store.policy_records import KINDS, PolicyRecords, read_policy
from device.store.records import AccessRule, Method
from device.store.trust import open_envelope
from sync.agent.bodies import read_page
from sync.hub import cli, schema
from sync.hub.api import application
from sync.hub.errors import InTheWay, NotThere, PolicyRefused
from sync.hub.hub import Hub
from sync.hub.places import places
from sync.hub.policies import LONGEST, read, tomllib
from sync.wire.messages import Change, PageBody
from sync.wire.streams import terminal_stream

OFFICE = """
# who works here
[[rule]]
id = "workers"
group = "staff"
schedule = "office"
methods = ["face", "card+pin"]

[[rule]]
id = "guards"
group = "lab"
passback = "hard"

[[schedule]]
id = "office"
weekdays = ["08:00-17:30"]
holidays = []

[[holiday]]
id = "new-year"
first = "2027-01-01"
last = "2027-01-03"

[[mode]]
id = "lunch"
mode = "free"
schedule = "office"
first_group = "staff"

[[area]]
id = "hall"
limit = 40

[[door]]
id = "main"
inside = "hall"
"""
NIGHT = '[[rule]]\nid = "guards"\ngroup = "lab"\n'
MONDAY_TEN = datetime(2027, 1, 4, 10, 0, tzinfo=timezone.utc)
SUNDAY_TEN = datetime(2027, 1, 10, 10, 0, tzinfo=timezone.utc)


@pytest.fixture
def hub(tmp_path, tmp_path_factory):
    made = open_hub(tmp_path / "hub", tmp_path_factory)
    made.fleet.add("door-1", "hq", ["staff"])
    yield made
    made.close()


def records_of(text: str) -> PolicyRecords:
    return parse_policy(tomllib.loads(text))


def by_id(records: PolicyRecords) -> dict[tuple[str, str], object]:
    return {(kind, key): record for kind, key, record in records.keyed()}


def told(hub: Hub, terminal_id: str = "door-1") -> dict[tuple[str, str], object]:
    """The records of a policy that a terminal's stream holds."""
    return {(one.kind, one.key): body.decode(KINDS[one.kind][0], one.body)
            for one in hub.ledger.living(terminal_stream(terminal_id)).changes if one.kind in KINDS}


# --- of one terminal -------------------------------------------------------------------------------------


def test_a_policy_replaces_every_rule_and_the_ordinary_ones_come_back_with_its_end(hub):
    with pytest.raises(NotThere, match="at any time"):
        hub.policies.get("door-1")
    given = hub.policies.put("door-1", OFFICE)
    assert told(hub) == by_id(records_of(OFFICE))
    assert by_id(records_of(given.text)) == told(hub)
    assert given.version == read(OFFICE).version == hub.policies.get("door-1").version
    hub.policies.put("door-1", NIGHT)
    assert told(hub) == {("rule", "guards"): AccessRule("guards", "lab")}
    hub.policies.remove("door-1")
    assert told(hub) == {("rule", "staff"): AccessRule("staff", "staff")}
    with pytest.raises(NotThere):
        hub.policies.remove("door-1")


def test_with_a_policy_serving_a_group_puts_no_rule_and_leaving_one_takes_none(hub):
    hub.policies.put("door-1", OFFICE)
    before = told(hub)
    hub.fleet.set_groups("door-1", ["staff", "lab"])
    assert told(hub) == before
    hub.fleet.set_groups("door-1", ["lab"])
    assert told(hub) == before
    with pytest.raises(InTheWay, match="goes by a policy"):
        hub.fleet.put("door-1", [AccessRule("r", "lab")])
    hub.policies.remove("door-1")
    assert told(hub) == {("rule", "lab"): AccessRule("lab", "lab")}


def test_what_stays_the_same_is_not_told_again(hub):
    hub.policies.put("door-1", OFFICE)
    before = hub.ledger.head(terminal_stream("door-1")).seq
    hub.policies.put("door-1", OFFICE + "\n# and a remark")
    assert hub.ledger.head(terminal_stream("door-1")).seq == before
    hub.policies.put("door-1", OFFICE.replace("17:30", "18:00"))
    assert hub.ledger.head(terminal_stream("door-1")).seq == before + 1


def test_every_fault_is_named_and_nothing_is_changed(hub):
    hub.policies.put("door-1", NIGHT)
    bad = '[[rule]]\nid = "a"\n[[rule]]\nid = "b"\ngroup = "staff"\nschedule = "nosuch"\n[[rule]]\nid = "b"\n[[x]]\n'
    with pytest.raises(PolicyRefused) as refused:
        hub.policies.put("door-1", bad)
    assert len(refused.value.faults) == 4
    assert all("\n" not in fault and not fault.startswith("policy") for fault in refused.value.faults)
    assert refused.value.faults[1].startswith("rule a: group")
    assert told(hub) == {("rule", "guards"): AccessRule("guards", "lab")}
    with pytest.raises(NotThere):
        hub.policies.put("nosuch", NIGHT)


@pytest.mark.parametrize("text", [
    "[[rule]", "x" * (LONGEST + 1), "a = " + "[" * 100_000, f'[[rule]]\nid = 0x{"f" * 9000}\n',
    '[[rule]]\nid = "门"\ngroup = "staff"\n', '[[rule]]\nid = "-x"\ngroup = "staff"\n', "day = 2026-13-45",
    "rule = 1", "[rule]\nid = 1", "\0", f"n = {'9' * 9000}"])
def test_a_text_that_is_no_policy_is_refused_in_short_lines(text):
    with pytest.raises(PolicyRefused) as refused:
        read(text)
    assert refused.value.faults
    assert all(0 < len(fault) < 250 and "\n" not in fault for fault in refused.value.faults)


def test_a_group_that_nobody_belongs_to_there_is_warned_of(hub):
    enrol(hub, 1, groups=("staff", "lab"))
    assert hub.policies.put("door-1", OFFICE).warnings == ()
    hub.people.set_groups(f"{1:032x}", ["staff"])
    assert hub.policies.get("door-1").warnings == ("nobody belongs to group 'lab'",)


# --- shared ----------------------------------------------------------------------------------------------


def test_a_shared_policy_is_replaced_at_all_who_follow_it_at_once(hub):
    hub.fleet.add("door-2", "hq", ["lab"])
    hub.fleet.add("door-3", "hq", ["lab"])
    hub.policies.put_shared("office", OFFICE)
    for terminal_id in ("door-1", "door-2"):
        assert hub.policies.follow(terminal_id, "office").policy_id == "office"
    shared = hub.policies.put_shared("office", NIGHT)
    assert shared.terminals == ("door-1", "door-2")
    assert shared.text == NIGHT
    assert shared.warnings == ("terminal door-1: nobody belongs to group 'lab'",
                               "terminal door-2: nobody belongs to group 'lab'")
    assert told(hub) == told(hub, "door-2") == by_id(records_of(NIGHT))
    assert told(hub, "door-3") == {("rule", "lab"): AccessRule("lab", "lab")}
    with pytest.raises(InTheWay, match="door-1, door-2"):
        hub.policies.remove_shared("office")
    hub.policies.put("door-1", OFFICE)
    hub.fleet.remove("door-2")
    hub.policies.remove_shared("office")
    assert hub.policies.shared() == []
    with pytest.raises(NotThere):
        hub.policies.follow("door-1", "office")
    assert told(hub) == by_id(records_of(OFFICE))


def test_a_shared_policys_text_is_not_in_the_clear(hub, tmp_path):
    hub.policies.put_shared("office", NIGHT + "# CANARY-POLICY\n")
    hub.storage.copy_to(tmp_path / "copy.db")
    assert b"CANARY-POLICY" not in (tmp_path / "copy.db").read_bytes()


# --- set back --------------------------------------------------------------------------------------------


def test_a_rule_that_a_policy_took_away_does_not_come_back_with_a_backup(hub, tmp_path):
    hub.policies.put("door-1", OFFICE)
    hub.storage.copy_to(tmp_path / "backup.db")
    hub.policies.put("door-1", NIGHT)
    hub.close()
    for path in hub.where.database.parent.glob("hub.db*"):
        path.unlink()
    (tmp_path / "backup.db").rename(hub.where.database)
    again = Hub.open(places(root=tmp_path / "hub"), HandClock(), {})
    try:
        assert set(told(again)) == set(by_id(records_of(OFFICE))) - {("rule", "workers"), ("mode", "lunch")}
        with again.storage.read() as tx:
            assert tx.one(sa.select(schema.terminal_policies)).terminal_id == "door-1"
    finally:
        again.close()


# --- at the door -----------------------------------------------------------------------------------------


def test_a_door_goes_by_the_policy_that_its_hub_was_given(tmp_path, tmp_path_factory):
    world = World(tmp_path, tmp_path_factory)
    try:
        (worker,) = world.enrol(1)
        door = world.add_door("t1")
        world.settle()
        assert verdict(door, worker, SUNDAY_TEN) == "face_granted"
        world.seen.clear()
        given = world.hub.policies.put("t1", OFFICE)
        world.settle()
        assert len(pages_seen(world)) == 1  # of its own stream; the area's begins
        assert by_id(policy_at(door)) == by_id(records_of(OFFICE))
        assert policy_at(door).version == given.version
        assert verdict(door, worker, MONDAY_TEN) == "face_granted"
        assert verdict(door, worker, SUNDAY_TEN) == "outside_schedule"
        world.hub.policies.put("t1", NIGHT)
        world.settle()
        assert verdict(door, worker, MONDAY_TEN) == "no_rule"
        world.hub.policies.remove("t1")
        world.settle()
        assert verdict(door, worker, SUNDAY_TEN) == "face_granted"
    finally:
        world.close()


def pages_seen(world: World) -> set[tuple[int, int]]:
    """(from_seq, to_seq) of every page of a terminal's own that passed; one that was sent again is the same."""
    found = [msgspec.msgpack.decode(open_envelope(data).payload)
             for topic, data in world.seen if topic.endswith("/pages")]
    return {(message["from_seq"], message["to_seq"]) for message in found
            if message["type"] == "page" and message["stream"].startswith("terminal/")}


def policy_at(door) -> PolicyRecords:
    reader = CacheReader.open(door.where.gallery_db, KEY)
    try:
        return read_policy(reader)
    finally:
        reader.close()


def verdict(door, person_id: str, at: datetime) -> str:
    """What the terminal's own policy says of a face at its door."""
    config = parse_config({"door": {"lock": "strike", "id": "main", "time_zone": "UTC"}}, "test")
    reader = CacheReader.open(door.where.gallery_db, KEY)
    try:
        rules, person = rules_of(read_policy(reader), config), reader.person(person_id)
    finally:
        reader.close()
    claim = Claim(person_id, frozenset({Method.FACE}), track_id=1)
    return decide(claim, person, rules, Memory(), Now(at, 1000.0, ClockQuality.SYNCED))[0].reason


@pytest.mark.parametrize("kind", [*KINDS, "pass", "position"])
def test_a_record_that_the_door_could_not_read_is_refused_alone(kind):
    good = Change(2, "put", "rule", "guards", body.encode(AccessRule("guards", "lab")))
    for data in (b"", b"{}", b"\xff", b'{"id": 1}', b"[" * 10_000):
        arrived = read_page(PageBody(puts=(Change(1, "put", kind, "x", data), good)))
        assert (arrived.refused, [one.key for one in arrived.told]) == (1, ["guards"])


# --- over HTTP, from the command line --------------------------------------------------------------------


def test_policies_over_http(hub):
    client = Client(application(hub), hub.tokens.make("admin")[0])
    where, shared = "/api/v1/terminals/door-1/policy", "/api/v1/policies/office"
    assert client.get(where).status_code == 404
    bad = client.put(where, json={"text": '[[rule]]\nid = "a"\n[[rule]]\nid = "b"\n'})
    assert (bad.status_code, [one["field"] for one in bad.json()["problems"]]) == (422, ["policy", "policy"])
    for odd in ({}, {"text": NIGHT, "policy_id": "office"}, {"text": NIGHT, "other": 1}, {"policy_id": "a/b"}):
        assert client.put(where, json=odd).status_code == 422
    given = client.put(where, json={"text": OFFICE}).json()
    assert given == client.get(where).json()
    assert (given["policy_id"], given["version"]) == (None, read(OFFICE).version)
    assert client.put(where, json={"policy_id": "office"}).status_code == 404
    assert client.put(shared, json={"text": NIGHT}).json()["terminals"] == []
    assert client.put(where, json={"policy_id": "office"}).json()["policy_id"] == "office"
    assert client.get("/api/v1/policies").json() == [client.get(shared).json()]
    assert client.delete(shared).status_code == 409
    assert client.delete(where).status_code == 204
    assert client.delete(shared).status_code == 204
    assert client.get(shared).status_code == 404
    assert client.put("/api/v1/terminals/nosuch/policy", json={"text": NIGHT}).status_code == 404
    writer = Client(application(hub), hub.tokens.make("write")[0])
    assert [writer.put(path, json={"text": NIGHT}).status_code for path in (where, shared)] == [403, 403]


def test_policies_from_the_command_line(hub, tmp_path, capsys):
    hub.fleet.add("door-2", "hq", ["lab"])
    file = tmp_path / "office.toml"

    def fleethub(*words: object) -> tuple[int, str, str]:
        code = cli.main(["--state", str(tmp_path / "hub"), "policy", *map(str, words)])
        return code, *capsys.readouterr()

    file.write_text(OFFICE)
    assert fleethub("check", file)[:2] == (0, f"{file}: good, policy {read(OFFICE).version}: 2 rules, 1 schedules\n")
    assert fleethub("set", file)[0] == 2
    code, out, _ = fleethub("set", file, "--terminal", "door-1")
    assert (code, out.splitlines()[0]) == (0, "warning: nobody belongs to group 'lab'")
    code, out, _ = fleethub("show", "--terminal", "door-1")
    assert (code, by_id(records_of(out))) == (0, told(hub))
    assert fleethub("set", file, "--name", "office", "--terminal", "door-1", "--terminal", "nosuch")[0] == 1
    assert fleethub("show", "--name", "office")[0] == 1
    assert fleethub("set", file, "--name", "office", "--terminal", "door-1", "--terminal", "door-2")[0] == 0
    assert json.loads(fleethub("list", "--json")[1])[0]["terminals"] == ["door-1", "door-2"]
    assert "# who works here" in fleethub("show", "--name", "office")[1]
    file.write_text('[[rule]]\nid = "a"\n[[rule]]\nid = "b"\n')
    code, _, err = fleethub("set", file, "--name", "office")
    assert (code, err.count("\n")) == (2, 2)
    for bad in (b"\xff\xfe", b"#" * (LONGEST + 1)):
        file.write_bytes(bad)
        assert fleethub("check", file)[0] == 2
    assert fleethub("remove", "--name", "office")[0] == 1
    for terminal_id in ("door-1", "door-2"):
        assert fleethub("remove", "--terminal", terminal_id)[0] == 0
    assert fleethub("remove", "--name", "office")[0] == 0
    assert fleethub("show", "--terminal", "door-1")[0] == 1
