"""factory_reset: asks, destroys keys first, leaves the configuration where told to, and is finished once begun.

What a cut at any moment leaves is shown in faults/test_reset_cuts.py.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from firmware_tree import KEY, SECRET, contents, lived_in, run_script

from door_setup import reset  # isort: skip
from door_setup.credential import destroy  # isort: skip

FLAG = "var/lib/door/.resetting"


@pytest.fixture
def terminal(tmp_path: Path) -> Path:
    lived_in(tmp_path)
    return tmp_path


def telling(root: Path) -> set[str]:
    """The files that still hold something of the old terminal."""
    return {name for name, (_, _, data) in contents(root).items() if SECRET in data}


def test_a_reset_leaves_nothing_of_what_was_and_a_fresh_key(terminal: Path) -> None:
    run_script("factory_reset", "--yes", root=terminal)
    assert telling(terminal) == set()
    assert len((terminal / KEY).read_bytes()) == 32
    assert "LoadCredential=terminal-key:" in (
        terminal / "etc/systemd/system/doord.service.d/credentials.conf").read_text()
    assert not (terminal / FLAG).exists()
    before = contents(terminal)
    assert "nothing to change" in run_script("factory_reset", "--yes", root=terminal).stdout
    assert contents(terminal) == before


def test_the_configuration_may_be_kept_and_nothing_else(terminal: Path) -> None:
    run_script("factory_reset", "--yes", "--keep-config", root=terminal)
    assert telling(terminal) == {"etc/door/terminal.toml", "etc/door/terminal.toml.before", "etc/door/liveness.json",
                                 "etc/systemd/system/doord.service.d/configured.conf"}


def test_keys_go_before_what_they_sealed_and_the_flag_goes_last(terminal: Path) -> None:
    said = run_script("factory_reset", "--yes", "--dry-run", root=terminal).stdout
    steps = re.findall(r"^ +(?:would|is) +(\w+ \S+)", said, re.MULTILINE)
    verbs = [step.split()[0] for step in steps]
    assert verbs[:6] == ["destroy"] * 6
    assert "destroy" not in verbs[verbs.index("empty"):]
    assert len(telling(terminal)) == 26, "a dry run has changed something"


def test_without_a_yes_nothing_is_done(terminal: Path) -> None:
    before = contents(terminal)
    done = run_script("factory_reset", root=terminal, is_checked=False, data="")
    assert (done.returncode, "say --yes" in done.stderr) == (2, True)
    assert contents(terminal) == before


def test_to_resume_is_nothing_where_no_reset_was_begun(terminal: Path) -> None:
    before = contents(terminal)
    assert "no reset was cut short" in run_script("factory_reset", "--resume", root=terminal).stdout
    assert contents(terminal) == before


@pytest.mark.parametrize("flag", [b"", b"\0" * 40, b"[1]", b'{"keeps_configuration": "yes"}'])
def test_a_damaged_flag_keeps_the_door_out_of_service_and_the_reset_keeps_nothing(terminal: Path,
                                                                                 flag: bytes) -> None:
    (terminal / FLAG).write_bytes(flag)
    run_script("factory_reset", "--resume", root=terminal)
    assert telling(terminal) == set()


def test_nothing_is_provisioned_while_a_reset_is_unfinished(terminal: Path, tmp_path_factory: pytest.TempPathFactory
                                                            ) -> None:
    (terminal / FLAG).write_bytes(b"{}")
    release = terminal / "opt/door/releases/0.1.0"
    release.mkdir(parents=True)
    (release / "release.json").write_text('{"version": "0.1.0"}')
    (terminal / "opt/door/current").symlink_to("releases/0.1.0")
    done = run_script("provision", "--hub", "https://127.0.0.1:9", "--ca", os.devnull, "--code", "X", root=terminal,
                      is_checked=False)
    assert (done.returncode, "factory_reset --resume" in done.stderr) == (1, True)


def test_a_destroyed_key_was_overwritten_where_it_lay(tmp_path: Path) -> None:
    key, other_name = tmp_path / "key", tmp_path / "other-name"
    key.write_bytes(SECRET)
    other_name.hardlink_to(key)
    destroy(key)
    assert not key.exists()
    assert len(other_name.read_bytes()) == len(SECRET)
    assert other_name.read_bytes() != SECRET


def test_a_key_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    target, key = tmp_path / "target", tmp_path / "key"
    target.write_bytes(SECRET)
    key.symlink_to(target)
    with pytest.raises(OSError, match="symbolic link"):
        destroy(key)
    assert target.read_bytes() == SECRET


def test_what_is_emptied_is_what_a_terminal_keeps_of_people() -> None:
    from device.face.pad.sitecard import CARD_NAME
    from device.store.places import places

    assert Path(reset.COMMISSIONED).name == CARD_NAME
    found = places()
    for path in (found.gallery_db, found.journal_db, found.evidence):
        assert any(str(path).startswith(f"{folder}/") for folder in reset.EMPTIED), path
