"""Terminals, their standing, receipts, orders and events at the hub."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta

import msgspec
import pytest
import sqlalchemy as sa
from hub_samples import li_wei, open_hub
from hypothesis import given, settings
from hypothesis import strategies as st

from device.clock import HandClock
from device.errors import JournalBroken
from device.store import body
from device.store.chain import entry_hash, genesis
from device.store.records import AccessRule, Entry, Period, Schedule
from device.store.trust import Opener, Verifier
from sync.hub import schema
from sync.hub.courier import Courier
from sync.hub.errors import FieldRefused, InTheWay, NotThere
from sync.hub.events import Query, place_of
from sync.hub.receipts import LISTED
from sync.hub.roster import Roster, Terminal
from sync.hub.times import milliseconds
from sync.wire.codec import decode
from sync.wire.digest import DigestTree
from sync.wire.messages import Cursor, HealthBody, JournalRow, Report
from sync.wire.sign import Signer
from sync.wire.streams import terminal_stream
from sync.wire.topics import DESIRED


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def hub(tmp_path, tmp_path_factory, clock):
    made = open_hub(tmp_path / "hub", tmp_path_factory, clock)
    made.fleet.add("door-1", "hq", ["staff"])
    yield made
    made.close()


def report(hub, clock, streams=("group/staff", "terminal/door-1"), **changes):
    heads = [hub.ledger.head(stream) for stream in streams]
    return Report(**{
        "terminal_id": "door-1", "boot_id": "b1", "issued_ms": milliseconds(clock.now()),
        "cursors": tuple(Cursor(h.stream, h.epoch, h.seq, h.digest) for h in heads), "journal_id": "j1",
        "journal_seq": 5, "acked_seq": 0, "model_ids": ("m",), "desired_version": 0, "key_ids": (),
        **changes})


def tell(hub, clock, **changes):
    return hub.fleet.reported(report(hub, clock, **changes), HealthBody({"doord": "0.1"}, "synced"))


def standing(hub, stream="group/staff"):
    return next(one for one in hub.fleet.get("door-1").standings if one.stream == stream)


def test_serving_a_group_puts_a_rule_and_leaving_it_takes_it_away_with_the_key(hub):
    def rules():
        return {one.rule_id: one for one in hub.fleet.records("door-1")}

    assert rules() == {"staff": AccessRule("staff", "staff")}
    first = hub.keys.of_stream("group/staff")
    hub.fleet.set_groups("door-1", ["lab"])
    assert set(rules()) == {"lab"}
    assert hub.fleet.streams_of("door-1") == ["group/lab", "terminal/door-1"]
    assert hub.fleet.serving("staff") == []
    assert hub.keys.of_stream("group/staff").key_id != first.key_id
    assert hub.keys.by_id(first.key_id).key_bytes() == first.key_bytes()
    config = [one for one in hub.ledger.living(terminal_stream("door-1")).changes if one.kind == "config"]
    assert json.loads(config[0].body) == ["lab"]
    with pytest.raises(NotThere):
        hub.fleet.set_groups("door-1", ["nosuch"])
    hub.groups.add_site("other")
    hub.groups.add("far", "other")
    with pytest.raises(InTheWay, match="site"):
        hub.fleet.set_groups("door-1", ["far"])


def test_a_terminals_own_rules_and_schedules(hub):
    hours = Schedule("hours", ((Period(480, 1080),),) * 5 + ((), ()))
    hub.fleet.put("door-1", [hours, AccessRule("staff", "staff", schedule_id="hours")])
    assert hub.fleet.records("door-1") == [hours, AccessRule("staff", "staff", schedule_id="hours")]
    with pytest.raises(FieldRefused, match="group"):
        hub.fleet.put("door-1", [AccessRule("r", "lab")])
    with pytest.raises(FieldRefused, match="id"):
        hub.fleet.put("door-1", [Schedule("a b", ((),) * 7)])
    hub.fleet.drop("door-1", "schedule", "hours")
    with pytest.raises(NotThere):
        hub.fleet.drop("door-1", "schedule", "hours")
    with pytest.raises(NotThere):
        hub.fleet.drop("door-1", "person", "x")


def test_the_fleet_says_who_is_behind_and_why(hub, clock):
    assert hub.fleet.get("door-1").state == "unclaimed"
    tell(hub, clock)
    assert (hub.fleet.get("door-1").state, hub.fleet.get("door-1").why) == ("equal", "")
    hub.people.add(li_wei())
    assert (standing(hub).state, standing(hub).why) == ("behind", "1 changes behind")
    assert hub.fleet.get("door-1").state == "behind"
    clock.advance(1)
    good = report(hub, clock)
    bad = tuple(dataclasses_replace(one, digest=b"x" * 32) for one in good.cursors)
    tell(hub, clock, cursors=bad)
    assert standing(hub).state == "differs"
    tell(hub, clock, cursors=tuple(dataclasses_replace(one, epoch="old") for one in good.cursors))
    assert standing(hub).state == "other_epoch"
    tell(hub, clock, cursors=good.cursors[:1])
    assert standing(hub, "terminal/door-1").state == "unknown"
    tell(hub, clock)
    clock.advance(200)
    assert hub.fleet.get("door-1").state == "silent"


def dataclasses_replace(cursor, **changes):
    return Cursor(**{name: getattr(cursor, name) for name in ("stream", "epoch", "seq", "digest")} | changes)


def test_an_older_report_of_the_same_boot_is_passed_over(hub, clock):
    assert tell(hub, clock)
    assert not tell(hub, clock, issued_ms=milliseconds(clock.now()) - 1, journal_seq=1)
    assert hub.fleet.get("door-1").journal_seq == 5
    assert tell(hub, clock, issued_ms=1, boot_id="b2")
    assert not hub.fleet.reported(report(hub, clock, terminal_id="nosuch"), HealthBody())


def test_a_terminal_whose_clock_was_set_back_is_heard_at_once(hub, clock):
    hub.people.add(li_wei())
    assert tell(hub, clock)
    clock.advance(60)
    behind = milliseconds(clock.now()) - 1_800_000
    assert tell(hub, clock, issued_ms=behind)
    assert tell(hub, clock, issued_ms=behind + 60_000, journal_seq=6)
    clock.advance(120)
    assert (hub.fleet.get("door-1").state, hub.fleet.get("door-1").journal_seq) == ("equal", 6)
    late = report(hub, clock, issued_ms=behind + 50_000, journal_seq=6)
    older = tuple(Cursor(one.stream, one.epoch, max(0, one.seq - 1), one.digest) for one in late.cursors)
    assert not hub.fleet.reported(msgspec.structs.replace(late, cursors=older), HealthBody())


def test_an_empty_group_is_no_reason_to_be_behind(hub, clock):
    tell(hub, clock, streams=("terminal/door-1",))
    assert (hub.fleet.get("door-1").state, standing(hub).seq) == ("equal", None)
    hub.people.add(li_wei())
    assert hub.fleet.get("door-1").state == "behind"


def test_the_hubs_own_name_is_no_terminals(hub):
    with pytest.raises(FieldRefused, match="terminal_id"):
        hub.fleet.add("hub", "hq", [])
    hub.fleet.add("hub-2", "hq", [])


def empty(hub, stream="group/staff", **changes):
    head = hub.ledger.head(stream)
    return ("door-1", stream, changes.get("epoch", head.epoch), changes.get("seq", head.seq), DigestTree().root(), 0)


def test_a_group_that_an_absent_terminal_has_left_stays_on_the_open_list_until_it_shows_that_it_is_rid_of_it(
        hub, clock):
    one = hub.people.add(li_wei())
    tell(hub, clock)
    hub.people.remove([one])
    two = hub.people.add(li_wei())
    hub.fleet.set_groups("door-1", [])
    held = [owed for owed in hub.fleet.open_deletions("door-1") if owed.stream == "group/staff"]
    assert [(owed.kind, owed.key) for owed in held] == [("group", "staff")]
    assert hub.fleet.get("door-1").open_deletions == len(hub.fleet.open_deletions("door-1"))
    clock.advance(1)
    tell(hub, clock)
    assert not hub.fleet.receipted(*empty(hub, epoch="other"))
    hub.fleet.receipted(*empty(hub, seq=1))
    assert held == [owed for owed in hub.fleet.open_deletions("door-1") if owed.stream == "group/staff"]
    hub.people.remove([two])
    assert hub.fleet.receipted(*empty(hub))
    assert not [owed for owed in hub.fleet.open_deletions("door-1") if owed.stream == "group/staff"]
    tell(hub, clock)
    assert not [owed for owed in hub.fleet.open_deletions("door-1") if owed.stream == "group/staff"]


def test_whatever_a_terminal_says_it_holds_of_a_group_that_it_does_not_serve_is_on_the_open_list(hub, clock):
    hub.people.add(li_wei(groups=("lab",)))
    assert not hub.fleet.open_deletions("door-1")
    tell(hub, clock, streams=("group/lab", "terminal/door-1"))
    assert [(owed.kind, owed.key) for owed in hub.fleet.open_deletions("door-1")] == [("group", "lab")]
    clock.advance(1)
    tell(hub, clock, streams=("terminal/door-1",))
    assert not hub.fleet.open_deletions("door-1")


def test_a_terminal_that_left_and_came_back_still_owes_what_it_owed(hub, clock):
    one = hub.people.add(li_wei())
    tell(hub, clock)
    hub.people.remove([one])
    hub.fleet.set_groups("door-1", ["lab"])
    hub.fleet.set_groups("door-1", ["staff"])
    owed = [owed for owed in hub.fleet.open_deletions("door-1") if owed.stream == "group/staff"]
    assert [(drop.kind, drop.key) for drop in owed] == [("person", one)]


def test_a_terminal_that_was_never_claimed_owes_nothing_for_a_group_that_it_left(hub):
    hub.people.add(li_wei())
    hub.fleet.set_groups("door-1", [])
    assert not [owed for owed in hub.fleet.open_deletions("door-1") if owed.kind == "group"]


def test_drops_are_listed_until_every_terminal_has_confirmed_them_and_for_some_time_after_that(hub, clock):
    for name in ("door-2", "door-3"):
        hub.fleet.add(name, "hq", ["staff"])
    for name in ("door-1", "door-2", "door-3"):
        hub.fleet.reported(report(hub, clock, terminal_id=name), HealthBody())
    hub.people.remove([hub.people.add(li_wei())])
    head = hub.ledger.head("group/staff")
    for name in ("door-1", "door-2"):
        hub.fleet.receipted(name, "group/staff", head.epoch, head.seq, head.digest, 0)
    clock.advance(LISTED.total_seconds() + 1)
    assert hub.fleet.forget_drops() == 0
    hub.fleet.set_groups("door-3", [])
    assert hub.fleet.forget_drops() == 0
    assert len(hub.ledger.drops_after("group/staff", 0)) == 1
    hub.fleet.reported(report(hub, clock, streams=(), terminal_id="door-3", boot_id="b2"), HealthBody())
    assert hub.fleet.forget_drops() == 1
    assert hub.ledger.drops_after("group/staff", 0) == []
    hub.people.remove([hub.people.add(li_wei())])
    head = hub.ledger.head("group/staff")
    for name in ("door-1", "door-2"):
        hub.fleet.receipted(name, "group/staff", head.epoch, head.seq, head.digest, 0)
    clock.advance(LISTED.total_seconds())
    assert hub.fleet.forget_drops() == 0
    clock.advance(1)
    hub.tidy(is_clock_right=True)
    assert hub.ledger.drops_after("group/staff", 0) == []


def test_deletions_stay_open_until_their_receipt(hub, clock):
    hub.people.remove([hub.people.add(li_wei(external_id=None))])
    hub.fleet.add("door-2", "hq", ["staff"])
    assert hub.fleet.open_deletions("door-2") == []
    one = hub.people.add(li_wei())
    hub.people.remove([one])
    assert [drop[2] for drop in hub.fleet.open_deletions("door-2")] == [one]
    assert len(hub.fleet.open_deletions("door-1")) == 2
    head = hub.ledger.head("group/staff")
    assert not hub.fleet.receipted("door-1", "group/staff", "other", head.seq, head.digest, 0)
    assert not hub.fleet.receipted("door-1", "group/staff", head.epoch, head.seq + 1, head.digest, 0)
    assert hub.fleet.receipted("door-1", "group/staff", head.epoch, head.seq, head.digest, 0)
    assert not hub.fleet.receipted("door-1", "group/staff", head.epoch, head.seq, head.digest, 0)
    assert hub.fleet.get("door-1").open_deletions == 0
    assert hub.fleet.get("door-2").open_deletions == 1


def test_a_removed_terminal_leaves_its_events_and_nothing_else(hub, clock):
    tell(hub, clock)
    hub.events.store("door-1", "j1", rows(3))
    key = hub.keys.of_stream("group/staff").key_id
    hub.fleet.remove("door-1")
    assert hub.fleet.all() == []
    assert hub.events.count() == 3
    assert hub.keys.of_stream("group/staff").key_id != key
    assert hub.ledger.living("terminal/door-1").changes == ()
    with pytest.raises(NotThere):
        hub.fleet.get("door-1")


# --- orders ------------------------------------------------------------------------------------------------


def test_a_command_is_for_one_boot_and_expires(hub, clock):
    with pytest.raises(InTheWay, match="not reported"):
        hub.orders.command("door-1", "release")
    tell(hub, clock)
    one = hub.orders.command("door-1", "release", 3.0)
    assert [due.command_id for due in hub.orders.due()] == [one]
    assert hub.orders.get(one).expires - hub.orders.get(one).issued == timedelta(seconds=10)
    hub.orders.sent(one)
    assert hub.orders.due() == []
    assert not hub.orders.answered("door-2", one, "done", "")
    assert hub.orders.answered("door-1", one, "done", "")
    assert not hub.orders.answered("door-1", one, "failed", "")
    assert hub.orders.get(one).outcome == "done"
    hub.orders.command("door-1", "release")
    clock.advance(10)
    assert hub.orders.due() == []


@pytest.mark.parametrize("bad", [
    {"verb": "open"}, {"verb": "release", "seconds": 0}, {"verb": "reset", "seconds": 1},
    {"verb": "release", "seconds": float("nan")}, {"verb": "update", "argument": "\x00"}])
def test_bad_commands_are_refused_by_field(hub, clock, bad):
    tell(hub, clock)
    with pytest.raises(FieldRefused):
        hub.orders.command("door-1", **bad)
    assert hub.orders.due() == []


def test_desired_state_has_a_version_that_only_rises(hub, clock):
    assert hub.orders.wanted("door-1").version == 0
    until = clock.now() + timedelta(hours=1)
    assert hub.orders.want("door-1", "lockdown", until).version == 1
    assert hub.orders.want("door-1", config_version=7).until == until
    now = hub.orders.wanted("door-1")
    assert (now.version, now.mode, now.config_version) == (2, "lockdown", 7)
    assert [one.terminal_id for one in hub.orders.unsent()] == ["door-1"]
    hub.orders.state_sent("door-1", 2)
    assert hub.orders.unsent() == []
    assert hub.orders.want("door-1", "normal").until is None
    for bad in ({"mode": "open"}, {"mode": "free", "until": clock.now()}, {"mode": "normal", "until": until}):
        with pytest.raises(FieldRefused):
            hub.orders.want("door-1", **bad)


def test_a_state_goes_past_whatever_the_terminal_holds(hub, clock):
    tell(hub, clock, desired_version=7)
    assert "does not know" in hub.fleet.get("door-1").why
    assert hub.orders.want("door-1", "lockdown").version == 8
    assert hub.fleet.get("door-1").why == ""
    clock.advance(1)
    tell(hub, clock, desired_version=2**60)
    assert hub.orders.want("door-1", "normal").version == 9


def test_a_state_that_was_wanted_before_the_terminal_was_heard_again_is_raised_and_an_older_one_is_not(hub, clock):
    hub.orders.want("door-1", "lockdown")
    hub.orders.state_sent("door-1", 1)
    assert hub.orders.held("door-1", 0).version == 1
    assert hub.orders.held("door-1", 5).version == 6
    assert [one.version for one in hub.orders.unsent()] == [6]
    hub.ledger.new_epoch()
    assert hub.orders.held("door-1", 9) == hub.orders.wanted("door-1")
    assert hub.orders.wanted("door-1").version == 6
    hub.orders.want("door-1", "free")
    assert hub.orders.held("door-1", 9).version == 10
    assert hub.orders.held("door-1", 2**60).version == 10
    assert hub.orders.held("door-2", 3).version == 0


def test_a_terminal_that_holds_a_later_state_than_a_restored_hub_knows_is_told_under_a_version_past_it(hub, clock):
    sent = []
    link = type("Link", (), {"is_up": True, "publish": lambda self, topic, data, *more: sent.append(data) or True})()
    signer, opener = Signer.new(), Opener.new()
    courier = Courier(hub.orders, Roster(hub.storage), signer, clock, link)
    door = Terminal("door-1", "hq", signer.public, opener.public, ("group/staff",))
    with hub.storage.write() as tx:
        tx.run(sa.update(schema.terminals).values(sign_public=signer.public, seal_public=opener.public))
    hub.orders.want("door-1", "lockdown")
    courier.tick()
    courier.reported(door, report(hub, clock, desired_version=4))
    courier.tick()
    courier.reported(door, report(hub, clock, desired_version=5))
    topic = DESIRED.of("hq", "door-1")
    assert [decode(data, topic, Verifier([signer.public]), opener).version for data in sent] == [1, 5]


@pytest.mark.parametrize("verb", ["reboot", "update"])
def test_what_not_every_terminal_can_do_is_offered_where_it_says_that_it_can(hub, clock, verb):
    tell(hub, clock)
    with pytest.raises(InTheWay, match=f"does not state that it can {verb}"):
        hub.orders.command("door-1", verb)
    assert hub.orders.due() == []
    hub.orders.command("door-1", "report")
    clock.advance(1)
    hub.fleet.reported(report(hub, clock), HealthBody({"verbs": "reboot update"}))
    hub.orders.command("door-1", verb)
    assert {due.verb for due in hub.orders.due()} == {"report", verb}


# --- configuration -----------------------------------------------------------------------------------------


def test_a_configuration_travels_under_its_version_and_the_fleet_says_whether_it_is_applied(hub, clock):
    tell(hub, clock)
    text = "[door]\nrelease_s = 4\n"
    assert hub.configurations.get("door-1") is None
    assert hub.configurations.put("door-1", text) == 1
    bodies = [one.body for one in hub.ledger.living(terminal_stream("door-1")).changes if one.key == "terminal"]
    assert bodies == [f"# version 1\n{text}".encode()]
    assert hub.orders.wanted("door-1").config_version == 1
    clock.advance(1)
    tell(hub, clock)
    assert (hub.fleet.get("door-1").config, hub.fleet.get("door-1").state) == ((1, 0), "behind")
    assert "configuration 1 is wanted, 0 applied" in hub.fleet.get("door-1").why
    clock.advance(1)
    hub.fleet.reported(report(hub, clock), HealthBody({"config": "1"}))
    assert (hub.fleet.get("door-1").config, hub.fleet.get("door-1").state) == ((1, 1), "equal")
    clock.advance(1)
    hub.fleet.reported(report(hub, clock), HealthBody({"config": "8"}))
    assert hub.configurations.put("door-1", text + "rex_release_s = 4\n") == 9
    found = hub.configurations.get("door-1")
    assert (found.version, found.text) == (9, text + "rex_release_s = 4\n")
    with pytest.raises(NotThere):
        hub.configurations.put("nosuch", text)


@pytest.mark.parametrize("stated", ["", "x", "-1", "1" * 400, "١"])
def test_a_version_that_is_no_number_is_none(hub, clock, stated):
    hub.fleet.reported(report(hub, clock), HealthBody({"config": stated}))
    assert hub.fleet.get("door-1").config == (0, 0)


@pytest.mark.parametrize(("text", "word"), [
    ("no toml", "no TOML"), ("[door]\nrelese_s = 1\n", "release_s"), ("[nosuch]\na = 1\n", "nosuch"),
    ("[door]\nlock = 'glue'\n", "lock"), ("[door]\nrelease_s = 1000\n", "release_s"), ("door = 1\n", "door"),
    ("# " + "x" * 64_000, "characters"), ("a = " + "[" * 20_000, "TOML"),
    ("[face]\nagree = 9\nof = 3\n", "face.agree")])
def test_what_no_terminal_could_use_is_refused_and_nothing_is_wanted(hub, text, word):
    with pytest.raises(FieldRefused, match=word):
        hub.configurations.put("door-1", text)
    assert hub.orders.wanted("door-1").version == 0
    assert hub.configurations.get("door-1") is None


# --- events ------------------------------------------------------------------------------------------------


def rows(count, journal_id="j1", first=1):
    found, prev = [], genesis(journal_id)
    for seq in range(1, first + count):
        entry = Entry(journal_id, seq, HandClock().now() + timedelta(seconds=seq), float(seq), "b1", "synced",
                      "release" if seq % 2 else "refusal", "granted", "a" * 32 if seq % 3 else None,
                      (("door", "door-1"), ("n", seq)), prev, "")
        entry = dataclasses.replace(entry, hash=entry_hash(entry))
        prev = entry.hash
        found.append(JournalRow(seq, milliseconds(entry.at) * 1000, entry.mono, entry.boot_id, entry.clock_quality,
                                entry.kind, entry.reason, entry.person_id, entry.detail, entry.prev_hash, entry.hash))
    return found[first - 1:]


def altered(row, **changes):
    return JournalRow(*[changes.get(name, getattr(row, name)) for name in JournalRow.__struct_fields__])


def test_events_are_stored_once_and_acknowledged_without_gaps(hub):
    all_rows = rows(10)
    assert hub.events.store("door-1", "j1", all_rows[:4]) == 4
    assert hub.events.store("door-1", "j1", all_rows[2:6]) == 6
    assert hub.events.store("door-1", "j1", all_rows[8:]) == 6
    assert hub.events.store("door-1", "j1", []) == 6
    assert hub.events.store("door-1", "j1", all_rows) == 10
    assert hub.events.count("door-1") == 10
    assert hub.events.store("door-1", "j2", rows(3, "j2", first=5)) == 0
    assert hub.events.store("door-1", "j2", rows(3, "j2", first=5), is_gap_known=True) == 7
    assert hub.events.acked("door-1") == {"j1": 10, "j2": 7}
    assert hub.events.store("door-2", "j1", all_rows[:1]) == 1


def test_of_a_journal_that_forked_the_branch_brings_what_is_not_stored_yet(hub):
    trunk, other = rows(6), rows(4)
    for seq in (5, 6, 7):
        entry = Entry("j1", seq, HandClock().now(), float(seq), "b2", "synced", "release", "granted", None, (),
                      other[-1].hash, "")
        other.append(JournalRow(seq, milliseconds(entry.at) * 1000, entry.mono, "b2", "synced", "release", "granted",
                                None, (), entry.prev_hash, entry_hash(entry)))
    assert hub.events.store("door-1", "j1", trunk) == 6
    with pytest.raises(JournalBroken):
        hub.events.store("door-1", "j1", other)
    assert hub.events.tip("door-1", "j1") == (6, trunk[-1].hash)
    assert hub.events.store("door-1", "j1~ab", other) == 7
    assert hub.events.store("door-1", "j1~ab", other) == 7
    assert hub.events.store("door-1", "j1~cd", other) == 7
    assert hub.events.count("door-1") == 9
    assert hub.events.tip("door-1", "unheard") == (0, "")


@pytest.mark.parametrize("spoil", [
    lambda row: altered(row, reason="forged"), lambda row: altered(row, prev_hash="0" * 64),
    lambda row: altered(row, hash="0" * 64), lambda row: altered(row, detail=()),
    lambda row: altered(row, at_us=row.at_us + 1), lambda row: altered(row, at_us=2**62)])
def test_an_altered_entry_is_refused_and_nothing_of_its_page_is_kept(hub, spoil):
    all_rows = rows(6)
    hub.events.store("door-1", "j1", all_rows[:2])
    with pytest.raises(JournalBroken):
        hub.events.store("door-1", "j1", [all_rows[2], spoil(all_rows[3]), all_rows[4]])
    with pytest.raises(JournalBroken):
        hub.events.store("door-2", "j9", [spoil(all_rows[0])])
    assert hub.events.count() == 2
    assert hub.events.store("door-1", "j1", all_rows) == 6


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=12), end=st.booleans())
def test_pages_in_any_order_and_number_leave_a_prefix(storm, cuts, end):
    hub, number = storm
    number[0] += 1
    journal_id = f"journal-{number[0]}"
    all_rows = rows(12, journal_id)
    upto = 0
    for start, stop in [*cuts, *([(0, 12)] if end else [])]:
        # A journal that the hub has never heard of may begin anywhere; here it begins at its beginning.
        page = all_rows[start if upto else 0:stop]
        if page and page[0].seq <= upto + 1:
            upto = max(upto, page[-1].seq)
        assert hub.events.store("door-9", journal_id, page) == upto
    found = [one.seq for one in hub.events.find(Query(limit=1000, terminal_id="door-9"))
             if one.journal_id == journal_id]
    assert sorted(found) == list(range(1, upto + 1))


@pytest.fixture(scope="module")
def storm(tmp_path_factory):
    hub = open_hub(tmp_path_factory.mktemp("storm") / "hub", tmp_path_factory)
    yield hub, [0]
    hub.close()


def test_events_are_found_by_what_is_asked_and_page_by_page(hub):
    hub.events.store("door-1", "j1", rows(9))
    hub.events.store("door-2", "j2", rows(9, "j2"))
    everything = hub.events.find(Query(limit=100))
    pages, before = [], None
    while found := hub.events.find(Query(limit=4, before=before)):
        pages += found
        before = place_of(found[-1])
    assert pages == everything
    assert [one.at for one in everything] == sorted((one.at for one in everything), reverse=True)
    assert {one.kind for one in hub.events.find(Query(kind="refusal"))} == {"refusal"}
    assert len(hub.events.find(Query(terminal_id="door-1", person_id="a" * 32))) == 6
    middle = everything[8].at
    assert all(one.at < middle for one in hub.events.find(Query(until=middle)))
    assert everything[0].detail == {"door": "door-1", "n": 9}


def test_bodies_in_the_terminals_stream_are_the_doors_own(hub):
    puts = [one for one in hub.ledger.living(terminal_stream("door-1")).changes if one.kind == "rule"]
    assert [body.decode(AccessRule, one.body) for one in puts] == [AccessRule("staff", "staff")]
