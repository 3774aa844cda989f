"""provision: whole or not at all, and where it is not, a line that says what to do.

That a terminal which was provisioned at a real hub is connected to it, and that a code is good once, is shown in
test_install.py.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from firmware_tree import Tree, contents, lived_in, release_once, run_script

from device.clock import SystemClock
from device.kiosk.setup import tie
from device.packs import cache
from device.store.places import places
from sync.hub.ca import Authority

from door_setup import provision  # isort: skip
from door_setup.credential import KEYS_OF_LINK, Store, Way  # isort: skip
from door_setup.plan import Step, carry_out  # isort: skip

CONFIG = '[door]\nlock = "strike"\n'
CODE = "8K2M4-Q1TZ9-0RW3X-7HCVN"
STAGING = "/run/provision-test"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A terminal that stands alone."""
    folder = tmp_path_factory.mktemp("terminal")
    (folder / "terminal.toml").write_text(CONFIG)
    root = folder / "t"
    root.mkdir()
    run_script("install", "--config", folder / "terminal.toml", "--release", release_once(), "--cache",
               cache.cache_folder(), root=root)
    return root


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate of some hub's authority."""
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    file.write_bytes(Authority.new("elsewhere", SystemClock()).certificate_pem())
    return file


@pytest.fixture
def nowhere() -> Iterator[str]:
    """The address of a hub that is not there: a port that is taken, at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"https://127.0.0.1:{taken.getsockname()[1]}"


# --- what is refused -----------------------------------------------------------------------------------------


def test_a_hub_that_cannot_be_reached_changes_nothing_and_leaves_the_code_good(installed: Path, authority: Path,
                                                                              nowhere: str) -> None:
    before = contents(installed / "etc")
    done = run_script("provision", "--hub", nowhere, "--ca", authority, "--code", CODE, root=installed,
                      is_checked=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "check cable, address and name server" in done.stderr
    assert "the code is still good" in done.stderr
    assert contents(installed / "etc") == before
    assert not list((installed / "run").glob("provision-*"))


@pytest.mark.parametrize(("words", "said"), [
    (("--ca", "/nowhere/ca.pem", "--code", CODE), "copy the hub's ca.pem here"),
    (("--ca", "{ca}"), "give the claim code with --code or --code-file"),
    (("--ca", "{ca}", "--code", ""), "a claim code looks like"),
    (("--ca", "{ca}", "--code", "X" * 1000), "a claim code looks like"),
    (("--ca", "{ca}", "--code-file", "/dev/null"), "a claim code looks like")])
def test_a_call_that_lacks_something_is_wrong_usage(installed: Path, authority: Path, nowhere: str,
                                                    words: tuple[str, ...], said: str) -> None:
    done = run_script("provision", "--hub", nowhere, *(word.replace("{ca}", str(authority)) for word in words),
                      root=installed, is_checked=False, data="")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert said in done.stderr


def test_where_nothing_is_installed_it_says_so(tmp_path: Path, authority: Path, nowhere: str) -> None:
    done = run_script("provision", "--hub", nowhere, "--ca", authority, "--code", CODE, root=tmp_path,
                      is_checked=False)
    assert (done.returncode, "run firmware_scripts/install first" in done.stderr) == (1, True)
    assert not list(tmp_path.iterdir())


def test_a_clock_that_was_lost_is_told_at_once(installed: Path, authority: Path, nowhere: str) -> None:
    manifest = (installed / "opt/door/current/release.json").resolve()
    whole = manifest.read_text()
    try:
        manifest.write_text(json.dumps({**json.loads(whole), "built": "2099-01-01T00:00:00Z"}))
        done = run_script("provision", "--hub", nowhere, "--ca", authority, "--code", CODE, "--dry-run",
                          root=installed)
    finally:
        manifest.write_text(whole)
    assert "before this release was built (2099-01-01T00:00:00Z): give the terminal a time server" in done.stdout


def test_a_terminal_that_is_tied_is_left_alone_unless_told_otherwise(tmp_path: Path, authority: Path, nowhere: str,
                                                                     installed: Path) -> None:
    link = installed / "etc/door/link.toml"
    link.write_text("")
    try:
        words = ("--hub", nowhere, "--ca", authority, "--code", CODE)
        assert "nothing to change" in run_script("provision", *words, root=installed).stdout
        assert run_script("provision", *words, "--again", root=installed, is_checked=False).returncode == 1
    finally:
        link.unlink()


def test_the_code_that_the_terminal_shows_is_taken_from_where_its_page_keeps_it(installed: Path, authority: Path,
                                                                                nowhere: str) -> None:
    words = ("--hub", nowhere, "--ca", authority, "--shown")
    done = run_script("provision", *words, root=installed, is_checked=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "this terminal shows no code yet" in done.stderr
    where = places({"DOOR_STATE": str(installed / "var/lib/door")})
    assert Path(f"{installed}{provision.SHOWN}") == tie.code_path(where)
    tie.claim_code(where)
    try:
        done = run_script("provision", *words, root=installed, is_checked=False)
        assert "the code is still good" in done.stderr
        assert tie.code_path(where).exists()
    finally:
        tie.code_path(where).unlink()


# --- whole or not at all -------------------------------------------------------------------------------------


def claimed(root: Path) -> Tree:
    """A terminal for which the hub has just accepted the code."""
    tree = lived_in(root)
    for name in (*KEYS_OF_LINK, *provision.CERTIFICATES, "link.toml"):
        tree.write(f"{STAGING}/{name}", f"fresh {name}\n".encode(), 0o600)
    for name in ("etc/door/link.toml", "etc/credstore.encrypted/signing.key"):
        (root / name).unlink()
    return tree


def steps(tree: Tree) -> Iterator[Step]:
    return provision._steps(Store(tree, Way.CLEAR), STAGING)


def test_a_terminal_that_was_cut_off_while_it_was_tied_is_not_tied_and_knows_it(tmp_path: Path) -> None:
    total = sum(1 for _ in steps(claimed(tmp_path / "whole")))
    assert total > 10
    for done in range(1, total):
        root = tmp_path / str(done)
        tree = claimed(root)
        carry_out((step for step, _ in zip(steps(tree), range(done), strict=False)), is_dry_run=False)
        assert (root / "etc/door/.provisioning").exists()
        assert not (root / "etc/door/link.toml").exists() or done == total - 1
        carry_out(steps(tree), is_dry_run=False)
        assert not (root / "etc/door/.provisioning").exists()
        assert (root / "etc/door/link.toml").read_text().startswith("fresh link.toml\n")


def test_keys_are_for_root_alone_and_the_link_names_where_they_are_handed_over(tmp_path: Path) -> None:
    tree = claimed(tmp_path)
    carry_out(steps(tree), is_dry_run=False)
    for name in KEYS_OF_LINK:
        key = tmp_path / "etc/credstore" / name
        assert (key.read_text(), key.stat().st_mode & 0o777) == (f"fresh {name}\n", 0o600)
    text = tree.at("/etc/door/link.toml").read_text()
    assert 'key = "' in text and "/run/credentials/door-syncd.service/tls.key" in text
    assert "fresh tls.key" not in text
    dropin = tree.at("/etc/systemd/system/door-syncd.service.d/credentials.conf").read_text()
    assert all(f"LoadCredential={name}:/etc/credstore/{name}" in dropin for name in KEYS_OF_LINK)
    assert not tree.at(provision.SHOWN).exists()  # it was good once
    if os.geteuid() == 0:
        assert tree.is_as("/var/lib/door/link/terminal.pem", 0o640, "door-sync:door-sync")
