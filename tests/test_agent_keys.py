"""The hub's keys are replaced: door-syncd and doord follow the announcements, each for itself, in order."""

from __future__ import annotations

import secrets

import pytest
from agent_hub import SITE, STREAM, TERMINAL, SmallHub, a_bench, people
from store_samples import BOOT, KEY

from device.clock import ClockQuality
from device.orders_desk import OrdersDesk, Trust, keys_followed
from device.store.handover import HandoverReader
from device.store.trust import MessageRefused, Opener, key_id_of
from device.store.trust_chain import HubKeys, TrustChain
from sync.wire import topics
from sync.wire.announce import announce, handed
from sync.wire.sign import Signer

ONE, TWO, THREE, STRANGER = (Signer(bytes([number]) * 32) for number in range(1, 5))
SEALING = [Opener(bytes([number]) * 32) for number in range(5, 8)]


def told(number, by, *signing, sealing=0):
    return announce(HubKeys(number, tuple(one.public for one in signing), SEALING[sealing].public), by)


ROTATED = told(1, ONE, ONE, TWO, sealing=1)
RETIRED = told(2, TWO, TWO, sealing=1)
AGAIN = told(3, TWO, TWO, THREE, sealing=2)
OVER = told(4, THREE, THREE, sealing=2)


def chain(*signing, least=0):
    return TrustChain([one.public for one in signing or (ONE,)], SEALING[0].public, least)


# --- the chain -------------------------------------------------------------------------------------------------


def test_whoever_was_away_for_two_rotations_follows_them_in_order():
    followed = chain()
    assert [followed.follow(data) for data in (ROTATED, RETIRED, AGAIN, OVER)] == [True] * 4
    assert followed.key_ids == (THREE.key_id, key_id_of(SEALING[2].public))
    assert followed.number == 4


def test_while_both_keys_are_valid_both_are_believed():
    followed = chain()
    followed.follow(ROTATED)
    assert followed.verifier.key_ids == (ONE.key_id, TWO.key_id)
    assert followed.sealing == SEALING[1].public


def test_none_may_be_left_out():
    followed = chain()
    for data in (RETIRED, AGAIN, OVER):
        with pytest.raises(MessageRefused, match="the signature does not hold"):
            followed.follow(data)
    assert followed.verifier.key_ids == (ONE.key_id,)


def test_an_earlier_announcement_does_not_bring_an_old_key_back():
    followed = chain()
    for data in (ROTATED, RETIRED):
        followed.follow(data)
    with pytest.raises(MessageRefused):
        followed.follow(ROTATED)
    assert not followed.follow(RETIRED)
    assert followed.verifier.key_ids == (TWO.key_id,)
    both = chain()
    both.follow(told(5, ONE, ONE, TWO))
    assert not both.follow(told(4, TWO, TWO))
    assert both.verifier.key_ids == (ONE.key_id, TWO.key_id)


def test_a_key_that_is_over_announces_nothing():
    followed = chain()
    for data in (ROTATED, RETIRED):
        followed.follow(data)
    with pytest.raises(MessageRefused):
        followed.follow(told(9, ONE, STRANGER))


@pytest.mark.parametrize("data", [b"", b"\xc1", b"x" * 5000, told(1, STRANGER, STRANGER)])
def test_what_is_no_announcement_of_ours_is_refused_and_changes_nothing(data):
    followed = chain()
    with pytest.raises(MessageRefused):
        followed.follow(data)
    assert followed.number == 0 and followed.verifier.key_ids == (ONE.key_id,)


def test_a_chain_that_lost_what_it_followed_trusts_nothing_until_it_has_come_so_far_again():
    followed = chain(least=2)
    assert followed.verifier.key_ids == ()
    followed.follow(ROTATED)
    assert followed.verifier.key_ids == ()
    followed.follow(RETIRED)
    assert followed.verifier.key_ids == (TWO.key_id,)


# --- door-syncd ------------------------------------------------------------------------------------------------


@pytest.fixture
def bench(tmp_path):
    bench = a_bench(tmp_path / "state")
    people(bench.hub.staff, 3)
    bench.talk()
    yield bench
    bench.close()


def rotate(hub: SmallHub) -> tuple[Signer, tuple[str, bytes]]:
    """A new key, and what is handed to the terminal; the old one goes on signing."""
    fresh = Signer.new()
    return fresh, hub.announce(hub.signer, fresh, by=hub.signer, sealing=Opener.new())


def test_the_agent_follows_names_the_new_keys_and_seals_to_the_new_one(bench):
    fresh, word = rotate(bench.hub)
    bench.bring(word)
    bench.talk()
    assert set(bench.hub.reports[-1].hub_keys) == {bench.hub.signer.key_id, fresh.key_id,
                                                   key_id_of(bench.hub.opener.public)}
    people(bench.hub.staff, 1, 50)
    old = bench.hub.delta(6, is_own=False)
    bench.hub.signer = fresh
    bench.bring(bench.hub.delta(6, is_own=False))
    assert bench.is_equal()
    before = bench.agent.counts["refused"]
    bench.bring(old)
    assert bench.agent.counts["refused"] == before


def test_the_old_key_is_refused_once_it_is_over(bench):
    fresh, word = rotate(bench.hub)
    bench.bring(word)
    over = bench.hub.announce(fresh, by=fresh)
    bench.bring(over)
    people(bench.hub.staff, 1, 50)
    refused = bench.agent.counts["refused"]
    bench.bring(bench.hub.delta(6, is_own=False))
    assert bench.agent.counts["refused"] == refused + 1
    assert bench.held(STREAM)[1] == 6
    bench.hub.signer = fresh
    bench.talk()
    assert bench.is_equal()


def test_the_agent_that_was_away_for_two_rotations_takes_all_at_once_and_keeps_them_over_a_restart(bench):
    first, _ = rotate(bench.hub)
    bench.hub.announce(first, by=first)
    bench.hub.signer = first
    second, _ = rotate(bench.hub)
    word = bench.hub.announce(second, by=second)
    bench.hub.signer = second
    people(bench.hub.staff, 1, 50)
    bench.talk()
    assert not bench.is_equal()
    bench.bring(word)
    bench.talk()
    assert bench.is_equal()
    again = bench.restarted()
    assert again.agent.announced.chain.verifier.key_ids == (second.key_id,)
    assert len(HandoverReader(again.agent.writer).announcements()) == 4


@pytest.mark.parametrize("harm", ["forged", "another's", "cut", "garbage"])
def test_announcements_that_are_not_the_hubs_or_not_for_us_change_nothing(bench, harm):
    fresh, (topic, data) = rotate(bench.hub)
    harmed = {
        "forged": bench.hub.handed(announce(HubKeys(1, (STRANGER.public,), STRANGER.public), STRANGER))[1],
        "another's": announce(HubKeys(1, (fresh.public,), fresh.public), fresh), "cut": data[:-1], "garbage": b"",
    }[harm]
    bench.bring((topic, harmed))
    assert bench.agent.announced.chain.verifier.key_ids == (bench.hub.signer.key_id,)
    assert fresh.key_id not in bench.agent.announced.chain.key_ids


def test_announcements_that_come_with_a_renewal_are_followed(bench):
    fresh, (topic, data) = rotate(bench.hub)
    bench.agent.announcements.put(handed(data, topic, bench.hub.terminal_opener))
    bench.hub.clock.advance(2)
    bench.work()
    assert fresh.key_id in bench.agent.announced.chain.key_ids


def test_nothing_of_an_announcement_can_be_read_on_its_way(bench):
    fresh, (topic, data) = rotate(bench.hub)
    assert topic == topics.KEYS.of(SITE, TERMINAL)
    assert fresh.public not in data and bench.hub.signer.public not in data
    assert bench.hub.signer.key_id.encode() not in data


# --- doord -----------------------------------------------------------------------------------------------------


class Door:
    """doord's desk beside the agent's gallery."""

    def __init__(self, bench) -> None:
        self.bench, self.handled = bench, []
        self.open()

    def open(self) -> None:
        link = self.bench.hub.link(self.bench.where.root) if not hasattr(self, "link") else self.link
        self.link = link
        past = self.bench.journal.last(5000)
        trust = Trust(link, TrustChain(link.hub_signing, link.hub_sealing, keys_followed(past)),
                      self.bench.hub.terminal_opener)
        self.desk = OrdersDesk(self.bench.where.gallery_db, KEY, trust, BOOT, self.bench.hub.clock,
                               self.handled.append, self.bench.journal.append, lambda: ClockQuality.SYNCED, past)
        self.desk.turn()

    def restart(self) -> None:
        self.desk.close()
        self.open()

    def obeys(self, signer: Signer) -> bool:
        """Whether doord obeys a command under this key, whoever put it into the inbox."""
        before, command_id = len(self.handled), secrets.token_hex(16)
        command = self.bench.hub.command("release", BOOT, command_id=command_id, signer=signer)
        assert self.bench.agent.handover.put_command(command_id, command[1])
        self.desk.turn()
        return len(self.handled) > before


@pytest.fixture
def door(bench):
    door = Door(bench)
    yield door
    door.desk.close()


def test_doord_follows_for_itself_and_obeys_the_new_key_and_no_longer_the_old(door):
    hub, old = door.bench.hub, door.bench.hub.signer
    fresh, word = rotate(hub)
    assert door.obeys(old) and not door.obeys(fresh)
    door.bench.bring(word)
    assert door.obeys(old) and door.obeys(fresh)
    door.bench.bring(hub.announce(fresh, by=fresh))
    assert door.obeys(fresh) and not door.obeys(old)


def test_doord_takes_no_word_of_door_syncd_for_it(door):
    door.bench.agent.handover.put_announcement(1, told(1, STRANGER, STRANGER))
    assert not door.obeys(STRANGER)
    assert door.obeys(door.bench.hub.signer)


def test_a_gallery_that_was_lost_does_not_bring_an_old_key_back_to_doord(door):
    hub, old = door.bench.hub, door.bench.hub.signer
    fresh, word = rotate(hub)
    door.bench.bring(word, hub.announce(fresh, by=fresh))
    door.desk.turn()
    door.bench.agent.writer._db.execute("DELETE FROM signs")
    door.restart()
    assert not door.obeys(old)
    door.bench.bring(hub.handed(*hub.announcements))
    for number, data in enumerate(hub.announcements, 1):
        door.bench.agent.handover.put_announcement(number, data)
    assert door.obeys(fresh) and not door.obeys(old)


def test_a_key_that_was_followed_is_noted_once_and_over_a_restart(door):
    fresh, word = rotate(door.bench.hub)
    door.bench.bring(word)
    for _ in range(3):
        door.restart()
    noted = [dict(one.detail) for one in door.bench.journal.last(100) if one.reason == "config_changed"]
    assert [(one["hub_keys"], fresh.key_id in one["names"]) for one in noted] == [(1, True)]
