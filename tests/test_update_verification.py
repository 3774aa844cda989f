"""Trust: what is not signed as it must be, is older, expired, put together or altered is refused before unpacking.

DOOR_MUTANTS sets how many altered bundles are tried.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from fault_figures import Figure
from tuf.api.metadata import Delegations, Metadata, TargetFile
from update_forgery import Mutator, forged, role_name, untouched
from update_samples import OURS, Bench, at, parts_of, rewritten, root, signers, tiny_bundle

from device.clock import HandClock
from device.errors import TerminalError
from device.update.bundle import Bundle, BundleRefused
from device.update.disk import UpdateFailed
from device.update.making.keys import make_key, read_keys
from device.update.making.signing import next_root
from device.update.slots import Slots
from device.update.time_floor import TimeFloor
from device.update.verification import Verified, verify

MUTANTS = int(os.environ.get("DOOR_MUTANTS", "200"))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(os, "sync", lambda: None)  # what becomes durable is for test_update_cuts to show
    return Bench(tmp_path / "terminal")


def verified(bench: Bench, path: Path) -> Verified:
    floor = TimeFloor(bench.layout.floor, Slots(bench.layout).current.built, bench.clock, bench._judge)
    with Bundle.open(path) as bundle:
        return verify(bundle, bench.layout.metadata, bench.layout.bootstrap, floor)


def is_taken(bench: Bench, path: Path) -> bool:
    """Whether it is verified; the terminal forgets it again."""
    verified(bench, path).forget()
    return True


def trusted(bench: Bench, path: Path) -> None:
    """The terminal has taken this bundle before."""
    verified(bench, path).trust()


def refusal(bench: Bench, path: Path) -> str:
    """The one line of it; nothing has changed."""
    before = bench.tree()
    with pytest.raises(BundleRefused) as refused:
        verified(bench, path)
    assert "\n" not in str(refused.value)
    assert bench.tree() == before
    return str(refused.value)


def forgery(path: Path, role: str, change: Callable[[Metadata[Any]], None] = untouched, count: int = 3) -> Path:
    return rewritten(path, forged(parts_of(path), role, change, count))


# --- what is taken -------------------------------------------------------------------------------------------


def test_a_bundle_that_is_signed_as_it_must_be_is_taken_any_number_of_times(bench: Bench, tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path, "1.1.0")
    before = bench.tree()
    found = verified(bench, path)
    assert str(found.manifest.version) == "1.1.0"
    found.forget()
    assert bench.tree() == before
    for _ in range(3):
        trusted(bench, path)
    assert [each.name for each in bench.layout.state.iterdir()].count("metadata") == 1
    assert len(list(bench.layout.state.glob("metadata-*"))) == 1


def test_two_of_three_signatures_are_enough_and_one_is_not(bench: Bench, tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path, "1.1.0")
    assert is_taken(bench, forgery(path, "targets", count=2))
    assert "not signed by those whom this terminal trusts" in refusal(bench, forgery(path, "targets", count=1))
    assert "not signed by those" in refusal(bench, forgery(path, "targets", count=0))


# --- who may not ---------------------------------------------------------------------------------------------


def test_a_bundle_of_other_people_is_refused(bench: Bench, tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path, "1.1.0", keys=signers("theirs"), roots=[root("theirs")])
    assert "not signed by those whom this terminal trusts" in refusal(bench, path)


def test_a_bundle_signed_twice_by_one_person_is_refused(bench: Bench, tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path, "1.1.0")

    def doubled(metadata: Metadata[Any]) -> None:
        first = next(iter(metadata.signed.targets.values()))
        metadata.signed.targets["wheels/evil-1.0-py3-none-any.whl"] = first

    parts = forged(parts_of(path), "targets", doubled, count=1)
    name = role_name(parts, "targets")
    one = Metadata.from_bytes(parts[name])
    signature = next(iter(one.signatures.values()))
    other = [key.signer.public_key.keyid for key in signers(OURS) if key.name.startswith("targets")]
    one.signatures = {key_id: type(signature)(key_id, signature.signature) for key_id in other}
    parts = forged({**parts, name: one.to_bytes()}, "snapshot", untouched, 1)
    assert refusal(bench, rewritten(path, parts))


def test_without_a_root_of_its_own_a_terminal_takes_nothing_and_says_what_it_needs(bench: Bench,
                                                                                    tmp_path: Path) -> None:
    bench.layout.bootstrap.unlink()
    with pytest.raises(UpdateFailed, match=r"put the root\.json of whoever signs updates there"):
        verified(bench, tiny_bundle(tmp_path, "1.1.0"))


# --- what is older or put together ---------------------------------------------------------------------------


def test_an_older_bundle_is_never_taken_after_a_newer_one(bench: Bench, tmp_path: Path) -> None:
    older, newer = tiny_bundle(tmp_path, "1.1.0", at(0)), tiny_bundle(tmp_path, "1.2.0", at(1))
    trusted(bench, newer)
    assert "older than one that this terminal has taken" in refusal(bench, older)


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp"])
def test_parts_of_two_bundles_do_not_make_one(bench: Bench, tmp_path: Path, role: str) -> None:
    older, newer = (parts_of(tiny_bundle(tmp_path, *which)) for which in (("1.1.0", at(0)), ("1.2.0", at(1))))
    mixed = {**newer}
    mixed.pop(role_name(newer, role))
    name = role_name(older, role)
    mixed[name if role == "timestamp" else role_name(newer, role)] = older[name]
    assert refusal(bench, rewritten(tmp_path / "x", mixed))
    wheels = {name: data for name, data in older.items() if name.startswith("wheels/")}
    assert refusal(bench, rewritten(tmp_path / "x", {**newer, **wheels}))


def test_whoever_holds_the_servers_keys_alone_can_neither_go_back_nor_put_together(bench: Bench,
                                                                                    tmp_path: Path) -> None:
    older, newer = (parts_of(tiny_bundle(tmp_path, *which)) for which in (("1.1.0", at(0)), ("1.2.0", at(1))))
    trusted(bench, rewritten(tmp_path / "x", newer))
    version = Metadata.from_bytes(newer["metadata/timestamp.json"]).signed.version

    def later(metadata: Metadata[Any]) -> None:
        metadata.signed.version = version + 5

    parts = forged(older, "snapshot", later, 1)
    parts = {(f"metadata/{version + 5}.snapshot.json" if name.endswith("snapshot.json") else name): data
             for name, data in parts.items()}
    parts = forged(parts, "timestamp", later, 1)
    line = refusal(bench, rewritten(tmp_path / "x", parts))
    assert "older than one that this terminal has taken, or put together of two" in line


# --- what has expired ----------------------------------------------------------------------------------------


def test_a_bundle_on_a_stick_holds_for_90_days_at_least(tmp_path: Path) -> None:
    with pytest.raises(TerminalError, match="90 days at least"):
        tiny_bundle(tmp_path, "1.1.0", days=89)


def test_a_bundle_that_has_expired_is_refused_and_the_line_names_the_clock(bench: Bench, tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path, "1.1.0", days=90)
    bench.clock.step_wall(80 * 86400)
    assert is_taken(bench, path)
    bench.clock.step_wall(20 * 86400)
    line = refusal(bench, path)
    assert "have expired" in line
    assert "the clock says 2026-04-15" in line
    assert "ask for a newer bundle" in line


def test_a_clock_at_1970_neither_takes_an_expired_bundle_nor_refuses_a_good_one(bench: Bench, tmp_path: Path) -> None:
    old, new = tiny_bundle(tmp_path, "1.1.0", at(0), days=90), tiny_bundle(tmp_path, "1.2.0", at(100), days=90)
    bench.clock = HandClock(datetime(1970, 1, 1, tzinfo=timezone.utc))
    bench.layout.floor.write_text("2026-04-05T00:00:00Z\n")
    line = refusal(bench, old)
    assert "it is at least 2026-04-05" in line
    assert "set the clock" in line
    assert is_taken(bench, new)


def test_a_clock_far_ahead_refuses_until_it_is_set(bench: Bench, tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path, "1.1.0")
    bench.clock.step_wall(70 * 365 * 86400)
    assert "set it if it is wrong" in refusal(bench, path)
    bench.clock.step_wall(-70 * 365 * 86400)
    assert is_taken(bench, path)


def test_a_root_that_has_expired_is_refused(bench: Bench, tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path, "1.1.0", at(0), days=36_000)
    bench.clock.step_wall(36_500 * 86400)
    assert "root.json is expired" in refusal(bench, path)


# --- what was altered ----------------------------------------------------------------------------------------


def test_a_wheel_that_was_altered_is_refused(bench: Bench, tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path, "1.1.0")
    parts = parts_of(path)
    name = next(name for name in parts if name.startswith("wheels/"))
    for data in (parts[name][:-1] + b"!", parts[name] + b"!", b""):
        assert f"{name} in the bundle is not what was signed" == refusal(bench, rewritten(
            path, {**parts, name: data}))


def test_a_part_that_nobody_signed_is_refused_and_so_is_one_that_is_missing(bench: Bench, tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path, "1.1.0")
    parts = parts_of(path)
    assert "but not signed" in refusal(bench, rewritten(path, {**parts, "wheels/more-1.whl": b"more"}))
    for name in parts:
        assert refusal(bench, rewritten(path, {key: data for key, data in parts.items() if key != name}))


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp"])
def test_metadata_in_another_spelling_is_refused_though_its_signatures_hold(bench: Bench, tmp_path: Path,
                                                                             role: str) -> None:
    path = tiny_bundle(tmp_path, "1.1.0")
    parts = parts_of(path)
    name = role_name(parts, role)
    for data in (parts[name] + b"\n", parts[name].replace(b'"sig":"', b'"sig": "'),
                 parts[name].replace(b'{"signatures"', b'{"note":1,"signatures"')):
        assert data != parts[name]
        assert refusal(bench, rewritten(path, {**parts, name: data}))


def test_a_signature_in_capitals_or_one_too_many_is_refused(bench: Bench, tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path, "1.1.0")
    parts = parts_of(path)

    def capitals(metadata: Metadata[Any]) -> None:
        for signature in metadata.signatures.values():
            signature.signature = signature.signature.upper()

    def one_too_many(metadata: Metadata[Any]) -> None:
        signature = next(iter(metadata.signatures.values()))
        metadata.signatures["f" * 64] = type(signature)("f" * 64, signature.signature)

    for change in (capitals, one_too_many):
        metadata: Metadata[Any] = Metadata.from_bytes(parts["metadata/timestamp.json"])
        change(metadata)
        line = refusal(bench, rewritten(path, {**parts, "metadata/timestamp.json": metadata.to_bytes()}))
        assert "a signature of the bundle's timestamp metadata does not hold" in line


def test_signed_metadata_that_says_more_than_a_bundle_needs_is_refused(bench: Bench, tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path, "1.1.0")

    def hands_on(metadata: Metadata[Any]) -> None:
        metadata.signed.delegations = Delegations({}, {})

    def weak(metadata: Metadata[Any]) -> None:
        for target in metadata.signed.targets.values():
            target.hashes = {"sha1": "0" * 40}

    def elsewhere(metadata: Metadata[Any]) -> None:
        metadata.signed.targets["../../etc/passwd"] = TargetFile(1, {"sha256": "0" * 64}, "../../etc/passwd")

    for change, line in ((hands_on, "hands its trust on"), (weak, "not what was signed"), (elsewhere, "is missing")):
        assert line in refusal(bench, forgery(path, "targets", change))


def test_another_products_bundle_is_refused_after_its_signatures_hold(bench: Bench, tmp_path: Path) -> None:
    path = tiny_bundle(tmp_path, "1.1.0")
    parts = parts_of(path)
    data = parts["manifest.json"].replace(b'"open-door"', b'"open-gate"')

    def relisted(metadata: Metadata[Any]) -> None:
        metadata.signed.targets["manifest.json"] = TargetFile.from_data("manifest.json", data, ["sha256"])

    parts = forged({**parts, "manifest.json": data}, "targets", relisted)
    assert "for another product" in refusal(bench, rewritten(path, parts))


# --- keys that are replaced ----------------------------------------------------------------------------------


def replaced(tmp_path: Path, name: str) -> tuple[list[Any], list[bytes]]:
    """The keys and roots after one key was replaced by a fresh one."""
    make_key(tmp_path / name, None)
    fresh = read_keys([tmp_path], lambda path: b"")
    old = next(key for key in signers(OURS) if key.name == name)
    second = next_root(root(OURS), signers(OURS), {old.signer.public_key.keyid: fresh[0]}, at(-20))
    return [fresh[0], *(key for key in signers(OURS) if key.name != name)], [root(OURS), second]


def test_a_replaced_key_counts_no_more_and_its_successor_does(bench: Bench, tmp_path: Path) -> None:
    keys, roots = replaced(tmp_path, "timestamp-1.pem")
    path = tiny_bundle(tmp_path, "1.1.0", at(1), keys=keys, roots=roots)
    trusted(bench, path)
    stolen = tiny_bundle(tmp_path, "1.2.0", at(2), name="stolen.bundle")
    assert "not signed by those whom this terminal trusts" in refusal(bench, stolen)
    assert "not signed by those whom this terminal trusts" in refusal(bench, rewritten(
        path, {**parts_of(path), "metadata/timestamp.json": parts_of(stolen)["metadata/timestamp.json"]}))
    trusted(bench, tiny_bundle(tmp_path, "1.3.0", at(3), keys=keys, roots=roots))


def test_numbers_far_ahead_signed_with_stolen_keys_are_forgotten_once_the_root_replaces_them(
        bench: Bench, tmp_path: Path) -> None:
    parts = parts_of(tiny_bundle(tmp_path, "1.1.0", at(1)))
    far = 2_000_000_000

    def ahead(metadata: Metadata[Any]) -> None:
        metadata.signed.version = far

    parts = forged(forged(parts, "snapshot", ahead, 1), "timestamp", ahead, 1)
    parts[f"metadata/{far}.snapshot.json"] = parts.pop(role_name(parts, "snapshot"))
    trusted(bench, rewritten(tmp_path / "x", parts))
    assert "older than one that this terminal has taken" in refusal(bench, tiny_bundle(tmp_path, "1.2.0", at(2)))
    fresh, roots = [], [root(OURS)]
    for name in ("timestamp-1.pem", "snapshot-1.pem"):
        (tmp_path / name).mkdir()
        make_key(tmp_path / name / name, None)
        fresh += read_keys([tmp_path / name], lambda path: b"")
        old = next(key for key in signers(OURS) if key.name == name)
        roots.append(next_root(roots[-1], signers(OURS), {old.signer.public_key.keyid: fresh[-1]}, at(2)))
    trusted(bench, tiny_bundle(tmp_path, "1.2.0", at(3), keys=[*fresh, *signers(OURS)], roots=roots))


def test_a_terminal_that_missed_a_root_gets_it_with_the_bundle_and_one_that_began_with_it_needs_none(
        bench: Bench, tmp_path: Path) -> None:
    keys, roots = replaced(tmp_path, "root-2.pem")
    path = tiny_bundle(tmp_path, "1.1.0", at(1), keys=keys, roots=roots)
    assert "metadata/2.root.json" in parts_of(path)
    assert is_taken(bench, path)
    bench.layout.bootstrap.write_bytes(roots[1])
    assert is_taken(bench, path)
    trusted(bench, path)
    assert "is not what was signed" in refusal(bench, rewritten(
        path, {**parts_of(path), "metadata/2.root.json": roots[1][:-1] + b" "}))


def test_a_root_needs_two_keys_of_the_old_root_and_two_of_its_own(bench: Bench, tmp_path: Path) -> None:
    keys, roots = replaced(tmp_path, "root-2.pem")
    path = tiny_bundle(tmp_path, "1.1.0", at(1), keys=keys, roots=roots)
    for count in (0, 1):
        lone: Metadata[Any] = Metadata.from_bytes(roots[1])
        lone.signatures = dict(list(lone.signatures.items())[:count])
        assert "not signed by those" in refusal(bench, rewritten(
            path, {**parts_of(path), "metadata/2.root.json": lone.to_bytes()}))
    for held in (["root-1.pem"], ["targets-1.pem", "targets-2.pem"]):
        few = [key for key in signers(OURS) if key.name in held]
        with pytest.raises(TerminalError, match="too few root keys are at hand"):
            next_root(root(OURS), few, {}, at(0))


# --- mutants -------------------------------------------------------------------------------------------------


@pytest.mark.timeout(120 + MUTANTS // 10)
def test_every_altered_bundle_is_refused_before_it_is_unpacked(bench: Bench, tmp_path: Path, figure: Figure) -> None:
    keys, roots = replaced(tmp_path, "targets-3.pem")
    good = tiny_bundle(tmp_path, "1.2.0", at(2), keys=keys, roots=roots)
    others = [parts_of(tiny_bundle(tmp_path, "1.1.0", at(1), keys=keys, roots=roots, name="older.bundle")),
              parts_of(tiny_bundle(tmp_path, "1.3.0", at(3), keys=keys, roots=roots, name="newer.bundle")),
              parts_of(tiny_bundle(tmp_path, "1.2.0", at(2), keys=signers("theirs"), roots=[root("theirs")],
                                   name="theirs.bundle"))]
    mutator = Mutator(good.read_bytes(), parts_of(good), others, seed=20261124)
    before, chance, refused = bench.tree(), random.Random(1), 0
    for _ in range(MUTANTS):
        path = tmp_path / "mutant.bundle"
        path.write_bytes(mutator.mutant())
        with pytest.raises((BundleRefused, UpdateFailed)) as error:
            bench.updater().update(path)
        assert "\n" not in str(error.value)
        refused += 1
        if chance.random() < 0.05:
            assert bench.tree() == before
    assert bench.tree() == before
    assert "unpack" not in bench.steps
    assert set(bench.steps) == {"sweep", "copy", "verify"}
    figure("F54", f"{refused} of {MUTANTS} altered bundles refused before unpacking")
    bench.updater().update(good)
    assert bench.runs == "1.2.0"
