"""The hub's orders at the door: real signatures and seals, the real machine, a real journal."""

from __future__ import annotations

from datetime import timedelta

import pytest
from agent_hub import OWN_STREAM, TERMINAL, SmallHub
from store_samples import BOOT, KEY

from device.clock import ClockQuality, HandClock
from device.door.machine import step
from device.door.types import DoorState, Mode, Note, Release, Secure, Timing
from device.orders_desk import LONGEST_LIFE, OrdersDesk, Told, Trust
from device.store.cache_writer import CacheWriter
from device.store.handover import Handover
from device.store.journal import Journal
from device.store.keeper import JournalKeeper
from device.store.terminal_records import TERMINAL as CONFIG
from device.store.trust import Opener
from device.store.trust_chain import TrustChain
from sync.wire.sign import Signer


class Door:
    """The machine, a journal and the desk; keeps what the relay was told."""

    def __init__(self, folder) -> None:
        self.clock = HandClock()
        self.hub = SmallHub(self.clock)
        self.folder = folder
        self.writer = CacheWriter.open(folder / "gallery.db", KEY, self.clock)
        self.mailbox = Handover(self.writer)
        self.keeper = JournalKeeper(lambda: Journal.open(folder / "journal.db", self.clock, BOOT), self.clock)
        self.quality = ClockQuality.SYNCED
        self.relay: list[str] = []
        self.heard: list[tuple[int, float]] = []
        self.configured: list[tuple[int, str]] = []
        self.state = DoorState()
        self.link = self.hub.link(folder)
        self.desk = self.open_desk()

    def open_desk(self, boot_id=BOOT) -> OrdersDesk:
        trust = Trust(self.link, TrustChain(self.link.hub_signing, self.link.hub_sealing),
                      Opener(self.hub.terminal_opener.private_bytes()))
        told = Told(lambda *time: self.heard.append(time),
                    lambda config: self.configured.append((config.version, config.text)))
        return OrdersDesk(self.folder / "gallery.db", KEY, trust, boot_id, self.clock, self.handle,
                          self.keeper.append, lambda: self.quality, self.keeper.journal.last(5000), told)

    def handle(self, event) -> None:
        self.state, effects = step(self.state, event, Timing())
        for effect in effects:
            if isinstance(effect, Note):
                self.keeper.append(effect.entry)
            elif isinstance(effect, Release | Secure):
                self.relay.append(type(effect).__name__)

    def send(self, signed, command_id=None) -> None:
        """Hand signed bytes over as door-syncd does, and let the door have a look."""
        if command_id is None:
            command_id = f"{len(self.said()):032x}"
        self.mailbox.put_command(command_id, signed[1])
        self.desk.turn()

    def command(self, verb="release", command_id="c" * 32, **options):
        self.send(self.hub.command(verb, options.pop("boot_id", BOOT), command_id=command_id, **options), command_id)

    def desired(self, version, mode="normal", until_s=None, **options) -> None:
        until = None if until_s is None else self.clock.now() + timedelta(seconds=until_s)
        until_ms = None if until is None else int(until.timestamp() * 1000)
        self.mailbox.put_desired(version, self.hub.desired(version, mode, until_ms, **options)[1])
        self.desk.turn()

    def restart(self, boot_id=BOOT) -> None:
        self.desk.close()
        self.state = DoorState()
        self.desk = self.open_desk(boot_id)
        self.desk.turn()

    def said(self) -> list[tuple[str, str]]:
        return [(one.reason, dict(one.detail).get("why", "")) for one in self.keeper.journal.last(100)]

    def close(self) -> None:
        self.desk.close()
        self.keeper.close()
        self.writer.close()


@pytest.fixture
def door(tmp_path):
    door = Door(tmp_path)
    yield door
    door.close()


def test_a_release_is_written_and_the_relay_moves_once(door):
    door.command(seconds=3.0)
    assert door.relay == ["Release"]
    (entry,) = door.keeper.journal.last(10)
    assert entry.reason == "command_release"
    assert dict(entry.detail) == {"command": "c" * 32, "source": "hub", "seconds": 3.0}


def test_the_same_command_is_not_obeyed_twice(door):
    command = door.hub.command("release", BOOT, command_id="c" * 32)
    door.send(command, "c" * 32)
    for _ in range(2):
        door.mailbox.drop_command("c" * 32)
        door.clock.advance(1)
        door.send(command, "c" * 32)
    assert door.relay == ["Release"]
    assert door.said()[1:] == [("command_refused", "done already")] * 2


@pytest.mark.parametrize("boot_id", [BOOT, "d" * 32])
def test_nothing_outstanding_survives_a_restart(door, boot_id):
    command = door.hub.command("release", BOOT, command_id="c" * 32)
    door.send(command, "c" * 32)
    door.restart(boot_id)
    assert door.relay == ["Release"]
    assert len(door.said()) == 1  # still in the inbox, but its outcome is known: no word is said again
    door.mailbox.drop_command("c" * 32)
    door.send(command, "c" * 32)
    assert door.relay == ["Release"]


@pytest.mark.parametrize(("options", "why"), [
    ({"boot_id": "e" * 32}, "for another boot"),
    ({"issued_ms": 1_000}, "expired"),
    ({"life_ms": 3_600_000}, "no such time to live is allowed"),
    ({"life_ms": 0}, "no such time to live is allowed"),
    ({"issued_ms": 4_000_000_000_000}, "from the future"),
    ({"issued_ms": 2**61}, "no such time to live is allowed"),
    ({"signer": Signer.new()}, "not signed by the hub"),
    ({"owner": "t-2"}, "not signed by the hub"),
    ({"verb": "reboot"}, "reboot is not available on this terminal"),
])
def test_a_command_that_must_not_be_obeyed_is_refused_and_logged(door, options, why):
    door.command(**options)
    assert door.relay == []
    assert door.said() == [("command_refused", why)]


def test_a_command_that_comes_late_is_refused(door):
    command = door.hub.command("release", BOOT, command_id="c" * 32)
    door.clock.advance(10.1)
    door.send(command, "c" * 32)
    assert door.said() == [("command_refused", "expired")]


def test_no_command_is_obeyed_by_a_clock_that_is_not_trusted(door):
    door.quality = ClockQuality.UNTRUSTED
    door.command()
    assert door.said() == [("command_refused", "the clock is not trusted")]


@pytest.mark.parametrize("data", [b"", b"\x00" * 64, b"\x81\xa1v\x01", b"\xc1" * 1000])
def test_bytes_that_are_no_command_are_refused(door, data):
    door.send(("", data), "x1")
    assert door.said() == [("command_refused", "not signed by the hub")]


def test_a_command_under_another_id_is_refused(door):
    door.send(door.hub.command("release", BOOT), "another")
    assert door.said() == [("command_refused", "another command's id")]


def test_a_desired_state_is_no_command(door):
    door.send(door.hub.desired(1, "free"), "x1")
    assert door.said()[0][0] == "command_refused"
    assert not door.relay


def test_lockdown_holds_over_a_restart_and_ends_when_told(door):
    door.desired(1, "lockdown")
    assert door.state.mode is Mode.LOCKDOWN
    door.command()
    assert door.relay == []
    door.restart()
    assert door.state.mode is Mode.LOCKDOWN
    door.desired(2, "normal")
    assert door.state.mode is Mode.NORMAL
    assert [dict(one.detail).get("command") for one in door.keeper.journal.last(10) if one.kind == "mode"] == [
        "desired-1", "desired-1", "desired-2"]


def test_free_ends_at_its_time(door):
    door.desired(1, "free", until_s=100)
    assert door.state.mode is Mode.FREE
    door.clock.advance(99)
    door.desk.turn()
    assert door.state.mode is Mode.FREE
    door.clock.advance(2)
    door.desk.turn()
    assert door.state.mode is Mode.NORMAL
    door.restart()
    assert door.state.mode is Mode.NORMAL


def test_by_a_clock_that_is_not_trusted_no_free_begins_and_no_lockdown_ends(door):
    door.quality = ClockQuality.UNTRUSTED
    door.desired(1, "free", until_s=100)
    assert door.state.mode is Mode.NORMAL
    door.desired(2, "lockdown", until_s=100)
    door.clock.advance(200)
    door.desk.turn()
    assert door.state.mode is Mode.LOCKDOWN
    door.quality = ClockQuality.SYNCED
    door.desk.turn()
    assert door.state.mode is Mode.NORMAL


def test_an_older_desired_state_does_not_come_back(door):
    door.desired(5, "lockdown")
    old = door.hub.desired(3, "normal")[1]
    door.writer._db.execute("UPDATE desired SET version = 9, data = ?", [old])
    door.desk.turn()
    assert door.state.mode is Mode.LOCKDOWN
    door.writer._db.execute("UPDATE desired SET version = 3, data = ?", [old])
    door.restart()
    assert door.state.mode is Mode.LOCKDOWN
    door.writer._db.execute("DELETE FROM desired")
    door.restart()
    assert door.state.mode is Mode.LOCKDOWN
    door.desired(6, "normal")
    assert door.state.mode is Mode.NORMAL
    door.restart()
    assert door.state.mode is Mode.NORMAL


def test_a_forged_desired_state_changes_nothing(door):
    door.mailbox.put_desired(1, door.hub.desired(1, "free", signer=Signer.new())[1])
    door.desk.turn()
    assert door.state.mode is Mode.NORMAL
    assert not door.said()


def test_signs_of_the_link_are_seen(door):
    door.mailbox.put_sign("stale", "group/staff")
    door.mailbox.put_sign("journal_ahead", "abc")
    door.mailbox.put_sign("lapsed", "lab,staff")
    door.writer.set_acked("abc", 7)
    door.desk.turn()
    assert door.desk.is_stale
    assert door.desk.is_lapsed("lab") and door.desk.is_lapsed("staff") and not door.desk.is_lapsed("")
    door.mailbox.put_sign("lapsed", "")
    door.desk.turn()
    assert door.desk.lapsed == frozenset()
    assert door.desk.is_stale
    assert door.desk.journal_ahead == "abc"
    assert door.desk.acked("abc") == 7


# --- the hub's time ------------------------------------------------------------------------------------------


def hand_head(door, **changes):
    """The newest head of the own stream, as door-syncd hands it over."""
    door.mailbox.put_head(door.hub.vouch(OWN_STREAM, **{"issued_ms": 1_800_000_000_000, **changes})[1], {})
    door.desk.turn()


def test_the_hubs_time_is_heard_from_a_head_that_answers_this_boot(door):
    hand_head(door)
    hand_head(door, issued_ms=1_800_000_060_000)
    assert door.heard == [(1_800_000_000_000, door.clock.mono()), (1_800_000_060_000, door.clock.mono())]
    door.desk.turn()
    assert len(door.heard) == 2


@pytest.mark.parametrize("changes", [{"boot_id": "d" * 32}, {"boot_id": ""}, {"signer": Signer.new()},
                                     {"number": 0}])
def test_the_time_of_another_boot_of_a_stranger_or_an_earlier_one_is_not_heard(door, changes):
    hand_head(door, number=5)
    hand_head(door, issued_ms=5, **{"number": 9, **changes})
    assert door.heard == [(1_800_000_000_000, door.clock.mono())]


@pytest.mark.parametrize("data", [b"", b"x", b"\xc1" * 90])
def test_what_is_no_head_is_passed_over(door, data):
    door.mailbox.put_head(data, {})
    door.desk.turn()
    door.mailbox.put_sign("head", "no base64 &")
    door.desk.turn()
    assert door.heard == []


# --- configuration -------------------------------------------------------------------------------------------


def put_config(door, version, text="door.lock = 'strike'"):
    raw = f"# version {version}\n{text}".encode()
    with door.writer.together() as generation:
        sealed = door.writer._slots.seal(raw, "config", CONFIG)
        door.writer._put("records", ("kind", "key", "sealed", "generation"), ("config", CONFIG, sealed, generation))


def test_the_configuration_is_handed_over_once_when_its_text_and_the_wish_for_it_are_there(door):
    door.desired(1, "normal", config_version=7)
    assert door.configured == []
    put_config(door, 6)
    door.desk.turn()
    assert door.configured == []
    put_config(door, 7, "a = 1")
    for _ in range(3):
        door.mailbox.put_sign("stale", "")
        door.desk.turn()
    assert door.configured == [(7, "a = 1")]
    door.desired(2, "normal", config_version=8)
    assert door.configured == [(7, "a = 1")]
    put_config(door, 8, "a = 2")
    door.desk.turn()
    assert door.configured[1:] == [(8, "a = 2")]


def test_a_configuration_that_the_journal_says_was_applied_is_not_handed_over_again(door):
    from device.door.reasons import entry

    put_config(door, 7)
    door.keeper.append(entry("config_changed", version=7))
    door.restart()
    door.desired(1, "normal", config_version=7)
    assert door.configured == []
    put_config(door, 8)
    door.desired(2, "normal", config_version=8)
    door.restart()  # it was handed over, but nobody said that it was applied
    assert [version for version, _ in door.configured] == [8, 8]


@pytest.mark.parametrize("raw", [b"", b"door.lock = 1", b"# version x\n", b"# version \n", b"\xff", b"# version 7"])
def test_a_configuration_without_its_version_is_not_taken(door, raw):
    with door.writer.together() as generation:
        sealed = door.writer._slots.seal(raw, "config", CONFIG)
        door.writer._put("records", ("kind", "key", "sealed", "generation"), ("config", CONFIG, sealed, generation))
    door.desired(1, "normal", config_version=7)
    assert door.configured == ([(7, "")] if raw == b"# version 7" else [])
    door.command()
    assert door.relay == ["Release"]


def test_without_a_gallery_the_desk_waits(door):
    door.desk.close()
    trust = Trust(door.link, TrustChain((), b"s" * 32), Opener.new())
    missing = OrdersDesk(door.folder / "none.db", KEY, trust, BOOT, door.clock, door.handle, door.keeper.append,
                         lambda: door.quality)
    missing.turn()
    missing.turn()
    assert missing.acked("x") == 0
    missing.close()


def test_a_journal_that_was_set_back_goes_on_under_another_id_and_keeps_its_commands(door):
    door.command()
    old = door.keeper.journal.journal_id
    door.keeper.renew("set back")
    assert door.keeper.journal.journal_id != old
    assert [one.reason for one in door.keeper.journal.last(10)] == ["journal_set_aside", "command_release"]
    assert door.keeper.journal.verify() == 2
    door.command(command_id="d" * 32)
    assert door.keeper.journal.verify() == 3


def test_the_longest_life_of_a_release_leaves_room_for_the_hubs_own():
    assert LONGEST_LIFE["release"] >= timedelta(seconds=10)
    assert TERMINAL
