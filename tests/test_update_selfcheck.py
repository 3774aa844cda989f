"""The short day in rehearsal by which a release shows that it decides: with the real terminal and the real pack."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from device.errors import TerminalError
from device.face.card import Card
from device.update import selfcheck


def ran(*words: str | Path, **surroundings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-I", "-m", "device.update.selfcheck", *words], capture_output=True,
                          text=True, check=False, timeout=110, env={**os.environ, **surroundings})


def test_this_release_decides_as_it_must_and_touches_nothing_of_the_terminal(pack: Card, tmp_path: Path) -> None:
    (tmp_path / "link.toml").write_text("a hub's")
    (tmp_path / "terminal.toml").write_text('[door]\nlock = "maglock"\n[pins]\nlock = 5\nrex = 6\n')
    (tmp_path / "state").mkdir()
    done = ran("--config", tmp_path / "terminal.toml", DOOR_STATE=str(tmp_path / "state"),
               DOOR_LINK=str(tmp_path / "link.toml"), CREDENTIALS_DIRECTORY=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "selfcheck: 4 decisions, all as they must be\n"
    assert list((tmp_path / "state").iterdir()) == []


def test_a_configuration_that_it_does_not_understand_is_one_line(pack: Card, tmp_path: Path) -> None:
    (tmp_path / "terminal.toml").write_text('[door]\nlock = "strike"\nlocks = 1\n')
    done = ran("--config", tmp_path / "terminal.toml")
    assert done.returncode == 2
    assert "selfcheck: error: " in done.stderr
    assert "locks" in done.stderr


def test_a_damaged_model_pack_is_one_line(own_cache: Path) -> None:
    network = next((own_cache / "packs").rglob("*.tflite"))
    network.write_bytes(network.read_bytes()[:-1] + b"!")
    done = ran(DOOR_CACHE=str(own_cache))
    assert done.returncode == 1
    assert network.name in done.stderr


def test_a_decision_that_is_not_as_it_must_be_is_named(pack: Card, monkeypatch: pytest.MonkeyPatch,
                                                       tmp_path: Path) -> None:
    from device.config import parse_config

    for name, value in (("GPIOZERO_PIN_FACTORY", "mock"), ("DOOR_STATE", str(tmp_path)),
                        ("DOOR_LINK", str(tmp_path / "link.toml"))):
        monkeypatch.setenv(name, value)
    config = parse_config({"door": {"lock": "strike"}})
    monkeypatch.setattr(selfcheck, "_DAY", ((1.0, "stranger", True, "face_granted"),))
    with pytest.raises(TerminalError, match="unknown_face came of it instead of face_granted"):
        selfcheck.check(config)
    monkeypatch.setattr(selfcheck, "_DAY", ((1.0, "stranger", True, "unknown_face"),))
    with pytest.raises(TerminalError, match="the lock was not released once and relocked"):
        selfcheck.check(config)
