"""The intake of an offered release: in any order, over restarts, bounded, and handed to the real updater."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import pytest
from update_samples import Bench, tiny_bundle

from device.update import parcel as parcels
from device.update.outcome import Outcome, Result, write_outcome
from device.update.parcel import Plan, plan_of
from sync.agent import intake as intakes
from sync.agent.intake import AGAIN_S, AT_ONCE, INBOX, LONGEST_AGAIN_S, PAUSE_S, Intake
from sync.agent.offered import Offered, read_offered, write_offered
from sync.wire.releases import Chunk, ChunkRequest, Offer, Update

CHUNK = 4096


class Desk:
    """A terminal with release 1.0.0 and its intake, and the hub's hand."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(folder)
        self.layout, self.clock = self.bench.layout, self.bench.clock
        self.number = 0
        self.start()

    def start(self) -> None:
        """door-syncd starts; of the one before it only files are left."""
        self.intake = Intake(self.layout, self.clock, "t1", spare_bytes=0)
        self.intake.step()

    def offer(self, bundle: Path, rollout: str = "r1", release: str = "1.2.0", **changes) -> Offer:
        plan = plan_of(bundle, CHUNK)
        self.number += 1
        told = {"terminal_id": "t1", "rollout_id": rollout, "number": self.number, "release": release,
                "name": bundle.name, "size": plan.size, "sha256": bytes.fromhex(plan.sha256), "chunk_bytes": CHUNK,
                "chunks": bytes.fromhex("".join(plan.chunks)), **changes}
        offer = Offer(**told)
        self.give(offer)
        return offer

    def give(self, *messages) -> None:
        for message in messages:
            self.intake.take(message)
            self.intake.step()

    def request(self) -> ChunkRequest | None:
        """What it asks for after a pause."""
        self.clock.advance(PAUSE_S)
        self.intake.step()
        return self.intake.requests.take(0.0)

    def fetch(self, bundle: Path, rounds: int = 1000) -> None:
        """Answer its requests until it has none."""
        for _ in range(rounds):
            request = self.request()
            if request is None:
                return
            self.give(*(chunk_of(bundle, index) for index in request.indexes))

    @property
    def update(self) -> Update:
        assert self.intake.update is not None
        return self.intake.update

    def look(self) -> Update:
        self.clock.advance(2)
        self.intake.step()
        return self.update

    def spool(self) -> set[str]:
        return {path.name for path in self.layout.spool.iterdir()}


def chunk_of(bundle: Path, index: int, **changes) -> Chunk:
    data = bundle.read_bytes()
    plan = plan_of(bundle, CHUNK)
    told = {"terminal_id": "t1", "sha256": bytes.fromhex(plan.sha256), "index": index,
            "data": data[index * CHUNK:(index + 1) * CHUNK], **changes}
    return Chunk(**told)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "terminal")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path, "1.2.0", padding=80_000)


def test_a_release_is_fetched_installed_and_applied(desk: Desk, bundle: Path) -> None:
    desk.offer(bundle)
    total = len(plan_of(bundle, CHUNK).chunks)
    assert total > 20
    assert (desk.update.state, desk.update.done, desk.update.total) == ("downloading", 0, total)
    desk.fetch(bundle, 2)
    assert desk.update.done == 2 * AT_ONCE
    desk.fetch(bundle)
    assert desk.update.state == "waiting"
    assert desk.spool() == {"incoming.bundle", "offered.json"}
    assert desk.layout.incoming.read_bytes() == bundle.read_bytes()
    desk.bench.updater().update(desk.layout.incoming, is_incoming=True)
    assert desk.look().state == "trying"
    desk.start()
    assert (desk.intake.release is not None) and str(desk.intake.release.version) == "1.2.0"
    assert desk.update.state == "trying"
    assert desk.bench.updater().judge() is Result.UPDATED
    assert desk.look().state == "applied"
    desk.start()
    assert (desk.update.state, desk.update.rollout_id) == ("applied", "r1")
    assert desk.spool() == {"offered.json"}


def test_a_release_that_is_gone_back_from_has_failed_and_says_why(desk: Desk, bundle: Path) -> None:
    desk.offer(bundle)
    desk.fetch(bundle)
    desk.bench.updater().update(desk.layout.incoming, is_incoming=True)
    desk.bench.health = lambda age_s: {"relay_alive": False}
    assert desk.bench.updater().judge() is Result.ROLLED_BACK
    desk.start()
    assert desk.look().state == "failed"
    assert desk.update.why == "rolled back: it is not well: relay_lost"


def test_a_bundle_that_the_updater_refuses_has_failed_and_says_why(desk: Desk, tmp_path: Path) -> None:
    foreign = tiny_bundle(tmp_path, "1.2.0", arch="aarch64" if desk.intake.machine.arch != "aarch64" else "x86_64")
    desk.offer(foreign)
    desk.fetch(foreign)
    desk.bench.refusal(desk.layout.incoming, is_incoming=True)
    assert desk.look().state == "waiting"  # the updater is not through with it as long as it lies there
    desk.layout.incoming.unlink()
    assert desk.look().state == "failed"
    assert desk.update.why.startswith("refused: the bundle is for ")


def test_killed_at_any_moment_it_goes_on_with_what_is_missing(desk: Desk, bundle: Path) -> None:
    chance = random.Random(1)
    desk.offer(bundle)
    had = 0
    while desk.update.state == "downloading":
        desk.start()  # nothing was closed or said
        assert desk.update.done >= had
        had = desk.update.done
        desk.fetch(bundle, chance.randint(1, 2))
    assert desk.update.state == "waiting"
    assert desk.layout.incoming.read_bytes() == bundle.read_bytes()


def test_killed_between_the_note_and_the_bundle_it_hands_over_again(desk: Desk, bundle: Path) -> None:
    desk.offer(bundle)
    total = desk.update.total
    for index in range(total - 1):
        desk.give(chunk_of(bundle, index))
    write_offered(desk.layout.spool, dataclasses.replace(read_offered(desk.layout.spool), state="waiting"))
    desk.start()
    assert (desk.update.state, desk.update.done) == ("downloading", total - 1)
    desk.give(chunk_of(bundle, total - 1))
    assert desk.update.state == "waiting"


def test_chunks_doubled_reordered_foreign_and_corrupted_change_nothing(desk: Desk, bundle: Path,
                                                                       tmp_path: Path) -> None:
    desk.offer(bundle)
    total = desk.update.total
    good = chunk_of(bundle, 3)
    flipped = bytes([good.data[0] ^ 1]) + good.data[1:]
    for bad in (chunk_of(bundle, 3, data=flipped), chunk_of(bundle, 3, data=good.data[:-1]), chunk_of(bundle, total),
                chunk_of(bundle, 2**40), chunk_of(bundle, 3, sha256=bytes(32)), chunk_of(bundle, 4, data=good.data)):
        desk.give(bad)
    assert desk.update.done == 0
    assert desk.intake.counts["chunks dropped"] == 6
    order = list(range(total)) * 2
    random.Random(2).shuffle(order)
    for index in order:
        desk.give(chunk_of(bundle, index))
    assert desk.update.state == "waiting"
    assert desk.intake.counts["chunks dropped"] == 6 + total
    assert desk.layout.incoming.read_bytes() == bundle.read_bytes()


def test_what_does_not_come_is_asked_for_again_ever_more_rarely(desk: Desk, bundle: Path) -> None:
    desk.offer(bundle)
    first = desk.request()
    waited = []
    for _ in range(6):
        since = desk.clock.mono()
        while desk.request() is None:
            pass
        waited.append(round(desk.clock.mono() - since))
    assert first is not None and first.indexes == tuple(range(AT_ONCE))
    assert [round(one, -1) for one in waited[:3]] == [10, 2 * AGAIN_S, 4 * AGAIN_S]
    assert waited[-1] == LONGEST_AGAIN_S
    desk.intake.hurry()
    assert desk.request() is not None


def test_no_more_is_kept_in_memory_than_the_queue_holds(desk: Desk, bundle: Path) -> None:
    desk.offer(bundle)
    for index in range(INBOX + 3):
        desk.intake.take(chunk_of(bundle, index))
    assert desk.intake.counts["chunks put off"] == 3
    while desk.intake.step():
        pass
    assert desk.update.done == INBOX


def test_an_older_release_is_refused_before_a_byte_of_it_is_fetched(desk: Desk, tmp_path: Path) -> None:
    old = tiny_bundle(tmp_path, "0.9.0")
    desk.offer(old, release="0.9.0")
    assert (desk.update.state, desk.update.why) == ("failed", "release 0.9.0 is older than 1.0.0, which runs")
    assert desk.request() is None


def test_the_release_that_runs_is_applied_at_once(desk: Desk, tmp_path: Path) -> None:
    desk.offer(tiny_bundle(tmp_path, "1.0.0"), release="1.0.0")
    assert desk.update.state == "applied"
    assert desk.request() is None


@pytest.mark.parametrize("changes", [{"size": 3_000_000_000}, {"chunk_bytes": 1}, {"chunks": b"x" * 31},
                                     {"sha256": b""}, {"release": "newest"}])
def test_an_offer_that_cannot_be_has_failed_in_one_line(desk: Desk, bundle: Path, changes: dict[str, object]) -> None:
    desk.offer(bundle, **changes)
    assert desk.update.state == "failed"
    assert desk.update.why and "\n" not in desk.update.why
    assert desk.spool() == {"offered.json"}


def test_without_room_for_it_and_some_to_spare_nothing_is_begun(
        desk: Desk, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intakes, "free_bytes", lambda path: bundle.stat().st_size + 999)
    desk.intake._spare = 1000
    desk.offer(bundle)
    assert desk.update.state == "failed" and desk.update.why.startswith("no room for a bundle of ")
    assert desk.spool() == {"offered.json"}


def test_an_older_offer_played_again_changes_nothing(desk: Desk, bundle: Path, tmp_path: Path) -> None:
    before = desk.offer(tiny_bundle(tmp_path, "1.1.0"), rollout="r0", release="1.1.0")
    desk.offer(bundle)
    desk.fetch(bundle, 1)
    desk.give(before)
    desk.start()
    desk.give(before)
    assert (desk.update.rollout_id, desk.update.done) == ("r1", AT_ONCE)
    assert desk.intake.counts["offers passed over"] == 1


def test_another_release_takes_the_place_of_one_that_is_under_way(desk: Desk, bundle: Path, tmp_path: Path) -> None:
    desk.offer(bundle)
    desk.fetch(bundle, 1)
    newer = tiny_bundle(tmp_path, "1.3.0")
    desk.offer(newer, rollout="r2", release="1.3.0")
    assert (desk.update.rollout_id, desk.update.done) == ("r2", 0)
    desk.fetch(newer)
    assert desk.layout.incoming.read_bytes() == newer.read_bytes()


def test_while_the_updater_has_a_bundle_no_other_is_begun(desk: Desk, bundle: Path, tmp_path: Path) -> None:
    desk.offer(bundle)
    desk.fetch(bundle)
    newer = tiny_bundle(tmp_path, "1.3.0")
    desk.offer(newer, rollout="r2", release="1.3.0")
    assert (desk.update.rollout_id, desk.update.state) == ("r1", "waiting")
    desk.bench.updater().update(desk.layout.incoming, is_incoming=True)
    desk.bench.updater().judge()
    desk.start()
    assert desk.look().state == "applied"
    desk.offer(newer, rollout="r2", release="1.3.0")
    assert (desk.update.rollout_id, desk.update.state) == ("r2", "downloading")


def test_what_is_offered_no_longer_is_dropped(desk: Desk, bundle: Path) -> None:
    offer = desk.offer(bundle)
    desk.fetch(bundle, 1)
    desk.offer(bundle, rollout="another", size=0)
    assert desk.update.state == "downloading"
    desk.offer(bundle, size=0)
    assert desk.intake.update is None
    assert desk.spool() == {"offered.json"}
    assert desk.request() is None
    desk.give(offer)  # the withdrawal came after it
    assert desk.intake.update is None
    desk.offer(bundle)
    assert desk.update.state == "downloading"


def test_a_whole_that_is_not_what_its_offer_says_has_failed(desk: Desk, bundle: Path) -> None:
    offer = desk.offer(bundle, sha256=bytes(32))
    while (request := desk.request()) is not None:
        desk.give(*(chunk_of(bundle, index, sha256=offer.sha256) for index in request.indexes))
    assert desk.update.state == "failed"
    assert desk.spool() == {"offered.json"}


def test_a_parcel_whose_plan_was_lost_is_offered_again(desk: Desk, bundle: Path) -> None:
    desk.offer(bundle)
    (desk.layout.spool / "incoming.json").unlink()
    desk.start()
    assert desk.intake.update is None
    desk.offer(bundle)
    assert desk.update.state == "downloading"


def test_a_bundle_that_vanished_without_an_outcome_has_failed(desk: Desk, bundle: Path) -> None:
    write_outcome(desk.layout.outcome, Outcome(desk.clock.now(), Result.UPDATED, "1.2.0", "1.2.0"))  # of long ago
    desk.offer(bundle)
    desk.fetch(bundle)
    desk.layout.incoming.unlink()
    assert desk.look().state == "failed"


def test_a_card_that_fails_ends_it_in_one_line(desk: Desk, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.offer(bundle)

    def broken(path: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(parcels.os, "fsync", broken)
    desk.give(*(chunk_of(bundle, index) for index in desk.request().indexes))  # type: ignore[union-attr]
    assert desk.update.state == "failed"
    assert "cannot be read or written" in desk.update.why


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 2}', '{"version": 1, "number": "x"}', "\x00" * 40])
def test_a_file_that_is_damaged_offers_nothing(desk: Desk, text: str) -> None:
    (desk.layout.spool / "offered.json").write_text(text)
    assert read_offered(desk.layout.spool) == Offered()
    desk.start()
    assert desk.intake.update is None


def test_where_no_release_is_installed_an_offer_fails(desk: Desk, bundle: Path) -> None:
    desk.layout.current.unlink()
    desk.start()
    desk.offer(bundle)
    assert desk.update.why == "no release is installed here that could be updated"


def test_a_plan_with_the_most_chunks_fits_an_offer() -> None:
    most = Plan(parcels.MAX_BYTES, 262_144, "0" * 64, ())
    assert -(-most.size // most.chunk_bytes) * 32 < 1_000_000
