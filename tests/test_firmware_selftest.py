"""selftest: a table of what is well and what is not, each row with what to do; it changes nothing."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from firmware_tree import Tree, contents, release_once, run_script

from device.packs import cache

from door_setup import checks  # isort: skip
from door_setup.checks import Row, Verdict  # isort: skip
from door_setup.credential import Store, Way  # isort: skip


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A terminal that stands alone, with its key."""
    config, root = tmp_path_factory.mktemp("config") / "terminal.toml", tmp_path_factory.mktemp("t")
    config.write_text('[door]\nlock = "strike"\n')
    run_script("install", "--config", config, "--release", release_once(), "--cache", cache.cache_folder(), root=root)
    run_script("install", "--first-boot", root=root)
    return root


def test_a_terminal_that_was_just_installed_is_fit_for_service(installed: Path) -> None:
    before = contents(installed)
    found = {row["name"]: row for row in json.loads(run_script("selftest", "--json", root=installed).stdout)}
    assert not [row for row in found.values() if row["verdict"] == "fail"]
    assert {"release", "configuration", "files", "keys", "units", "clock", "disk", "watchdog", "camera",
            "model pack"} <= set(found)
    assert "lie in clear: whoever has the card has them" in found["keys"]["said"]
    assert contents(installed) == before


def _lose_release(root: Path) -> None:
    (root / "opt/door/current").unlink()


def _half_write(root: Path) -> None:
    (root / "etc/door/terminal.toml").write_text('[door]\nlock = "str')
    (root / "etc/door/terminal.toml").chmod(0o640)


def _open_up(root: Path) -> None:
    (root / "var/lib/door/gallery").chmod(0o777)


def _lose_folder(root: Path) -> None:
    shutil.rmtree(root / "var/lib/door-update")


def _lend_key(root: Path) -> None:
    (root / "etc/credstore/terminal-key").chmod(0o644)


def _lose_key(root: Path) -> None:
    (root / "etc/credstore/terminal-key").unlink()


def _misspell(root: Path) -> None:
    with (root / "etc/systemd/system/doord.service").open("a") as file:
        file.write("[Service]\nProtectSytem=strict\n")


def _begin_reset(root: Path) -> None:
    (root / "var/lib/door/.resetting").write_text("{}")


def _cut_provisioning(root: Path) -> None:
    (root / "etc/door/.provisioning").write_text("")


def _lose_pack(root: Path) -> None:
    shutil.rmtree(root / "var/cache/door/packs")


def _damage_pack(root: Path) -> None:
    network = next((root / "var/cache/door/packs").glob("*/*.tflite"))
    network.write_bytes(network.read_bytes()[:-100])


def _config(tree: Tree) -> Iterator[Row]:
    yield checks.configuration_row(tree)


def _keys(tree: Tree) -> Iterator[Row]:
    return checks.key_rows(Store(tree, Way.CLEAR))


def _pack(tree: Tree) -> Iterator[Row]:
    yield checks.pack_row(tree)


@pytest.mark.parametrize(("damage", "look", "remedy"), [
    (_lose_release, checks.release_rows, "run install"),
    (_begin_reset, checks.release_rows, "factory_reset --resume"),
    (_cut_provisioning, checks.release_rows, "run it again with a fresh code"),
    (_half_write, _config, "terminal.toml"),
    (_open_up, checks.right_rows, "/var/lib/door/gallery must be 2770 door-sync:door-gallery: run install"),
    (_lose_folder, checks.right_rows, "/var/lib/door-update is missing: run install"),
    (_lend_key, _keys, "chmod 600 it"),
    (_lose_key, _keys, "terminal-key: missing; run install"),
    (_misspell, checks.unit_rows, "ProtectSytem"),
    (_lose_pack, _pack, "doorctl models"),
    (_damage_pack, _pack, "doorctl models")])
def test_what_is_wrong_is_named_with_what_to_do(installed: Path, tmp_path: Path, damage: Callable[[Path], None],
                                                look: Callable[[Tree], Iterator[Row]], remedy: str) -> None:
    if damage is _misspell and shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    root = tmp_path / "t"
    shutil.copytree(installed, root, symlinks=True, ignore=None if look in (_config, _pack) else _without_programs)
    _give_back(installed, root)
    tree = Tree(root)
    assert Verdict.FAIL not in [row.verdict for row in look(tree)]
    damage(root)
    found = [row for row in look(tree) if row.verdict is Verdict.FAIL]
    assert len(found) == 1 and remedy in found[0].said, found


def test_a_terminal_with_something_wrong_is_not_fit_for_service(installed: Path) -> None:
    (installed / "etc/door/.provisioning").write_text("")
    try:
        done = run_script("selftest", root=installed, is_checked=False)
    finally:
        (installed / "etc/door/.provisioning").unlink()
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "1 failed")
    assert re.search(r"^fail +unfinished +provisioning was cut short", done.stdout, re.MULTILINE)
    assert "not walked: --yes takes the door out of service" in done.stdout


def _without_programs(folder: str, names: list[str]) -> set[str]:
    return {"packs", "site-packages"} & {*names}


def _give_back(source: Path, copy: Path) -> None:
    """Owners, which a copy of a tree loses."""
    for path in checks.RIGHTS:
        status = Tree(source).at(path).stat()
        shutil.chown(Tree(copy).at(path), status.st_uid, status.st_gid)
        Tree(copy).at(path).chmod(status.st_mode & 0o7777)


def test_a_clock_that_says_a_time_before_the_release_was_built_is_wrong(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.write("/opt/door/current/release.json", b'{"built": "2099-01-01T00:00:00Z"}', 0o644)
    row = checks.clock_row(tree)
    assert (row.verdict, "timedatectl set-time" in row.said) == (Verdict.FAIL, True)


def test_a_card_that_is_nearly_full_is_told_before_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def free(mib: int) -> Verdict:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1 << 40, 0, mib << 20))
        return checks.disk_row(Tree(tmp_path)).verdict

    assert [free(mib) for mib in (500, 120, 20)] == [Verdict.OK, Verdict.WARN, Verdict.FAIL]
