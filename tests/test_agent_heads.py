"""What door-syncd takes of the hub's heads: silence and withheld pages are noticed, old states are not let in."""

from __future__ import annotations

import pytest
from agent_hub import GROUP, OWN_STREAM, STREAM, TERMINAL, a_bench, people, served
from store_samples import person

from device.store.handover import HandoverReader
from device.store.records import AccessRule
from device.store.terminal_records import GROUPS, KIND
from sync.wire import topics
from sync.wire.digest import DigestTree
from sync.wire.messages import PageBody
from sync.wire.seal import GroupSeal


@pytest.fixture
def bench(tmp_path):
    bench = a_bench(tmp_path / "state")
    yield bench
    bench.close()


@pytest.fixture
def synced(bench):
    """Ten people of a group that the terminal serves, equal to the hub's."""
    people(bench.hub.staff, 10)
    bench.hub.streams[OWN_STREAM].put(AccessRule("r1", "everyone"))
    bench.hub.streams[OWN_STREAM].put(served(staff=0))
    bench.talk()
    assert bench.is_equal() and bench.is_equal(OWN_STREAM)
    return bench


def pass_time(bench, seconds, *heads):
    """So many seconds in which the heads that are made, one of each every half minute, arrive, and nothing else."""
    for _ in range(int(seconds / 30)):
        bench.hub.clock.advance(30)
        bench.bring(*(made() for made in heads))
        bench.wire.sent.clear()
    bench.hub.clock.advance(1)
    bench.work()


def of_group(bench):
    return bench.hub.head


def of_own(bench):
    return lambda: bench.hub.vouch(OWN_STREAM)


# --- silence -------------------------------------------------------------------------------------------------


def test_a_hub_that_falls_silent_is_noticed_and_its_return_too(synced):
    synced.bring(synced.hub.head(), synced.hub.vouch(OWN_STREAM))
    pass_time(synced, 330)
    assert {f"stale {STREAM}", f"stale {OWN_STREAM}"} <= set(synced.agent.faults())
    assert synced.agent.handover.sign("stale")
    synced.bring(synced.hub.head(number=1), synced.hub.vouch(OWN_STREAM, number=1))
    assert synced.agent.faults()
    synced.bring(synced.hub.head(), synced.hub.vouch(OWN_STREAM))
    synced.hub.clock.advance(1.5)
    synced.work()
    assert not synced.agent.faults()


def test_a_broker_that_withholds_pages_is_noticed(synced):
    people(synced.hub.staff, 1, 50)
    pass_time(synced, 360, of_group(synced), of_own(synced))
    assert synced.agent.faults() == (f"stale {STREAM}",)


def test_pages_and_heads_withheld_since_before_a_restart_are_noticed_although_the_hub_acknowledges(synced):
    again = synced.restarted()
    again.bring(*again.hub.hear(*again.wire.sent.popleft()) if again.wire.sent else ())
    for _ in range(12):
        again.hub.clock.advance(30)
        again.bring(again.hub.acked(again.journal.journal_id, 0))
        again.wire.sent.clear()
    assert {f"stale {STREAM}", f"stale {OWN_STREAM}"} <= set(again.agent.faults())
    assert again.agent.heads.silent_s() < 31


def test_heads_of_the_terminals_own_stream_are_waited_for_where_there_is_no_group(bench):
    bench.hub.streams[OWN_STREAM].put(served())
    bench.talk()
    pass_time(bench, 330)
    assert f"stale {OWN_STREAM}" in bench.agent.faults()


@pytest.mark.parametrize("step_s", [-30 * 86400.0, 10 * 366 * 86400.0])
def test_a_hub_whose_clock_was_wrong_and_is_put_right_is_believed_at_once(synced, step_s):
    ahead_ms = int(1000 * step_s)
    right = synced.hub.now()
    synced.bring(synced.hub.head(issued_ms=max(right + ahead_ms, 0)), synced.hub.vouch(OWN_STREAM))
    people(synced.hub.staff, 1, 50)
    synced.bring(synced.hub.delta(20, is_own=False))
    pass_time(synced, 330, of_group(synced), of_own(synced))
    assert not synced.agent.faults()


# --- groups that are left --------------------------------------------------------------------------------------


def leave(bench):
    """The hub takes the group away: the own stream says so, and a snapshot of nothing follows."""
    bench.hub.streams[OWN_STREAM].put(served())
    staff = bench.hub.streams.pop(STREAM)
    bench.talk()
    bench.hub.streams[STREAM] = staff
    nothing = bench.hub.page(STREAM, "snapshot", (0, staff.seq), (0, 1), DigestTree().root(), PageBody())
    bench.bring(nothing, bench.hub.vouch(digest=DigestTree().root()))
    del bench.hub.streams[STREAM]
    bench.follow()


def test_a_group_that_was_left_is_no_fault_and_neither_reported_nor_subscribed_to(synced):
    topic = topics.GROUP_PAGES.of("site", GROUP)
    assert topic in synced.wire.topics
    leave(synced)
    assert not synced.living()
    pass_time(synced, 360, of_own(synced))
    assert not synced.agent.faults()
    synced.talk()
    assert [cursor.stream for cursor in synced.hub.reports[-1].cursors] == [OWN_STREAM]
    assert synced.hub.reports[-1].key_ids == ()
    assert topic not in synced.wire.topics
    assert [receipt.seq for receipt in synced.hub.receipts if receipt.stream == STREAM][-1] == 20


def test_whoever_serves_a_group_again_gets_it_anew(synced):
    staff = synced.hub.staff
    leave(synced)
    synced.hub.streams[STREAM] = staff
    synced.hub.streams[OWN_STREAM].put(served(staff=0))
    people(staff, 1, 50)
    synced.talk()
    assert synced.is_equal() and len(synced.living()) == 22


# --- what was kept back ------------------------------------------------------------------------------------------


def test_a_snapshot_of_an_epoch_that_is_over_is_not_taken_over_by_a_terminal_that_never_knew_it(tmp_path, bench):
    """The broker kept a whole conversation back, and plays it to a blank terminal."""
    people(bench.hub.staff, 3)
    old = [bench.hub.group_key(), *bench.hub.snapshot(), bench.hub.head(), bench.hub.delta(0, is_own=False)]
    bench.hub.staff.epoch = "e2"
    bench.hub.staff.drop_person(person(1).person_id)
    bench.bring(*old)
    assert not bench.living()
    assert bench.held() == ("none", 0)
    bench.talk()
    assert bench.is_equal() and ("person", person(1).person_id) not in bench.living()


def test_a_snapshot_that_was_kept_back_is_not_taken_over_in_place_of_the_present_one(bench):
    people(bench.hub.staff, 3)
    bench.bring(bench.hub.group_key())
    old = bench.hub.snapshot()  # with the hub's word to a run that nobody reported
    bench.hub.staff.drop_person(person(1).person_id)
    bench.work()
    now = bench.hub.snapshot()
    bench.bring(*old[:-1], bench.hub.vouch(session="before"), *now[:-1], *old[:-1], now[-1])
    bench.talk()
    assert bench.is_equal() and ("person", person(1).person_id) not in bench.living()


def test_a_snapshot_waits_for_the_hubs_word_and_the_word_for_the_snapshot(bench):
    people(bench.hub.staff, 6)
    bench.talk(2)
    bench.hub.staff.epoch = "e2"
    *parts, word = bench.hub.snapshot(size=4)
    bench.bring(*parts)
    assert bench.held()[0] != "e2"
    bench.bring(word)
    assert bench.held()[0] == "e2"
    bench.hub.staff.epoch = "e3"
    *parts, word = bench.hub.snapshot(size=4)
    bench.bring(word, *parts)
    assert bench.held()[0] == "e3"


def test_an_older_key_of_a_group_does_not_come_back_after_a_newer_one(synced):
    older, newer = GroupSeal.new(), GroupSeal.new()
    number = synced.hub.now()
    synced.bring(synced.hub.group_key(newer, number + 2), synced.hub.group_key(older, number + 1))
    assert newer.key_id in synced.agent.keyring.key_ids()
    assert older.key_id not in synced.agent.keyring.key_ids()


# --- what doord is given, and what lapses ------------------------------------------------------------------------


def test_the_newest_head_of_the_own_stream_lies_ready_for_doord(synced):
    topic, data = synced.hub.vouch(OWN_STREAM)
    synced.bring((topic, data), synced.hub.head(), synced.hub.vouch(OWN_STREAM, session="before"))
    assert HandoverReader(synced.agent.writer).head() == data


def test_a_group_lapses_when_the_hub_has_been_silent_for_longer_than_it_may_be(synced):
    synced.hub.streams[OWN_STREAM].put(served(staff=600))
    synced.talk()
    synced.bring(synced.hub.head())
    pass_time(synced, 570)
    assert synced.agent.handover.sign("lapsed") == ""
    pass_time(synced, 60)
    assert synced.agent.handover.sign("lapsed") == "staff"
    pass_time(synced, 30, of_group(synced))
    assert synced.agent.handover.sign("lapsed") == ""
    synced.hub.streams[OWN_STREAM].put(served(staff=0))
    synced.talk()
    pass_time(synced, 86400)
    assert synced.agent.handover.sign("lapsed") == ""


def test_neither_restarts_nor_a_lost_clock_nor_heads_held_back_lengthen_a_groups_time(synced):
    synced.hub.streams[OWN_STREAM].put(served(staff=600))
    synced.talk()
    held_back = []
    for _ in range(20):
        synced.hub.clock.advance(30)
        held_back.append(synced.hub.head())
    synced.bring(held_back[0], synced.hub.vouch(OWN_STREAM))
    bench = synced
    for head in held_back[1:6]:
        bench.hub.clock.advance(120)
        bench.work()
        bench.hub.clock.advance(1)
        bench.work()
        bench = bench.restarted()
        bench.hub.clock.step_wall(-86400 * 366)
        bench.bring(head)
    bench.hub.clock.advance(1.5)
    bench.work()
    assert bench.agent.handover.sign("lapsed") == "staff"


def test_what_the_own_stream_says_of_groups_is_read_strictly(synced):
    from agent_hub import Raw

    assert (KIND, TERMINAL) == ("config", "t-1")
    for wrong in (b"", b"{", b'{"staff": -1}', b'{"staff": "x"}', b"[1]", b"7", b"[" * 10_000):
        synced.hub.streams[OWN_STREAM].put(Raw(GROUPS, wrong))
        synced.talk()
        assert synced.agent.served.streams() == ("group/staff",)
    synced.hub.streams[OWN_STREAM].put(Raw(GROUPS, b'["lab", "staff"]'))
    synced.talk()
    assert synced.agent.served.streams() == ("group/lab", "group/staff")
