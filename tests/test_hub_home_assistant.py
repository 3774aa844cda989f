"""Doors in Home Assistant: what its broker, a real Mosquitto, is told, and what it can have the hub do."""

from __future__ import annotations

import json
import logging
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from home_broker import HomeBroker, House
from hub_samples import li_wei, open_hub
from journal_samples import JOURNAL, Journal
from sync_samples import SITE, WireTerminal, enrol, wait_until

from device.clock import HandClock, SystemClock
from device.errors import ConfigError
from device.store.orders import Order
from sync.hub import cli
from sync.hub.door_news import DoorNews, Newsroom, after
from sync.hub.home_assistant import HomeAssistant
from sync.hub.home_entities import DoorState, HomeTopics, discovery_text, object_id, state_text
from sync.hub.home_settings import HomeSettings, parse_settings, read_settings
from sync.hub.hub import Hub
from sync.hub.schema import commands, terminals
from sync.hub.serve import Options, Service

CONFIG = "homeassistant/device/open_door/door-1/config"
STATE, RELEASE = "open_door/door-1/state", "open_door/door-1/release"


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    made = HomeBroker(tmp_path_factory.mktemp("house"))
    yield made
    made.stop()


@pytest.fixture
def hub(tmp_path, tmp_path_factory):
    made = open_hub(tmp_path / "hub", tmp_path_factory, SystemClock())
    made.fleet.add("door-1", "hq", ["staff"], "CANARY front door of Li Wei")
    yield made
    made.close()


@pytest.fixture
def house(broker):
    made = House(broker)
    yield made
    made.close()


@pytest.fixture
def shown(hub, broker):
    """Starts what shows the hub's doors; ended, and its traces taken away, after the test."""
    begun = []

    def start(**changes) -> HomeAssistant:
        hub.where.home.write_text(broker.settings(**changes))
        settings = read_settings(hub.where.home)
        assert settings is not None
        begun.append(HomeAssistant(hub, settings, SystemClock()))
        begun[-1].start()
        return begun[-1]

    yield start
    for one in begun:
        one.stop()
    hub.where.home.write_text(broker.settings())
    assert cli.main(["--state", str(hub.where.root), "home-assistant", "remove"]) == 0


def reports(hub: Hub, is_online: bool = True, **health: str) -> None:
    """As a report keeps it."""
    now = round(datetime.now(timezone.utc).timestamp() * 1000)
    with hub.storage.write() as tx:
        tx.run(sa.update(terminals).where(terminals.c.terminal_id == "door-1").values(
            is_online=is_online, reported=now, boot_id="b" * 32, health=json.dumps(health)))


# --- what is shown ---------------------------------------------------------------------------------------


def test_a_terminal_is_shown_as_a_device_with_its_entities_and_their_states(hub, house, shown):
    reports(hub, door="secure", mode="normal")
    shown()
    wait_until(lambda: house.json(STATE).get("contact") == "closed")
    config = house.json(CONFIG)
    assert config["device"]["identifiers"] == ["open_door_door-1"]
    assert config["origin"]["name"] == "open-door fleethub"
    assert {name: (one["platform"], one.get("device_class")) for name, one in config["components"].items()} == {
        "contact": ("binary_sensor", "door"), "lock": ("binary_sensor", "lock"), "mode": ("sensor", None),
        "alarm": ("binary_sensor", "safety"), "online": ("binary_sensor", "connectivity"),
        "outcome": ("sensor", None)}
    for name, one in config["components"].items():
        assert one["unique_id"] == f"open_door_door-1_{name}"
        assert house.has(one["state_topic"])
    wait_until(lambda: house.newest["open_door/door-1/online"] == b"online")
    assert house.newest["open_door/status"] == b"online"
    assert all(retain for topic, _, retain in house.all if topic.startswith(("open_door", "homeassistant")))
    assert house.json(STATE) == {"contact": "closed", "lock": "locked", "mode": "normal", "alarm": "off",
                                 "alarms": [], "outcome": "None", "outcome_at": None}


def test_states_follow_reports_and_the_journal(hub, house, shown):
    reports(hub, door="secure", mode="normal")
    shown()
    wait_until(lambda: house.json(STATE).get("contact") == "closed")
    journal = Journal()
    hub.events.store("door-1", JOURNAL, journal.rows("face_granted"))
    reports(hub, door="released", mode="normal")
    wait_until(lambda: house.json(STATE)["lock"] == "unlocked" and house.json(STATE)["outcome"] == "face_granted")
    assert house.json(STATE)["outcome_at"] == "2026-01-05T08:00:01+00:00"
    hub.events.store("door-1", JOURNAL, journal.rows(("alarm", "held_open"), ("alarm", "tamper")))
    reports(hub, door="held", mode="normal")
    wait_until(lambda: house.json(STATE)["alarms"] == ["held_open", "tamper"])
    wait_until(lambda: house.json(STATE)["contact"] == "open")
    hub.events.store("door-1", JOURNAL, journal.rows(("door", "held_cleared"), ("door", "tamper_cleared"),
                                                     ("refusal", "unknown_face")))
    reports(hub, is_online=False, door="secure", mode="normal")
    wait_until(lambda: house.json(STATE)["alarm"] == "off" and house.json(STATE)["outcome"] == "unknown_face")
    wait_until(lambda: house.newest["open_door/door-1/online"] == b"offline")


def test_no_name_and_no_person_is_in_any_message(hub, house, shown):
    enrol(hub, 1)
    person_id = hub.people.add(li_wei())
    reports(hub, door="secure", mode="CANARY")
    shown(allow_release=True)
    wait_until(lambda: house.has(STATE))
    journal = Journal()
    hub.events.store("door-1", JOURNAL, journal.rows("face_granted", person_id=person_id, score=0.73, why="CANARY"))
    hub.events.store("door-1", JOURNAL, journal.rows(("CANARY", "CANARY"), ("alarm", "duress"),
                                                     person_id="CANARY Li Wei"))
    wait_until(lambda: house.json(STATE)["outcome"] == "face_granted")
    hub.events.store("door-1", JOURNAL, journal.rows(("refusal", "unknown_card"), person_id=None))
    wait_until(lambda: house.json(STATE)["outcome"] == "unknown_card")
    said = b"".join(topic.encode() + data for topic, data, _ in house.all)
    for canary in (b"CANARY", b"Li Wei", person_id.encode(), b"0.73", b"duress", f"{1:032x}".encode()):
        assert canary not in said


def test_a_terminal_that_is_removed_is_taken_away_at_once_or_when_the_hub_is_back(hub, house, shown):
    for name in ("door-2", "door.3"):
        hub.fleet.add(name, "hq", ["staff"])
    first = shown()
    gone = [topic for name in ("door-2", "door.3") for topic in (
        first.topics.config(name), first.topics.online(name), first.topics.state(name))]
    wait_until(lambda: all(map(house.has, gone)))
    hub.fleet.remove("door-2")
    wait_until(lambda: not any(map(house.has, gone[:3])))
    first.stop()
    hub.fleet.remove("door.3")
    assert house.has(gone[3])
    shown()
    wait_until(lambda: not any(map(house.has, gone)))
    assert house.has(CONFIG)


def test_what_it_says_goes_by_its_last_will_when_the_hub_is_gone(hub, house, shown):
    made = shown()
    wait_until(lambda: house.newest.get("open_door/status") == b"online" and house.has(STATE))
    made.link._client._sock_close()  # as a cut line, without a word
    wait_until(lambda: (  # and back again by itself
        [data for topic, data, _ in house.all if topic == "open_door/status"][-2:] == [b"offline", b"online"]))
    made.stop()
    wait_until(lambda: house.newest["open_door/status"] == b"offline")


def test_a_broker_that_forgot_everything_is_told_everything_again(hub, shown, broker):
    shown()
    first = House(broker)
    wait_until(lambda: first.has(STATE))
    first.close()
    broker.stop()
    broker.start()
    second = House(broker)
    wait_until(lambda: second.has(CONFIG) and second.has(STATE) and second.has("open_door/door-1/online"))
    second.close()


# --- releases --------------------------------------------------------------------------------------------


def ordered(hub: Hub) -> list[tuple[str, str, str]]:
    with hub.storage.read() as tx:
        return [(row.terminal_id, row.verb, row.ordered_by) for row in tx.all(sa.select(commands))]


def test_a_release_is_refused_as_long_as_it_is_not_allowed(hub, house, shown):
    reports(hub, door="secure", mode="normal")
    made = shown()
    wait_until(lambda: house.has(STATE))
    assert "release" not in house.json(CONFIG)["components"]
    house.say(RELEASE, b"RELEASE")
    time.sleep(1.0)
    assert ordered(hub) == []
    assert made.counts["released"] == 0


def test_a_release_that_is_allowed_is_a_command_of_the_hub_ordered_by_home_assistant(hub, house, shown):
    reports(hub, door="secure", mode="normal")
    made = shown(allow_release=True)
    wait_until(lambda: house.json(CONFIG).get("components", {}).get("release"))
    button = house.json(CONFIG)["components"]["release"]
    assert (button["platform"], button["command_topic"], button["retain"]) == ("button", RELEASE, False)
    house.say(button["command_topic"], button["payload_press"].encode())
    wait_until(lambda: ordered(hub))
    assert ordered(hub) == [("door-1", "release", "home-assistant")]
    house.say(RELEASE, b"RELEASE")  # a moment later
    wait_until(lambda: made.counts["dropped"] == 1)
    assert len(ordered(hub)) == 1


def test_a_button_that_was_allowed_is_taken_away_again(hub, house, shown):
    def said() -> list[dict[str, str] | None]:
        return [json.loads(data)["components"].get("release") for topic, data, _ in house.all
                if topic == CONFIG and data]

    made = shown(allow_release=True)
    wait_until(said)
    made.stop()
    shown()
    wait_until(lambda: said()[-1] is None)
    assert said()[-2] == {"platform": "button"}


HOSTILE = (b"", b"release", b"RELEASE\n", b"RELEASE RELEASE", b"LOCK", b"\xff\xfe", b'{"action":"RELEASE"}',
           b"RELEASE" * 9000, b"A" * 60_000)


def test_hostile_messages_release_nothing_and_are_dropped_with_a_line(hub, house, shown, caplog):
    reports(hub, door="secure", mode="normal")
    made = shown(allow_release=True)
    wait_until(lambda: house.has(STATE))
    with caplog.at_level(logging.WARNING, "sync.hub.home_assistant"):
        for data in HOSTILE:
            house.say(RELEASE, data)
        house.say(RELEASE, b"RELEASE", retain=True)
        for topic in ("open_door/nobody/release", "open_door/-/release", "open_door//release",
                      "open_door/%s/release" % ("x" * 300), "open_door/é\u2028/release"):
            house.say(topic, b"RELEASE")
        wait_until(lambda: made.counts["dropped"] >= len(HOSTILE) + 5)
    assert ordered(hub) == []
    assert "it does not say RELEASE" in caplog.text
    assert "must not retain it" in caplog.text
    assert "there is no such terminal" in caplog.text
    assert "nobody" not in caplog.text
    assert b"LOCK" not in caplog.text.encode()
    assert len(caplog.records) < len(HOSTILE)
    house.say(RELEASE, b"", retain=True)


def test_what_the_broker_kept_is_no_order_when_the_hub_comes_back(hub, house, shown):
    reports(hub, door="secure", mode="normal")
    house.say(RELEASE, b"RELEASE", retain=True)
    made = shown(allow_release=True)
    wait_until(lambda: house.has(STATE))
    time.sleep(1.0)
    assert ordered(hub) == []
    assert made.counts["released"] == 0
    house.say(RELEASE, b"", retain=True)


def test_a_flood_ends_neither_the_hub_nor_what_is_shown(hub, house, shown):
    reports(hub, door="secure", mode="normal")
    made = shown(allow_release=True)
    wait_until(lambda: house.has(STATE))
    for number in range(5000):
        house.mqtt.publish(RELEASE, str(number).encode(), 0)
    reports(hub, door="open", mode="normal")
    wait_until(lambda: house.json(STATE)["contact"] == "open")
    wait_until(made.link.inbox.empty)
    house.say(RELEASE, b"RELEASE")
    wait_until(lambda: ordered(hub))


def test_a_release_asked_for_in_a_house_reaches_the_terminal_signed_and_for_its_boot(
        tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, broker: HomeBroker, house: House) -> None:
    hub = open_hub(tmp_path / "hub", tmp_path_factory, SystemClock())
    hub.where.home.write_text(broker.settings(allow_release=True))
    service = Service(hub, Options(with_broker=True))
    service.start()
    wait_until(service.is_well)
    hub.fleet.add("door-1", SITE, ("staff",))
    terminal = WireTerminal.claimed(service, "door-1")
    terminal.connect()
    terminal.report()
    terminal.say_online()
    terminal.send_journal(1, 3)
    wait_until(lambda: house.newest.get("open_door/door-1/online") == b"online")
    house.say(RELEASE, b"RELEASE")
    wait_until(lambda: terminal.got(Order))  # opened and verified by the terminal
    (order,) = terminal.got(Order)
    assert (order.verb, order.boot_id, order.terminal_id) == ("release", terminal.boot_id, "door-1")
    assert ordered(hub) == [("door-1", "release", "home-assistant")]
    terminal.close()
    service.stop()
    assert cli.main(["--state", str(hub.where.root), "home-assistant", "remove"]) == 0
    kept = (CONFIG, STATE, "open_door/door-1/online", "open_door/status")
    wait_until(lambda: not any(map(house.has, kept)))
    hub.close()


# --- settings and commands -------------------------------------------------------------------------------


# paho leaves the socket of a handshake that failed to the collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_settings_are_checked_by_a_command_that_connects_once(hub, broker, capsys):
    def run(*arguments: str) -> tuple[int, str]:
        code = cli.main(["--state", str(hub.where.root), "home-assistant", *arguments])
        out = capsys.readouterr()
        return code, out.out + out.err

    assert run("check")[0] == 1
    hub.where.home.write_text(broker.settings())
    assert run("check") == (0, f"localhost:{broker.port} takes the hub; Home Assistant may not have doors released\n")
    hub.where.home.write_text(broker.settings(account="stranger"))
    code, said = run("check")
    assert code == 1
    assert "Not authorized" in said
    hub.where.home.write_text(broker.settings(ca=""))
    assert run("check")[0] == 1
    hub.where.home.write_text(broker.settings(prot=1))
    assert run("check") == (2, f"fleethub: {hub.where.home}: unknown key prot; did you mean port?\n")
    assert "`allow_release` | `false`" in run("keys")[1]


@pytest.mark.parametrize(("table", "word"), [
    ({}, "host is missing"), ({"host": ""}, "host"), ({"host": 5}, "host must be a string"),
    ({"host": "a b"}, "host"), ({"host": "a", "port": 0}, "port"), ({"host": "a", "port": True}, "port"),
    ({"host": "a", "tls": False}, "tls"), ({"host": "a", "tls": "no"}, "tls must be true or false"),
    ({"host": "a", "node": "a/b"}, "node"), ({"host": "a", "node": "+"}, "node"),
    ({"host": "a", "discovery_prefix": "#"}, "discovery_prefix"), ({"host": "a", "password_file": "x"}, "account"),
    ({"host": "a", "allow_release": 1}, "allow_release must be true or false"),
])
def test_settings_that_cannot_be_used_are_named_in_one_line(table, word):
    with pytest.raises(ConfigError, match=word) as caught:
        parse_settings(table, "home_assistant.toml")
    assert "\n" not in str(caught.value)


def test_a_password_that_others_may_read_is_refused(tmp_path):
    path = tmp_path / "password"
    path.write_text("secret\n")
    settings = HomeSettings(host="localhost", account="hub", password_file=str(path))
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        settings.password()
    path.chmod(0o600)
    assert settings.password() == "secret"
    path.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        settings.password()


def test_without_the_file_there_is_no_home_assistant(hub, tmp_path):
    assert read_settings(hub.where.home) is None
    assert Service(hub, Options()).home is None
    hub.where.home.write_text("host = ")
    with pytest.raises(ConfigError, match="home_assistant"):
        Service(hub, Options())


# --- the parts -------------------------------------------------------------------------------------------


def test_a_door_that_can_be_passed_is_unlocked_and_what_is_not_known_is_not_said():
    phases = ("", "secure", "released", "open", "held", "forced", "other")
    shown = {(phase, mode): json.loads(state_text(DoorState(phase, mode)))
             for phase in phases for mode in ("normal", "free")}
    assert {key for key, one in shown.items() if one["lock"] == "locked"} == {("secure", "normal")}
    assert {key[0] for key, one in shown.items() if one["lock"] == "None"} == {"", "other"}
    assert {key[0] for key, one in shown.items() if one["contact"] == "open"} == {"open", "held", "forced"}


def test_ids_are_told_apart_in_the_letters_that_home_assistant_takes():
    names = ["door-1", "door.1", "door_1", "a.b", "a-b", "x.y.z"]
    made = [object_id(name) for name in names]
    assert len(set(made)) == len(names)
    assert all(set(one) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_") for one in made)
    topics = HomeTopics("homeassistant", "open_door")
    assert json.loads(discovery_text(topics, "door.1", False))["device"]["name"] == "door.1"
    assert topics.terminal_of("open_door/door.1/release") == "door.1"
    for other in ("open_door/door.1/state", "other/door.1/release", "open_door/a/b/release", "open_door", ""):
        assert topics.terminal_of(other) is None


def test_alarms_stand_until_they_are_cleared_and_silent_ones_are_not_shown():
    news = DoorNews()
    for reason in ("forced_open", "tamper", "duress", "blocked_seen", "lockout_alarm", "nonsense"):
        news = after(news, reason, 1)
    assert news.alarms == {"forced_open", "tamper"}
    assert news.outcome == ""
    assert after(news, "forced_cleared", 2).alarms == {"tamper"}
    assert after(after(news, "fire_free", 2), "started", 3).alarms == {"fire_free"}
    assert after(news, "face_granted", 2).outcome == "face_granted"


def test_the_news_are_read_from_what_is_stored_and_again_where_too_much_came(tmp_path, tmp_path_factory, monkeypatch):
    hub = open_hub(tmp_path / "hub", tmp_path_factory, HandClock())
    old, new = Journal("aa" * 16), Journal()
    hub.events.store("door-1", "aa" * 16, old.rows(("alarm", "tamper")))
    hub.clock.advance(60)
    hub.events.store("door-1", JOURNAL, new.rows(("alarm", "forced_open"), "face_granted"))
    monkeypatch.setattr("sync.hub.door_news.MOST_WAITING", 2)
    room = Newsroom(hub.storage)
    hub.events.listen(room.follow)
    assert (room.of("door-1").outcome, room.of("door-1").alarms) == ("face_granted", {"forced_open"})
    for reason in ("card_granted", "pin_granted", "pass_granted"):
        hub.events.store("door-1", JOURNAL, new.rows(reason))
    assert room.dropped == 1
    room.read()
    assert room.of("door-1").outcome == "pass_granted"
    assert room.of("nobody") == DoorNews()
    room.keep(set())
    hub.close()
