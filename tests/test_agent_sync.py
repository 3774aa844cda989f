"""door-syncd against a small hub, without a broker: pages, snapshots, repairs, deletions, faults."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil

import pytest
from agent_hub import GROUP, OWN_STREAM, STREAM, TERMINAL, a_bench, people
from hypothesis import given, settings
from hypothesis import strategies as st
from store_samples import KEY, MODEL, person, template

from device.clock import HandClock
from device.store.cache import CacheReader
from device.store.records import AccessRule
from sync.agent.inbound import POISONED_S
from sync.wire import topics
from sync.wire.digest import DigestTree
from sync.wire.releases import Offer
from sync.wire.seal import GroupSeal
from sync.wire.sign import Signer


@pytest.fixture
def bench(tmp_path):
    bench = a_bench(tmp_path / "state")
    yield bench
    bench.close()


@pytest.fixture
def synced(bench):
    """Ten people and one rule, in both streams, equal to the hub's."""
    people(bench.hub.staff, 10)
    bench.hub.streams[OWN_STREAM].put(AccessRule("r1", "everyone"))
    bench.talk()
    assert bench.is_equal() and bench.is_equal(OWN_STREAM)
    return bench


def test_a_blank_terminal_gets_everything(synced):
    assert len(synced.living()) == 20
    assert [rule.rule_id for rule in synced.agent.writer.records("rule", AccessRule)] == ["r1"]
    assert {f"door/v1/site/group/{GROUP}/pages", f"door/v1/site/terminal/{TERMINAL}/pages"} <= synced.wire.topics


def test_a_change_is_applied_and_reported(synced):
    people(synced.hub.staff, 1, 50)
    synced.bring(synced.hub.delta(20, is_own=False))
    assert synced.is_equal()
    synced.talk()
    report = synced.hub.reports[-1]
    assert {cursor.stream: cursor.digest for cursor in report.cursors}[STREAM] == synced.hub.staff.tree().root()


def test_the_door_is_told_as_soon_as_it_moves_and_nothing_where_doord_is_silent(synced):
    def doord_says(**status):
        kept = {"pid": 1, "mono": synced.hub.clock.mono(), **status}
        (synced.where.root / "status.json").write_text(json.dumps(kept))

    for phase, mode in (("released", "normal"), ("open", "normal"), ("secure", "lockdown")):
        before = len(synced.hub.reports)
        for _ in range(8):
            doord_says(phase=phase, mode=mode)
            synced.hub.clock.advance(0.5)
            synced.work()
        synced.talk()
        assert len(synced.hub.reports) > before
        assert (synced.hub.reports[-1].health.door, synced.hub.reports[-1].health.mode) == (phase, mode)
    synced.hub.clock.advance(30)
    synced.talk()
    assert (synced.hub.reports[-1].health.door, synced.hub.reports[-1].health.mode) == ("", "")


def test_a_page_received_twice_is_applied_once(synced):
    people(synced.hub.staff, 1, 50)
    page = synced.hub.delta(20, is_own=False)
    synced.bring(page)
    generation = synced.agent.writer.generation
    before = synced.agent.counts["old"]
    synced.bring(page, page)
    assert synced.agent.writer.generation == generation
    assert synced.agent.counts["old"] == before + 2


def test_a_gap_is_refused_reported_and_filled(synced):
    people(synced.hub.staff, 1, 50)
    people(synced.hub.staff, 1, 51)
    synced.bring(synced.hub.delta(22, is_own=False))
    assert synced.held() == ("e1", 20)
    synced.talk()
    assert synced.is_equal()


def test_a_drop_removes_from_file_and_is_receipted_only_after_the_matcher_followed(synced):
    gone = person(4).person_id
    synced.hub.staff.drop_person(gone)
    synced.bring(synced.hub.delta(20, is_own=False))
    synced.talk()
    assert ("person", gone) not in synced.living()
    assert not synced.hub.receipts
    synced.follow()
    receipt = synced.hub.receipts[-1]
    assert receipt.stream == STREAM
    assert receipt.seq == synced.hub.staff.seq
    assert receipt.digest == synced.hub.staff.tree().root()
    assert ("person", gone) in {(kind, key) for kind, key, _ in receipt.dropped}
    assert not synced.agent.writer.is_erasure_due


def test_receipts_are_sent_again_after_the_link_was_lost(synced):
    synced.hub.staff.drop_person(person(4).person_id)
    synced.talk()
    synced.follow()
    again = synced.restarted()
    again.talk()
    assert [receipt.seq for receipt in again.hub.receipts if receipt.stream == STREAM] == [20, 22, 22]


def test_a_drop_obeyed_before_its_predecessors_is_not_undone_by_them(synced):
    people(synced.hub.staff, 1, 50)
    late = synced.hub.delta(20, is_own=False)
    victim = person(50).person_id
    synced.hub.staff.drop_person(victim)
    synced.bring(synced.hub.delta(22, is_own=False))
    assert synced.held() == ("e1", 20)
    synced.bring(late)
    assert synced.held() == ("e1", 22)
    assert ("person", victim) not in synced.living()
    assert synced.agent.counts["differs"] == 0
    synced.talk()
    assert synced.is_equal()
    again = synced.restarted()
    assert again.agent.streams.built(STREAM).root() == again.hub.staff.tree().root()


def test_the_gallery_is_never_a_mix_while_a_snapshot_is_staged(synced):
    for number in range(5):
        synced.hub.staff.drop_person(person(number).person_id)
    people(synced.hub.staff, 10, 100)
    synced.hub.staff.epoch = "e2"
    before = synced.living()
    parts = synced.hub.snapshot(size=4)
    random.Random(1).shuffle(parts)
    for part in parts[:-1]:
        synced.bring(part)
        assert synced.living() == before
        assert synced.held() == ("e1", 20)
    synced.bring(parts[0], parts[-1])
    assert synced.is_equal()
    assert len(synced.living()) == 30


def test_a_staged_snapshot_survives_a_restart(synced):
    people(synced.hub.staff, 10, 100)
    synced.hub.staff.epoch = "e2"
    parts = synced.hub.snapshot(size=5)
    synced.bring(*parts[:3])
    again = synced.restarted()
    again.work()
    again.bring(*parts[3:])
    assert not again.is_equal()  # vouched for to another run
    again.bring(again.hub.vouch(session=again.agent.session))
    assert again.is_equal()


def test_who_is_dropped_while_a_snapshot_is_staged_does_not_come_with_it(bench):
    people(bench.hub.staff, 10)
    bench.talk()
    people(bench.hub.staff, 10, 100)
    parts = bench.hub.snapshot(size=5)
    bench.bring(*parts[:-1])
    victim = person(103).person_id
    at = bench.hub.staff.seq
    bench.hub.staff.drop_person(victim)
    bench.bring(bench.hub.delta(at, is_own=False))
    rows = bench.agent.writer._all("SELECT sealed FROM staged WHERE key = ?", [victim])
    assert rows and all(row[0] is None for row in rows)
    bench.bring(parts[-1])
    assert ("person", victim) not in bench.living()
    bench.talk()
    assert bench.is_equal()


def test_a_past_epoch_is_never_entered_again(synced):
    old = [*synced.hub.snapshot(), synced.hub.delta(0)]
    synced.hub.staff.epoch = "e2"
    synced.hub.staff.drop_person(person(1).person_id)
    synced.talk()
    synced.bring(*old)
    assert synced.is_equal()
    assert ("person", person(1).person_id) not in synced.living()


def test_an_older_snapshot_of_this_epoch_is_passed_over(synced):
    old = synced.hub.snapshot()
    synced.hub.staff.drop_person(person(1).person_id)
    synced.talk()
    synced.bring(*old)
    assert synced.is_equal()


def test_snapshots_are_taken_on_the_terminals_own_topic_only(bench):
    people(bench.hub.staff, 3)
    bench.bring(bench.hub.group_key(), *bench.hub.snapshot(is_own=False))
    assert bench.held() == ("none", 0)
    assert bench.agent.counts["refused"] == 1


def test_a_difference_is_repaired_by_its_buckets_alone(synced):
    writer = synced.agent.writer
    for key in (person(2).person_id, person(7).person_id):
        writer._db.execute("DELETE FROM synced WHERE key = ? AND kind = 'template'", [key])
        writer._db.execute("DELETE FROM templates WHERE template_id = ?", [key])
    again = synced.restarted()
    again.work()
    assert not again.is_equal()
    again.bring(again.hub.head())
    again.talk()
    assert again.is_equal()
    assert len(again.living()) == 20
    assert len(again.hub.repairs[-1].buckets) == 2
    assert not again.hub.repairs[0].buckets


def test_what_the_hub_never_had_goes_by_repair(synced):
    page = synced.hub.staff
    people(page, 1, 77)
    synced.bring(synced.hub.delta(20, is_own=False))
    for kind in ("person", "template"):
        del page.living[kind, f"{77:032x}"]
    synced.bring(synced.hub.head())
    synced.talk()
    assert synced.is_equal()
    assert ("person", f"{77:032x}") not in synced.living()


def test_a_rotten_row_is_asked_for_again(synced):
    writer = synced.agent.writer
    writer._db.execute("UPDATE templates SET sealed = zeroblob(length(sealed)) WHERE template_id = ?",
                       [template(3).template_id])
    writer._db.execute("UPDATE people SET sealed = zeroblob(length(sealed)) WHERE person_id = ?",
                       [person(5).person_id])
    again = synced.restarted()
    assert ("template", template(3).template_id) not in again.living()
    again.talk()
    again.bring(again.hub.head())
    again.talk()
    assert again.is_equal()
    assert len(again.living()) == 20


def test_a_template_without_consent_is_refused_alone_and_told(synced):
    synced.hub.staff.put(person(60, consent=None))
    synced.hub.staff.put(template(60))
    people(synced.hub.staff, 1, 61)
    synced.bring(synced.hub.delta(20, is_own=False))
    assert synced.held() == ("e1", 24)
    assert ("template", template(60).template_id) not in synced.living()
    assert ("template", template(61).template_id) in synced.living()
    synced.talk()
    assert "records_refused" in synced.hub.reports[-1].health.degraded
    assert len(synced.hub.repairs) < 10


def test_a_template_without_consent_is_not_taken_from_a_snapshot(bench):
    bench.hub.staff.put(person(60, consent=None))
    bench.hub.staff.put(template(60))
    people(bench.hub.staff, 2)
    bench.talk()
    assert bench.held() == ("e1", 6)
    assert {key for kind, key in bench.living() if kind == "template"} == {template(n).template_id for n in (0, 1)}
    assert bench.agent.streams.built(STREAM).root() == bench.agent.streams.tree(STREAM).root()


def test_templates_of_another_length_or_broken_vector_are_refused_alone(synced):
    synced.hub.staff.put(person(70))
    synced.hub.staff.put(template(70, dimensions=128))
    synced.hub.staff.put(person(71))
    synced.hub.staff.put(dataclasses.replace(template(71), vector=bytes(192)))
    synced.bring(synced.hub.delta(20, is_own=False))
    assert ("person", person(71).person_id) in synced.living()
    assert len(synced.living()) == 22
    synced.agent.writer.columns(MODEL)


def test_a_person_of_two_streams_goes_when_the_last_one_lets_go(synced):
    other = synced.hub.streams[OWN_STREAM]
    other.put(person(1))
    other.put(template(1))
    synced.talk()
    synced.hub.staff.drop_person(person(1).person_id)
    synced.talk()
    assert synced.is_equal() and ("template", template(1).template_id) in synced.living()
    other.drop_person(person(1).person_id)
    synced.talk()
    assert synced.is_equal(OWN_STREAM)
    assert not {("person", person(1).person_id), ("template", template(1).template_id)} & synced.living()


def test_leaving_a_group_empties_its_stream(synced):
    staff = synced.hub.staff
    page = synced.hub.page(STREAM, "snapshot", (0, staff.seq), (0, 1), DigestTree().root(),
                           type(staff)("x").all())
    synced.bring(page, synced.hub.vouch(digest=DigestTree().root()))
    assert not synced.living()


def test_ten_thousand_dropped_at_once_are_gone_and_receipted(tmp_path):
    bench = a_bench(tmp_path / "state")
    people(bench.hub.staff, 3000)
    bench.talk()
    assert bench.is_equal()
    for number in range(2999):
        bench.hub.staff.drop_person(person(number).person_id)
    bench.talk()
    bench.follow()
    assert bench.is_equal() and len(bench.living()) == 2
    assert sum(len(receipt.dropped) for receipt in bench.hub.receipts) == 2 * 2999
    bench.close()


def test_pages_of_a_stranger_change_nothing(synced):
    people(synced.hub.staff, 1, 50)
    forged = [synced.hub.delta(20, signer=Signer.new()), synced.hub.delta(20, seal=GroupSeal.new())]
    topic, data = synced.hub.delta(20)
    synced.bring(*forged, (topic.replace(TERMINAL, "t-2"), data), ("elsewhere", data), (topic, data[:-1]),
                 (topic, b""))
    assert synced.held() == ("e1", 20)
    assert synced.agent.counts["refused"] == 5
    assert synced.agent.counts["sealed"] == 1


def test_a_group_key_rotated_while_away_comes_with_the_next_report(synced):
    synced.hub.seal = GroupSeal.new()
    people(synced.hub.staff, 1, 50)
    synced.bring(synced.hub.delta(20, is_own=False))
    assert synced.held() == ("e1", 20)
    synced.talk()
    assert synced.is_equal()
    assert synced.hub.seal.key_id in synced.hub.reports[-1].key_ids


def test_a_message_that_makes_the_agent_fail_is_passed_over_and_counted(synced, monkeypatch):
    def fail(page, is_own_topic):
        raise RuntimeError("a fault of ours")

    people(synced.hub.staff, 1, 50)
    page = synced.hub.delta(20, is_own=False)
    with monkeypatch.context() as patched:
        patched.setattr(synced.agent.downstream, "page", fail)
        synced.bring(page)
    synced.bring(page)
    assert synced.agent.counts["poisoned"] == synced.agent.counts["poisoned again"] == 1
    synced.talk()
    assert synced.is_equal()


def test_a_message_that_made_the_agent_fail_for_a_passing_reason_is_taken_when_it_comes_again_later(
        synced, monkeypatch):
    people(synced.hub.staff, 1, 50)
    page = synced.hub.delta(20, is_own=False)
    with monkeypatch.context() as patched:
        patched.setattr(synced.agent.downstream, "page", lambda *_: 1 / 0)
        synced.bring(page)
    synced.hub.clock.advance(POISONED_S - 1)
    synced.bring(page)
    assert not synced.is_equal()
    synced.hub.clock.advance(1)
    synced.bring(page)
    assert synced.is_equal()


def test_a_wrong_clock_does_not_stop_the_sync(tmp_path):
    clock = HandClock()
    clock.step_wall(-20 * 365 * 86400)
    bench = a_bench(tmp_path / "state", clock)
    people(bench.hub.staff, 3)
    bench.talk()
    clock.step_wall(60 * 365 * 86400)
    people(bench.hub.staff, 3, 10)
    bench.talk()
    assert bench.is_equal() and len(bench.living()) == 12
    bench.close()


def test_people_enrolled_by_hand_before_there_was_a_hub_are_removed(tmp_path):
    bench = a_bench(tmp_path / "state")
    bench.agent.writer.put_person(person(900))
    bench.agent.writer.put_template(template(900))
    again = bench.restarted()
    assert not again.living()
    again.close()


def test_a_terminal_restored_from_an_old_backup_catches_up(synced, tmp_path):
    synced.agent.writer._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    backup = tmp_path / "backup.db"
    shutil.copy(synced.where.gallery_db, backup)
    synced.hub.staff.drop_person(person(1).person_id)
    people(synced.hub.staff, 2, 80)
    synced.talk()
    synced.stop()
    shutil.copy(backup, synced.where.gallery_db)
    again = synced.restarted()
    again.talk()
    assert again.is_equal() and ("person", person(1).person_id) not in again.living()


def test_nothing_of_a_dropped_person_is_left_in_any_file(synced):
    sealed = synced.agent.writer._all("SELECT sealed FROM templates WHERE template_id = ?",
                                       [template(6).template_id])
    synced.hub.staff.drop_person(person(6).person_id)
    synced.talk()
    for path in synced.where.gallery_db.parent.iterdir():
        assert sealed[0][0] not in path.read_bytes(), path.name


def test_doord_sees_a_page_as_one_change(synced):
    reader = CacheReader.open(synced.where.gallery_db, KEY)
    before = reader.generation
    people(synced.hub.staff, 40, 200)
    synced.bring(synced.hub.delta(20, is_own=False))
    changes = reader.changes_since(before, MODEL)
    assert reader.generation == before + 1
    assert len(changes.puts) == 40 and changes.is_complete
    reader.close()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["put", "drop", "page", "old", "replay", "flip", "cut", "forge", "skip",
                                           "snapshot", "restart", "epoch", "repair"]), st.integers(0, 2**16)),
                max_size=40))
def test_whatever_the_broker_does_the_terminal_converges(tmp_path_factory, steps):
    bench = a_bench(tmp_path_factory.mktemp("sync"))
    ever, removed = [], set()
    people(bench.hub.staff, 2)
    bench.talk()
    try:
        for step, number in steps:
            bench = _play(bench, step, number, ever, removed)
            kept = {name for name in bench.living() if name not in removed}
            allowed = {name for name in bench.hub.staff.living} | kept
            assert bench.living() <= allowed
        bench.talk()
        bench.bring(bench.hub.head())
        bench.talk(120)
        assert bench.is_equal()
        assert bench.living() == set(bench.hub.staff.living)
    finally:
        bench.close()


def _play(bench, step, number, ever, removed):
    staff, hub = bench.hub.staff, bench.hub
    at = bench.held()[1]
    if step == "put":
        people(staff, 1, number % 40 + 1000 * len(removed))
    elif step == "drop" and staff.living:
        _, key = sorted(staff.living)[number % len(staff.living)]
        staff.drop_person(key)
    elif step in ("page", "skip", "flip", "cut", "forge"):
        after = max(min(at, staff.seq) - number % 3, 0) if step == "page" else number % (staff.seq + 1)
        topic, data = hub.delta(after, is_own=False, signer=Signer.new() if step == "forge" else None)
        if step == "flip":
            place = number % len(data)
            data = data[:place] + bytes([data[place] ^ (1 + number % 255)]) + data[place + 1:]
        if step == "cut":
            data = data[:number % len(data)]
        if step in ("page", "skip"):
            ever.append((topic, data))
        bench.bring((topic, data))
    elif step in ("old", "replay") and ever:
        bench.bring(ever[number % len(ever)])
    elif step == "snapshot":
        parts = hub.snapshot(size=3)
        ever += parts
        bench.bring(*parts[number % 3:], *parts[:number % 2])
    elif step == "restart":
        return bench.restarted()
    elif step == "epoch" and number % 4 == 0:
        staff.epoch = f"e{len(ever)}-{number}"
    elif step == "repair":
        bench.bring(hub.head())
        bench.talk(4)
    return bench


def test_a_terminal_without_an_intake_passes_offers_over_and_one_for_another_terminal_is_refused(synced):
    offer = Offer(terminal_id=TERMINAL, rollout_id="r1", number=1, release="1.2.0", size=5000)
    synced.bring(synced.hub.sign(offer, topics.UPDATE))
    assert synced.agent.counts["offers passed over"] == 1
    before = synced.agent.counts["refused"]
    synced.bring(synced.hub.sign(Offer(terminal_id="other", rollout_id="r1", number=2), topics.UPDATE),
                 synced.hub.sign(offer, topics.COMMAND), synced.hub.sign(offer, topics.UPDATE, signer=Signer.new()))
    assert synced.agent.counts["refused"] == before + 3
    synced.agent._report()
    synced.talk()
    assert "release" not in synced.hub.reports[-1].health.versions
