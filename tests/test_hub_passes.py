"""QR passes at the hub: issued, shown at a door, revoked for good."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import cv2
import numpy as np
import pytest
from hub_samples import Client, li_wei, open_hub, raw
from store_samples import KEY
from sync_world import World

from device.clock import ClockQuality, HandClock
from device.config import parse_config
from device.credentials.desk import CredentialDesk
from device.credentials.qr_pass import read_pass
from device.door.decision import Memory, Now
from device.door.policy import decide
from device.door.types import CredentialShown
from device.roster import rules_of
from device.store.cache import CacheReader
from device.store.policy_records import read_policy, revoked_passes
from device.store.records import Method
from device.store.trust import Verifier
from sync.hub import cli
from sync.hub.api import application
from sync.hub.errors import FieldRefused, NotThere
from sync.hub.hub import Hub
from sync.hub.passes import KEPT, LONGEST, Asked
from sync.hub.places import places
from sync.wire.streams import terminal_stream

POLICY = '[[rule]]\nid = "visits"\ngroup = "visitors"\nmethods = ["qr"]\n'


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def hub(tmp_path, tmp_path_factory, clock):
    made = open_hub(tmp_path / "hub", tmp_path_factory, clock)
    made.fleet.add("door-1", "hq", ["staff"])
    yield made
    made.close()


def visit(clock: HandClock, **changes) -> Asked:
    return Asked(**{"doors": ("main",), "group": "visitors", "valid_until": clock.now() + timedelta(hours=8),
                    "label": "CANARY Mr Xu", **changes})


def told(hub: Hub, terminal_id: str = "door-1") -> set[str]:
    """Passes that a terminal is told of as revoked."""
    return {one.key for one in hub.ledger.living(terminal_stream(terminal_id)).changes if one.kind == "pass"}


def test_a_pass_for_each_door_reads_as_it_was_issued(hub, clock):
    person_id = hub.people.add(li_wei())
    made = hub.passes.issue(visit(clock, doors=("main", "后门"), label="", person_id=person_id, is_once=False), "me")
    assert [(one.door_id, one.issued_by, one.label) for one in made] == [("main", "me", ""), ("后门", "me", "")]
    verifier = Verifier([hub.keys.identity().signer.public])
    for one in made:
        shown = read_pass(hub.passes.text(one.pass_id), verifier)
        facts = shown.facts
        assert (shown.person_id, facts.pass_id, facts.door_id, facts.group, facts.is_once) == (
            person_id, one.pass_id, one.door_id, "visitors", False)
        assert (facts.valid_from, facts.valid_until) == (one.valid_from, one.valid_until)
    assert {one.pass_id for one in hub.passes.all(person_id=person_id)} == {one.pass_id for one in made}
    assert hub.passes.all(1)[0] == hub.passes.get(min(one.pass_id for one in made))


@pytest.mark.parametrize(("changes", "field"), [
    ({"doors": ()}, "doors"), ({"doors": ("a", "a")}, "doors"), ({"doors": ("",)}, "doors"),
    ({"doors": ("a" * 49,)}, "doors"), ({"doors": ("a\n",)}, "doors"), ({"group": "a b"}, "group"),
    ({"label": ""}, "label"), ({"label": "\x07"}, "label"), ({"person_id": "f" * 32}, "label")])
def test_what_cannot_be_a_pass_is_refused_by_field(hub, clock, changes, field):
    with pytest.raises(FieldRefused) as refused:
        hub.passes.issue(visit(clock, **changes))
    assert refused.value.field == field
    assert hub.passes.all() == []


def test_a_pass_holds_for_a_time_that_begins_and_ends(hub, clock):
    now = clock.now()
    for begin, until in ((None, now), (None, now + timedelta(milliseconds=400)), (None, now + LONGEST * 2),
                         (now + timedelta(days=2), now + timedelta(days=1)),
                         (now - timedelta(days=2), now - timedelta(days=1)),
                         (None, datetime(9999, 12, 31, tzinfo=now.tzinfo))):
        with pytest.raises(FieldRefused) as refused:
            hub.passes.issue(visit(clock, valid_from=begin, valid_until=until))
        assert refused.value.field == "valid_until"
    with pytest.raises(NotThere, match="person"):
        hub.passes.issue(visit(clock, label="", person_id="f" * 32))
    (one,) = hub.passes.issue(visit(clock, valid_until=now + timedelta(seconds=2)))
    clock.advance(2)
    with pytest.raises(FieldRefused, match="expired"):
        hub.passes.text(one.pass_id)


def test_a_revoked_pass_is_told_to_every_terminal_and_to_those_to_come_until_it_is_over(hub, clock):
    good, bad = (hub.passes.issue(visit(clock))[0].pass_id for _ in range(2))
    hub.passes.revoke(bad)
    hub.fleet.add("door-2", "hq", ["lab"])
    assert told(hub) == told(hub, "door-2") == {bad}
    with pytest.raises(FieldRefused, match="revoked"):
        hub.passes.text(bad)
    assert hub.passes.text(good)
    before = hub.ledger.head(terminal_stream("door-1")).seq
    hub.passes.revoke(bad)
    assert hub.ledger.head(terminal_stream("door-1")).seq == before
    with pytest.raises(NotThere):
        hub.passes.revoke("f" * 32)
    clock.advance(timedelta(hours=8).total_seconds())
    assert hub.passes.forget() == 0
    clock.advance(KEPT.total_seconds() + 1)
    assert hub.passes.forget() == 2
    assert told(hub) == told(hub, "door-2") == set()
    assert hub.passes.all() == []


def test_whoever_is_removed_has_no_pass_any_more(hub, clock):
    person_id = hub.people.add(li_wei())
    made = {one.pass_id for one in hub.passes.issue(visit(clock, doors=("a", "b"), label="", person_id=person_id))}
    (stays,) = hub.passes.issue(visit(clock))
    hub.people.remove([person_id])
    assert told(hub) == made
    assert {(one.revoked is not None, one.person_id) for one in hub.passes.all() if one.pass_id in made} == {
        (True, None)}
    assert hub.passes.get(stays.pass_id).revoked is None


def test_a_visitors_name_is_sealed_and_its_key_ends_with_the_pass(hub, clock, tmp_path):
    one, two = (hub.passes.issue(visit(clock))[0] for _ in range(2))
    assert (one.label, repr(one)) == ("CANARY Mr Xu", f"Pass({one.pass_id})")
    assert b"CANARY" not in raw(tmp_path / "hub")
    hub.passes.revoke(one.pass_id)
    assert hub.passes.get(one.pass_id).label == ""
    assert {name for name in hub.vault.known() if name.startswith("pass/")} == {f"pass/{two.pass_id}"}
    clock.advance(timedelta(days=9).total_seconds())
    hub.passes.forget()
    assert not any(name.startswith("pass/") for name in hub.vault.known())


def test_a_pass_revoked_after_a_backup_stays_revoked_though_the_backup_may_not_know_it(hub, clock, tmp_path):
    (known,) = hub.passes.issue(visit(clock))
    hub.storage.copy_to(tmp_path / "backup.db")
    (unknown,) = hub.passes.issue(visit(clock))
    for one in (known, unknown):
        hub.passes.revoke(one.pass_id)
    hub.close()
    for path in hub.where.database.parent.glob("hub.db*"):
        path.unlink()
    (tmp_path / "backup.db").rename(hub.where.database)
    again = Hub.open(places(root=tmp_path / "hub"), clock, {})
    try:
        assert told(again) == {known.pass_id, unknown.pass_id}
        assert again.passes.get(known.pass_id).revoked is not None
        assert [one.label for one in again.passes.all()] == [""]
    finally:
        again.close()


def test_a_door_lets_a_visitor_in_by_the_code_until_it_is_revoked(tmp_path, tmp_path_factory):
    world = World(tmp_path, tmp_path_factory)
    try:
        door = world.add_door("t1")
        world.hub.policies.put("t1", POLICY)
        world.settle()
        one, other = (world.hub.passes.issue(visit(world.clock, doors=(name,)))[0].pass_id for name in ("main", "x"))
        client = Client(application(world.hub), world.hub.tokens.make("write")[0])
        code = client.get(f"/api/v1/passes/{one}.png")
        pixels = cv2.imdecode(np.frombuffer(code.content, np.uint8), cv2.IMREAD_COLOR)
        text = cv2.QRCodeDetectorAruco().detectAndDecode(pixels)[0]
        assert text == world.hub.passes.text(one)
        assert shows(door, text) == "pass_granted"
        assert shows(door, world.hub.passes.text(other)) == "pass_elsewhere"
        world.hub.passes.revoke(one)
        world.settle()
        assert shows(door, text) == "pass_revoked"
    finally:
        world.close()


def shows(door, text: str) -> str:
    """What the terminal's own desk and policy say of a code that is held to its camera."""
    config = parse_config({"door": {"lock": "strike", "id": "main"}}, "test")
    desk = CredentialDesk(door.where.gallery_db, KEY, Verifier(door.link.hub_signing), door.clock,
                          lambda: ClockQuality.SYNCED, lambda _: None, lambda: None)
    reader = CacheReader.open(door.where.gallery_db, KEY)
    try:
        claim = desk.claim_of(CredentialShown(1.0, Method.QR, text.encode()))
        rules = rules_of(read_policy(reader), config, revoked_passes(reader))
        return decide(claim, None, rules, Memory(), Now(door.clock.now(), 1000.0, ClockQuality.SYNCED))[0].reason
    finally:
        desk.close()
        reader.close()


def test_passes_over_http(hub, clock):
    client, reader = (Client(application(hub), hub.tokens.make(scope)[0]) for scope in ("write", "read"))
    asked = {"doors": ["main"], "group": "visitors", "label": "Mr Xu",
             "valid_until": (clock.now() + timedelta(hours=1)).isoformat()}
    (given,) = client.post("/api/v1/passes", json=asked).json()
    where = f"/api/v1/passes/{given['pass_id']}"
    assert reader.get(where).json() == given
    assert reader.get("/api/v1/passes", params={"limit": 1}).json() == {"passes": [given], "next": given["pass_id"]}
    assert reader.get("/api/v1/passes", params={"after": given["pass_id"]}).json() == {"passes": [], "next": None}
    assert client.get(f"{where}.png").headers["content-type"] == "image/png"
    assert [reader.get(f"{where}.png").status_code, reader.delete(where).status_code] == [403, 403]
    for odd in ({**asked, "label": ""}, {**asked, "doors": []}, {**asked, "valid_until": "2020-01-01T00:00:00Z"},
                {**asked, "other": 1}, {**asked, "person_id": "x"}):
        assert client.post("/api/v1/passes", json=odd).status_code == 422
    assert client.delete(where).json()["revoked"] is not None
    assert client.get(f"{where}.png").status_code == 422
    for method in (client.get, client.delete):
        assert method(f"/api/v1/passes/{'f' * 32}").status_code == 404


def test_passes_from_the_command_line(hub, tmp_path, capsys):
    person_id = hub.people.add(li_wei())

    def fleethub(*words: object) -> tuple[int, str, str]:
        code = cli.main(["--state", str(tmp_path / "hub"), "pass", *map(str, words)])
        return code, *capsys.readouterr()

    visitor = ("issue", "--door", "main", "--door", "back", "--group", "visitors", "--label", "Mr Xu", "--for", "8h")
    code, out, _ = fleethub(*visitor, "--png", tmp_path / "codes", "--json")
    made = json.loads(out)
    assert (code, [one["door_id"] for one in made]) == (0, ["main", "back"])
    assert sorted(path.stem for path in (tmp_path / "codes").iterdir()) == sorted(one["pass_id"] for one in made)
    assert fleethub("issue", "--door", "main", "--group", "staff", "--person", "CANARY-0017", "--for", "1d",
                    "--many")[0] == 0
    assert fleethub("issue", "--door", "main", "--group", "staff", "--label", "x", "--until", "2020-01-01")[0] == 2
    assert len(fleethub("list")[1].splitlines()) == 3
    listed = json.loads(fleethub("list", "--person", person_id, "--json")[1])
    assert [one["person_id"] for one in listed] == [person_id]
    first = made[0]["pass_id"]
    assert fleethub("code", first[:12], tmp_path / "xu.png")[0] == 0
    assert (tmp_path / "xu.png").read_bytes() == (tmp_path / "codes" / f"{first}.png").read_bytes()
    (tmp_path / "file").write_text("")
    assert fleethub("code", first, tmp_path / "file" / "xu.png")[0] == 2
    assert fleethub("revoke", first[:12], "nosuch")[0] == 1
    assert hub.passes.get(first).revoked is None
    assert fleethub("revoke", first[:12], made[1]["pass_id"])[0] == 0
    assert fleethub("code", first, tmp_path / "xu.png")[0] == 2
    assert [line.split("  ")[3] for line in fleethub("list")[1].splitlines()].count("revoked") == 2
