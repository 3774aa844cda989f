"""Cards and PINs at the hub: whose they may be, what is shown of them, and that a door's desk knows them."""

from __future__ import annotations

import io
import json
from datetime import timedelta

import pytest
from hub_samples import Client, li_wei, open_hub, raw
from store_samples import KEY
from sync_world import World

from device.clock import ClockQuality, HandClock
from device.credentials.card import Card
from device.credentials.desk import CredentialDesk
from device.credentials.pin import is_right, typed
from device.door.decision import Claim
from device.door.types import CredentialShown
from device.store import body
from device.store.records import Credential, Method
from device.store.trust import Verifier
from sync.hub import cli
from sync.hub.api import application
from sync.hub.errors import FieldRefused, InTheWay, NotThere
from sync.wire.streams import group_stream


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def hub(tmp_path, tmp_path_factory, clock):
    made = open_hub(tmp_path / "hub", tmp_path_factory, clock)
    yield made
    made.close()


@pytest.fixture
def pair(hub):
    return hub.people.add(li_wei()), hub.people.add(li_wei(external_id=None, label="Other"))


def told(hub) -> dict[str, Credential]:
    return {one.key: body.decode(Credential, one.body)
            for one in hub.ledger.living(group_stream("staff")).changes if one.kind == "credential"}


def test_one_card_however_it_is_written_is_one_persons(hub, pair):
    one, two = pair
    given = hub.credentials.add_card(one, "124,64313")
    assert told(hub)[given].secret == Card.parse("0x7cfb39").secret()
    for written in ("124,64313", "0x7CFB39", "8190777", "24:0x7cfb39"):
        for person_id in pair:
            with pytest.raises(InTheWay, match="already"):
                hub.credentials.add_card(person_id, written)
    hub.people.remove_credential(one, given)
    assert told(hub) == {}
    assert hub.credentials.add_card(two, "8190777") in told(hub)


def test_a_pins_number_is_one_persons_who_may_have_a_second_for_duress(hub, pair):
    one, two = pair
    with pytest.raises(NotThere):
        hub.credentials.add_pin("f" * 32, "1001", "4711")
    first = hub.credentials.add_pin(one, "1001", "4711")
    for is_duress in (False, True):
        with pytest.raises(InTheWay):
            hub.credentials.add_pin(two, "1001", "9173", is_duress)
    with pytest.raises(InTheWay):
        hub.credentials.add_pin(one, "1001", "9173")
    second = hub.credentials.add_pin(one, "1001", "4712", is_duress=True)
    secrets = told(hub)
    assert is_right(secrets[first].secret, "4711")
    assert is_right(secrets[second].secret, "4712")
    assert [(secrets[name].is_duress) for name in (first, second)] == [False, True]
    hub.people.remove_credential(one, first)
    with pytest.raises(InTheWay):
        hub.credentials.add_pin(two, "1001", "9173")
    hub.people.remove([one])
    assert told(hub) == {}
    hub.credentials.add_pin(two, "1001", "9173")


def test_what_is_no_card_and_no_pin_is_refused_by_field_and_never_quoted(hub, pair):
    for number, pin, field in (("", "4711", "number"), ("x", "4711", "number"), ("1" * 11, "4711", "number"),
                               ("1001", "1111", "pin"), ("1001", "abcd", "pin"), ("1001", "123", "pin")):
        with pytest.raises(FieldRefused) as refused:
            hub.credentials.add_pin(pair[0], number, pin)
        assert refused.value.field == field
        assert not pin or pin not in str(refused.value)
    for number in ("", "cafe", "-1", "1" * 65, "300,1", str(1 << 64)):
        with pytest.raises(FieldRefused) as refused:
            hub.credentials.add_card(pair[0], number)
        assert refused.value.field == "number"
    assert told(hub) == {}


def test_neither_a_cards_number_nor_a_pins_lies_in_the_clear(hub, pair, tmp_path):
    hub.credentials.add_card(pair[0], "32:2864434397")
    hub.credentials.add_pin(pair[0], "9081726354", "471147")
    hub.tidy()
    found = raw(tmp_path / "hub")
    assert not [one for one in (b"2864434397", b"9081726354", b"471147", b"$argon2") if one in found]


def test_a_doors_desk_knows_whose_card_and_pin_the_hub_gave(tmp_path, tmp_path_factory):
    world = World(tmp_path, tmp_path_factory)
    try:
        (person_id,) = world.enrol(1)
        door = world.add_door("t1")
        world.settle()
        card = world.hub.credentials.add_card(person_id, "124,64313")
        world.hub.credentials.add_pin(person_id, "1001", "4711")
        world.hub.credentials.add_pin(person_id, "1001", "4712", is_duress=True)
        world.settle()
        assert ask(door, Method.CARD, Card.parse("8190777").secret()).person_id == person_id
        assert ask(door, Method.PIN, typed("1001", "4711")).person_id == person_id
        assert ask(door, Method.PIN, typed("1001", "4712")).is_duress
        assert ask(door, Method.PIN, typed("1001", "4713")).person_id is None
        world.hub.people.remove_credential(person_id, card)
        world.settle()
        assert ask(door, Method.CARD, Card.parse("8190777").secret()).person_id is None
        world.hub.people.remove([person_id])
        world.settle()
        assert ask(door, Method.PIN, typed("1001", "4711")).person_id is None
    finally:
        world.close()


def ask(door, method: Method, secret: bytes) -> Claim:
    desk = CredentialDesk(door.where.gallery_db, KEY, Verifier(), door.clock, lambda: ClockQuality.SYNCED,
                          lambda _: None, lambda: None)
    try:
        return desk.claim_of(CredentialShown(1.0, method, secret))
    finally:
        desk.close()


def test_credentials_over_http(hub, clock, pair):
    client = Client(application(hub), hub.tokens.make("write")[0])
    where = f"/api/v1/persons/{pair[0]}"
    until = (clock.now() + timedelta(days=1)).isoformat()
    assert client.post(f"{where}/cards", json={"number": "124,64313", "valid_until": until}).status_code == 201
    assert client.post(f"{where}/pins", json={"number": "1001", "pin": "4711"}).status_code == 201
    given = client.post(f"{where}/pins", json={"number": "1001", "pin": "4712", "is_duress": True}).json()
    listed = client.get(f"{where}/credentials").json()
    assert sorted(one["credential_id"] for one in listed) == given["credentials"]
    assert sorted((one["method"], one["number"], one["is_duress"]) for one in listed) == [
        ("card", "", False), ("pin", "1001", False), ("pin", "1001", True)]
    for path, asked, code in (("cards", {"number": "8190777"}, 409), ("cards", {"number": "cafe"}, 422),
                              ("pins", {"number": "1001", "pin": "9173"}, 409),
                              ("pins", {"number": "1002", "pin": "1234"}, 422),
                              ("pins", {"number": "1002", "pin": "9" * 13}, 422)):
        answer = client.post(f"{where}/{path}", json=asked)
        assert (answer.status_code, answer.text.count("9" * 13), answer.text.count("8190777,")) == (code, 0, 0)
    for one in listed:
        assert client.delete(f"{where}/credentials/{one['credential_id']}").status_code == 204
    assert client.get(f"{where}/credentials").json() == []
    assert client.get(f"/api/v1/persons/{'f' * 32}/credentials").status_code == 404


def test_credentials_from_the_command_line(hub, pair, tmp_path, capsys, monkeypatch):
    def fleethub(*words: str, typed: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        code = cli.main(["--state", str(tmp_path / "hub"), "credential", *words])
        return code, *capsys.readouterr()

    assert fleethub("card", "CANARY-0017", "124,64313", "--until", "2099-01-01")[0] == 0
    assert fleethub("card", pair[1], "8190777")[0] == 1
    assert fleethub("card", pair[1], "cafe")[0] == 2
    code, out, err = fleethub("pin", pair[0], "1001", typed="4711\n")
    assert (code, "4711" in out + err) == (0, False)
    assert fleethub("pin", pair[0], "1001", "--duress", typed="4712\n")[0] == 0
    assert fleethub("pin", pair[1], "1002", typed="1234\n")[0] == 2
    lines = fleethub("list", pair[0])[1].splitlines()
    assert sorted(line.split("  ", 1)[1] for line in lines) == [
        "card  until 2099-01-01 00:00Z", "pin  number 1001", "pin  number 1001  duress"]
    listed = json.loads(fleethub("list", pair[0], "--json")[1])
    assert fleethub("remove", pair[0], "")[0] == 1
    for one in listed:
        assert fleethub("remove", pair[0], one["credential_id"][:12])[0] == 0
    assert fleethub("list", pair[0])[1] == "no card and no PIN\n"
