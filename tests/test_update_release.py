"""Versions, manifests and release folders: one spelling each, and nothing older, foreign or half is taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from update_samples import HERE, MADE, Bench, manifest_of

from device.update.bundle import BundleRefused
from device.update.disk import UpdateFailed
from device.update.manifest import parse_manifest
from device.update.release import Machine, check_fits, read_release, write_release
from device.update.slots import Slots
from device.update.version import Version


def version(text: str) -> Version:
    return Version.parse(text)


def test_versions_are_compared_as_numbers() -> None:
    assert version("1.10.0") > version("1.9.9") > version("0.99.999999")
    assert str(version("1.10.0")) == "1.10.0"


@pytest.mark.parametrize("text", ["1.0", "1.0.0.0", "v1.0.0", "01.0.0", "1.0.0rc1", "1.0.-1", "1.0.0 ", "", "1.0.١",
                                  "1.0.1234567", "../1.0", None, 1])
def test_a_version_has_one_spelling(text: object) -> None:
    with pytest.raises(ValueError, match="three numbers"):
        Version.parse(text)


def test_a_manifest_is_read_as_it_was_written() -> None:
    manifest = manifest_of("1.2.3", min_version=version("1.0.0"))
    assert parse_manifest(manifest.to_json()) == manifest
    assert manifest.bundle_name == f"open-door-1.2.3-{HERE.arch}-py{HERE.python}.bundle"


@pytest.mark.parametrize(("key", "value"), [
    ("version", "1.0"), ("version", 1), ("min_version", None), ("arch", "armv7l"), ("python", "3.9"),
    ("python", 3.11), ("built", "2026-01-01"), ("built", 0), ("requirements_sha256", "AB" * 32),
    ("installed_bytes", -1), ("installed_bytes", True), ("installed_bytes", 1e3), ("more", 1), ("arch", ["aarch64"])])
def test_a_manifest_with_an_odd_value_is_refused(key: str, value: object) -> None:
    found = json.loads(manifest_of("1.2.3").to_json()) | {key: value}
    with pytest.raises(BundleRefused, match="manifest cannot be used"):
        parse_manifest(json.dumps(found).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"\xff", b"[" * 100_000, b"{}", b'"text"'])
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(BundleRefused, match="manifest cannot be used"):
        parse_manifest(data)


def test_another_products_manifest_is_refused() -> None:
    found = json.loads(manifest_of("1.2.3").to_json()) | {"product": "open-gate"}
    with pytest.raises(BundleRefused, match="for another product: 'open-gate'"):
        parse_manifest(json.dumps(found).encode())


@pytest.mark.parametrize(("changes", "line"), [
    ({"arch": "aarch64" if HERE.arch == "x86_64" else "x86_64"}, f"this machine is {HERE.arch}"),
    ({"python": "3.10" if HERE.python != "3.10" else "3.12"}, f"this machine has {HERE.python}"),
    ({"version": Version(1, 0, 0)}, "release 1.0.0 runs already"),
    ({"version": Version(0, 9, 9)}, "an older release is never installed"),
    ({"min_version": Version(1, 0, 1)}, "update to 1.0.1 first")])
def test_a_release_for_another_machine_or_not_newer_is_refused_in_one_line(
        tmp_path: Path, changes: dict[str, object], line: str) -> None:
    current = Slots(Bench(tmp_path).layout).current
    with pytest.raises(BundleRefused, match=line) as refused:
        check_fits(manifest_of("1.1.0", **changes), HERE, current)
    assert "\n" not in str(refused.value)
    check_fits(manifest_of("1.1.0"), HERE, current)
    with pytest.raises(BundleRefused, match="take the one named"):
        check_fits(manifest_of("1.1.0"), Machine("riscv64", "3.11"), current)


def test_a_folder_is_a_release_only_once_it_says_so_itself(tmp_path: Path) -> None:
    folder = tmp_path / "1.2.3"
    folder.mkdir()
    assert read_release(folder) is None
    write_release(folder, manifest_of("1.2.3"))
    found = read_release(folder)
    assert found is not None
    assert (found.version, found.built, found.python) == (version("1.2.3"), MADE, HERE.python)
    folder.rename(tmp_path / "1.2.4")
    assert read_release(tmp_path / "1.2.4") is None
    for damage in (b"", b"{}", b"[1]", b"\xff\xfe"):
        (tmp_path / "1.2.4" / "release.json").write_bytes(damage)
        assert read_release(tmp_path / "1.2.4") is None


def test_leftovers_go_and_what_is_somebody_elses_stays(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for name in ("1.1.0", ".work", "notes"):
        (bench.layout.releases / name).mkdir()
    (bench.layout.opt / ".fresh-current").symlink_to("nowhere")
    assert Slots(bench.layout).sweep() == ["1.1.0"]
    assert sorted(path.name for path in bench.layout.releases.iterdir()) == [".work", "1.0.0", "notes"]
    assert not (bench.layout.opt / ".fresh-current").is_symlink()


def test_the_release_that_runs_and_the_one_before_are_never_removed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for name in ("0.7.0", "0.8.0", "0.9.0", "1.1.0"):
        bench.put_release(name)
    slots = Slots(bench.layout)
    slots.keep(version("0.7.0"))
    assert slots.make_room() == ["0.8.0", "0.9.0", "1.1.0"]
    assert [str(release.version) for release in slots.whole()] == ["0.7.0", "1.0.0"]
    for name in ("0.7.0", "1.0.0"):
        with pytest.raises(UpdateFailed, match="in use"):
            slots.discard(bench.layout.releases / name)
    assert slots.make_room() == []
    bench.put_release("0.9.1")
    assert slots.make_room() == ["0.9.1"]


def test_only_a_whole_release_is_switched_to(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (bench.layout.releases / "1.1.0").mkdir()
    with pytest.raises(UpdateFailed, match="not a whole release"):
        Slots(bench.layout).switch(version("1.1.0"))
    assert bench.runs == "1.0.0"
    bench.put_release("1.2.0")
    Slots(bench.layout).switch(version("1.2.0"))
    assert bench.runs == "1.2.0"


def test_a_machine_without_a_release_says_what_to_do(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.layout.current.unlink()
    with pytest.raises(UpdateFailed, match="run firmware_scripts/install"):
        bench.updater()
