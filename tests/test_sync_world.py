"""Hub and terminals without a broker: every fault of a network, a disk and a backup, one by one."""

from __future__ import annotations

import shutil

import msgspec
import pytest
from store_samples import MODEL
from sync_samples import put_people
from sync_world import World
from update_samples import OURS, root, tiny_bundle

from device.store.trust import open_envelope
from sync.hub.ledger import Drop
from sync.hub.rollout import Asked
from sync.wire import topics

KINDS = ("person", "template")


@pytest.fixture
def world(tmp_path, tmp_path_factory):
    world = World(tmp_path, tmp_path_factory)
    yield world
    world.close()


@pytest.fixture
def pair(world):
    """Two doors of one group with twenty people, equal to the hub's."""
    world.enrol(20)
    one, two = world.add_door("t1"), world.add_door("t2")
    one.happens(3)
    world.settle()
    assert one.admitted() == two.admitted()
    assert len(one.admitted()) == 20
    return one, two


def ids(first, count=1):
    return {f"{number:032x}" for number in range(first, first + count)}


def test_whoever_is_enrolled_is_known_at_every_door_of_the_group_and_whoever_is_removed_is_not(world, pair):
    world.enrol(1, 100)
    world.settle(3)
    assert all(ids(100) <= door.admitted() for door in pair)
    world.hub.people.remove(ids(100))
    world.settle(5)
    assert not any(ids(100) & door.admitted() for door in pair)
    assert not world.hub.fleet.open_deletions("t1")


def test_a_change_is_one_publish_for_the_whole_group(world, pair):
    world.seen.clear()
    world.enrol(1, 100)
    world.settle(3)
    assert [topic for topic, _ in world.seen if topic.endswith("/pages")] == ["door/v1/hq/group/staff/pages"]


def test_a_partition_of_a_simulated_day_is_made_up_for_within_half_a_minute(world, pair):
    one, two = pair
    world.cut(one)
    world.hub.people.remove(ids(1, 3))
    world.enrol(4, 100)
    world.settle()
    one.happens(10)
    for _ in range(60):
        world.round(1440.0)
    assert ids(1, 3) <= one.admitted()
    assert world.hub.fleet.open_deletions("t1")
    world.mend(one)
    world.settle(30 + 60)  # the terminal waits up to a minute before it tries again
    assert one.admitted() == two.admitted() == ids(4, 17) | ids(100, 4)


@pytest.mark.parametrize("harm", ["twice", "reordered", "truncated", "flipped", "lost", "replayed"])
def test_harmed_messages_change_nothing_but_the_time_it_takes(world, pair, harm):
    one, two = pair
    chance, late, old = world.chance, [], []

    def flip(data):
        at = chance.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1:]

    def delay(message):
        late.append(message)
        return [late.pop(0)] if len(late) > 3 else []

    harms = {
        "twice": lambda topic, data: [(topic, data)] * 2,
        "reordered": lambda topic, data: delay((topic, data)),
        "truncated": lambda topic, data: [(topic, data[:chance.randrange(len(data))])],
        "flipped": lambda topic, data: [(topic, flip(data))],
        "lost": lambda topic, data: [],
        "replayed": lambda topic, data: [(topic, data), chance.choice([one for one in old if one[0] == topic])],
    }

    def mischief(topic, data):
        old.append((topic, data))
        return harms[harm](topic, data) if chance.random() < 0.5 else [(topic, data)]

    world.mischief = mischief
    for number in range(100, 130):
        world.enrol(1, number)
        if number % 3 == 0:
            world.hub.people.remove(ids(number))
        one.happens()
        world.round()
    world.mischief = None
    world.settle(30)
    assert one.admitted() == two.admitted() == world.hub_people()


def test_a_forged_page_a_page_of_another_key_and_another_terminals_page_are_refused(world, pair):
    from sync.wire.sign import Signer

    one, two = pair
    real = world.hub.keys.identity().signer
    signer, captured = Signer.new(), []
    world.cut(one)
    world.enrol(1, 100)
    world.mischief = lambda topic, data: captured.append((topic, data)) or [(topic, data)]
    world.round()
    world.mischief = None
    forged = [reseal(topic, data, real, signer) for topic, data in captured if topic.endswith("pages")]
    assert forged
    world.mend(one)
    moved = [(topic.replace("group/staff", "terminal/t2"), data) for topic, data in captured]
    before = two.agent.counts["refused"]
    two.net.bring(*forged, *moved)
    two.step()
    assert two.agent.counts["refused"] >= before + len(forged)
    world.settle(90)


def test_a_terminal_that_was_set_back_to_an_old_backup_becomes_equal_and_its_new_events_are_kept(world, pair):
    one, _ = pair
    one.stop()
    shutil.copytree(one.where.root, world.folder / "old")
    one.start()
    world.hub.people.remove(ids(1, 5))
    one.happens(5)
    world.settle(60)
    one.stop()
    shutil.rmtree(one.where.root)
    shutil.copytree(world.folder / "old", one.where.root)
    one.start()
    one.happens(2)
    world.settle(120)
    assert not ids(1, 5) & one.admitted()


def test_a_terminal_with_a_new_journal_goes_on_beside_its_old_one(world, pair):
    one, _ = pair
    one.stop()
    for path in one.where.journal_db.parent.iterdir():
        path.unlink()
    one.start()
    one.happens(4)
    world.settle()
    assert len(world.hub.events.acked("t1")) == 2


def test_a_hub_that_was_set_back_begins_anew_and_gets_its_events_again(world, pair):
    one, two = pair
    world.backup_hub("old.db")
    world.enrol(2, 100)
    world.hub.people.remove(ids(1))
    one.happens(7)
    world.settle(10)
    epoch = world.hub.ledger.epoch
    world.restore_hub("old.db")
    assert world.hub.ledger.epoch != epoch
    world.settle(60)
    assert one.admitted() == two.admitted() == ids(2, 19)  # who was removed stays so; who came since is unknown


def test_a_broker_that_forgets_everything_costs_nothing(world, pair):
    one, _ = pair
    world.hub.orders.want("t1", "lockdown")
    world.round()
    world.enrol(1, 100)
    one.happens()
    world.lose_broker()
    world.settle(60)
    assert one.agent.handover.desired()[0] == 1


def test_a_broker_that_withholds_pages_is_noticed_and_said(world, pair):
    one, _ = pair
    world.mischief = lambda topic, data: [] if "/pages" in topic else [(topic, data)]
    world.enrol(1, 100)
    for _ in range(90):
        world.round(5.0)
    assert one.agent.heads.stale() == ["group/staff", "terminal/t1"]
    world.mischief = None
    world.settle(60)


def test_a_group_key_that_was_replaced_while_a_terminal_was_away_reaches_it(world, pair):
    one, two = pair
    world.cut(one)
    world.hub.keys.rotate("group/staff")
    world.enrol(2, 100)
    world.settle()
    world.mend(one)
    world.settle(90)
    assert one.admitted() == two.admitted()


def test_who_leaves_a_group_holds_nothing_of_it_and_may_come_back(world, pair):
    one, two = pair
    world.hub.fleet.set_groups("t1", ["lab"])
    world.settle()
    assert one.admitted() == set()
    world.enrol(1, 100)
    world.settle()
    assert one.admitted() == set()
    world.hub.fleet.set_groups("t1", ["lab", "staff"])
    world.settle()
    assert one.admitted() == two.admitted()


def test_a_person_of_two_groups_stays_until_both_are_left(world):
    world.enrol(3, 1, ("staff", "lab"))
    door = world.add_door("t1", ("staff", "lab"))
    world.settle()
    world.hub.people.set_groups(min(ids(1)), ["lab"])
    world.settle()
    assert len(door.admitted()) == 3
    world.hub.people.remove(ids(1))
    world.settle()
    assert door.admitted() == ids(2, 2)


def test_clocks_that_are_wrong_by_years_change_nothing(world, pair):
    one, two = pair
    one.clock.step_wall(-20 * 365 * 86400.0)
    two.clock.step_wall(40 * 365 * 86400.0)
    one.happens(3)
    two.happens(3)
    world.enrol(2, 100)
    world.settle()
    one.clock.step_wall(20 * 365 * 86400.0)
    two.clock.step_wall(-40 * 365 * 86400.0)
    world.enrol(2, 200)
    world.settle()
    rounds(world)
    assert {one.state for one in world.hub.fleet.all()} == {"equal"}


def test_ten_thousand_people_gone_at_once_leave_with_one_page_and_one_receipt(world):
    put_people(world.hub, 10_000, 1000)
    world.enrol(5)
    door = world.add_door("t1")
    world.settle()
    rounds(world)
    world.seen.clear()
    world.hub.ledger.append("group/staff", [Drop(kind, key) for key in ids(1000, 10_000) for kind in KINDS])
    world.settle(30)
    assert door.admitted() == ids(1, 5)
    assert sum(topic.endswith("/pages") for topic, _ in world.seen) == 1
    assert sum(topic.endswith("/receipts") for topic, _ in world.seen) == 1


def _roll_out(world):
    """A release comes to a third door."""
    door = world.add_door("t3", release="1.0.0")
    (world.folder / "root.json").write_bytes(root(OURS))
    world.hub.bundles.trust(world.folder / "root.json")
    bundle = world.hub.bundles.add(tiny_bundle(world.folder, "1.2.0"))
    world.hub.rollouts.start(bundle, Asked(terminals=("t3",)), "cli")
    for _ in range(60):
        world.round()
    assert door.machine.runs == "1.2.0"


def test_nothing_that_passes_the_broker_can_be_read_there(world, pair):
    """But for site, stream, epoch, sequence numbers and terminal ids; whatever can pass does so here."""
    one, _ = pair
    world.hub.orders.want("t1", "lockdown", config_version=3)
    world.hub.orders.command("t1", "release", 3.0)
    world.hub.orders.command("t2", "report")
    world.hub.people.remove(ids(3))
    one.happens(3)
    _roll_out(world)
    world.settle()
    world.hub.keys.own.rotate()
    world.hub.ledger.new_epoch()
    one.writer._db.execute("DELETE FROM synced WHERE kind = 'template'")
    one.restart()
    for _ in range(6):
        world.round(31.0)
    world.settle()
    kinds = {topic.rsplit("/", 1)[1] for topic, _ in world.seen}
    assert kinds == {topic.leaf for topic in topics.TOPICS}
    for topic, data in world.seen:
        if not topic.endswith("/keys"):
            seen = msgspec.msgpack.decode(open_envelope(data).payload)
            assert set(seen) <= {"type", "site", "stream", "epoch", "seq", "from_seq", "to_seq", "detail", "sealed"}
    passed = b"".join(data for _, data in world.seen)
    heads = [world.hub.ledger.head(stream) for stream in ("group/staff", "terminal/t1")]
    canaries = [b"CANARY", b"release", b"granted_face", b"lockdown", b"gallery_loaded", MODEL.encode(),
                one.boot.encode(), one.journal.journal.journal_id.encode(), b"run-1", b"open-door", b"hub_silent",
                world.hub.keys.of_stream("group/staff").key_id.encode(), world.hub.keys.identity().opener.public,
                *(head.digest for head in heads), *(person_id.encode() for person_id in ids(1, 20)),
                *(bytes.fromhex(person_id) for person_id in ids(1, 20))]
    assert not [canary for canary in canaries if canary in passed]


def test_a_hub_whose_clock_was_decades_ahead_is_followed_when_it_is_put_right(world, pair):
    one, _ = pair
    world.clock.step_wall(30 * 366 * 86400.0)
    for _ in range(3):
        world.round(61.0)
    world.clock.step_wall(-30 * 366 * 86400.0)
    world.enrol(1, 100)
    world.settle(5)
    for _ in range(8):
        world.round(61.0)
    assert not one.agent.faults()
    world.hub.keys.rotate("group/staff")  # a new key bears a later number than any before, whatever the clock says
    world.enrol(1, 200)
    world.settle(5)


def test_a_conversation_that_the_broker_kept_does_not_bring_anybody_back_to_a_blank_terminal(world, pair):
    one, _ = pair
    kept = [(topic, data) for topic, data in world.seen if "/pages" in topic and ("t1" in topic or "group" in topic)]
    assert len(kept) > 4
    world.hub.people.remove(ids(1, 5))
    world.settle()
    world.hub.ledger.new_epoch()
    world.settle()
    one.stop()
    for path in one.where.gallery_db.parent.glob("gallery.db*"):
        path.unlink()
    one.start()
    world.mischief = lambda topic, data: [] if "/pages" in topic else [(topic, data)]
    world.round()
    one.net.bring(*kept)
    for _ in range(3):
        world.round()
    assert one.admitted() == set()
    world.mischief = None
    world.settle(90)
    assert one.admitted() == ids(6, 15)


def test_a_hub_and_a_terminal_both_set_back_become_equal_and_no_event_is_lost_that_anybody_has(world, pair):
    one, two = pair
    world.backup_hub("old.db")
    one.stop()
    shutil.copytree(one.where.root, world.folder / "old")
    one.start()
    world.enrol(2, 100)
    world.hub.people.remove(ids(1))
    one.happens(7)
    two.happens(2)
    world.settle(10)
    world.restore_hub("old.db")
    one.stop()
    shutil.rmtree(one.where.root)
    shutil.copytree(world.folder / "old", one.where.root)
    one.start()
    world.count_losses()
    one.happens(2)
    world.settle(120)
    assert one.admitted() == two.admitted() == ids(2, 19)


def test_who_leaves_a_group_is_no_longer_reported_with_it_nor_told_of_it(world, pair):
    one, _ = pair
    world.hub.fleet.set_groups("t1", ["lab"])
    world.settle()
    rounds(world, 10)
    assert one.agent.streams.names() == ("group/lab", "terminal/t1")
    assert not any("/staff/" in topic for topic in one.net.topics)
    for _ in range(12):
        world.round(31.0)
    assert not one.agent.faults()
    assert {standing.stream for standing in world.hub.fleet.get("t1").standings} == {"group/lab", "terminal/t1"}


def test_a_command_twice_late_after_a_restart_and_to_another_boot_is_handed_over_once_or_not(world, pair):
    one, two = pair
    captured = []
    world.mischief = lambda topic, data: (captured.append((topic, data)) if "/command" in topic else None) or [
        (topic, data)]
    command = world.hub.orders.command("t1", "release", 3.0)
    world.round()
    assert len(captured) == 1
    one.net.bring(*captured * 3)
    one.step()
    assert one.released == {command: 1}
    two.net.bring(*captured, *((topic.replace("t1", "t2"), data) for topic, data in captured))
    two.step()
    assert not two.released and not two.agent.handover.inbox()
    one.restart()
    one.net.bring(*captured)
    one.step()
    assert one.released == {command: 1}
    assert world.hub.orders.get(command).sent is not None
    world.restart_hub()
    world.mischief = lambda topic, data: (captured.append((topic, data)) if "/command" in topic else None) or []
    world.round()
    assert len(captured) == 1  # never sent again


def test_a_full_disk_at_the_terminal_is_said_and_made_up_for_when_there_is_room(world, pair):
    one, two = pair
    most = one.writer._db.execute("PRAGMA max_page_count").fetchone()[0]
    pages = one.writer._db.execute("PRAGMA page_count").fetchone()[0]
    one.writer._db.execute(f"PRAGMA max_page_count = {pages}")
    put_people(world.hub, 500, 1000)
    for _ in range(10):
        world.round()
    assert "store_failed" in one.agent.faults()
    assert one.admitted() == ids(1, 20)
    one.writer._db.execute(f"PRAGMA max_page_count = {most}")
    world.settle(60)
    assert one.admitted() == two.admitted()


def rounds(world, count=5):
    """Let the last reports and receipts arrive."""
    for _ in range(count):
        world.round()


def reseal(topic, data, real, signer):
    from device.store.trust import open_envelope, signed_bytes
    from sync.wire.codec import _encoder

    envelope = open_envelope(data)
    import msgspec

    fresh = msgspec.structs.replace(envelope, signature=signer.sign(signed_bytes(topic, envelope.payload)),
                                    signer=real.key_id)
    return topic, _encoder.encode(fresh)
