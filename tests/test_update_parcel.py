"""A bundle in chunks: in any order, over restarts and cuts, and handed over only once it is what its plan says."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from device.update import parcel as parcels
from device.update.bundle import BundleRefused
from device.update.disk import UpdateFailed
from device.update.parcel import Parcel, Plan, parse_plan, plan_of

CHUNK = 4096


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(random.Random(1).randbytes(CHUNK * 20 + 17))
    return path


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    path = tmp_path / "spool"
    path.mkdir()
    return path


def chunk(source: Path, index: int) -> bytes:
    return source.read_bytes()[index * CHUNK:(index + 1) * CHUNK]


def resumed(spool: Path) -> Parcel:
    found = Parcel.resume(spool)
    assert found is not None
    return found


def test_a_bundle_arrives_in_any_order_with_chunks_doubled_and_lost(spool: Path, source: Path) -> None:
    plan, chance = plan_of(source, CHUNK), random.Random(2)
    parcel = Parcel.begin(spool, plan)
    assert parcel.missing == list(range(21))
    assert parcel.plan.length_of(20) == 17
    while parcel.missing:
        index = chance.randrange(21)
        was_missing = index in parcel.missing
        assert parcel.put(index, chunk(source, index)) is was_missing
    assert parcel.finish() == spool / "incoming.bundle"
    assert (spool / "incoming.bundle").read_bytes() == source.read_bytes()
    assert [path.name for path in spool.iterdir()] == ["incoming.bundle"]


def test_after_a_restart_only_what_is_missing_is_asked_for(spool: Path, source: Path) -> None:
    parcel = Parcel.begin(spool, plan_of(source, CHUNK))
    for index in (3, 20, 0):
        parcel.put(index, chunk(source, index))
    assert resumed(spool).missing == [index for index in range(21) if index not in (0, 3, 20)]
    assert resumed(spool).plan == parcel.plan


def test_a_cut_can_lose_chunks_but_never_makes_a_wrong_one_count(spool: Path, source: Path) -> None:
    parcel = Parcel.begin(spool, plan_of(source, CHUNK))
    for index in range(21):
        parcel.put(index, chunk(source, index))
    data = bytearray((spool / "incoming.part").read_bytes())
    data[5 * CHUNK:6 * CHUNK] = bytes(CHUNK)
    data[7 * CHUNK] ^= 1
    (spool / "incoming.part").write_bytes(data[:-20])
    again = resumed(spool)
    assert again.missing == [5, 7, 19, 20]
    with pytest.raises(BundleRefused, match="4 chunks of the update are still missing"):
        again.finish()
    for index in again.missing:
        assert again.put(index, chunk(source, index))
    assert again.finish().read_bytes() == source.read_bytes()


def test_a_wrong_chunk_is_not_taken(spool: Path, source: Path) -> None:
    parcel = Parcel.begin(spool, plan_of(source, CHUNK))
    good = chunk(source, 1)
    for index, data in ((1, good[:-1]), (1, good + b"!"), (1, bytes(CHUNK)), (2, good), (-1, good), (21, good),
                        (20, good)):
        assert not parcel.put(index, data)
    assert parcel.put(1, good)


def test_chunks_that_do_not_make_up_the_whole_are_dropped(spool: Path, source: Path) -> None:
    plan = plan_of(source, CHUNK)
    parcel = Parcel.begin(spool, Plan(plan.size, plan.chunk_bytes, "0" * 64, plan.chunks))
    for index in range(21):
        parcel.put(index, chunk(source, index))
    with pytest.raises(BundleRefused, match="must be sent anew"):
        parcel.finish()
    assert list(spool.iterdir()) == []
    assert Parcel.resume(spool) is None


def test_a_newer_bundle_takes_the_place_of_one_that_is_under_way(spool: Path, source: Path) -> None:
    Parcel.begin(spool, plan_of(source, CHUNK)).put(0, chunk(source, 0))
    source.write_bytes(b"another" * 1000)
    assert Parcel.begin(spool, plan_of(source, CHUNK)).missing == [0, 1]
    assert resumed(spool).missing == [0, 1]


def test_a_card_without_room_for_the_whole_is_one_line_before_the_first_chunk(
        spool: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcels, "free_bytes", lambda path: 1000)
    with pytest.raises(UpdateFailed, match="no room for a bundle of 0 MiB"):
        Parcel.begin(spool, plan_of(source, CHUNK))
    assert list(spool.iterdir()) == []


@pytest.mark.parametrize(("key", "value"), [
    ("version", 2), ("size", 0), ("size", 3_000_000_000), ("size", "100"), ("size", True), ("chunk_bytes", 1),
    ("chunk_bytes", 10**7), ("chunk_bytes", 0), ("sha256", "x"), ("chunks", []), ("chunks", ["0" * 64]),
    ("chunks", [1] * 21), ("chunks", None), ("more", 1), ("size", 10**9)])
def test_a_plan_that_cannot_be_is_refused(spool: Path, source: Path, key: str, value: object) -> None:
    found = json.loads(plan_of(source, CHUNK).to_json()) | {key: value}
    with pytest.raises(BundleRefused, match="plan of an update's chunks cannot be used"):
        parse_plan(json.dumps(found).encode())
    Parcel.begin(spool, plan_of(source, CHUNK))
    (spool / "incoming.json").write_text(json.dumps(found))
    assert Parcel.resume(spool) is None


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"[" * 100_000, b"null"])
def test_what_is_no_plan_is_refused(data: bytes) -> None:
    with pytest.raises(BundleRefused):
        parse_plan(data)
