"""Making of bundles: the right wheels for another machine, keys with and without passphrase, the same twice."""

from __future__ import annotations

import hashlib
import os
import subprocess
import zipfile
from pathlib import Path

import pytest
from update_samples import MADE, parts_of, tiny_bundle, tiny_wheel

from device.errors import UsageError
from device.update.making.keys import make_keys, read_keys
from device.update.making.main import main, moment, version_of
from device.update.making.pins import Target, pins_for
from device.update.making.wheelhouse import WheelMissing, build, fetch, pin_of
from device.update.manifest import PYTHONS

ROOT = Path(__file__).resolve().parent.parent
PASSPHRASE = b"a long enough one"


def no_passphrase(path: Path) -> bytes:
    raise AssertionError(f"{path}: no passphrase is needed")


# --- pins ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("python", PYTHONS)
def test_every_package_of_the_terminal_has_one_pin_on_each_machine(python: str) -> None:
    text = (ROOT / "requirements" / "terminal.txt").read_text()
    names = [pin.name for pin in pins_for(text, Target("aarch64", python))]
    assert len(names) == len(set(names))
    assert {"numpy", "tuf", "cryptography", "opencv-python-headless", "pip"} <= set(names)
    assert ("tomli" in names) is (python == "3.10")
    assert "colorama" not in names


def test_a_line_that_is_no_hashed_pin_is_refused() -> None:
    target = Target("x86_64", "3.11")
    good = f"numpy==2.2.6 \\\n    --hash=sha256:{'0' * 64} \\\n    --hash=sha256:{'1' * 64}\n"
    (pin,) = pins_for("# a remark\n\n" + good, target)
    assert (pin.name, pin.version, len(pin.hashes)) == ("numpy", "2.2.6", 2)
    assert pins_for(pin.line(), target) == [pin]
    for line in ("numpy>=2", "numpy==2.2.6", "-e .", "https://example.org/x.whl", "--index-url x",
                 f"numpy==2.2.6 --hash=md5:{'0' * 32}"):
        with pytest.raises(UsageError, match="not a hashed pin"):
            pins_for(line, target)


def test_wheels_for_another_machine_are_fetched_by_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    source.mkdir()
    wheel = tiny_wheel(source, "1.1.0")
    foreign = wheel.rename(source / "open_door-1.1.0-cp310-cp310-manylinux_2_28_aarch64.whl")
    for name, value in (("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", str(source))):
        monkeypatch.setenv(name, value)
    target, pin = Target("aarch64", "3.10"), pin_of(foreign)
    assert [path.name for path in fetch([pin], target, tmp_path / "wheels")] == [foreign.name]
    other = type(pin)(pin.name, pin.version, ("0" * 64,))
    with pytest.raises(WheelMissing, match="the wheels cannot be fetched: ERROR"):
        fetch([other], target, tmp_path / "more")
    with pytest.raises(WheelMissing):
        fetch([pin], Target("x86_64", "3.10"), tmp_path / "yet more")


# --- the project's own wheel ---------------------------------------------------------------------------------


def checkout(folder: Path) -> Path:
    """A project of two lines, as untidy as a checkout is."""
    (folder / "device" / "__pycache__").mkdir(parents=True)
    (folder / "device" / "__init__.py").write_text("")
    (folder / "device" / "__pycache__" / "old.pyc").write_bytes(b"old")
    (folder / "build" / "lib" / "device").mkdir(parents=True)
    (folder / "build" / "lib" / "device" / "stale.py").write_text("")
    (folder / "README.md").write_text("a project")
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "open-door"\nversion = "1.4.0"\n[tool.setuptools.packages.find]\ninclude = ["device*"]\n')
    return folder


def test_a_wheel_is_the_same_byte_for_byte_whoever_builds_it_from_whatever_lies_about(tmp_path: Path) -> None:
    one, other = checkout(tmp_path / "one"), checkout(tmp_path / "other")
    for path in other.rglob("*"):
        path.chmod(0o775 if path.is_dir() else 0o664)
        os.utime(path, (1, 1))
    wheels = [build(folder, tmp_path / f"wheels-{folder.name}", MADE) for folder in (one, other)]
    assert wheels[0].read_bytes() == wheels[1].read_bytes()
    assert wheels[0].name == "open_door-1.4.0-py3-none-any.whl"
    with zipfile.ZipFile(wheels[0]) as archive:
        assert "device/__init__.py" in archive.namelist()
        assert not any("stale" in name or "pyc" in name for name in archive.namelist())
    assert not (one / "open_door.egg-info").exists()
    assert str(version_of(one)) == "1.4.0"


def test_a_project_that_cannot_be_built_or_has_no_plain_version_is_one_line(tmp_path: Path) -> None:
    broken = checkout(tmp_path / "broken")
    text = (broken / "pyproject.toml").read_text()
    (broken / "pyproject.toml").write_text(text.replace("1.4.0", "1.4.0rc1"))
    with pytest.raises(UsageError, match="not a version of three numbers"):
        version_of(broken)
    (broken / "pyproject.toml").write_text(text.replace('name = "open-door"', ""))
    with pytest.raises(WheelMissing, match="the project's own wheel cannot be built: ") as error:
        build(broken, tmp_path / "wheels", MADE)
    assert "\n" not in str(error.value)


def test_a_bundle_is_the_same_byte_for_byte(tmp_path: Path) -> None:
    one, other = (tiny_bundle(tmp_path, "1.1.0", name=name) for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()
    assert parts_of(one)["requirements.txt"].startswith(b"open-door==1.1.0 ")


# --- keys ----------------------------------------------------------------------------------------------------


def test_keys_lie_in_files_that_only_their_owner_reads_and_are_never_overwritten(tmp_path: Path) -> None:
    paths = make_keys(tmp_path / "keys", None)
    assert [path.stem for path in paths] == ["root-1", "root-2", "root-3", "targets-1", "targets-2", "targets-3",
                                             "snapshot-1", "timestamp-1"]
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o600}
    before = [hashlib.sha256(path.read_bytes()).digest() for path in paths]
    with pytest.raises(UsageError, match="is there already"):
        make_keys(tmp_path / "keys", None)
    assert [hashlib.sha256(path.read_bytes()).digest() for path in paths] == before
    assert len({key.signer.public_key.keyid for key in read_keys([tmp_path / "keys"], no_passphrase)}) == 8


def test_a_key_with_a_passphrase_needs_it(tmp_path: Path) -> None:
    make_keys(tmp_path / "keys", PASSPHRASE)
    assert all(b"ENCRYPTED" in path.read_bytes() for path in (tmp_path / "keys").iterdir())
    assert len(read_keys([tmp_path / "keys"], lambda path: PASSPHRASE)) == 8
    with pytest.raises(UsageError, match="the passphrase is wrong"):
        read_keys([tmp_path / "keys"], lambda path: b"another one")
    (tmp_path / "odd").mkdir()
    for name, data in (("a.pem", b"no key"), ("a.pem", b"")):
        (tmp_path / "odd" / name).write_bytes(data)
        with pytest.raises(UsageError, match="not a key"):
            read_keys([tmp_path / "odd"], no_passphrase)
    with pytest.raises(UsageError, match="no keys"):
        read_keys([tmp_path], no_passphrase)


# --- the command line ----------------------------------------------------------------------------------------


def test_the_script_makes_keys_replaces_one_and_says_what_it_has_made(tmp_path: Path,
                                                                      capsys: pytest.CaptureFixture[str]) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(PASSPHRASE + b"\n")
    keys, given = str(tmp_path / "keys"), ["--passphrase-file", str(secret)]
    assert main(["keys", keys, *given]) == 0
    assert "1.root.json" in capsys.readouterr().out
    assert main(["key", str(tmp_path / "keys" / "targets-4.pem"), *given]) == 0
    assert main(["root", "--roots", keys, "--keys", keys, *given, "--replace", f"{keys}/targets-2.pem",
                 f"{keys}/targets-4.pem"]) == 0
    assert (tmp_path / "keys" / "2.root.json").exists()
    assert main(["root", "--roots", keys, "--keys", keys, *given, "--replace", f"{keys}/targets-2.pem",
                 f"{keys}/targets-4.pem"]) == 2
    assert "no role is signed with the key" in capsys.readouterr().err
    assert main(["keys", keys, *given]) == 2
    assert main(["show", str(tiny_bundle(tmp_path, "1.1.0"))]) == 0
    assert "wheels/open_door-1.1.0-py3-none-any.whl" in capsys.readouterr().out


def test_keys_without_a_passphrase_are_warned_of_and_short_ones_refused(
        tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["keys", str(tmp_path / "plain"), "--plain"]) == 0
    assert "WARNING" in capsys.readouterr().out
    monkeypatch.setenv("DOOR_KEY_PASSPHRASE", "short")
    assert main(["keys", str(tmp_path / "short")]) == 2
    assert "12 characters at least" in capsys.readouterr().err


def test_a_bundle_of_a_checkout_is_made_by_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    project = checkout(tmp_path / "project")
    (project / "requirements").mkdir()
    (project / "requirements" / "terminal.txt").write_text("# nothing is needed\n")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(int(MADE.timestamp())))
    keys = str(tmp_path / "keys")
    main(["keys", keys, "--plain"])
    wanted = ["build", "--keys", keys, "--roots", keys, "--arch", "aarch64", "--python", "3.12", "--checkout",
              str(project)]
    for out in ("one", "other"):
        assert main([*wanted, "--out", str(tmp_path / out), "--min-version", "1.2.0"]) == 0
    shown = capsys.readouterr().out
    assert "release 1.4.0, over 1.2.0 or newer, for aarch64, Python 3.12; made 2026-01-01 12:00 UTC" in shown
    name = "open-door-1.4.0-aarch64-py3.12.bundle"
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    for days, line in (("10", "90 days at least"), ("4000", "make the next root first")):
        assert main([*wanted, "--days", days]) == 2
        assert line in capsys.readouterr().err
    few = tmp_path / "few"
    few.mkdir()
    for each in ("targets-1.pem", "snapshot-1.pem", "timestamp-1.pem"):
        (few / each).write_bytes((tmp_path / "keys" / each).read_bytes())
    assert main([*wanted[:2], str(few), *wanted[3:]]) == 2
    assert "1 of the targets keys that the root names are at hand; 2 must sign" in capsys.readouterr().err


def test_the_moment_of_a_bundle_can_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(int(MADE.timestamp())))
    assert moment() == MADE
    for odd in ("", "soon", "1e9", "9" * 30):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", odd)
        with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH must be seconds"):
            moment()


@pytest.mark.parametrize("script", ["make_bundle", "update", "mark_good"])
def test_the_scripts_say_what_they_do(script: str) -> None:
    said = subprocess.run([ROOT / "firmware_scripts" / script, "--help"], capture_output=True, text=True, check=False,
                          cwd="/")
    assert said.returncode == 0, said.stderr
    assert "usage" in said.stdout
