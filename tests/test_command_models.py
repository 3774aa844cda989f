"""doorctl models, as somebody calls it."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from device.commands import models
from device.errors import TerminalError
from device.face.card import Card
from device.packs import cardfile, library


def doorctl(*words: str | Path) -> int:
    """The exit code, as device.cli gives it."""
    parser = argparse.ArgumentParser(prog="doorctl")
    models.add_parser(parser.add_subparsers())
    options = parser.parse_args(["models", *map(str, words)])
    try:
        return int(options.run(options))
    except TerminalError as error:
        sys.stderr.write(f"doorctl: {error}\n")
        return error.exit_code


def test_build_says_what_was_there_and_is_silent_when_asked(
        own_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doorctl("build") == 0
    assert "was there" in capsys.readouterr().out
    assert doorctl("build", "--quiet-if-built") == 0
    assert capsys.readouterr().out == ""


def test_build_and_use_commission_the_kernel_of_the_search_once(
        own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doorctl("build", "--quiet-if-built") == 0
    chosen = own_cache / "kernels" / "choice-192.json"
    assert {"simsimd", "numpy"} & set(json.loads(chosen.read_text())["measured"])
    if shutil.which("cc"):
        assert "compiled" in json.loads(chosen.read_text())["measured"]
        monkeypatch.setattr(models, "commission", lambda *ignored: pytest.fail("commissioned again"))
    assert doorctl("build") == 0
    monkeypatch.undo()
    monkeypatch.setenv("DOOR_CACHE", str(own_cache))
    chosen.unlink()
    assert doorctl("use", "mobilefacenet") == 0
    assert chosen.exists()


def test_build_makes_a_damaged_pack_anew(own_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own_cache / "packs" / "mobilefacenet" / "face_landmark.tflite").unlink()
    assert doorctl("build", "--quiet-if-built") == 0
    assert "built:" in capsys.readouterr().out
    assert doorctl("verify") == 0


def test_list_marks_the_pack_in_use(own_cache: Path, pack: Card, capsys: pytest.CaptureFixture[str]) -> None:
    assert doorctl("list") == 0
    assert f"* mobilefacenet    built      {pack.model_id}" in capsys.readouterr().out
    assert doorctl("list", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["state"], row["is_chosen"]) for row in rows] == [
        ("mobilefacenet", "built", True), ("dlib", "not built", False)]


def test_verify_ends_with_one_and_names_the_file(own_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doorctl("verify", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["is_sound"] is True
    (own_cache / "packs" / "mobilefacenet" / "mobilefacenet.tflite").write_bytes(b"altered")
    assert doorctl("verify", "--json") == 1
    row = json.loads(capsys.readouterr().out)[0]
    assert (row["name"], row["is_sound"]) == ("mobilefacenet", False)
    assert "mobilefacenet.tflite was altered" in row["fault"]
    assert doorctl("verify", "mobilefacenet") == 1
    assert "was altered" in capsys.readouterr().out


def test_verify_and_list_miss_a_pack_in_use_that_has_gone(
        own_cache: Path, pack: Card, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(own_cache / "packs" / "mobilefacenet", own_cache / "packs" / "ours")
    (own_cache / "packs" / "mobilefacenet" / "card.toml").unlink()
    assert doorctl("verify") == 1
    assert "mobilefacenet/card.toml is missing; build the pack" in capsys.readouterr().out
    (own_cache / "packs" / "chosen").write_text("theirs\n")
    assert doorctl("verify", "--json") == 1
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert not rows["theirs"]["is_sound"]
    assert "there is no pack theirs here; there are ours" in rows["theirs"]["fault"]
    assert doorctl("list") == 0
    assert "* theirs           damaged" in capsys.readouterr().out


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-100])])
def test_list_does_not_call_a_pack_built_that_lacks_a_part(
        own_cache: Path, spoil: Callable[[Path], object], capsys: pytest.CaptureFixture[str]) -> None:
    spoil(own_cache / "packs" / "mobilefacenet" / "face_landmark.tflite")
    assert doorctl("list", "--json") == 0
    row = json.loads(capsys.readouterr().out)[0]
    assert (row["name"], row["state"]) == ("mobilefacenet", "damaged")
    assert "face_landmark.tflite" in row["fault"]


def test_verify_without_any_pack_says_how_to_build_one(own_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(own_cache / "packs")
    assert doorctl("verify") == 1
    assert "doorctl models build" in capsys.readouterr().err


def test_add_and_use(own_cache: Path, pack: Card, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs, card = tmp_path / "theirs.tflite", tmp_path / "theirs.toml"
    shutil.copyfile(pack.path("recogniser"), theirs)
    card.write_text('licence = "MIT"\norigin = "a test"\ntraining_data = "none"\n')
    assert doorctl("add", theirs, "--name", "theirs", "--card", card) == 0
    assert "no operating points" in capsys.readouterr().out
    assert doorctl("use", "theirs") == 1
    assert "doorctl evaluate calibrate --pack theirs" in capsys.readouterr().err
    assert library.chosen() == "mobilefacenet"
    measured(own_cache / "packs" / "theirs", pack)
    assert doorctl("use", "theirs") == 0
    assert library.chosen() == "theirs"
    assert doorctl("build", "--quiet-if-built") == 0
    assert doorctl("use", "nothing") == 1
    assert doorctl("use", "../nothing") == 2
    assert doorctl("add", theirs, "--name", "theirs", "--card", card) == 2
    assert library.chosen() == "theirs"


def measured(folder: Path, like: Card) -> None:
    """Gives the pack in `folder` the operating points of another."""
    table = cardfile.read_table(folder / "card.toml")
    table["population"] = cardfile.read_table(like.folder / "card.toml")["population"]
    cardfile.write_table(folder / "card.toml", table)


def test_packs_are_built_added_and_chosen_in_json(
        own_cache: Path, pack: Card, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doorctl("build", "--json") == 0
    built = json.loads(capsys.readouterr().out)
    assert (built["model_id"], built["was_built"], built["note"]) == (pack.model_id, True, "")
    theirs, card = tmp_path / "theirs.tflite", tmp_path / "theirs.toml"
    shutil.copyfile(pack.path("recogniser"), theirs)
    card.write_text('licence = "MIT"\norigin = "a test"\ntraining_data = "none"\n')
    assert doorctl("add", theirs, "--name", "theirs", "--card", card, "--json") == 0
    added = json.loads(capsys.readouterr().out)
    assert (added["name"], added["folder"]) == ("theirs", str(own_cache / "packs" / "theirs"))
    measured(own_cache / "packs" / "theirs", pack)
    assert doorctl("use", "theirs", "--json") == 0
    assert json.loads(capsys.readouterr().out) == added


def test_the_inference_runtime_says_nothing_on_stderr(pack: Card) -> None:
    script = "from device.packs import library; library.open_pack('mobilefacenet')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
