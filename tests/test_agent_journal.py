"""door-syncd and the journal: every entry reaches the hub once, whatever is lost on the way; prunes are licensed."""

from __future__ import annotations

import itertools
import random

import pytest
from agent_hub import OWN_STREAM, TERMINAL, a_bench
from store_samples import BOOT, release

from device.store.journal import Journal
from device.store.keeper import JournalKeeper
from sync.agent import upstream
from sync.agent.link import Down


@pytest.fixture
def bench(tmp_path):
    bench = a_bench(tmp_path / "state")
    bench.talk()
    yield bench
    bench.close()


def entries(bench, count):
    bench.journal.append_all([(release(number % 1000), None, None) for number in range(count)])


def stored(bench):
    return {seq for journal_id, seq in bench.hub.events if journal_id == bench.journal.journal_id}


def test_all_entries_arrive_and_the_cursor_licenses_pruning(bench):
    entries(bench, 3000)
    bench.talk()
    assert stored(bench) == set(range(1, bench.journal.head + 1))
    assert bench.agent.writer.acked(bench.journal.journal_id) == bench.journal.head
    assert bench.hub.doubled == 0
    row = bench.hub.events[bench.journal.journal_id, 7]
    entry = bench.journal.entries(6, 1)[0]
    assert (row.hash, row.prev_hash, row.detail, row.boot_id) == (entry.hash, entry.prev_hash, entry.detail, BOOT)


def test_the_cursor_makes_no_new_generation(bench):
    before = bench.agent.writer.generation
    entries(bench, 10)
    bench.talk()
    assert bench.agent.writer.generation == before


def test_no_more_than_the_window_is_under_way(bench):
    entries(bench, 3 * upstream.WINDOW)
    for _ in range(20):
        bench.agent.step()
    assert bench.agent.upstream._current.sent - bench.agent.upstream.acked_seq <= upstream.WINDOW + upstream.PAGE


def test_a_journal_that_is_being_replaced_at_this_moment_has_nothing_to_send(bench):
    entries(bench, 20)
    bench.agent.watch.poll()
    assert bench.agent.upstream.waiting > 0
    bench.agent.watch.close()  # as it does where the file has another inode, or cannot be read just now
    sends = bench.agent.upstream
    assert (sends.waiting, sends.journal_id, sends.acked_seq) == (0, "", 0)
    bench.talk()
    assert stored(bench) >= set(range(1, 21))


def test_lost_pages_and_lost_acknowledgements_are_made_up_for(bench):
    chance = random.Random(3)
    entries(bench, 2500)
    for _ in range(400):
        bench.hub.clock.advance(1.0)
        if len(stored(bench)) >= 2500:
            break
        while bench.wire.sent:
            message = bench.wire.sent.popleft()
            if chance.random() < 0.6:
                answers = bench.hub.hear(*message)
                bench.wire.bring(*[answer for answer in answers if chance.random() < 0.6])
        bench.work()
    bench.talk()
    assert stored(bench) >= set(range(1, 2501))
    assert bench.hub.doubled == 0


def test_an_acknowledgement_of_another_journal_moves_nothing(bench):
    entries(bench, 5)
    bench.bring(bench.hub.acked("f" * 32, 900))
    assert bench.agent.upstream.acked_seq == 0


def test_a_journal_that_was_set_aside_is_sent_with_its_successor(bench):
    entries(bench, 40)
    bench.wire.sent.clear()
    keeper = JournalKeeper(lambda: bench.journal, bench.hub.clock)
    old = bench.journal.journal_id
    keeper._open = lambda: Journal.open(bench.where.journal_db, bench.hub.clock, BOOT)
    keeper.renew("for the test")
    bench.journal = keeper.journal
    entries(bench, 5)
    bench.hub.clock.advance(70)
    bench.talk()
    assert {seq for journal_id, seq in bench.hub.events if journal_id == old} == set(range(1, 41))
    assert stored(bench) == set(range(1, bench.journal.head + 1))


def test_a_journal_of_which_the_hub_has_more_is_not_sent_and_doord_is_told(bench):
    entries(bench, 5)
    bench.hub.events |= {(bench.journal.journal_id, seq): "another timeline's" for seq in range(1, 901)}
    bench.bring(bench.hub.acked(bench.journal.journal_id, 900))
    bench.hub.clock.advance(2)
    bench.wire.sent.clear()
    bench.talk()
    assert bench.hub.doubled == 0
    assert bench.agent.handover.sign("journal_ahead") == bench.journal.journal_id
    assert "journal_set_back" in bench.hub.reports[-1].health.degraded


def test_outcomes_of_commands_are_answered_once(bench):
    from device.door.reasons import entry

    for command in ("a" * 32, "b" * 32):
        bench.bring(bench.hub.command("release", BOOT, command_id=command))
    bench.journal.append(entry("command_release", command="a" * 32, source="hub", seconds=3.0))
    bench.journal.append(entry("command_refused", command="b" * 32, source="hub", why="expired"))
    bench.talk()
    assert {(answer.command_id[0], answer.outcome, answer.reason) for answer in bench.hub.answers} == {
        ("a", "done", ""), ("b", "refused", "expired")}
    assert not bench.agent.handover.inbox()
    bench.bring(bench.hub.command("release", BOOT, command_id="a" * 32))
    bench.talk()
    assert len(bench.hub.answers) == 2
    assert bench.agent.counts["commands passed over"] == 1


def test_a_command_that_the_door_never_took_up_has_failed(bench):
    bench.bring(bench.hub.command("release", BOOT, command_id="a" * 32))
    bench.hub.clock.advance(70)
    bench.talk()
    assert [answer.outcome for answer in bench.hub.answers] == ["failed"]


def test_an_inbox_that_is_full_takes_no_more(bench):
    for number in range(80):
        bench.bring(bench.hub.command("release", BOOT, command_id=f"{number:032x}"))
    assert len(bench.agent.handover.inbox()) == 64


def test_the_newest_desired_state_lies_ready_and_what_the_door_obeys_is_reported(bench):
    bench.bring(bench.hub.desired(4, "lockdown"), bench.hub.desired(3, "free"))
    assert bench.agent.handover.desired()[0] == 4
    from device.door.reasons import entry

    bench.journal.append(entry("mode_lockdown", command="desired-4", source="hub"))
    bench.hub.clock.advance(61)
    bench.talk()
    assert bench.hub.reports[-1].desired_version == 4


def test_presence_is_told_and_taken_back(bench):
    assert bench.hub.online[-1].is_online
    bench.agent.close()
    while bench.wire.sent:
        bench.hub.hear(*bench.wire.sent.popleft())
    assert not bench.hub.online[-1].is_online
    assert bench.hub.online[-1].terminal_id == TERMINAL


def test_a_link_that_cannot_be_made_is_tried_again_ever_more_rarely(tmp_path):
    bench = a_bench(tmp_path / "state")
    bench.wire.is_broken = True
    tries = []
    for _ in range(400):
        bench.hub.clock.advance(0.5)
        before = bench.agent.connection.backoff._tries
        bench.work()
        if bench.agent.connection.backoff._tries != before:
            tries.append(bench.hub.clock.mono())
    assert 5 < len(tries) < 60
    assert all(later - earlier <= 62 for earlier, later in itertools.pairwise(tries))
    bench.wire.is_broken = False
    bench.hub.clock.advance(61)
    bench.talk()
    assert bench.hub.reports
    bench.close()


def test_an_error_of_ours_does_not_end_the_loop(bench, monkeypatch):
    monkeypatch.setattr("sync.agent.agent.FAILED_PAUSE_S", 0.0)
    agent, rounds, failing = bench.agent, iter(range(20)), iter([True, True])

    def close():
        if next(failing, False):
            raise RuntimeError("a fault of ours")

    monkeypatch.setattr(bench.wire, "close", close)
    bench.wire.inbox.put(Down("lost"))
    bench.hub.clock.advance(200)
    agent.run(lambda: next(rounds, None) is None or bool(bench.hub.clock.advance(70)))
    assert agent.counts["failed"] == 2
    bench.talk()
    assert agent.is_up


def test_a_silent_link_is_made_anew(bench):
    bench.hub.clock.advance(400)
    bench.wire.is_open = True
    bench.work()
    assert not bench.agent.is_up
    bench.hub.clock.advance(2)
    bench.talk()
    assert bench.agent.is_up


def test_a_report_that_was_asked_for_goes_out_at_once_and_before_the_answer(bench):
    from device.door.reasons import entry

    bench.wire.sent.clear()
    bench.bring(bench.hub.command("report", BOOT, command_id="a" * 32))
    bench.journal.append(entry("command_done", command="a" * 32, source="hub", verb="report"))
    before = len(bench.hub.reports)
    bench.work()
    kinds = [topic.rsplit("/", 1)[1] for topic, _ in bench.wire.sent]
    assert [kind for kind in kinds if kind != "journal"] == ["report", "answer"]
    while bench.wire.sent:
        bench.hub.hear(*bench.wire.sent.popleft())
    assert len(bench.hub.reports) == before + 1


def test_what_doord_obeys_and_goes_by_is_known_after_a_restart_however_much_has_happened_since(bench):
    from device.door.reasons import entry

    bench.journal.append(entry("mode_lockdown", command="desired-4", source="hub"))
    bench.journal.append(entry("config_changed", version=3))
    bench.hub.clock.advance(61)
    bench.talk()
    entries(bench, 5100)
    again = bench.restarted()
    again.hub.reports.clear()
    again.hub.clock.advance(2)
    again.talk(4)
    report = again.hub.reports[0]
    assert (report.desired_version, report.health.versions["config"]) == (4, "3")


def test_the_configuration_that_doord_goes_by_is_reported_and_none_as_zero(bench):
    from device.door.reasons import entry

    assert bench.hub.reports[-1].health.versions["config"] == "0"
    for entry_of in (entry("config_changed", version=2), entry("config_changed", hub_keys=9),
                     entry("config_changed", version=5)):
        bench.journal.append(entry_of)
    bench.hub.clock.advance(61)
    bench.talk()
    assert bench.hub.reports[-1].health.versions["config"] == "5"


def test_an_acknowledgement_from_before_does_not_set_the_cursor_back(bench):
    entries(bench, 40)
    late = bench.hub.acked(bench.journal.journal_id, 3)
    bench.talk()
    assert bench.agent.upstream.acked_seq == bench.journal.head
    bench.bring(late)
    assert bench.agent.upstream.acked_seq == bench.journal.head
    bench.bring(bench.hub.acked(bench.journal.journal_id, 3))
    assert bench.agent.upstream.acked_seq == 3  # the hub was set back


def test_how_far_the_hubs_clock_is_ahead_is_reported(bench):
    ahead_ms = int(1000 * bench.hub.clock.now().timestamp()) + 90_000
    bench.bring(bench.hub.vouch(OWN_STREAM, issued_ms=ahead_ms))
    bench.hub.clock.advance(61)
    bench.talk()
    assert bench.hub.reports[-1].health.clock_offset_s == pytest.approx(90.0, abs=0.01)
