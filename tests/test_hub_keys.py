"""The hub's own keys: replaced without a terminal being lost, whoever is away, and whatever is restored."""

from __future__ import annotations

import argparse
import shutil

import pytest
from hub_samples import open_hub
from sync_world import World

from device.clock import HandClock
from device.errors import StoreError
from device.store.trust import key_id_of
from device.store.trust_chain import TrustChain
from sync.hub.commands import keys as command
from sync.hub.errors import InTheWay
from sync.hub.numbers import AHEAD, Numbers


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def hub(tmp_path, tmp_path_factory, clock):
    made = open_hub(tmp_path / "hub", tmp_path_factory, clock)
    yield made
    made.close()


@pytest.fixture
def world(tmp_path, tmp_path_factory):
    world = World(tmp_path, tmp_path_factory)
    world.enrol(5)
    world.add_door("t1")
    world.add_door("t2")
    world.settle()
    yield world
    world.close()


def run(hub_root, *words):
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", type=type(hub_root))
    command.add_parser(parser.add_subparsers())
    options = parser.parse_args(["--state", str(hub_root), "keys", *words])
    return options.run(options)


def minutes(world, count=2):
    for _ in range(2 * count):
        world.round(31.0)


# --- at the hub --------------------------------------------------------------------------------------------------


def test_new_keys_are_announced_and_the_old_one_goes_on_signing(hub):
    identity = hub.keys.identity()
    old, old_sealing = identity.signer.public, identity.opener.public
    standing = hub.keys.own.rotate()
    assert identity.signer.public == old
    assert identity.opener.public != old_sealing
    assert identity.trusted[0] == old and len(identity.trusted) == 2
    assert standing.signing == tuple(map(key_id_of, identity.trusted))
    chain = TrustChain([old], old_sealing)
    for data in hub.keys.own.announcements(()):
        assert chain.follow(data)
    assert chain.sealing == identity.opener.public
    assert hub.keys.own.announcements(chain.key_ids) == ()


def test_the_new_key_signs_once_the_old_one_is_over(hub):
    identity = hub.keys.identity()
    old, sealing = identity.signer.public, identity.opener.public
    hub.keys.own.rotate()
    _, new = identity.trusted
    hub.keys.own.retire()
    assert identity.signer.public == new and identity.trusted == (new,)
    chain = TrustChain([old], sealing)
    assert [chain.follow(data) for data in hub.keys.own.announcements(chain.key_ids)] == [True, True]
    assert chain.verifier.key_ids == (key_id_of(new),)


def test_what_was_sealed_to_a_key_that_is_over_is_opened(hub):
    from sync.wire.seal import seal_to

    identity = hub.keys.identity()
    before = seal_to(identity.opener.public, b"report", b"place")
    for _ in range(2):
        hub.keys.own.rotate()
        hub.keys.own.retire()
    assert identity.opener.open(before, b"place") == b"report"
    assert identity.opener.open(seal_to(identity.opener.public, b"new", b"place"), b"place") == b"new"


def test_two_replacements_do_not_run_at_once_and_nothing_is_retired_that_is_not_replaced(hub):
    with pytest.raises(InTheWay, match="nothing to retire"):
        hub.keys.own.retire()
    hub.keys.own.rotate()
    with pytest.raises(InTheWay, match="being replaced already"):
        hub.keys.own.rotate()


def test_keys_outlive_a_restart_and_another_process_is_followed(tmp_path, tmp_path_factory, hub, clock, capsys):
    identity = hub.keys.identity()
    assert run(hub.where.root, "rotate") == 0
    assert "mirror the keys folder" in capsys.readouterr().out
    assert hub.keys.own.refresh() and not hub.keys.own.refresh()
    assert len(identity.trusted) == 2
    assert run(hub.where.root, "retire") == 0
    assert hub.keys.own.refresh()
    hub.close()
    again = open_hub(tmp_path / "hub", tmp_path_factory, clock)
    assert again.keys.identity().signer.public == identity.signer.public
    assert run(hub.where.root, "list", "--json") == 0
    assert key_id_of(identity.signer.public) in capsys.readouterr().out
    again.close()


def test_a_backup_from_before_does_not_bring_old_keys_back(tmp_path, tmp_path_factory, hub, clock):
    backup = tmp_path / "backup.db"
    hub.keys.identity()
    hub.storage.copy_to(backup)
    hub.keys.own.rotate()
    hub.keys.own.retire()
    present = hub.keys.identity().signer.public
    hub.close()
    for path in hub.where.database.parent.glob("hub.db*"):
        if not path.name.endswith(".lock"):
            path.unlink()
    shutil.copy(backup, hub.where.database)
    again = open_hub(tmp_path / "hub", tmp_path_factory, clock)
    assert again.keys.identity().signer.public == present
    assert len(again.keys.own.announcements(())) == 2
    again.close()


def test_keys_that_cannot_be_read_are_not_made_anew(tmp_path, tmp_path_factory, hub, clock):
    hub.keys.own.rotate()
    hub.close()
    beside = hub.where.vault.parent / "hub-keys"
    beside.write_bytes(beside.read_bytes()[:-1])
    again = open_hub(tmp_path / "hub", tmp_path_factory, clock)
    with pytest.raises(StoreError, match="put the newest copy of the keys folder back"):
        again.keys.identity()
    again.close()


def test_no_private_key_lies_in_the_clear_or_shows(hub):
    identity = hub.keys.identity()
    hub.keys.own.rotate()
    secret = identity.signer.private_bytes()
    assert secret not in b"".join(path.read_bytes() for path in hub.where.root.rglob("*") if path.is_file())
    assert secret.hex() not in repr(identity) and repr(secret) not in repr(hub.keys.own.standing())
    assert secret.hex() not in repr(hub.keys.own._kept) and repr(secret) not in repr(hub.keys.own._kept)
    assert (hub.where.vault.parent / "hub-keys").stat().st_mode & 0o077 == 0


# --- with terminals -----------------------------------------------------------------------------------------------


def test_every_terminal_follows_and_the_old_keys_end_by_themselves(world):
    identity = world.hub.keys.identity()
    old = identity.signer.public
    world.hub.keys.own.rotate()
    minutes(world)
    assert identity.trusted != (old,) and len(identity.trusted) == 1
    minutes(world)
    for door in world.doors.values():
        assert door.agent.announced.chain.verifier.key_ids == (identity.signer.key_id,)
        assert door.agent.announced.chain.sealing == identity.opener.public
    world.enrol(2, 100)
    world.settle()


def test_both_keys_are_valid_until_the_last_terminal_has_come(world):
    identity = world.hub.keys.identity()
    away = world.doors["t2"]
    world.cut(away)
    world.hub.keys.own.rotate()
    minutes(world, 5)
    assert len(identity.trusted) == 2
    assert world.hub.keys.own.standing().waiting == ("t2",)
    with pytest.raises(InTheWay, match="1 terminals have not reported the new keys: t2"):
        world.hub.keys.own.retire()
    world.enrol(2, 100)
    world.settle()
    world.mend(away)
    minutes(world, 4)
    assert len(identity.trusted) == 1
    world.settle(60)


def test_a_terminal_that_is_revoked_is_not_waited_for(world):
    world.cut(world.doors["t2"])
    world.hub.keys.own.rotate()
    minutes(world)
    world.claims.revoke("t2")
    minutes(world)
    assert len(world.hub.keys.identity().trusted) == 1
    del world.doors["t2"]


def test_a_terminal_that_was_away_for_two_rotations_comes_back_and_its_events_with_it(world):
    away = world.doors["t2"]
    world.cut(away)
    for first in (100, 200):
        world.hub.keys.own.rotate()
        minutes(world)
        world.hub.keys.own.retire(is_forced=True)
        minutes(world)
        world.enrol(2, first)
        away.happens(3)
    world.mend(away)
    minutes(world)
    world.settle()
    assert away.admitted() == world.doors["t1"].admitted()
    assert away.agent.announced.chain.number == 4
    away.restart()
    world.enrol(1, 300)
    world.settle(60)


def test_a_terminal_that_is_claimed_while_keys_are_replaced_knows_both(world):
    world.cut(world.doors["t2"])
    world.hub.keys.own.rotate()
    world.round()
    fresh = world.add_door("t3")
    assert len(fresh.link.hub_signing) == 2
    minutes(world)
    world.mend(world.doors["t2"])
    minutes(world, 4)
    assert fresh.agent.announced.chain.verifier.key_ids == (world.hub.keys.identity().signer.key_id,)
    world.settle()


def test_a_state_is_signed_anew_so_that_a_restarted_door_believes_it(world):
    door = world.doors["t1"]
    world.hub.orders.want("t1", "lockdown")
    minutes(world, 1)
    before = door.agent.handover.desired()
    world.hub.keys.own.rotate()
    minutes(world, 4)
    version, data = door.agent.handover.desired()
    assert version == before[0] and data != before[1]
    from device.store.trust import open_signed

    assert open_signed(data, door.link.topic("desired"), door.agent.announced.chain.verifier)


def test_keys_replaced_in_the_middle_of_everything(world):
    """Broker, hub and terminals fall over while two replacements are under way."""
    for first in range(100, 108):
        if first % 4 == 0:
            world.hub.keys.own.rotate()
        world.enrol(1, first)
        world.doors["t1"].happens()
        world.round(20.0)
        (world.lose_broker, world.restart_hub, world.doors["t1"].restart, world.doors["t2"].restart)[first % 4]()
        world.round(20.0)
    minutes(world, 5)
    world.settle(120)
    assert len(world.hub.keys.identity().trusted) == 1
    names = {door.agent.announced.chain.key_ids for door in world.doors.values()}
    assert len(names) == 1


# --- numbers ------------------------------------------------------------------------------------------------------


def test_numbers_rise_over_restarts_and_corrections_of_the_clock(tmp_path, clock):
    path, seen = tmp_path / "numbers", []
    for step_s in (0.0, 10 * 366 * 86400.0, -20 * 366 * 86400.0, 0.0):
        clock.step_wall(step_s)
        numbers = Numbers(path, clock)
        seen += [numbers.next() for _ in range(5)]
    assert seen == sorted(set(seen))


def test_numbers_are_kept_seldom_and_a_file_that_is_no_number_is_passed_over(tmp_path, clock):
    path = tmp_path / "numbers"
    numbers = Numbers(path, clock)
    first = numbers.next()
    kept = path.stat().st_mtime_ns
    assert [numbers.next() for _ in range(1000)] == list(range(first + 1, first + 1001))
    assert path.stat().st_mtime_ns == kept and int(path.read_text()) == first + AHEAD
    for wrong in ("", "x", "9" * 40, "\xff"):
        path.write_text(wrong)
        assert Numbers(path, clock).next() == first
    assert Numbers(tmp_path / "no" / "folder", clock).next() == first
    assert Numbers(None, clock).next() == first
